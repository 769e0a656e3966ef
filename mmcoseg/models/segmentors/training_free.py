"""Co-segmentation without training: stages that look at the whole group."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...options import build_options, in_range, whole_number
from ...registry import MODELS
from ...structures import (
    GroupDataSample,
    GroupImages,
    GroupSampleList,
    NumClasses,
    check_num_classes,
    group_sizes_of,
)
from ..calling import build_parts
from ..ops.locations import maps_at_pixels, pad_map
from ..ops.precision import without_autocast
from ..ops.resize import resize
from ..stages import Descriptors, FollowHints, GroupContext, GroupStage, SplitClasses
from ..stages.feature_store import FeatureStore, uncentered_basis
from .base import BaseCoSegmentor, keep_maps, without_padding

__all__ = [
    'TrainingFreeCoSegmentor',
    'TrainingFreeTestOptions',
    'build_backbone',
    'describe',
    'in_basis',
    'maps_of_images',
    'saliency_of',
]

#: Images that decide in which basis the descriptors of a group are kept.
BASIS_IMAGES = 64


@dataclass
class TrainingFreeTestOptions:
    """``test_cfg`` of :class:`TrainingFreeCoSegmentor`.

    Attributes:
        chunk_size: images that go through the backbone at a time.
        flip: take the mean of each image's descriptors and its mirror image's.
        channels: dimensions in which rotation-invariant descriptors are kept at most.
        memory_limit: megabytes of descriptors of one kind to keep in memory; more go to a
            temporary file.
        threshold: probability from which a pixel is object.
    """

    chunk_size: int = 8
    flip: bool = True
    channels: int = 128
    memory_limit: float = 512
    threshold: float = 0.5

    def __post_init__(self) -> None:
        whole_number('model.test_cfg.chunk_size', self.chunk_size)
        whole_number('model.test_cfg.channels', self.channels)
        in_range('model.test_cfg.memory_limit (megabytes)', self.memory_limit, 0)
        in_range('model.test_cfg.threshold', self.threshold, 0, 1)


class FrozenCoSegmentor(BaseCoSegmentor):
    """A segmentor in which nothing is trained.

    Args:
        backbone: gives levels: a config, or a module, which is then shared.
        test_cfg: see :class:`TrainingFreeTestOptions`.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] | None = (),
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        self.test_cfg = build_options(TrainingFreeTestOptions, test_cfg, 'model.test_cfg')
        super().__init__(data_preprocessor, postprocessors, self.test_cfg.threshold, init_cfg)
        self.backbone, self.backbone_cfg = build_backbone(backbone)

    def freeze(self) -> None:
        """No part learns or keeps statistics; for the end of ``__init__``."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> 'FrozenCoSegmentor':
        """Stays in evaluation mode, whatever ``mode``."""
        return super().train(False)

    def loss(self, images: GroupImages, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """Refused: there is nothing to train."""
        raise MMCosegError(
            f'{type(self).__name__} has nothing to train: use `mmcoseg segment`, `mmcoseg apply` '
            'or `mmcoseg test`'
        )


@MODELS.register_module()
class TrainingFreeCoSegmentor(FrozenCoSegmentor):
    """Finds the common object of each group by itself; nothing is trained.

    Stages look at the group one after the other (:class:`GroupStage`); the maps of the last one
    are the prediction. Groups of any size fit into memory: images go through the backbone some at
    a time, and their descriptors are kept in half precision and, where no stage minds
    (``Descriptors.rotation_invariant``), in few dimensions.

    Args:
        backbone: gives levels: a config, or a module, which is then shared.
        stages: name -> config, in the order in which they act; None removes one.
        num_classes, max_classes: of the stages that split classes, see :class:`SplitClasses`; None
            leaves them theirs.
        test_cfg: see :class:`TrainingFreeTestOptions`.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        stages: Mapping[str, dict | None],
        num_classes: NumClasses | None = None,
        max_classes: int | None = None,
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] | None = (),
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(backbone, data_preprocessor, postprocessors, test_cfg, init_cfg)
        self.stages = build_parts('model.stages', stages)
        if not self.stages:
            raise MMCosegError('model.stages has no stage; give at least one')
        if num_classes is not None:
            check_num_classes(num_classes, 'model.num_classes')
        for stage in self.stages.values():
            if isinstance(stage, SplitClasses):
                stage.choose_classes(num_classes, max_classes)
        self.freeze()

    def soft_maps(self, images: GroupImages, group: GroupDataSample) -> list[Tensor]:
        """Maps (C, h', w') without padding, whose outermost pixels are parts of the image."""
        return maps_of_images(self._run_stages(images, group), images.size, group)

    @torch.no_grad()
    def updater(self, images: GroupImages, group: GroupDataSample) -> 'StagesUpdater':
        """As in the base class; only stages from the first that follows hints on act again."""
        return StagesUpdater(self, images, group)

    @property
    def follows_hints(self) -> bool:
        return any(isinstance(stage, FollowHints) for stage in self.stages.values())

    @torch.no_grad()
    def _forward(self, images: GroupImages, data_samples: GroupSampleList) -> Tensor:
        """Soft maps before the post-processors, (sum N, C, h, w)."""
        parts = images.split(group_sizes_of(data_samples))
        return torch.cat([self._run_stages(*pair) for pair in zip(parts, data_samples)])

    def _run_stages(self, images: GroupImages, group: GroupDataSample) -> Tensor:
        """Soft maps (N, C, h, w) of one group, on the device of the images."""
        context = self.look_at(images, group)
        self.act(context, self.stages.items())
        return context.prob.to(images.device)

    def look_at(self, images: GroupImages, group: GroupDataSample) -> GroupContext:
        """The context of a group before any stage has acted."""
        stores = self._describe_group(images)
        return GroupContext(
            images,
            group,
            descriptors={wanted: store.descriptors() for wanted, store in stores.items()},
            saliency=saliency_of(group, images.size),
            stores=stores,
        )

    @staticmethod
    def act(context: GroupContext, stages: Iterable[tuple[str, GroupStage]]) -> None:
        """Let stages act, one after the other; what they give is in the context."""
        for name, stage in stages:
            prob = _checked_maps(stage(context), name, len(context.images))
            context.prob = context.maps[name] = prob
            for store in context.stores.values():
                store.page_out()

    def _describe_group(self, images: GroupImages) -> dict[Descriptors, FeatureStore]:
        """The descriptors of all images that the stages look at."""
        wanted = {stage.descriptors: None for stage in self.stages.values() if stage.descriptors}
        count, most = len(images), BASIS_IMAGES
        # At even distances; all, where there are no more.
        first = sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
        rest = sorted(set(range(count)) - set(first))
        # The first ones are kept as they are until they have decided on the bases.
        kept = list(describe(self.backbone, images, first, wanted, self.test_cfg))
        bases = {kind: self.basis(kind, [found[kind] for _, found in kept]) for kind in wanted}
        memory_limit = int(self.test_cfg.memory_limit * 1e6)
        stores = {kind: FeatureStore(count, memory_limit, bases[kind]) for kind in wanted}

        def store(indices: list[int], found: dict[Descriptors, Tensor]) -> None:
            for kind, x in found.items():
                stores[kind].put(indices, in_basis(x, bases[kind]))

        while kept:
            store(*kept.pop(0))
        for indices, found in describe(self.backbone, images, rest, wanted, self.test_cfg):
            store(indices, found)
        return stores

    def basis(self, kind: Descriptors, parts: Sequence[Tensor]) -> Tensor | None:
        """The orthonormal basis (d, d') in which descriptors are kept; None for all d."""
        if not kind.rotation_invariant or parts[0].shape[1] <= self.test_cfg.channels:
            return None
        # Autocast to another half precision than float16 refuses to join these.
        with without_autocast(parts[0]):
            return uncentered_basis(torch.cat(parts), self.test_cfg.channels)


