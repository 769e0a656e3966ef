"""Co-segmentation without training: stages that look at the whole group."""

from collections.abc import Iterator, Mapping, Sequence
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
from ..ops.locations import maps_at_pixels, pad_map
from ..ops.precision import without_autocast
from ..ops.resize import resize
from ..stages import Descriptors, GroupContext, SplitClasses
from .base import BaseCoSegmentor
from .feature_store import FeatureStore, uncentered_basis

__all__ = ['TrainingFreeCoSegmentor']

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


@MODELS.register_module()
class TrainingFreeCoSegmentor(BaseCoSegmentor):
    """Finds the common object of each group by itself; nothing is trained.

    Stages look at the group one after the other (:class:`GroupStage`); the maps of the last one
    are the prediction. Groups of any size fit into memory: images go through the backbone some at
    a time; of their descriptors half-precision numbers are kept, in few dimensions where no stage
    minds (``Descriptors.rotation_invariant``).

    Args:
        backbone: gives levels: a config, or a module, which is then shared.
        stages: name -> config, in the order in which they act; None removes one.
        num_classes: K, for the stages that split classes: a number, ``'data'`` or ``'auto'`` as of
            :class:`SplitClasses`; None leaves them theirs.
        max_classes: the largest K of ``'auto'``; None leaves them theirs.
        test_cfg: see :class:`TrainingFreeTestOptions`.

    Raises:
        MMCosegError: without any stage; for a wrong number of classes; for unknown keys or values
            of ``test_cfg``.
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
        self.test_cfg = build_options(TrainingFreeTestOptions, test_cfg, 'model.test_cfg')
        super().__init__(data_preprocessor, postprocessors, self.test_cfg.threshold, init_cfg)
        self.backbone = backbone if isinstance(backbone, nn.Module) else MODELS.build(backbone)
        self.stages = nn.ModuleDict()
        for name, cfg in stages.items():
            if cfg:
                self.stages[_checked_name(name, self.stages)] = MODELS.build(cfg)
        if not self.stages:
            raise MMCosegError('model.stages has no stage; give at least one')
        self._choose_classes(num_classes, max_classes)
        self.requires_grad_(False)
        self.eval()

    def _choose_classes(self, num_classes: NumClasses | None, max_classes: int | None) -> None:
        """Tell the stages that split classes how many there are."""
        if num_classes is not None:
            check_num_classes(num_classes, 'model.num_classes')
        for stage in self.stages.values():
            if isinstance(stage, SplitClasses):
                stage.choose_classes(num_classes, max_classes)

    def train(self, mode: bool = True) -> 'TrainingFreeCoSegmentor':
        """Stays in evaluation mode, whatever ``mode``."""
        return super().train(False)

    def loss(self, images: GroupImages, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """There is none.

        Raises:
            MMCosegError: always.
        """
        raise MMCosegError(
            'TrainingFreeCoSegmentor has nothing to train: use `mmcoseg segment` or `mmcoseg test`'
        )

    def soft_maps(self, images: GroupImages, group: GroupDataSample) -> list[Tensor]:
        """Maps (C, h', w') without padding, whose outermost pixels are parts of the image."""
        return list(_at_images(self._run_stages(images, group), images.size, group))

    @torch.no_grad()
    def _forward(self, images: GroupImages, data_samples: GroupSampleList) -> Tensor:
        """Soft maps before the post-processors, (sum N, C, h, w)."""
        parts = images.split(group_sizes_of(data_samples))
        return torch.cat([self._run_stages(*pair) for pair in zip(parts, data_samples)])

    def _run_stages(self, images: GroupImages, group: GroupDataSample) -> Tensor:
        """Soft maps (N, C, h, w) of one group, on the device of the images."""
        stores = self._describe_group(images)
        context = GroupContext(
            images,
            group,
            descriptors={wanted: store.descriptors() for wanted, store in stores.items()},
            saliency=_saliency_of(group, images.size),
        )
        for name, stage in self.stages.items():
            context.prob = stage(context)
            context.maps[name] = context.prob
            for store in stores.values():
                store.page_out()
        return context.prob.to(images.device)

    def _describe_group(self, images: GroupImages) -> dict[Descriptors, FeatureStore]:
        """The descriptors of all images that the stages look at."""
        wanted = dict.fromkeys(
            stage.descriptors for stage in self.stages.values() if stage.descriptors
        )
        first = _evenly_spread(len(images), BASIS_IMAGES)
        rest = sorted(set(range(len(images))) - set(first))
        stores = {kind: FeatureStore(len(images), self._memory_limit()) for kind in wanted}
        bases: dict[Descriptors, Tensor] = {}

        # The first ones are kept as they are until all of them have decided on the basis.
        kept: dict[Descriptors, list[Tensor]] = {kind: [] for kind in wanted}
        for indices in _chunks(first, self.test_cfg.chunk_size):
            for kind, descriptors in self._describe(images.batch(indices), wanted).items():
                kept[kind].append(descriptors.half().cpu())
        for kind, parts in kept.items():
            if kind.rotation_invariant and parts[0].shape[1] > self.test_cfg.channels:
                # Autocast to another half precision than float16 refuses to join these.
                with without_autocast(parts[0]):
                    bases[kind] = uncentered_basis(torch.cat(parts), self.test_cfg.channels)
            for indices in _chunks(first, self.test_cfg.chunk_size):
                stores[kind].put(indices, _in_basis(parts.pop(0), bases.get(kind)))

        for indices in _chunks(rest, self.test_cfg.chunk_size):
            for kind, descriptors in self._describe(images.batch(indices), wanted).items():
                stores[kind].put(indices, _in_basis(descriptors.half().cpu(), bases.get(kind)))
        return stores

    def _memory_limit(self) -> int:
        return int(self.test_cfg.memory_limit * 1e6)

    def _describe(
        self, batch: Tensor, wanted: Mapping[Descriptors, None]
    ) -> dict[Descriptors, Tensor]:
        """Descriptors (n, d, h, w) of a batch (n, 3, H, W)."""
        feats = tuple(self.backbone(batch))
        described = {kind: kind(feats) for kind in wanted}
        if not self.test_cfg.flip:
            return described
        feats = tuple(self.backbone(batch.flip(-1)))
        return {kind: (upright + kind(feats).flip(-1)) / 2 for kind, upright in described.items()}


def _at_images(prob: Tensor, size: tuple[int, int], group: GroupDataSample) -> Iterator[Tensor]:
    """Each image's part of soft maps (N, C, h, w) that cover the padded images."""
    for one, sample in zip(prob, group):
        height, width = sample.metainfo.get('img_shape', size)[:2]
        full = maps_at_pixels(one[None], size)[0, :, :height, :width]
        # Coarse maps need no more; full ones of 1,000 images would take half a gigabyte.
        shape = [max(ceil(side / 4), n) for side, n in zip(full.shape[1:], one.shape[1:])]
        yield F.adaptive_avg_pool2d(full, shape)


