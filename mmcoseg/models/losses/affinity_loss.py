"""DeepCO3's loss of affinities."""

from torch import Tensor, nn

from ...registry import MODELS
from ...structures import split_groups
from ..ops import pairwise_affinity
from .group_reduction import GroupReduction, check_group_reduction, reduce_groups

__all__ = ['AffinityLoss']


@MODELS.register_module()
class AffinityLoss(nn.Module):
    """Makes salient locations alike, and unlike the others (DeepCO3, Eq. 5).

    ``l_a(n, m) = l(n, m) + l(n, n) + l(m, m)`` over all ordered pairs of different images of a
    group, with l of :func:`~mmcoseg.models.ops.pairwise_affinity`: a mean over pairs of locations,
    where the paper has a sum. The loss of several groups is their mean.

    Args:
        alpha: weight of keeping salient and other locations apart.
        reduction: ``'sum'`` over the pairs of a group (Eq. 1), or their ``'mean'``.
        loss_weight: factor of the result; 0.1 in the paper.
        loss_name: name in the log; must start with ``loss``.

    Raises:
        ValueError: if ``reduction`` is unknown.
    """

    def __init__(
        self,
        alpha: float = 4.0,
        reduction: GroupReduction = 'sum',
        loss_weight: float = 0.1,
        loss_name: str = 'loss_affinity',
    ) -> None:
        super().__init__()
        check_group_reduction(reduction)
        self.alpha = alpha
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, features: Tensor, maps: Tensor, group_sizes: list[int]) -> Tensor:
        """The loss, a scalar; 0 for groups of one image.

        Args:
            features: (sum N, d, h, w).
            maps: coarse co-saliency in [0, 1], (sum N, 1, h, w).
            group_sizes: number of images of each group.
        """
        sums = []
        groups = zip(split_groups(features, group_sizes), split_groups(maps, group_sizes))
        for x, s in groups:
            affinity = pairwise_affinity(x, s.squeeze(1), self.alpha)
            own = affinity.trace()
            # Each image is in 2 (N - 1) ordered pairs.
            sums.append(affinity.sum() - own + 2 * (len(x) - 1) * own)
        counts = [size * (size - 1) for size in group_sizes]
        return self.loss_weight * reduce_groups(sums, counts, self.reduction)