class StagesUpdater:
    """Segments one group again and again, as its hints change.

    Attributes:
        context: of the group, after the last stage.
    """

    def __init__(
        self, segmentor: TrainingFreeCoSegmentor, images: GroupImages, group: GroupDataSample
    ) -> None:
        self.segmentor = segmentor
        stages = list(segmentor.stages.items())
        follows = [isinstance(stage, FollowHints) for _, stage in stages]
        first = follows.index(True) if True in follows else len(stages)
        self.context = segmentor.look_at(images, group)
        segmentor.act(self.context, stages[:first])
        self.before = self.context.prob
        self.stages = stages[first:]

    @torch.no_grad()
    def __call__(self) -> None:
        """Set ``pred_prob`` of the group's images by the hints that they have now."""
        context = self.context
        context.prob = self.before
        self.segmentor.act(context, self.stages)
        prob = context.prob.to(context.images.device)
        keep_maps(context.group, maps_of_images(prob, context.images.size, context.group))


def build_backbone(backbone: dict | nn.Module) -> tuple[nn.Module, dict]:
    """A backbone, and the config by which it is known again: of a module, its type."""
    if isinstance(backbone, nn.Module):
        return backbone, dict(type=type(backbone).__name__)
    return MODELS.build(backbone), dict(backbone)


