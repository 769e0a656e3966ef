"""DeepCO3's loss of affinities."""

import torch
from torch import Tensor, nn

from ...options import one_of
from ...registry import MODELS
from ...structures import split_groups
from ..ops import pairwise_affinity
from .deepco3_form import ObjectiveForm

__all__ = ['AffinityLoss']


@MODELS.register_module()
class AffinityLoss(nn.Module):
    """Makes salient locations alike, and unlike the others (DeepCO3, Eq. 4 and 5).

    With l(n, m) the mean over the pairs of locations of two images
    (:func:`~mmcoseg.models.ops.pairwise_affinity`), a group of N images costs

    - ``'released'``: the mean over all pairs of locations of all images at once, which is the mean
      of l(n, m) over all n and m, each image with itself as well;
    - ``'paper'``: ``l(n, m) + l(n, n) + l(m, m)``, with l a sum over the (h w)^2 pairs of
      locations, summed over the N (N - 1) ordered pairs of images (Eq. 1, 4 and 5).

    Args:
        alpha: weight of keeping salient and other locations apart.
        form: which of the two.
        loss_weight, loss_name: factor of the result, 0.1 in the paper; name in the log.
    """

    def __init__(
        self,
        alpha: float = 4.0,
        form: ObjectiveForm = 'released',
        loss_weight: float = 0.1,
        loss_name: str = 'loss_affinity',
    ) -> None:
        super().__init__()
        one_of('form', form, ObjectiveForm)
        self.alpha = alpha
        self.form = form
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, features: Tensor, coarse_maps: Tensor, group_sizes: list[int]) -> Tensor:
        """The mean over the groups of features (sum N, d, h, w) and their co-saliency.

        ``coarse_maps`` are (sum N, 1, h, w), in [0, 1].
        """
        locations = coarse_maps.shape[-2] * coarse_maps.shape[-1]
        losses = []
        groups = zip(split_groups(features, group_sizes), split_groups(coarse_maps, group_sizes))
        for x, s in groups:
            affinity = pairwise_affinity(x, s.squeeze(1), self.alpha)
            if self.form == 'released':
                losses.append(affinity.mean())
            else:
                own = affinity.trace()
                # Each image is in 2 (N - 1) ordered pairs.
                ordered_pairs = affinity.sum() - own + 2 * (len(x) - 1) * own
                losses.append(locations**2 * ordered_pairs)
        return self.loss_weight * torch.stack(losses).mean()
