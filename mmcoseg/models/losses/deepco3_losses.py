"""DeepCO3's three losses (section 3.2), each in two forms."""

from itertools import combinations
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...options import one_of
from ...registry import MODELS
from ..ops import co_peak_means, pairwise_affinity
from ..ops.precision import at_least_float32
from ..ops.resize import resize
from .building import mean_over_groups

__all__ = ['AffinityLoss', 'CoPeakLoss', 'CoSaliencyLoss', 'balanced_square_error', 'half_pairs']

#: ``'released'`` is what the authors' code computes and the published numbers come from;
#: ``'paper'`` is Eq. 1 to 6 to the letter, whose sums over pairs of locations and over pixels give
#: the losses weights that differ by orders of magnitude.
ObjectiveForm = Literal['released', 'paper']

#: Mean scores of co-peaks below it count as it in Eq. 3, and pass no gradient.
MIN_MEAN = 1e-6


class _DeepCO3Loss(nn.Module):
    """A loss with the options that all three have."""

    def __init__(self, form: ObjectiveForm, loss_weight: float, loss_name: str) -> None:
        super().__init__()
        one_of('form', form, ObjectiveForm)
        self.form = form
        self.loss_weight = loss_weight
        self.loss_name = loss_name


@MODELS.register_module()
class CoPeakLoss(_DeepCO3Loss):
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
        super().__init__(form, loss_weight, loss_name)

    def forward(self, features: Tensor, coarse_maps: Tensor, group_sizes: list[int]) -> Tensor:
        """The mean over the groups of features (sum N, d, h, w) and their co-saliency.

        ``coarse_maps`` are (sum N, 1, h, w), in [0, 1]. Groups of one image cost 0.
        """
        group_loss = self._released if self.form == 'released' else self._paper
        mean = mean_over_groups(group_loss, group_sizes, features, coarse_maps.squeeze(1))
        return self.loss_weight * mean

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


@MODELS.register_module()
class AffinityLoss(_DeepCO3Loss):
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
        super().__init__(form, loss_weight, loss_name)
        self.alpha = alpha

    def forward(self, features: Tensor, coarse_maps: Tensor, group_sizes: list[int]) -> Tensor:
        """The mean over the groups of features (sum N, d, h, w) and their co-saliency.

        ``coarse_maps`` are (sum N, 1, h, w), in [0, 1].
        """
        mean = mean_over_groups(self._group_loss, group_sizes, features, coarse_maps.squeeze(1))
        return self.loss_weight * mean

    def _group_loss(self, x: Tensor, s: Tensor) -> Tensor:
        affinity = pairwise_affinity(x, s, self.alpha)
        if self.form == 'released':
            return affinity.mean()
        own = affinity.trace()
        # Each image is in 2 (N - 1) ordered pairs.
        ordered_pairs = affinity.sum() - own + 2 * (len(x) - 1) * own
        locations = s.shape[-2] * s.shape[-1]
        return locations**2 * ordered_pairs


def balanced_square_error(maps: Tensor, saliency: Tensor) -> Tensor:
    """``l_s(n) = mean over p of rho(p) (S_n(p) - S^_n(p))^2`` of each image (DeepCO3, Eq. 6).

    Pixels whose saliency S^ is above its mean are salient; with e their share of the image they
    weigh 1 - e and the others e, so that both weigh the same in sum. A saliency without contrast
    says nothing: 0. (The paper has a sum over the pixels.)

    Args:
        maps: (n, 1, H, W), in [0, 1].
        saliency: (n, 1, h, w), in [0, 1], at any resolution; resized to that of the maps.

    Returns:
        (n,), float32 or float64.

    Example:
        >>> maps, saliency = torch.zeros(1, 1, 1, 4), torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
        >>> balanced_square_error(maps, saliency)  # (1 - 1/4) * 1 / 4
        tensor([0.1875])
    """
    maps = at_least_float32(maps)
    saliency = resize(saliency.to(maps.dtype), maps.shape[-2:])
    salient = saliency > saliency.mean(dim=(-2, -1), keepdim=True)
    share = salient.to(maps.dtype).mean(dim=(-2, -1), keepdim=True)
    weight = torch.where(salient, 1 - share, share)
    return (weight * (maps - saliency).square()).mean(dim=(-3, -2, -1))


@MODELS.register_module()
class CoSaliencyLoss(_DeepCO3Loss):
    """Holds the co-saliency near what each image's own saliency says (DeepCO3, Eq. 6).

    A group costs the sum over its images of

    - ``'released'``: :func:`balanced_square_error`, a mean over the pixels;
    - ``'paper'``: the same as a sum over the pixels.

    Args:
        form: which of the two.
        loss_weight, loss_name: factor of the result, 1 in the paper; name in the log.
    """

    def __init__(
        self,
        form: ObjectiveForm = 'released',
        loss_weight: float = 1.0,
        loss_name: str = 'loss_saliency',
    ) -> None:
        super().__init__(form, loss_weight, loss_name)

    def forward(self, maps: Tensor, saliency: Tensor, group_sizes: list[int]) -> Tensor:
        """The mean over the groups of co-saliency (sum N, 1, H, W) and saliency (sum N, 1, h, w).

        Both are in [0, 1]; the saliency is found without labels.
        """
        errors = balanced_square_error(maps, saliency)
        if self.form == 'paper':
            errors = errors * (maps.shape[-2] * maps.shape[-1])
        return self.loss_weight * mean_over_groups(torch.sum, group_sizes, errors)
