"""SSNM: deep object co-segmentation via spatial-semantic network modulation (AAAI 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...errors import MMCosegError
from ...options import build_options, in_range, one_of, whole_number
from ...registry import MODELS
from ...structures import GroupDataSample, GroupImages, GroupSampleList, group_sizes_of
from ..calling import asks_for, build_parts, call_with_offers
from ..necks.modulator import Modulation, modulate
from .base import BaseCoSegmentor, ground_truth_of
from .feature_cache import FeatureCache

__all__ = ['SSNM', 'wrap_around_groups']

Grouping = Literal['ssnm', 'whole']


@dataclass
class SSNMTestOptions:
    """``test_cfg`` of :class:`SSNM`.

    Attributes:
        grouping: ``'ssnm'`` cuts a group into groups of ``group_size`` and fills the last one up
            with its first images (section 4.1); ``'whole'`` looks at all images at once.
        group_size: 5 in the paper.
        chunk_size: images that go through the network at a time; results do not depend on it.
        flip: average with the prediction for the mirrored images.
        threshold: probability from which a pixel is object; or ``'adaptive'``, as in the authors'
            code: the mean of the map plus its standard deviation, at most 0.8.
    """

    grouping: Grouping = 'ssnm'
    group_size: int = 5
    chunk_size: int = 40
    flip: bool = False
    threshold: float | str = 0.5

    def __post_init__(self) -> None:
        one_of('model.test_cfg.grouping', self.grouping, Grouping)
        whole_number('model.test_cfg.group_size', self.group_size)
        whole_number('model.test_cfg.chunk_size', self.chunk_size)
        if self.threshold != 'adaptive':
            in_range("model.test_cfg.threshold (or 'adaptive')", self.threshold, 0, 1)

    def groups_of(self, num_images: int) -> tuple[list[int], list[int]]:
        """Indices of the images as modulators see them, and the sizes of their groups."""
        if self.grouping == 'whole':
            return list(range(num_images)), [num_images]
        return wrap_around_groups(num_images, self.group_size)


@MODELS.register_module()
class SSNM(BaseCoSegmentor):
    """Backbone, modulators that look at the whole group, and a coarse-to-fine head.

    Every level of the backbone is projected to one width, shifted and scaled by what the
    modulators decide (Eq. 5), and fused by the head. The objective is the sum of the modulators'
    losses and the head's (Eq. 14).

    Args:
        backbone: gives levels fine to coarse.
        neck: brings all levels to one width, normally ``LevelProjection``. If the ``forward`` of
            this or of the head takes ``group_sizes``, it sees the images of a group together.
        decode_head: from modulated levels to logits, normally ``CoarseToFineHead``.
        modulators: named configs of :class:`Modulator`, in the order in which they act; None
            removes one (the ablations).
        feature_cache: number of training images whose features are kept, for a frozen backbone;
            1,000 images of 385 x 385 pixels take 1.5 GB with EfficientNet-Lite2.
        test_cfg: see :class:`SSNMTestOptions`.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        decode_head: dict,
        modulators: dict[str, dict | None] | None = None,
        feature_cache: int = 0,
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] = (),
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        self.test_cfg = build_options(SSNMTestOptions, test_cfg, 'model.test_cfg')
        super().__init__(data_preprocessor, postprocessors, self.test_cfg.threshold, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)
        self.modulators = build_parts('model.modulators', modulators or {})
        self.decode_head = MODELS.build(decode_head)
        self.feature_cache = FeatureCache(self.backbone, feature_cache)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The backbone's levels, fine to coarse, of images (n, 3, H, W); in training cached."""
        return self.feature_cache(inputs) if self.training else tuple(self.backbone(inputs))

    def _decode(
        self, feats: tuple[Tensor, ...], modulation: Modulation, group_sizes: list[int]
    ) -> Tensor:
        """Logits (n, 1, h, w) of images whose modulation is known."""
        levels = call_with_offers(self.neck, feats, group_sizes=group_sizes)
        levels = tuple(modulate(level, modulation) for level in levels)
        return call_with_offers(self.decode_head, levels, group_sizes=group_sizes)

    def _modulate(
        self, descriptors: dict[str, Tensor], group_sizes: list[int]
    ) -> tuple[Modulation, dict[str, Modulation]]:
        """What all modulators decide together, and each on its own."""
        total = Modulation()
        parts = {}
        for name, modulator in self.modulators.items():
            parts[name] = modulator.modulate_group(descriptors[name], group_sizes, total)
            total = total.followed_by(parts[name])
        return total, parts

    def _encode(self, feats: tuple[Tensor, ...]) -> dict[str, Tensor]:
        return {name: modulator.encode(feats) for name, modulator in self.modulators.items()}

    def loss(self, images: GroupImages, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """The joint loss (Eq. 14), by its parts; groups have ``gt_sem_seg`` and ``label_ids``."""
        group_sizes = group_sizes_of(data_samples)
        feats = self.extract_feat(images.batch())
        modulation, parts = self._modulate(self._encode(feats), group_sizes)
        losses = self.decode_head.loss_by_feat(
            self._decode(feats, modulation, group_sizes), ground_truth_of(data_samples)
        )
        num_classes = max((m.num_classes for m in self.modulators.values()), default=0)
        labels = multi_hot_labels(data_samples, num_classes, images.device)
        for name, modulator in self.modulators.items():
            for key, value in modulator.loss(parts[name], group_sizes, labels).items():
                losses[key] = losses.get(key, 0) + value
        return losses

    def _forward(self, images: GroupImages, data_samples: GroupSampleList) -> Tensor:
        """Logits (sum N, 1, h, w) at the finest level's resolution."""
        group_sizes = group_sizes_of(data_samples)
        feats = self.extract_feat(images.batch())
        modulation, _ = self._modulate(self._encode(feats), group_sizes)
        return self._decode(feats, modulation, group_sizes)

    def soft_maps(self, images: GroupImages, group: GroupDataSample) -> Tensor:
        """Probabilities (N, 1, H, W) of one group; over both directions with ``flip``."""
        prob = self._predict_view(images, mirrored=False)
        if self.test_cfg.flip:
            prob = (prob + self._predict_view(images, mirrored=True).flip(-1)) / 2
        return prob

    def _predict_view(self, images: GroupImages, mirrored: bool) -> Tensor:
        """Probabilities (N, 1, H, W) of the images of one group, upright or mirrored."""

        def features(indices: list[int]) -> tuple[Tensor, ...]:
            batch = images.batch(indices)
            return self.extract_feat(batch.flip(-1) if mirrored else batch)

        sees_groups = any(asks_for(m, 'group_sizes') for m in (self.neck, self.decode_head))
        chunks = list(images.chunks(len(images) if sees_groups else self.test_cfg.chunk_size))
        # A group of several chunks goes through the backbone twice: the features of a thousand
        # images do not fit into memory.
        kept = features(chunks[0]) if len(chunks) == 1 else None
        encoded = [self._encode(kept or features(chunk)) for chunk in chunks]
        members, group_sizes = self.test_cfg.groups_of(len(images))
        descriptors = {}
        for name in self.modulators:
            descriptors[name] = torch.cat([part[name] for part in encoded])[members]
        modulation, _ = self._modulate(descriptors, group_sizes)
        probs = []
        # Fillers come after the group's own images, so they are left out here.
        for chunk in chunks:
            logits = self._decode(kept or features(chunk), modulation[chunk], [len(chunk)])
            probs.append(self.decode_head.predict_by_feat(logits, images.size))
        return torch.cat(probs)


def wrap_around_groups(num_images: int, group_size: int) -> tuple[list[int], list[int]]:
    """Cut a group of images into groups of one size (SSNM, section 4.1).

    The indices are those of all images in order, and then again from the first on, until the last
    group is full; with them come the sizes of the groups.

    Example:
        >>> wrap_around_groups(7, 5)
        ([0, 1, 2, 3, 4, 5, 6, 0, 1, 2], [5, 5])
    """
    count = -(-num_images // group_size)
    return [i % num_images for i in range(count * group_size)], [group_size] * count


def multi_hot_labels(
    data_samples: GroupSampleList, num_classes: int, device: torch.device
) -> Tensor | None:
    """Co-categories of the groups, (B, L) of 0 and 1; a row of NaN for a group that has none.

    None if L is 0 or no group has a label.
    """
    label_ids = [group.metainfo.get('label_ids', ()) for group in data_samples]
    if not num_classes or not any(label_ids):
        return None
    largest = max(max(ids, default=0) for ids in label_ids)
    if largest >= num_classes:
        raise MMCosegError(
            f'a group has the category number {largest}, but the model knows num_classes='
            f'{num_classes}; set model.modulators.semantic.num_classes to the number of classes '
            'of the training set'
        )
    labels = torch.zeros(len(label_ids), num_classes, device=device)
    for row, ids in zip(labels, label_ids):
        row[list(ids)] = 1.0
        if not ids:
            row.fill_(float('nan'))
    return labels
