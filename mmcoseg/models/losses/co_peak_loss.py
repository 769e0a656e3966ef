"""DeepCO3's loss of co-peaks."""

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...options import one_of
from ...registry import MODELS
from ...structures import split_groups
from ..ops import co_peak_means
from .deepco3_form import ObjectiveForm

__all__ = ['CoPeakLoss', 'half_pairs']

#: Means below it count as it in Eq. 3, and pass no gradient.
MIN_MEAN = 1e-6


@MODELS.register_module()
class CoPeakLoss(nn.Module):
    """Raises the score of salient locations that are alike in two images (DeepCO3, Eq. 3).

    With m the mean score Ts over the co-peaks of two images
    (:func:`~mmcoseg.models.ops.co_peak_means`), a group of N images costs

    - ``'released'``: the mean of ``softplus(-m) = -log(sigmoid(m))`` over N / 2 pairs of different
      images, whose co-peaks are the local maxima that are at least the median score;
    - ``'paper'``: the sum of ``-log(m)`` over the N (N - 1) ordered pairs (Eq. 1 and 3), whose
      co-peaks are the local maxima with a score above 0.

    Args:
        form: which of the two.
        loss_weight, loss_name: factor of the result, 0.5 in the paper; name in the log.
    """

    def __init__(
        self,
        form: ObjectiveForm = 'released',
        loss_weight: float = 0.5,
        loss_name: str = 'loss_co_peak',
    ) -> None:
        super().__init__()
        one_of('form', form, ObjectiveForm)
        self.form = form
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, features: Tensor, coarse_maps: Tensor, group_sizes: list[int]) -> Tensor:
        """The mean over the groups of features (sum N, d, h, w) and their co-saliency.

        ``coarse_maps`` are (sum N, 1, h, w), in [0, 1]. Groups of one image cost 0.
        """
        group_loss = self._released if self.form == 'released' else self._paper
        groups = zip(split_groups(features, group_sizes), split_groups(coarse_maps, group_sizes))
        losses = [group_loss(x, s.squeeze(1)) for x, s in groups]
        return self.loss_weight * torch.stack(losses).mean()

    def _released(self, x: Tensor, s: Tensor) -> Tensor:
        means = co_peak_means(x, s, half_pairs(len(x)), 'median')
        return F.softplus(-means).sum() / max(len(means), 1)

    def _paper(self, x: Tensor, s: Tensor) -> Tensor:
        pairs = list(combinations(range(len(x)), 2))
        means = co_peak_means(x, s, pairs, 'positive')
        return -2 * means.clamp(min=MIN_MEAN).log().sum()


def half_pairs(count: int) -> list[tuple[int, int]]:
    """Each image once: number i of the first half with number i of the second.

    The last one of an odd number meets the first one again. (The authors' code then draws another
    image of the class.)

    Example:
        >>> half_pairs(6), half_pairs(3)
        ([(0, 3), (1, 4), (2, 5)], [(0, 1), (2, 0)])
    """
    half = count // 2
    pairs = [(i, i + half) for i in range(half)]
    if count % 2 and count > 1:
        pairs.append((count - 1, 0))
    return pairs
