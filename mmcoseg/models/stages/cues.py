"""Stages that find the common object of a group without training."""

from collections.abc import Sequence
from typing import Literal

import torch
from skimage.filters import threshold_otsu
from torch import Tensor
from torch.nn import functional as F

from ...errors import MMCosegError
from ...options import one_of, whole_number
from ...registry import MODELS
from ..ops.clustering import consensus_foreground
from ..ops.dff import deep_feature_factorization, factor_off_border
from ..ops.landmarks import landmark_bipartition
from ..ops.masks import soften_by_otsu
from ..ops.spectral import (
    deep_descriptor_transform,
    orient_by_border,
    row_chunks,
    spectral_bipartition,
)
from .group_stage import Descriptors, GroupContext, GroupCue, GroupStage

__all__ = ['ConsensusCue', 'DDTCue', 'DFFCue', 'SaliencyCue', 'SpectralCue']

Threshold = Literal['zero', 'otsu']
Affinity = Literal['gram', 'landmarks']

#: Steepness of saliency at its threshold.
SLOPE = 2.0


@MODELS.register_module()
class SaliencyCue(GroupStage):
    """What stands out in each image, whatever the others show.

    Each image's ``saliency``, which ``ComputeSaliency`` in the pipeline provides, is shifted so
    that its own Otsu threshold becomes 0.5, and steepened.
    """

    def forward(self, context: GroupContext) -> Tensor:
        """(N, 1, h, w) in [0, 1]; zeros for images of constant saliency."""
        if context.saliency is None:
            raise MMCosegError(
                'SaliencyCue needs the saliency of all images: put ComputeSaliency into the '
                'pipeline, behind Resize; or remove the cue'
            )
        maps = []
        for saliency in context.saliency.float():
            if saliency.max() - saliency.min() < 1e-3:
                maps.append(torch.zeros_like(saliency))
                continue
            threshold = float(threshold_otsu(saliency.cpu().numpy(), nbins=128))
            maps.append((SLOPE * (saliency - threshold) + 0.5).clamp(0, 1))
        return torch.stack(maps)


@MODELS.register_module()
class ConsensusCue(GroupCue):
    """Where many clusterings of the group's locations agree; see :func:`consensus_foreground`.

    Args:
        level: index of the level that is clustered.
        num_clusters, num_seeds: of :func:`consensus_foreground`. One of each is one k-means
            clustering, the baseline: 1 in the clusters off the borders, 0 elsewhere.
        saliency_exponent: how much the images' saliency counts in the choice of clusters; 0 for
            not at all.
    """

    def __init__(
        self,
        level: int = -1,
        num_clusters: Sequence[int] = (4, 5, 6, 8),
        num_seeds: int = 4,
        saliency_exponent: float = 0.0,
    ) -> None:
        super().__init__()
        self.descriptors = Descriptors((level,))
        self.num_clusters = tuple(num_clusters)
        self.num_seeds = num_seeds
        self.saliency_exponent = saliency_exponent

    def group_maps(self, descriptors: Tensor, saliency: Tensor | None) -> Tensor:
        if self.saliency_exponent and saliency is None:
            raise MMCosegError(
                f'ConsensusCue with saliency_exponent={self.saliency_exponent} needs the '
                "images' saliency: put ComputeSaliency into the pipeline, or set "
                'saliency_exponent=0'
            )
        if saliency is not None:
            saliency = F.adaptive_avg_pool2d(saliency.float(), descriptors.shape[-2:])[:, 0]
        return consensus_foreground(
            descriptors, self.num_clusters, self.num_seeds, saliency, self.saliency_exponent
        )


@MODELS.register_module()
class DDTCue(GroupCue):
    """The first principal component of the locations; see :func:`deep_descriptor_transform`.

    Args:
        level: index of the level that is used; in the paper, the last convolution's.
        threshold: ``'zero'``: 1 where the component is positive, as in the paper; ``'otsu'``: soft
            maps, see :func:`soften_by_otsu`.
    """

    def __init__(self, level: int = -1, threshold: Threshold = 'zero') -> None:
        super().__init__()
        one_of('threshold', threshold, Threshold)
        self.descriptors = Descriptors((level,))
        self.threshold = threshold

    def group_maps(self, descriptors: Tensor, saliency: Tensor | None) -> Tensor:
        return _cut_at(deep_descriptor_transform(descriptors), self.threshold)


@MODELS.register_module()
class DFFCue(GroupCue):
    """A factor's share of the group's features at each location.

    See :func:`deep_feature_factorization`. The paper shows all factors; here the common object is
    the one that is least at the image borders, see :func:`factor_off_border`.

    Args:
        level: index of the level that is used; its negative values count as 0.
        num_factors: k, at least 2.
    """

    def __init__(self, level: int = -1, num_factors: int = 3) -> None:
        super().__init__()
        whole_number('num_factors', num_factors, 2)
        self.descriptors = Descriptors((level,), nonnegative=True, rotation_invariant=False)
        self.num_factors = num_factors

    def group_maps(self, descriptors: Tensor, saliency: Tensor | None) -> Tensor:
        coefficients, _ = deep_feature_factorization(descriptors, self.num_factors)
        chosen = coefficients[:, factor_off_border(coefficients)]
        total = coefficients.sum(dim=1)
        return torch.where(total > 0, chosen / total, 0)


@MODELS.register_module()
class SpectralCue(GroupCue):
    """Which side of the group's best cut in two each location is on; S of SSNM on raw features.

    The side that touches the image borders less is the object; see :func:`orient_by_border`.

    Args:
        level: index of the level that is used.
        affinity: what is cut:

            - ``'gram'``: ``X^T X - 1 1^T``, as SSNM does (Eq. 10). On features not trained for
              it, it mostly finds their common mean;
            - ``'landmarks'``: a sparse graph, see :func:`landmark_bipartition`.
        normalize: l2-normalize the descriptors, as in the paper. The length of raw features tells
            objects from surroundings, too.
        threshold: ``'zero'``: 1 on the object's side; ``'otsu'``: soft maps, see
            :func:`soften_by_otsu`.
    """

    def __init__(
        self,
        level: int = -1,
        affinity: Affinity = 'gram',
        normalize: bool = True,
        threshold: Threshold = 'zero',
    ) -> None:
        super().__init__()
        one_of('affinity', affinity, Affinity)
        one_of('threshold', threshold, Threshold)
        self.descriptors = Descriptors((level,))
        self.affinity = affinity
        self.normalize = normalize
        self.threshold = threshold

    def group_maps(self, descriptors: Tensor, saliency: Tensor | None) -> Tensor:
        """Zeros where nothing in the group differs."""
        n, _, height, width = descriptors.shape
        rows = descriptors.permute(0, 2, 3, 1).flatten(0, 2)
        if self.affinity == 'landmarks':
            side, eigenvalue = landmark_bipartition(rows, normalize=self.normalize)
        else:
            if self.normalize:
                rows = torch.cat([part.to(rows.dtype) for part in row_chunks(rows, True)])
            side, eigenvalue = spectral_bipartition(rows)
        values = orient_by_border(side.view(n, height, width)) * (eigenvalue != 0)
        return _cut_at(values, self.threshold)


def _cut_at(values: Tensor, threshold: Threshold) -> Tensor:
    """Maps (N, h, w) in [0, 1] of values whose sign says object or not."""
    return soften_by_otsu(values) if threshold == 'otsu' else (values > 0).to(values.dtype)
