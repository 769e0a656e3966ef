"""Segmenting groups of images from Python."""

import copy
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from ..compat import load_checkpoint_file, return_freed_memory, state_of_checkpoint
from ..config_check import require_sound
from ..config_files import config_of_method
from ..datasets.collate import group_collate
from ..datasets.image_io import BadImageError, image_of, read_image
from ..datasets.transforms import ForEachImage
from ..engine.group_optimization import (
    GroupBatches,
    InitialState,
    NonFiniteLossError,
    OptimizationSettings,
    optimize_group,
)
from ..engine.run_config import datasets_of, merge_options, optimizes_groups, read_config
from ..errors import MMCosegError
from ..models.backbones.weights import WeightsToLoad, deferred_weights, load_unless_stored
from ..models.segmentors.base import BaseCoSegmentor
from ..registry import INFERENCERS, MODELS, TRANSFORMS
from ..seeding import all_seeded
from ..structures import CoSegDataSample, GroupDataSample
from ..workers import default_workers
from .inputs import ImageItem, ImageLimits, InputGroup, SkippedFile, read_inputs

__all__ = ['CoSegInferencer', 'default_workers', 'inference_config']

#: Steps of pipelines that read annotations, by their registered names.
_ANNOTATION_STEPS = frozenset(
    {'LoadAnnotations', 'LoadCoSegMask', 'LoadPrior', 'LoadProposals', 'LoadSaliency'}
)
#: Images of more pixels are decoded one at a time, since each takes hundreds of megabytes.
_LARGE = 30_000_000
#: Images of a part of a group, and pixels of all of them, at most: 300 MB decoded.
_PART_IMAGES, _PART_PIXELS = 32, 100_000_000
#: Pixels of those images of a group that stay decoded, from the network to their part: 300 MB.
_KEPT_PIXELS = 100_000_000
#: Share of what there is to compute that masks and post-processors are, about.
_COMPLETION = 0.25

#: Called with what is being done ('read' or 'compute') and how many images more that holds for.
Progress = Callable[[str, float], None]


def inference_config(
    method: str = 'consensus',
    config: str | Path | Config | None = None,
    cfg_options: dict[str, Any] | None = None,
    crf: bool = True,
    num_workers: int | None = None,
    num_classes: int | Literal['auto'] | None = None,
    min_area: float | None = None,
    largest: bool = False,
) -> Config:
    """The config by which :class:`CoSegInferencer` works; see there for the arguments.

    Raises:
        MMCosegError: for an unknown method, a config without model or test pipeline, or a number of
            classes for a model that has none.
        FileNotFoundError: if there is no such config.
    """
    if config is None:
        config = config_of_method(method)
    if isinstance(config, Config):
        cfg = copy.deepcopy(config)
    else:
        cfg = read_config(str(config))
    merge_options(cfg, cfg_options or {})
    name = cfg.filename or 'the config'
    if cfg.get('model') is None:
        raise MMCosegError(f'{name} has no model')
    if num_classes is not None:
        if 'num_classes' not in cfg.model:
            raise MMCosegError(
                f'{name} is of a model that does not tell classes apart (it has no '
                'model.num_classes), so that there is no number of classes to choose; the method '
                'mccoseg does'
            )
        cfg.model.num_classes = num_classes
        if isinstance(num_classes, int) and cfg.model.get('max_classes') is not None:
            cfg.model.max_classes = max(num_classes, cfg.model.max_classes)
    elif cfg.model.get('num_classes') == 'data':
        cfg.model.num_classes = 'auto'  # nothing says it of photographs
    if min_area is not None or largest:
        cfg.model.postprocessors = _with_cleaning(cfg.model, min_area, largest)
    for model in filter(None, (cfg.model, cfg.model.get('prior'))):
        steps = model.get('postprocessors') or []
        refiners = model.get('refiners') or {}
        if not crf:
            steps = [step for step in steps if _type_name(step) != 'DenseCRF']
            model.postprocessors = steps
            for key in [key for key, refiner in refiners.items() if _crf_of(refiner)]:
                del refiners[key]
        if num_workers is not None:
            for step in filter(None, map(_crf_of, [*steps, *refiners.values()])):
                step.setdefault('num_workers', num_workers if num_workers > 1 else 0)
    if 'test_pipeline' not in cfg or cfg.get('test_dataloader') is not None:
        # What a test would do; the variable of this name is only where configs usually keep it.
        pipelines = [d.get('pipeline') for d in datasets_of(cfg.get('test_dataloader'))]
        if not pipelines or not pipelines[0]:
            raise MMCosegError(f'{name} has no test_dataloader whose data set has a pipeline')
        cfg.test_pipeline = pipelines[0]
    require_sound(cfg, ('model', 'test_pipeline'))
    return cfg


