"""Segmenting groups of images from Python."""

import logging
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from ..compat import load_checkpoint_file, quiet_imports, return_freed_memory, state_of_checkpoint
from ..config_check import errors_name_keys, name_of
from ..datasets.hint_files import GivenHints, check_class_names
from ..datasets.image_io import BadImageError, image_of, read_image
from ..datasets.transforms import ForEachImage
from ..engine.group_optimization import InitialState, OptimizationSettings, optimize_and_segment
from ..engine.run_config import optimizes_groups
from ..errors import MMCosegError, naming
from ..export import SkippedFile
from ..files import named
from ..models.backbones.weights import WeightsToLoad, deferred_weights, load_unless_stored
from ..models.stages import GroupContext
from ..registry import INFERENCERS, MODELS, TRANSFORMS
from ..seeding import all_seeded
from ..segment_options import InferenceOptions
from ..structures import CoSegDataSample, GroupDataSample, GroupImages, hint_map
from ..workers import default_workers, map_in_threads, with_workers
from .hint_inputs import hints_from, remarks_on_hints, with_hints
from .inference_config import inference_config, inference_pipeline
from .inputs import ImageItem, ImageLimits, InputGroup, read_inputs
from .session import GroupSession

__all__ = ['CoSegInferencer']

#: Images of more pixels are decoded one at a time.
_LARGE = 30_000_000
#: Images of a part of a group, and pixels of all of them, at most: 300 MB decoded.
_PART_IMAGES, _PART_PIXELS = 32, 100_000_000
#: Pixels of the images of a group that stay decoded until their part's turn.
_KEPT_PIXELS = 100_000_000


#: Is told that images, so many, are past a step.
Watch = Callable[[str, int], None]


def _unwatched(step: str, count: int) -> None:
    pass


