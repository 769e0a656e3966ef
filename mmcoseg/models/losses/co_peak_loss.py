"""DeepCO3's loss of co-peaks."""

from torch import Tensor, nn

from ...registry import MODELS
from ...structures import split_groups
from ..ops import co_peak_losses
from .group_reduction import GroupReduction, check_group_reduction, reduce_groups

__all__ = ['CoPeakLoss']


@MODELS.register_module()
class CoPeakLoss(nn.Module):
    """Raises the score of salient locations that are alike in two images (DeepCO3, Eq. 3).

    Over all ordered pairs of different images of a group; see
    :func:`~mmcoseg.models.ops.co_peak_losses`. The loss of several groups is their mean.

    Args:
        positive: only scores above 0 make a co-peak.
        reduction: ``'sum'`` over the pairs of a group (Eq. 1), or their ``'mean'``.
        loss_weight: factor of the result; 0.5 in the paper.
        loss_name: name in the log; must start with ``loss``.

    Raises:
        ValueError: if ``reduction`` is unknown.
    """

    def __init__(
        self,
        positive: bool = True,
        reduction: GroupReduction = 'sum',
        loss_weight: float = 0.5,
        loss_name: str = 'loss_co_peak',
    ) -> None:
        super().__init__()
        check_group_reduction(reduction)
        self.positive = positive
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
        groups = zip(split_groups(features, group_sizes), split_groups(maps, group_sizes))
        losses = [co_peak_losses(x, s.squeeze(1), self.positive) for x, s in groups]
        sums = [2 * loss.sum() for loss in losses]
        counts = [2 * len(loss) for loss in losses]
        return self.loss_weight * reduce_groups(sums, counts, self.reduction)