def describe(
    backbone: nn.Module,
    images: GroupImages,
    indices: Sequence[int],
    wanted: Iterable[Descriptors],
    options: TrainingFreeTestOptions,
) -> Iterator[tuple[list[int], dict[Descriptors, Tensor]]]:
    """Indices of some images at a time and their descriptors, (n, d, h, w) float16."""
    for start in range(0, len(indices), options.chunk_size):
        chunk = indices[start : start + options.chunk_size]
        batch = images.batch(chunk)
        feats = tuple(backbone(batch))
        found = {kind: kind(feats) for kind in wanted}
        if options.flip:
            feats = tuple(backbone(batch.flip(-1)))
            found = {kind: (x + kind(feats).flip(-1)) / 2 for kind, x in found.items()}
        yield chunk, {kind: x.half().cpu() for kind, x in found.items()}


def in_basis(descriptors: Tensor, basis: Tensor | None) -> Tensor:
    """Descriptors (n, d, h, w) in an orthonormal basis (d, d'); None leaves them."""
    if basis is None:
        return descriptors
    with without_autocast(descriptors):
        return torch.einsum('ndhw,dk->nkhw', descriptors.to(basis.dtype), basis)


def maps_of_images(prob: Tensor, size: tuple[int, int], group: GroupDataSample) -> list[Tensor]:
    """Maps (N, C, h, w) of locations as :meth:`TrainingFreeCoSegmentor.soft_maps` gives them."""
    maps = []
    for one, sample in zip(prob, group):
        full = without_padding(maps_at_pixels(one[None], size)[0], sample)
        # Coarse maps need no more; full ones of 1,000 images would take half a gigabyte.
        shape = [max(ceil(side / 4), n) for side, n in zip(full.shape[1:], one.shape[1:])]
        maps.append(F.adaptive_avg_pool2d(full, shape))
    return maps


def saliency_of(group: GroupDataSample, size: tuple[int, int]) -> Tensor | None:
    """Of all images with their padding to ``size``, (N, 1, h, w), or None if some have none."""
    if not len(group) or not all('saliency' in sample for sample in group):
        return None
    maps = []
    for sample in group:
        saliency = sample.saliency.data.float()[None]
        maps.append(pad_map(saliency, sample.metainfo.get('img_shape', size)[:2], size))
    shape = max((m.shape[-2:] for m in maps), key=lambda shape: shape[0] * shape[1])
    return torch.cat([resize(m, shape) for m in maps])


def _checked_maps(prob: Tensor, name: str, num_images: int) -> Tensor:
    shape = tuple(getattr(prob, 'shape', ()))
    if (len(shape), *shape[:1]) != (4, num_images):
        raise MMCosegError(
            f'the stage model.stages.{name} must give a tensor of maps (N, C, h, w) of the N = '
            f'{num_images} images, got {type(prob).__name__} {shape}'
        )
    return prob