@INFERENCERS.register_module()
class CoSegInferencer:
    """Finds the common objects of groups of images.

    Works by a config as ``mmcoseg test`` does, but without annotations. A method that is optimized
    on each group (``GroupOptimizationLoop``) is so here, too.

    Args:
        method: one of ``mmcoseg.config_files.METHODS``; None for that of ``options``.
        options: all options.
        others: single fields of :class:`~mmcoseg.segment_options.InferenceOptions`, in place of
            those in ``options``.

    Raises:
        MMCosegError, FileNotFoundError: as :func:`inference_config`; for an option out of range; if
            weights do not fit the model, or are missing for a trained one.

    Example:
        >>> from mmcoseg.apis import CoSegInferencer
        >>> inferencer = CoSegInferencer()  # doctest: +SKIP
        >>> for group in inferencer.stream('photos'):  # doctest: +SKIP
        ...     for sample in group:
        ...         mask = sample.pred_sem_seg.data[0].numpy()  # (H, W) uint8, 1 is object
    """

    def __init__(
        self, method: str | None = None, options: InferenceOptions | None = None, **others: Any
    ) -> None:
        if method is not None:
            others['method'] = method
        options = InferenceOptions.of(options, others)
        self.cfg = inference_config(options)
        self.presence_threshold = options.presence_threshold or 0
        self.seed = options.seed
        workers = options.num_workers
        self.num_workers = default_workers() if workers is None else workers
        self.limits = options.limits or ImageLimits()
        self.device = _device(options.device)
        weights = self.cfg.get('load_from') if options.weights is None else options.weights
        on_groups = optimizes_groups(self.cfg)
        if weights is None and self.cfg.get('train_cfg') is not None and not on_groups:
            raise MMCosegError(
                f'{name_of(self.cfg)} has a model that must be trained: give the '
                'weights (a checkpoint of `mmcoseg train`)'
            )
        self._build(weights, options.trust_weights)
        self.optimization, self._initial = None, None
        if on_groups:
            self.optimization = OptimizationSettings.from_test_cfg(self.cfg.test_cfg, self.seed)
            self._initial = InitialState(self.model)
        self._lock = threading.Lock()

    def _build(self, weights: str | Path | None, trust: bool) -> None:
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', 'mmcoseg')):
            # Pretrained weights are not asked for where the checkpoint has the backbone's.
            pretrained = nullcontext([]) if weights is None else deferred_weights()
            seeded, named = all_seeded(self.seed, self.device), errors_name_keys(self.cfg)
            with seeded, named, _quiet(), pretrained as noted:
                self.model = MODELS.build(self.cfg.model)
                self.model.init_weights()
            steps = inference_pipeline(self.cfg.test_pipeline)
            self.pipeline = list(map(TRANSFORMS.build, steps))
        if weights is not None:
            _load_weights(self.model, noted, str(weights), trust)
        self.model.to(self.device).eval()

    def __call__(
        self, inputs: Any, channel_order: str = 'bgr', hints: Any = None
    ) -> list[GroupDataSample]:
        """Segment all groups, and keep the results of all; see :meth:`stream`."""
        return list(self.stream(inputs, channel_order, hints=hints))

    def stream(
        self, inputs: Any, channel_order: str = 'bgr', parts: bool = False, hints: Any = None
    ) -> Iterator[GroupDataSample]:
        """Segment group by group.

        Args:
            inputs, channel_order: see :func:`~mmcoseg.apis.read_inputs`.
            parts: yield each group in parts. It is segmented as a whole all the same, but each
                part's masks are made in their turn (unless a post-processor must see the whole
                group), so that those of a thousand photographs need not fit into memory together.
                Each image comes decoded, in ``ori_img``.
            hints: what a person said of images, see :func:`~mmcoseg.apis.hints_from`.

        Yields:
            The groups with predictions, on the CPU, their images in the order of the input. Each
            image has ``pred_sem_seg`` at its own size, ``pred_prob``, and ``presence`` where the
            method gives it; in the metainfo ``group``, ``stem``, ``file_name``, ``img_path`` or
            ``ori_img``, and ``absent``. The group's metainfo has ``skipped``, a list of
            :class:`SkippedFile` for the images that cannot be read, and ``class_count``
            (:class:`~mmcoseg.models.ops.ClassCount`) where the number of classes was estimated.
        """
        notes: list[str] = []
        groups = read_inputs(inputs, channel_order, notes)
        for note in notes:
            warnings.warn(note, stacklevel=2)
        if hints is not None:
            groups = with_hints(groups, hints_from(hints))
            self._warn(*self.remarks_on_method(), *remarks_on_hints(groups))
        for group in groups:
            yield from self.segment_group(group, parts)

    def open(
        self,
        inputs: Any,
        hints: Any = None,
        classes: Sequence[str] = (),
        channel_order: str = 'bgr',
    ) -> GroupSession:
        """Open one group of images for hints, which then act at once.

        Args:
            inputs, channel_order: see :func:`~mmcoseg.apis.read_inputs`.
            hints: what a person said of images already, see :func:`~mmcoseg.apis.hints_from`.
            classes: names of the classes that hints tell apart; by default those of ``hints``.

        Raises:
            MMCosegError: if the input is not one group, or the method is optimized on each group.
        """
        if self.optimization is not None:
            raise MMCosegError(
                f'{name_of(self.cfg)} is optimized on each group for minutes; open a group with '
                'another method, such as consensus'
            )
        groups = read_inputs(inputs, channel_order)
        if len(groups) != 1:
            raise MMCosegError(
                f'one group can be opened at a time; the input has {len(groups)}: '
                f'{named([group.name for group in groups], 10)}'
            )
        given = hints_from(hints)
        if classes:
            given.add(GivenHints(classes={'': check_class_names(classes)}))
        [group] = with_hints(groups, given)
        self._warn(*self.remarks_on_method())
        return GroupSession(self, replace(group, classes=given.classes_of(group.name)))

    @staticmethod
    def _warn(*remarks: str) -> None:
        """Warn the caller of a public method."""
        for remark in remarks:
            warnings.warn(remark, stacklevel=4)

    def updater_of(
        self, group: InputGroup
    ) -> tuple[GroupDataSample, Callable[[], None], list[SkippedFile]]:
        """A group's samples, what segments them by their hints of the time, and skipped files."""
        images, sample, skipped = self.load(group)
        if not len(sample):
            raise MMCosegError(f'no image of the group {group.name} can be read')
        with self.reproducibly():
            return sample, self.model.updater(images, sample), skipped

    def load(
        self, group: InputGroup
    ) -> tuple[GroupImages | None, GroupDataSample, list[SkippedFile]]:
        """A group's images and samples, and skipped files; None where no image can be read."""
        record, skipped, _ = self._load(group, 0)
        if not record['images']:
            return None, GroupDataSample([]), skipped
        with self.reproducibly():
            return *self._packed(record), skipped

    def finished(self, part: GroupDataSample, group: InputGroup) -> GroupDataSample:
        """The samples with masks of their soft maps, on the CPU."""
        with self.reproducibly():
            self.model.finish(part)
        return self._marked(part, group)

    def segment_group(
        self,
        group: InputGroup,
        parts: bool = False,
        look: Callable[[GroupContext], None] | None = None,
        watch: Watch = _unwatched,
    ) -> Iterator[GroupDataSample]:
        """Segment one of the groups that :func:`~mmcoseg.apis.read_inputs` gives.

        Args:
            parts: see :meth:`stream`. Where the model has ``independent_images`` each part is also
                loaded in its turn, so that memory does not grow with the group.
            look: called with what a training-free segmentor knows of the group in the end.
            watch: told of images that were ``'read'``, from several threads, and of those that are
                ``'described'`` by the network, which a method may do more than once. What it raises
                ends the work.
        """
        if not (parts and self.model.independent_images):
            yield from self._segment_together(group, parts, look, watch)
            return
        for start in range(0, len(group), _PART_IMAGES):
            items = group.items[start : start + _PART_IMAGES]
            part = replace(group, items=items)
            yield from self._segment_together(part, parts, look, watch)

    def _segment_together(
        self,
        group: InputGroup,
        parts: bool,
        look: Callable[[GroupContext], None] | None,
        watch: Watch,
    ) -> Iterator[GroupDataSample]:
        record, skipped, kept = self._load(group, _KEPT_PIXELS if parts else 0, watch)
        if not record['images']:
            yield GroupDataSample([], metainfo=dict(group=group.name, skipped=skipped))
            return
        # Masks of one part after the other, unless a step must see the whole group.
        in_parts = self.model.by_image
        with self.reproducibly():
            sample = self._segment_record(record, look, partial(watch, 'described'))
            if not in_parts:
                self.model.finish(sample)
        del record
        self._warn_of_no_effect(sample)
        for part in _parts(sample) if parts else [sample]:
            if parts:
                self._decode(part, kept)
            part = self.finished(part, group) if in_parts else self._marked(part, group)
            part.set_metainfo(dict(skipped=skipped))
            yield part

    def _warn_of_no_effect(self, group: GroupDataSample) -> None:
        """Warn of what the user gave and the method makes no use of."""
        if self.presence_threshold and not any('presence' in sample for sample in group):
            warnings.warn(
                'the method gives no presence scores, so that presence_threshold does nothing',
                stacklevel=4,
            )

    def remarks_on_method(self) -> list[str]:
        """What a user should know who gives hints to this method."""
        if self.model.follows_hints:
            return []
        return [
            'the method does not carry hints over to other images (it has no stage FollowHints): '
            'each counts only for its own image'
        ]

    @contextmanager
    def reproducibly(self) -> Iterator[None]:
        """Start from the seed, with the chosen number of workers."""
        with all_seeded(self.seed, self.device), with_workers(self.num_workers):
            yield

    def _packed(self, record: dict) -> tuple[GroupImages, GroupDataSample]:
        """The images and the sample of a group, of its record with loaded images."""
        results, sequence = record, record.get('sequence', False)
        for step in self.pipeline:
            if not isinstance(step, ForEachImage):  # those are done, see _load
                results = step(results)
        for image in record['images']:
            image.pop('img', None)  # packed: of 1,000 images, most of a gigabyte
        return_freed_memory()
        batch = dict(inputs=[results.pop('inputs')], data_samples=[results.pop('data_samples')])
        data = self.model.data_preprocessor(batch, False)
        [group] = data['data_samples']
        group.set_metainfo(dict(sequence=sequence))
        return data['inputs'], group

    def _segment_record(
        self,
        record: dict,
        look: Callable[[GroupContext], None] | None,
        watch: Callable[[int], None],
    ) -> GroupDataSample:
        """The group with soft maps, of its record with loaded images."""
        images, group = self._packed(record)
        images = images.watched(watch)
        if self.optimization is None:
            update = self.model.updater(images, group)
            update()
            if look is not None:
                look(update.context)
            return group
        scope = self.cfg.get('default_scope', 'mmcoseg')
        with DefaultScope.overwrite_default_scope(scope), _quiet(logging.ERROR):
            problem = optimize_and_segment(
                self.model, images, group, self._initial, self.optimization
            )
        if problem:
            for sample in group:
                sample.set_metainfo(dict(warnings=(f'not optimized: {problem}',)))
        return group

    def _load(
        self, group: InputGroup, room: int, watch: Watch = _unwatched
    ) -> tuple[dict[str, Any], list[SkippedFile], dict[str, np.ndarray]]:
        """The group's record with its images at the network's size, and what cannot be read.

        Moreover, the decoded images of files, by their stems, as far as there is room for so many
        pixels.
        """
        kept: dict[str, np.ndarray] = {}
        lock = threading.Lock()

        def take_room(num_pixels: int) -> bool:
            nonlocal room
            with lock:
                fits = num_pixels <= room
                room -= num_pixels * fits
            return fits

        def load(item: ImageItem) -> dict | SkippedFile:
            watch('read', 1)
            try:
                num_pixels = item.check(self.limits)
                keep = item.path is not None and take_room(num_pixels)
                image = self._load_image(item, group, num_pixels, keep)
                if keep:  # not in the record, whose packing would copy it
                    kept[item.stem] = image.pop('ori_img')
                return image
            except (BadImageError, FileNotFoundError, MemoryError) as error:
                reason = str(error) or f'{item.file_name} needs more memory than there is'
                return SkippedFile(item.file_name, reason)

        images, skipped = [], []
        for loaded in map_in_threads(load, group.items, self.num_workers):
            (skipped if isinstance(loaded, SkippedFile) else images).append(loaded)
        record = dict(group=group.name, category=group.name, label_ids=(), images=images)
        record.update(sequence=group.sequence)
        return record, skipped, kept

    def _load_image(
        self, item: ImageItem, group: InputGroup, num_pixels: int, keep: bool
    ) -> dict[str, Any]:
        # Pillow images are not safe to be read by two threads, and may stand in a group twice.
        with self._lock if num_pixels > _LARGE or item.path is None else nullcontext():
            image = dict(item.record(), group=group.name, seg_map_path=None, label_ids=())
            image.update(hints=item.hints, class_names=group.classes)
            image.update(self.model.data_preprocessor.network_input)
            if keep:
                image['ori_img'] = read_image(item.path)
            for step in self.pipeline:
                if isinstance(step, ForEachImage):
                    image = step.apply(image)
        if item.hints:  # what is wrong with them is said before anything is computed
            with naming(f'{group.name}/{item.file_name}'):
                hint_map(item.hints, image['ori_shape'])
        return image

    def _decode(self, part: GroupDataSample, kept: dict[str, np.ndarray]) -> None:
        """Give the images of a part their pixels, for all that comes after the network."""

        def decode(sample: CoSegDataSample) -> None:
            large = math.prod(sample.ori_shape[:2]) > _LARGE
            image = kept.pop(sample.stem, None)
            if image is None:
                try:
                    with self._lock if large else nullcontext():
                        image = image_of(sample)
                except (BadImageError, FileNotFoundError):
                    return  # it has changed; who needs it will meet and report that
            # Not by set_metainfo, which copies.
            sample.set_field(image, 'ori_img', field_type='metainfo')

        map_in_threads(decode, part.samples, self.num_workers)

    def _marked(self, part: GroupDataSample, group: InputGroup) -> GroupDataSample:
        """The part on the CPU, absent images with empty masks.

        Sets ``file_name``, ``absent`` and, of frames of a sequence, ``frame``, ``video``, ``time``.
        """
        if self.device.type != 'cpu':
            part = part.cpu()
        items = {item.stem: item for item in group.items}
        for sample in part:
            unlikely = 'presence' in sample and sample.presence < self.presence_threshold
            absent = bool(sample.get('absent', False)) or unlikely
            item = items[sample.stem]
            sample.set_metainfo(dict(file_name=item.file_name, absent=absent))
            if item.frame is not None:
                sample.set_metainfo(item.frame.metainfo)
            if absent:
                sample.pred_sem_seg.data = torch.zeros_like(sample.pred_sem_seg.data)
                if 'pred_instances' in sample:
                    sample.pred_instances = sample.pred_instances[:0]
        return part


