"""SSNM: deep object co-segmentation via spatial-semantic network modulation (AAAI 2020)."""

from collections.abc import Sequence
from itertools import chain
from typing import Literal

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ...errors import MMCosegError
from ...options import one_of
from ...registry import MODELS
from ...structures import GroupSampleList, group_sizes_of
from ..necks.modulator import Modulation, modulate
from .base import BaseCoSegmentor, ground_truth_of
from .feature_cache import FeatureCache

__all__ = ['SSNM', 'wrap_around_groups']

Grouping = Literal['ssnm', 'whole']


@MODELS.register_module()
class SSNM(BaseCoSegmentor):
    """Backbone, modulators that look at the whole group, and a coarse-to-fine head.

    Every level of the backbone is projected to one width, shifted and scaled by what the
    modulators decide (Eq. 5), and fused by the head. The objective is the sum of the modulators'
    losses and the head's (Eq. 14).

    Args:
        backbone: gives levels fine to coarse.
        neck: brings all levels to one width, normally ``LevelProjection``.
        decode_head: from modulated levels to logits, normally ``CoarseToFineHead``.
        modulators: named configs of :class:`Modulator`, in the order in which they act; a value
            of None removes one (the ablations).
        feature_cache: number of training images whose features are kept, for a backbone that is
            frozen; 1,000 images of 385 x 385 pixels take 1.5 GB with EfficientNet-Lite2.
        test_cfg: how to predict:

            - ``grouping``: ``'ssnm'`` cuts a group into groups of ``group_size`` and fills the last
              one up with its first images (section 4.1); ``'whole'`` looks at all images at once;
            - ``group_size``: 5 in the paper;
            - ``chunk_size``: images that go through the network at a time; bounds the memory,
              the results do not depend on it;
            - ``flip``: average with the prediction for the mirrored images;
            - ``threshold``: probability from which a pixel is object, or ``'adaptive'``: the mean
              of the map plus its standard deviation, at most 0.8, as the authors' code has it for
              their objective, under which probabilities come out low.

    Raises:
        MMCosegError: for unknown keys or values of ``test_cfg``, or a feature cache with a backbone
            that is trained.
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
        self.test_cfg = complete_test_cfg(test_cfg)
        super().__init__(data_preprocessor, postprocessors, self.test_cfg.threshold, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)
        self.modulators = nn.ModuleDict(
            {name: MODELS.build(cfg) for name, cfg in (modulators or {}).items() if cfg}
        )
        self.decode_head = MODELS.build(decode_head)
        self.feature_cache = FeatureCache.of_backbone(self.backbone, feature_cache)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The backbone's levels, fine to coarse, of images (n, 3, H, W).

        In training those of images seen before come from the cache.
        """
        if self.feature_cache is None or not self.training:
            return self._backbone_levels(inputs)
        return self.feature_cache(inputs, self._backbone_levels)

    def _backbone_levels(self, inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(inputs))

    def _decode(self, feats: tuple[Tensor, ...], modulation: Modulation) -> Tensor:
        """Logits (n, 1, h, w) of images whose modulation is known."""
        levels = tuple(modulate(level, modulation) for level in self.neck(feats))
        return self.decode_head(levels)

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

    def loss(self, inputs: Tensor, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """The joint loss (Eq. 14), by its parts.

        Args:
            inputs: (sum N, 3, H, W).
            data_samples: groups with ``gt_sem_seg`` at (H, W), and ``label_ids`` for the semantic
                modulator.
        """
        group_sizes = group_sizes_of(data_samples)
        feats = self.extract_feat(inputs)
        modulation, parts = self._modulate(self._encode(feats), group_sizes)
        losses = self.decode_head.loss_by_feat(
            self._decode(feats, modulation), ground_truth_of(data_samples)
        )
        labels = multi_hot_labels(data_samples, self._num_classes(), inputs.device)
        for name, modulator in self.modulators.items():
            for key, value in modulator.loss(parts[name], group_sizes, labels).items():
                losses[key] = losses.get(key, 0) + value
        return losses

    def _num_classes(self) -> int:
        """Number of training categories, as the modulators that classify were built for."""
        classifiers = (getattr(m, 'classifier', None) for m in self.modulators.values())
        return max((c.out_features for c in classifiers if c is not None), default=0)

    def _forward(self, inputs: Tensor, data_samples: GroupSampleList | None = None) -> Tensor:
        """Logits (sum N, 1, h, w) at the finest level's resolution."""
        group_sizes = [len(inputs)] if data_samples is None else group_sizes_of(data_samples)
        feats = self.extract_feat(inputs)
        modulation, _ = self._modulate(self._encode(feats), group_sizes)
        return self._decode(feats, modulation)

    def predict(self, inputs: Tensor, data_samples: GroupSampleList) -> GroupSampleList:
        """Predict group by group, in memory that grows only with what modulators keep an image."""
        groups = inputs.split(group_sizes_of(data_samples))
        return self.add_predictions(
            data_samples, torch.cat([self._predict_views(images) for images in groups])
        )

    def _predict_views(self, images: Tensor) -> Tensor:
        """Probabilities (N, 1, H, W) of one group; over both directions with ``flip``."""
        prob = self._predict_group(images)
        if self.test_cfg.flip:
            prob = (prob + self._predict_group(images.flip(-1)).flip(-1)) / 2
        return prob

    def _predict_group(self, images: Tensor) -> Tensor:
        """Probabilities (N, 1, H, W) of the images of one group."""
        chunks = images.split(self.test_cfg.chunk_size)
        # A group that fits into one chunk goes through the backbone once; a larger one twice,
        # since keeping the features of a thousand images would not fit into memory.
        kept = [self.extract_feat(chunks[0])] if len(chunks) == 1 else None
        features = kept or (self.extract_feat(chunk) for chunk in chunks)
        descriptors = [self._encode(feats) for feats in features]
        descriptors = {
            name: torch.cat([code[name] for code in descriptors]) for name in self.modulators
        }

        members, group_sizes = self._groups_for(len(images))
        modulation, _ = self._modulate(
            {name: code[members] for name, code in descriptors.items()}, group_sizes
        )
        # Fillers stand behind the group's own images and so are left out here.
        features = kept or (self.extract_feat(chunk) for chunk in chunks)
        probs, start = [], 0
        for feats, chunk in zip(features, chunks):
            logits = self._decode(feats, modulation[start : start + len(chunk)])
            probs.append(self.decode_head.predict_by_feat(logits, images.shape[-2:]))
            start += len(chunk)
        return torch.cat(probs)

    def _groups_for(self, num_images: int) -> tuple[list[int], list[int]]:
        if self.test_cfg.grouping == 'whole':
            return list(range(num_images)), [num_images]
        return wrap_around_groups(num_images, self.test_cfg.group_size)


def wrap_around_groups(num_images: int, group_size: int) -> tuple[list[int], list[int]]:
    """Cut a group of M images into groups of one size (SSNM, section 4.1).

    Returns:
        The indices of the images, ``ceil(M / group_size) * group_size`` of them, the first M in
        order and then again from the first on; and the sizes of the groups.

    Example:
        >>> wrap_around_groups(7, 5)
        ([0, 1, 2, 3, 4, 5, 6, 0, 1, 2], [5, 5])
    """
    count = -(-num_images // group_size)
    return [i % num_images for i in range(count * group_size)], [group_size] * count


def complete_test_cfg(test_cfg: dict | None) -> ConfigDict:
    """Defaults filled in and values checked; see :class:`SSNM`."""
    complete = ConfigDict(grouping='ssnm', group_size=5, chunk_size=40, flip=False, threshold=0.5)
    unknown = set(test_cfg or {}) - set(complete)
    if unknown:
        raise MMCosegError(
            f'unknown keys in model.test_cfg: {sorted(unknown)}; known: {sorted(complete)}'
        )
    complete.update(test_cfg or {})
    one_of('model.test_cfg.grouping', complete.grouping, Grouping)
    threshold = complete.threshold
    if threshold != 'adaptive' and not (
        isinstance(threshold, (int, float)) and 0 <= threshold <= 1
    ):
        raise MMCosegError(
            f"model.test_cfg.threshold must be from 0 to 1, or 'adaptive', got {threshold!r}"
        )
    for key in ('group_size', 'chunk_size'):
        if not isinstance(complete[key], int) or complete[key] < 1:
            raise MMCosegError(
                f'model.test_cfg.{key} must be a positive integer, got {complete[key]!r}'
            )
    return complete


def multi_hot_labels(
    data_samples: GroupSampleList, num_classes: int, device: torch.device
) -> Tensor | None:
    """Co-categories of the groups, (B, L) of 0 and 1; a row of NaN for a group that has none.

    Returns None if L is 0 or no group has a label.

    Raises:
        MMCosegError: if a label does not fit into ``num_classes``.
    """
    label_ids = [tuple(group.metainfo.get('label_ids', ())) for group in data_samples]
    if not num_classes or not any(label_ids):
        return None
    largest = max(chain.from_iterable(label_ids))
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
