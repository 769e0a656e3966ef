"""Co-segmentation without training: cues of the group, weighed and refined."""

from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from math import ceil

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...registry import MODELS
from ...structures import (
    GroupDataSample,
    GroupSampleList,
    NumClasses,
    check_num_classes,
    group_sizes_of,
)
from ..necks.modulator import Modulation
from ..ops.locations import maps_at_pixels, pad_map
from ..ops.precision import without_autocast
from ..refiners import GroupContext
from .base import BaseCoSegmentor
from .feature_store import FeatureStore, uncentered_basis

__all__ = ['TrainingFreeCoSegmentor']

#: Images that decide in which basis the descriptors of a group are kept.
BASIS_IMAGES = 64


@MODELS.register_module()
class TrainingFreeCoSegmentor(BaseCoSegmentor):
    """Finds the common object of each group by itself; nothing is trained.

    The soft map is the weighted mean of cues, each a :class:`Modulator` whose ``shift`` is a map
    in [0, 1] an image, changed by refiners and post-processors in the given order. Cues see the
    saliency of the images, if the pipeline gives it, as what was found before them.

    A refiner is a module from ``MODELS`` that is called ``refiner(prob, context)`` with the soft
    maps (N, 1, h, w) of a group and a :class:`GroupContext`, and gives soft maps (N, 1, h', w').
    The last one may give (N, K + 1, h', w'), background first: one map a class.
    If it has a method ``encode`` like a modulator's, its descriptors are kept too, and are
    ``context.own`` when it is called.

    Groups of any size fit into memory: images go through the backbone some at a time; of their
    descriptors half-precision numbers are kept, in few dimensions where the cue does not mind
    (``Modulator.rotation_invariant``).

    Args:
        backbone: gives levels.
        cues: name -> config of a modulator; None removes one.
        cue_weights: name -> weight, at least 0; 1 for those not named.
        refiners: name -> config, in the order in which they act; None removes one.
        presence: config of a module from ``MODELS`` that is called like a refiner, after them,
            and gives how sure it is that the object is in each image, (N,) in [0, 1]; ``encode``
            as of refiners. None: samples get no ``presence``.
        num_classes: K, for those of the refiners that take it: a number, ``'data'`` or ``'auto'``
            as of :class:`SplitClasses`; None leaves them theirs.
        test_cfg: how to predict:

            - ``chunk_size``: images that go through the backbone at a time;
            - ``flip``: encode the mean of each image's features and its mirror image's;
            - ``channels``: dimensions in which rotation-invariant descriptors are kept at most;
            - ``memory_limit``: megabytes of descriptors of one cue that are kept in memory; more go to
              a temporary file;
            - ``threshold``: probability from which a pixel is object.
        max_classes: the largest K, for those of the refiners that take it; None leaves them theirs.

    Raises:
        MMCosegError: without any cue; for a wrong number of classes; for weights that fit no cue, are
            negative, or all 0; for unknown keys or values of ``test_cfg``.
    """

    def __init__(
        self,
        backbone: dict,
        cues: Mapping[str, dict | None],
        cue_weights: Mapping[str, float] | None = None,
        refiners: Mapping[str, dict | None] | None = None,
        presence: dict | None = None,
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] = (),
        num_classes: NumClasses | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
        max_classes: int | None = None,
    ) -> None:
        if num_classes is not None:
            check_num_classes(num_classes, 'model.num_classes')
        self.test_cfg = complete_test_cfg(test_cfg)
        super().__init__(data_preprocessor, postprocessors, self.test_cfg.threshold, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.cues = _build_named(cues)
        self.cue_weights = _complete_weights(cue_weights or {}, list(self.cues), list(cues))
        options = dict(num_classes=num_classes, max_classes=max_classes)
        self.refiners = _build_named(_with_options(refiners or {}, options))
        self.presence = MODELS.build(presence) if presence else None
        taken = {'presence'}
        both = sorted(set(self.cues) & set(self.refiners) | taken & {*self.cues, *self.refiners})
        if both:
            raise MMCosegError(
                f"names of cues and refiners must differ, from each other and from 'presence'; "
                f'rename {both}'
            )
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> 'TrainingFreeCoSegmentor':
        """Stays in evaluation mode, whatever ``mode``."""
        return super().train(False)

    def loss(self, inputs: Tensor, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """There is none.

        Raises:
            MMCosegError: always.
        """
        raise MMCosegError(
            'TrainingFreeCoSegmentor has nothing to train; test it without a checkpoint '
            '(`mmcoseg test CONFIG`) or use `mmcoseg segment`'
        )

    @torch.no_grad()
    def predict(
        self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList
    ) -> GroupSampleList:
        """Predict group by group.

        ``pred_prob`` is at a quarter of the network's resolution, at least that of the maps.

        Args:
            inputs: as the preprocessor gives them: (sum N, 3, H, W), or with its ``defer`` a list
                of images (3, h, w).
            data_samples: the groups.
        """
        start = 0
        for group in data_samples:
            images = inputs[start : start + len(group)]
            start += len(group)
            prob = self._segment(images, group)
            self.add_predictions([group], list(self._at_images(prob, images, group)))
        return data_samples

    @torch.no_grad()
    def predict_maps(
        self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList
    ) -> list[Tensor]:
        """Soft maps before the post-processors, (C, h, w) of each image, without its padding.

        Args:
            inputs, data_samples: as for :meth:`predict`; the samples are left as they are, but for
                ``presence``, and groups but for ``class_count``.
        """
        maps, start = [], 0
        for group in data_samples:
            images = inputs[start : start + len(group)]
            start += len(group)
            maps += self._at_images(self._segment(images, group), images, group)
        return maps

    @torch.no_grad()
    def _forward(
        self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList | None = None
    ) -> Tensor:
        """Soft maps before the post-processors, (sum N, 1, h, w)."""
        one_group = data_samples is None
        groups = [GroupDataSample([])] if one_group else data_samples
        sizes = [len(inputs)] if one_group else group_sizes_of(groups)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return torch.cat(
            [
                self._segment(inputs[start : start + size], group)
                for start, size, group in zip(starts, sizes, groups)
            ]
        )

    def _segment(self, images: Tensor | Sequence[Tensor], group: GroupDataSample) -> Tensor:
        """Soft maps (N, 1, h, w) of one group, on the device of the images."""
        size = self._network_size(images)
        stores = self._encode_group(images)
        context = GroupContext(
            images,
            group,
            descriptors={name: store.descriptors() for name, store in stores.items()},
            saliency=_saliency_of(group, size),
            size=size,
        )
        before = Modulation(shift=context.saliency)
        for name, cue in self.cues.items():
            descriptors = self._require_saliency(name, context) if cue.takes_saliency else None
            descriptors = context.descriptors[name] if descriptors is None else descriptors
            context.cues[name] = cue.modulate_group(
                descriptors, [len(images)], before
            ).shift.float()
            _page_out(stores)
        prob = _weighted_mean(context.cues, self.cue_weights)
        for name, refiner in self.refiners.items():
            context.own = context.descriptors.get(name)
            prob = refiner(prob, context)
            _page_out(stores)
        if self.presence is not None:
            context.own = context.descriptors.get('presence')
            foreground = prob if prob.shape[1] == 1 else 1 - prob[:, :1]
            for sample, presence in zip(group, self.presence(foreground, context).tolist()):
                sample.presence = presence
        return prob.to(images[0].device)

    @staticmethod
    def _require_saliency(name: str, context: GroupContext) -> Tensor:
        if context.saliency is None:
            raise MMCosegError(
                f'the cue {name!r} needs the saliency of all images: put ComputeSaliency into the '
                'pipeline, behind Resize; or remove the cue'
            )
        return context.saliency

    def _encode_group(self, images: Tensor | Sequence[Tensor]) -> dict[str, FeatureStore]:
        """Codes of all images by the name of what encodes them."""
        size = self._network_size(images)
        first = _evenly_spread(len(images), BASIS_IMAGES)
        rest = sorted(set(range(len(images))) - set(first))
        limit = int(self.test_cfg.memory_limit * 1e6)
        stores: dict[_Names, FeatureStore] = {}
        bases: dict[_Names, Tensor] = {}

        # The first ones are kept as they are until all of them have decided on the basis.
        kept: dict[_Names, list[Tensor]] = {}
        for indices in _chunks(first, self.test_cfg.chunk_size):
            for names, descriptors in self._encode([images[i] for i in indices], size).items():
                kept.setdefault(names, []).append(descriptors.half().cpu())
        for names in list(kept):
            parts = kept.pop(names)
            if self._may_rotate(names[0]) and parts[0].shape[1] > self.test_cfg.channels:
                # Autocast to another half precision than float16 refuses to join these.
                with without_autocast(parts[0]):
                    bases[names] = uncentered_basis(torch.cat(parts), self.test_cfg.channels)
            stores[names] = FeatureStore(len(images), limit)
            for indices, descriptors in zip(_chunks(first, self.test_cfg.chunk_size), parts):
                stores[names].put(indices, _in_basis(descriptors, bases.get(names)))

        for indices in _chunks(rest, self.test_cfg.chunk_size):
            for names, descriptors in self._encode([images[i] for i in indices], size).items():
                stores[names].put(indices, _in_basis(descriptors.half().cpu(), bases.get(names)))
        return {name: store for names, store in stores.items() for name in names}

    def _encode(self, images: Sequence[Tensor], size: tuple[int, int]) -> dict['_Names', Tensor]:
        """Codes (n, d, h, w) of some images; what several encoders share comes once."""
        batch = self._normalized(images, size)
        descriptors = self._encode_view(batch)
        if self.test_cfg.flip:
            mirrored = self._encode_view(batch.flip(-1))
            descriptors = {
                names: (code + mirrored[names].flip(-1)) / 2 for names, code in descriptors.items()
            }
        return descriptors

    def _encode_view(self, batch: Tensor) -> dict['_Names', Tensor]:
        feats = tuple(self.backbone(batch))
        descriptors, owners = {}, {}
        for name, module in self._encoders().items():
            code = module.encode(feats)
            same = (code.data_ptr(), code.shape, code.stride(), self._may_rotate(name))
            descriptors[same] = code
            owners.setdefault(same, []).append(name)
        return {tuple(owners[same]): code for same, code in descriptors.items()}

    def _encoders(self) -> dict[str, nn.Module]:
        """What has descriptors of its own, by name."""
        modules = {**self.cues, **self.refiners, 'presence': self.presence}
        return {
            name: module
            for name, module in modules.items()
            if hasattr(module, 'encode') and not getattr(module, 'takes_saliency', False)
        }

    def _may_rotate(self, name: str) -> bool:
        return getattr(self._encoders()[name], 'rotation_invariant', False)

    def _network_size(self, images: Tensor | Sequence[Tensor]) -> tuple[int, int]:
        """Height and width of what goes through the network."""
        if isinstance(images, Tensor):
            return tuple(images.shape[-2:])
        return self.data_preprocessor.padded_size(images)

    def _normalized(self, images: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        if getattr(self.data_preprocessor, 'defer', False):
            return self.data_preprocessor.normalize(images, size)
        return torch.stack(list(images))

    def _at_images(
        self, prob: Tensor, images: Tensor | Sequence[Tensor], group: GroupDataSample
    ) -> Iterator[Tensor]:
        """Soft maps (1, h', w') without padding, whose outermost pixels are parts of the image."""
        size = self._network_size(images)
        for one, sample in zip(prob, group):
            height, width = sample.metainfo.get('img_shape', size)[:2]
            full = maps_at_pixels(one[None], size)[0, :, :height, :width]
            # Coarse maps need no more; full ones of 1,000 images would take half a gigabyte.
            shape = [max(ceil(side / 4), n) for side, n in zip(full.shape[1:], one.shape[1:])]
            yield F.adaptive_avg_pool2d(full, shape)


#: Names of encoders that have the same descriptors.
_Names = tuple[str, ...]


def complete_test_cfg(test_cfg: dict | None) -> ConfigDict:
    """Defaults filled in and values checked; see :class:`TrainingFreeCoSegmentor`."""
    complete = ConfigDict(chunk_size=8, flip=True, channels=128, memory_limit=512, threshold=0.5)
    unknown = set(test_cfg or {}) - set(complete)
    if unknown:
        raise MMCosegError(
            f'unknown keys in model.test_cfg: {sorted(unknown)}; known: {sorted(complete)}'
        )
    complete.update(test_cfg or {})
    for key in ('chunk_size', 'channels'):
        if not isinstance(complete[key], int) or complete[key] < 1:
            raise MMCosegError(
                f'model.test_cfg.{key} must be a positive integer, got {complete[key]!r}'
            )
    if complete.memory_limit < 0:
        raise MMCosegError(
            f'model.test_cfg.memory_limit is in megabytes, at least 0; got {complete.memory_limit}'
        )
    return complete


def _saliency_of(group: GroupDataSample, size: tuple[int, int]) -> Tensor | None:
    """Of all images with their padding, (N, 1, h, w), or None if some have none.

    Args:
        size: height and width of what goes through the network.
    """
    maps = [
        pad_map(
            sample.saliency.data.float()[None], sample.metainfo.get('img_shape', size)[:2], size
        )
        for sample in group
        if 'saliency' in sample
    ]
    if not maps or len(maps) < len(group):
        return None
    shape = max((tuple(m.shape[-2:]) for m in maps), key=lambda shape: shape[0] * shape[1])
    return torch.cat(
        [F.interpolate(m, size=shape, mode='bilinear', align_corners=False) for m in maps]
    )


def _page_out(stores: Mapping[str, FeatureStore]) -> None:
    for store in stores.values():
        store.page_out()


def _with_options(
    configs: Mapping[str, dict | None], options: Mapping[str, object]
) -> dict[str, dict | None]:
    """The configs, with those of the options that are not None, where their type takes them."""
    complete = {}
    for name, cfg in configs.items():
        if cfg:
            kind = cfg['type'] if isinstance(cfg['type'], type) else MODELS.get(cfg['type'])
            known = signature(kind).parameters if kind is not None else ()
            given = {k: v for k, v in options.items() if v is not None and k in known}
            cfg = dict(cfg, **given)
        complete[name] = cfg
    return complete


def _build_named(configs: Mapping[str, dict | None]) -> nn.ModuleDict:
    modules = nn.ModuleDict()
    for name, cfg in configs.items():
        if not cfg:
            continue
        if not name or '.' in name or hasattr(modules, name):
            raise MMCosegError(
                f'a cue or refiner may not be called {name!r}: torch has another use for names '
                'with a dot and those of its own methods; rename it'
            )
        modules[name] = MODELS.build(cfg)
    return modules


def _complete_weights(
    weights: Mapping[str, float], present: Sequence[str], known: Sequence[str]
) -> dict[str, float]:
    if not present:
        raise MMCosegError('model.cues has no cue; give at least one')
    unknown = sorted(set(weights) - set(known))
    if unknown:
        raise MMCosegError(f'model.cue_weights names {unknown}, but the cues are {list(known)}')
    complete = {name: float(weights.get(name, 1.0)) for name in present}
    if min(complete.values()) < 0 or not sum(complete.values()) > 0:
        raise MMCosegError(f'model.cue_weights must be at least 0, and not all 0; got {complete}')
    return complete


def _weighted_mean(maps: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Mean of maps (N, 1, h, w), at the finest resolution among them."""
    size = max((tuple(m.shape[-2:]) for m in maps.values()), key=lambda shape: shape[0] * shape[1])
    total = sum(weights.values())
    mean = 0
    for name, values in maps.items():
        if tuple(values.shape[-2:]) != size:
            values = F.interpolate(values, size=size, mode='bilinear', align_corners=False)
        mean = mean + weights[name] / total * values
    return mean


def _evenly_spread(count: int, at_most: int) -> list[int]:
    """Indices among ``count``, all or ``at_most`` of them at even distances."""
    if count <= at_most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (at_most - 1)) for i in range(at_most)})


def _chunks(indices: Sequence[int], length: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), length):
        yield list(indices[start : start + length])


def _in_basis(descriptors: Tensor, basis: Tensor | None) -> Tensor:
    """Codes (n, d, h, w), in an orthonormal basis (d, d') if there is one."""
    if basis is None:
        return descriptors
    with without_autocast(descriptors):
        return torch.einsum('ndhw,dk->nkhw', descriptors.to(basis.dtype), basis)