def _parts(group: GroupDataSample) -> Iterator[GroupDataSample]:
    """Parts of few images each, taken out of the group: what is done with can be freed."""
    rest = group.samples
    while rest:
        pixels = np.cumsum([math.prod(image.ori_shape[:2]) for image in rest[:_PART_IMAGES]])
        count = max(1, np.searchsorted(pixels, _PART_PIXELS, side='right'))
        part = group.new()
        part.samples = rest[:count]
        del rest[:count]
        yield part
        del part


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
    """Load what fits. Parts may differ that only training uses, such as a classifier."""
    content = load_checkpoint_file(str(Path(path).expanduser()), 'cpu', trust)
    state = state_of_checkpoint(content)
    own = model.state_dict()
    missing = []
    for key, value in own.items():
        if getattr(state.get(key), 'shape', None) != value.shape:
            missing.append(key)
    if len(missing) > 0.1 * len(own):
        raise MMCosegError(
            f'{path} holds weights of another model: {len(missing)} of the {len(own)} tensors are '
            f'missing or of another shape, such as {", ".join(missing[:3])}'
        )
    load_unless_stored(model, noted, state, path)
    for key in missing:
        state.pop(key, None)
    model.load_state_dict(state, strict=False)
    if missing:
        warnings.warn(f'{path} has no fitting weights for {", ".join(missing)}', stacklevel=3)


@contextmanager
def _quiet(least: int = logging.WARNING) -> Iterator[None]:
    """Without mmengine's report of how every single weight was initialized, or is not trained."""
    quiet_imports()
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(least)
    try:
        yield
    finally:
        logger.setLevel(level)