def _saliency_of(group: GroupDataSample, size: tuple[int, int]) -> Tensor | None:
    """Of all images with their padding, (N, 1, h, w), or None if some have none.

    Args:
        size: height and width of what goes through the network.
    """
    if not len(group) or not all('saliency' in sample for sample in group):
        return None
    maps = []
    for sample in group:
        saliency = sample.saliency.data.float()[None]
        maps.append(pad_map(saliency, sample.metainfo.get('img_shape', size)[:2], size))
    shape = max((m.shape[-2:] for m in maps), key=lambda shape: shape[0] * shape[1])
    return torch.cat([resize(m, shape) for m in maps])


def _checked_name(name: str, taken: nn.ModuleDict) -> str:
    if not name or '.' in name or hasattr(taken, name):
        raise MMCosegError(
            f'a stage may not be called {name!r}: torch has another use for names with a dot and '
            'those of its own methods; rename it'
        )
    return name


def _evenly_spread(count: int, at_most: int) -> list[int]:
    """Indices among ``count``, all or ``at_most`` of them at even distances."""
    if count <= at_most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (at_most - 1)) for i in range(at_most)})


def _chunks(indices: Sequence[int], length: int) -> Iterator[list[int]]:
    for start in range(0, len(indices), length):
        yield list(indices[start : start + length])


def _in_basis(descriptors: Tensor, basis: Tensor | None) -> Tensor:
    """Descriptors (n, d, h, w), in an orthonormal basis (d, d') if there is one."""
    if basis is None:
        return descriptors
    with without_autocast(descriptors):
        return torch.einsum('ndhw,dk->nkhw', descriptors.to(basis.dtype), basis)