def _with_cleaning(model: dict, min_area: float | None, largest: bool) -> list[dict]:
    """The post-processors of a model, with one that cleans its masks by these rules."""
    steps = list(model.get('postprocessors') or [])
    cleaning = [step for step in steps if _type_name(step) == 'CleanMask']
    if not cleaning:
        cleaning = [dict(type='CleanMask')]
        steps += cleaning
    for step in cleaning:
        if min_area is not None:
            step.update(min_share=0.0, hole_share=0.0, min_area=min_area)
        step['largest'] = largest
    return steps


def _crf_of(step: dict | None) -> dict | None:
    """The dense CRF that a post-processor is, or by which a refiner draws its targets."""
    for config in (step, (step or {}).get('targets')):
        if config and _type_name(config) == 'DenseCRF':
            return config
    return None


@INFERENCERS.register_module()
class CoSegInferencer:
    """Finds the common objects of groups of images.

    Works by a config as ``mmcoseg test`` does: its model, its data preprocessor, and its test
    pipeline without what reads annotations. A method that is optimized on each group
    (``GroupOptimizationLoop``) is so here, too, on the images as the test pipeline gives them.

    Args:
        method: one of ``mmcoseg.config_files.METHODS``, none of which needs training.
        config: a config instead: its path, its name, or itself.
        weights: of the config's model, a checkpoint file. Read without running code in it.
        device: ``'cpu'``, ``'cuda'``, ``'cuda:1'``; None: the GPU if torch sees one.
        cfg_options: dotted key of the config -> value.
        crf: False leaves out the config's dense CRF, and refiners that work by one
            (self-training): faster and coarser.
        presence_threshold: images whose presence is below it get an empty mask and ``absent=True``
            in their metainfo. None: all images keep what was found.
        seed: of everything random. Each group starts from it anew, so that its result does not
            depend on the groups before it.
        num_workers: threads that read images, and helper processes of the CRF; None for one a
            core. Results are the same for any number.
        num_classes: how many classes recur in a group, for models that tell them apart
            (``model.num_classes``): a number for all groups; ``'auto'`` for an estimate of each
            group. None for what the config says, where ``'data'`` becomes ``'auto'``.
        min_area: connected parts and holes of masks below it are removed, instead of those that
            are small beside the largest part: a share of the image below 1, a number of pixels
            from 1 on; 0 keeps all.
        largest: keep only the largest part of each mask, of each class and instance.
        limits: images beyond it are left out.
        trust_weights: read weights that are more than plain data; such a file can run any
            program.

    Raises:
        MMCosegError, FileNotFoundError: as :func:`inference_config`; if the weights do not fit the
            model, or the config is one of a trained method and there are none.

    Example:
        >>> from mmcoseg.apis import CoSegInferencer
        >>> inferencer = CoSegInferencer()  # doctest: +SKIP
        >>> for group in inferencer.stream('photos'):  # doctest: +SKIP
        ...     for sample in group:
        ...         mask = sample.pred_sem_seg.data[0].numpy()  # (H, W) uint8, 1 is object
    """

    def __init__(
        self,
        method: str = 'consensus',
        config: str | Path | Config | None = None,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        cfg_options: dict[str, Any] | None = None,
        crf: bool = True,
        presence_threshold: float | None = None,
        seed: int = 0,
        num_workers: int | None = None,
        *,
        num_classes: int | Literal['auto'] | None = None,
        min_area: float | None = None,
        largest: bool = False,
        limits: ImageLimits | None = None,
        trust_weights: bool = False,
    ) -> None:
        if presence_threshold is not None and not 0 <= presence_threshold <= 1:
            raise MMCosegError(
                f'presence_threshold must be from 0 to 1, got {presence_threshold!r}'
            )
        if num_workers is not None and num_workers < 0:
            raise MMCosegError(f'num_workers must be at least 0, got {num_workers}')
        self.cfg = inference_config(
            method, config, cfg_options, crf, num_workers, num_classes, min_area, largest
        )
        self.presence_threshold = presence_threshold
        self.seed = seed
        self.num_workers = default_workers() if num_workers is None else num_workers
        self.limits = limits or ImageLimits()
        self.device = _device(device)
        weights = self.cfg.get('load_from') if weights is None else weights
        on_groups = optimizes_groups(self.cfg)
        if weights is None and self.cfg.get('train_cfg') is not None and not on_groups:
            raise MMCosegError(
                f'{self.cfg.filename or "the config"} is of a model that is trained: give the '
                'weights (a checkpoint of `mmcoseg train`)'
            )
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', 'mmcoseg')):
            # Pretrained weights are not asked for where the checkpoint has the backbone's.
            pretrained = nullcontext([]) if weights is None else deferred_weights()
            with all_seeded(seed, self.device), _quiet(), pretrained as noted:
                self.model = MODELS.build(self.cfg.model)
                if hasattr(self.model, 'init_weights'):
                    self.model.init_weights()
            self.pipeline = [TRANSFORMS.build(step) for step in _pipeline(self.cfg.test_pipeline)]
        if weights is not None:
            _load_weights(self.model, noted, str(weights), trust_weights)
        self.model.to(self.device).eval()
        self.optimization, self._initial = None, None
        if on_groups:
            self.optimization = OptimizationSettings.from_config(self.cfg)
            self.optimization.seed = seed
            self._initial = InitialState(self.model)
        self._lock = threading.Lock()

    def __call__(self, inputs: Any, channel_order: str = 'bgr') -> list[GroupDataSample]:
        """Segment all groups, and keep the results of all; see :meth:`stream`."""
        return list(self.stream(inputs, channel_order))

    def stream(
        self,
        inputs: Any,
        channel_order: str = 'bgr',
        progress: Progress | None = None,
        parts: bool = False,
    ) -> Iterator[GroupDataSample]:
        """Segment group by group.

        Args:
            inputs: see :func:`~mmcoseg.apis.read_inputs`; or a list of its ``InputGroup``.
            channel_order: of arrays, ``'bgr'`` or ``'rgb'``.
            progress: is told how far it is.
            parts: yield each group in parts, one after the other. A group is segmented as a whole
                all the same, but masks are only made when their part's turn has come, so that
                those of a thousand photographs need not fit into memory together. (Where a
                post-processor must see the whole group, they are all made before.) Each image
                comes decoded, in ``ori_img``, until its part is let go.

        Yields:
            The groups with predictions, on the CPU, each image by image in the order of the input:
            ``pred_sem_seg`` at the image's size, ``pred_prob``, and ``presence`` where the method
            gives it; in the metainfo ``group``, ``stem``, ``file_name``, ``img_path`` or
            ``ori_img``, ``absent``. Images that cannot be read are not among them but in the
            group's ``skipped``, a list of :class:`SkippedFile`; if none can be read, the group is
            empty. ``class_count`` is what was estimated of the number of its classes, where it was
            (:class:`~mmcoseg.models.ops.ClassCount`). The group's ``seconds`` is what reading and
            computing took. Of several parts, each has all of the group's ``skipped``, and its own
            share of the seconds.
        """
        groups = inputs
        if not (isinstance(inputs, list) and inputs and isinstance(inputs[0], InputGroup)):
            notes: list[str] = []
            groups = read_inputs(inputs, channel_order, notes)
            for note in notes:
                warnings.warn(note, stacklevel=2)
        for group in groups:
            yield from self._segment(group, progress or (lambda stage, count: None), parts)

    def _segment(
        self, group: InputGroup, progress: Progress, parts: bool
    ) -> Iterator[GroupDataSample]:
        start = time.perf_counter()
        kept = _DecodedImages(_KEPT_PIXELS if parts else 0)
        record, skipped = self._load(group, progress, kept)
        count = len(record['images'])
        if not count:
            metainfo = dict(group=group.name, skipped=skipped, seconds=0.0)
            yield GroupDataSample([], metainfo=metainfo)
            return
        later = parts and isinstance(self.model, BaseCoSegmentor) and self.model.by_image
        share = 1 - _COMPLETION if later else 1.0
        with self._watched(count, progress, share), all_seeded(self.seed, self.device):
            sample = self._predict(record, soft_only=later)
        del record
        if self.presence_threshold is not None and not any('presence' in s for s in sample):
            warnings.warn(
                'the method gives no presence scores, so that presence_threshold does nothing',
                stacklevel=3,
            )
        names = {item.stem: item.file_name for item in group.items}
        seconds = (time.perf_counter() - start) / count
        for part in _parts(sample) if parts else [sample]:
            start = time.perf_counter()
            if parts:
                self._decode(part, kept)
            if later:
                with all_seeded(self.seed, self.device), torch.no_grad():
                    self.model.complete(part)
                progress('compute', _COMPLETION * len(part))
            if self.device.type != 'cpu':
                part = part.cpu()
            self._mark(part, names)
            took = seconds * len(part) + time.perf_counter() - start
            part.set_metainfo(dict(skipped=skipped, seconds=took))
            yield part

    def _predict(self, record: dict, soft_only: bool) -> GroupDataSample:
        results = record
        for step in self.pipeline:
            if not isinstance(step, ForEachImage):  # those are done, see _load
                results = step(results)
        for image in record['images']:
            image.pop('img', None)  # packed: of 1,000 images, most of a gigabyte
        if len(record['images']) > 100:
            return_freed_memory()
        batch = dict(inputs=[results.pop('inputs')], data_samples=[results.pop('data_samples')])
        problem = self._optimize(record['group'], batch) if self.optimization else None
        try:
            self.model.soft_only = soft_only
            # Not inference_mode, in which nothing could be trained on the group.
            with torch.no_grad():
                group = self.model.test_step(batch)[0]
        finally:
            self.model.soft_only = False
        if problem:
            for sample in group:
                sample.set_metainfo(dict(warnings=(problem,)))
        return group

    def _optimize(self, name: str, batch: dict) -> str | None:
        """Optimize the model on a group, from the initial weights; what went wrong, or None."""
        pairs = list(zip(batch['inputs'][0], batch['data_samples'][0]))
        batches = GroupBatches(
            dict(group=name, images=[dict(pair=pair) for pair in pairs]),
            lambda record: _mini_batch(record, batch['data_samples'][0]),
            self.cfg.train_dataloader.batch_size,
            self.seed,
            group_collate,
        )
        self._initial.restore()
        scope = self.cfg.get('default_scope', 'mmcoseg')
        try:
            with (
                DefaultScope.overwrite_default_scope(scope),
                torch.enable_grad(),
                _quiet(logging.ERROR),
            ):
                optimize_group(self.model, batches, self.optimization, whole=batch)
        except NonFiniteLossError as error:
            self._initial.restore()
            return f'not optimized: {error}'
        finally:
            self.model.eval()
        return None

    def _load(
        self, group: InputGroup, progress: Progress, kept: '_DecodedImages'
    ) -> tuple[dict[str, Any], list[SkippedFile]]:
        """The group's record with its images at the network's size, and what cannot be read.

        Images of files are kept at their own size, too, as far as there is room.
        """

        def load(item: ImageItem) -> dict | BadImageError:
            try:
                return self._load_image(item, group.name, kept)
            except (BadImageError, FileNotFoundError) as error:
                return BadImageError(str(error))
            except MemoryError:
                return BadImageError(f'{item.file_name} needs more memory than there is')
            finally:
                progress('read', 1)

        loaded = self._map(load, group.items)
        images, skipped = [], []
        for item, image in zip(group.items, loaded):
            if isinstance(image, BadImageError):
                skipped.append(SkippedFile(item.file_name, str(image)))
            else:
                images.append(image)
        record = dict(group=group.name, category=group.name, label_ids=(), images=images)
        return record, skipped

    def _map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Results of a function that mostly decodes, by several threads."""
        if self.num_workers < 2 or len(items) < 2:
            return [function(item) for item in items]
        pool = ThreadPoolExecutor(self.num_workers)
        try:
            return list(pool.map(function, items))
        finally:  # also when interrupted: do not read the rest first
            pool.shutdown(cancel_futures=True)

    def _load_image(self, item: ImageItem, group: str, kept: '_DecodedImages') -> dict[str, Any]:
        num_pixels = item.check(self.limits)
        large = num_pixels > _LARGE
        # Pillow images are not safe to be read by two threads, and may stand in a group twice.
        with self._lock if large or item.path is None else _nothing():
            image = dict(item.record(), group=group, seg_map_path=None, label_ids=())
            keep = item.path is not None and kept.reserve(num_pixels)
            if keep:
                image['ori_img'] = read_image(item.path)
            for step in self.pipeline:
                if isinstance(step, ForEachImage):
                    image = step.apply(image)
        if keep:  # not in the record, whose packing would copy it
            kept.images[item.stem] = image.pop('ori_img')
        return image

    def _decode(self, part: GroupDataSample, kept: '_DecodedImages') -> None:
        """Give the images of a part their pixels, for all that comes after the network."""

        def decode(sample: CoSegDataSample) -> None:
            height, width = sample.metainfo.get('ori_shape', (0, 0))[:2]
            image = kept.images.pop(sample.stem, None)
            if image is None:
                try:
                    with self._lock if height * width > _LARGE else _nothing():
                        image = image_of(sample)
                except (BadImageError, FileNotFoundError):
                    return  # it has changed; who needs it will meet and report that
            # Not by set_metainfo, which copies.
            sample.set_field(image, 'ori_img', field_type='metainfo')

        self._map(decode, part.samples)

    def _mark(self, part: GroupDataSample, names: dict[str, str]) -> None:
        for image in part:
            absent = self._drop_if_absent(image)
            image.set_metainfo(dict(file_name=names[image.stem], absent=absent))

    def _drop_if_absent(self, sample: Any) -> bool:
        """Empty the masks of an image whose presence is too low; whether it is absent."""
        threshold = self.presence_threshold
        if threshold is None or 'presence' not in sample or sample.presence >= threshold:
            return bool(sample.get('absent', False))
        sample.pred_sem_seg.data = torch.zeros_like(sample.pred_sem_seg.data)
        if 'pred_instances' in sample:
            sample.pred_instances = sample.pred_instances[:0]
        return True

    @contextmanager
    def _watched(self, count: int, progress: Progress, share: float) -> Iterator[None]:
        """Tell the progress by the images that pass through the backbone.

        All of them together are ``share`` of what there is to compute.
        """
        models = filter(None, (self.model, getattr(self.model, 'prior', None)))
        backbones = [model.backbone for model in models if hasattr(model, 'backbone')]
        if not backbones:
            yield
            progress('compute', share * count)
            return
        # How often the last group's images passed; some guess for the first one.
        passes = getattr(self, '_passes', 1.0 if self.optimization is None else 4.0)
        seen = told = 0.0

        def hook(module: Any, args: tuple) -> None:
            nonlocal seen, told
            if args and hasattr(args[0], '__len__'):
                seen += len(args[0])
            done = share * min(seen / passes, 0.9 * count)
            progress('compute', max(0.0, done - told))
            told = max(told, done)

        handles = [backbone.register_forward_pre_hook(hook) for backbone in backbones]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self._passes = max(1.0, seen / count)
        progress('compute', share * count - told)


class _DecodedImages:
    """Images of a group at their own size, as many as there is room for.

    Args:
        num_pixels: of all of them together, at most.

    Attributes:
        images: stem -> (H, W, 3) uint8 BGR.
    """

    def __init__(self, num_pixels: int) -> None:
        self.images: dict[str, np.ndarray] = {}
        self._room = num_pixels
        self._lock = threading.Lock()

    def reserve(self, num_pixels: int) -> bool:
        """Whether there is room for an image, which is then taken."""
        with self._lock:
            if num_pixels > self._room:
                return False
            self._room -= num_pixels
            return True


def _mini_batch(record: dict, group: GroupDataSample) -> dict[str, Any]:
    """Some packed images of a group as an item of their own."""
    inputs, samples = zip(*(image['pair'] for image in record['images']))
    some = group.new()
    some.samples = list(samples)
    return dict(inputs=list(inputs), data_samples=some)


def _parts(group: GroupDataSample) -> Iterator[GroupDataSample]:
    """Parts of few images each, taken out of the group: what is done with can be freed."""
    rest = group.samples
    while rest:
        count = pixels = 0
        for image in rest[:_PART_IMAGES]:
            height, width = image.metainfo.get('ori_shape', (0, 0))[:2]
            pixels += height * width
            if count and pixels > _PART_PIXELS:
                break
            count += 1
        part = group.new()
        part.samples = rest[:count]
        del rest[:count]
        yield part
        del part


def _type_name(cfg: dict) -> str:
    kind = cfg.get('type', '')
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return name.rsplit('.')[-1]


def _pipeline(steps: Sequence[dict]) -> list[dict]:
    """A test pipeline without the steps that read annotations, that reads images of any kind."""
    pipeline = []
    for step in steps:
        step = copy.deepcopy(step)
        if _type_name(step) in _ANNOTATION_STEPS:
            continue
        if _type_name(step) == 'LoadImageFromFile':
            step = dict(type='LoadCoSegImage')
        if step.get('cache_dir') is not None:
            step['cache_dir'] = None  # each image comes once; leave no files behind
        if 'transforms' in step:
            step['transforms'] = _pipeline(step['transforms'])
        pipeline.append(step)
    return pipeline


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise MMCosegError(f'the device {device!s} cannot be used: {error}') from error
    return device


def _load_weights(model: torch.nn.Module, noted: WeightsToLoad, path: str, trust: bool) -> None:
    """Load what fits.

    Parts may differ that only training uses, such as a classifier of its categories; a file of
    another model must not pass for this one's.
    """
    content = load_checkpoint_file(str(Path(path).expanduser()), 'cpu', trust)
    state = state_of_checkpoint(content)
    own = model.state_dict()
    fitting = {
        key: value
        for key, value in state.items()
        if key in own and getattr(value, 'shape', None) == own[key].shape
    }
    missing = sorted(set(own) - set(fitting))
    if len(fitting) < 0.9 * len(own):
        raise MMCosegError(
            f'{path} holds weights of another model: {len(missing)} of the {len(own)} tensors are '
            f'missing or of another shape, such as {", ".join(missing[:3])}'
        )
    load_unless_stored(model, noted, state, path)
    model.load_state_dict(fitting, strict=False)
    if missing:
        warnings.warn(f'{path} has no fitting weights for {", ".join(missing)}', stacklevel=3)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _quiet(least: int = logging.WARNING) -> Iterator[None]:
    """Without mmengine's report of how every single weight was initialized, or is not trained."""
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of what the libraries would need for other ends
        import mmseg.datasets
        import mmseg.models  # noqa: F401
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(least)
    try:
        yield
    finally:
        logger.setLevel(level)
