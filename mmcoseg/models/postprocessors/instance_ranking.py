"""Which object proposal fits the heat map of a peak best."""

from typing import Literal

import torch
from torch import Tensor

from ...options import one_of
from ...registry import TASK_UTILS
from ...structures import Proposals
from ..ops.precision import at_least_float32

__all__ = ['InstanceRanking']

Measure = Literal['literal', 'soft_iou']

_TINY = 1e-30


@TASK_UTILS.register_module()
class InstanceRanking:
    """Choose for each peak's heat map O_i the best of an image's proposals P.

    With the co-saliency S, ``*`` element by element and ``.`` the sum of products, the measures are

    - ``'literal'``: DeepCO3 (CVPR 2019), Eq. 7,
      ``R(P) = beta (O_i * S) . P + (O_i * S) . P^ - gamma (1 - S) . P``, where P^ is the contour of
      P: its pixels with one of their four neighbors outside of it, the image's edge being none.
      Its scale is that of O_i, and larger masks have more of everything.
    - ``'soft_iou'``: overlap of P with the soft mask ``M = min(1, O_i / t) * S``, namely
      ``M . P / (M . 1 + 1 . P - M . P)``; in [0, 1]. t is the mean of O_i weighted by itself, so
      that the tips, of which these maps have many, do not decide alone. It does not depend on the
      scale of O_i, so that it means the same in all images of a group, as average precision
      presupposes.

    Args:
        beta, gamma: of the first measure.
        use_saliency: False puts S = 1, the paper's ablation: the term with gamma vanishes.
        select: the measure.

    Raises:
        MMCosegError: for an unknown measure; when called, if shapes do not fit.

    Example:
        >>> heat = torch.tensor([[[0.0, 0.5, 0.5, 0.0]]])
        >>> proposals = Proposals.from_masks([[[1, 1, 1, 1]], [[0, 1, 1, 0]]])
        >>> indices, scores = InstanceRanking()(heat, torch.ones(1, 4), proposals)
        >>> indices.item(), round(scores.item(), 4)
        (1, 1.8)
    """

    def __init__(
        self,
        beta: float = 0.8,
        gamma: float = 1e-5,
        use_saliency: bool = True,
        select: Measure = 'literal',
    ) -> None:
        one_of('select', select, Measure)
        self.beta = beta
        self.gamma = gamma
        self.use_saliency = use_saliency
        self.select = select

    def __call__(
        self, heat_maps: Tensor, saliency: Tensor, proposals: Proposals
    ) -> tuple[Tensor, Tensor]:
        """The best proposal of each heat map.

        Args:
            heat_maps: (k, h, w), not negative, at the resolution of the proposals' superpixels.
            saliency: (h, w) in [0, 1].
            proposals: at least one.

        Returns:
            Indices (k,) int64, the first of equal ones, and scores (k,), float32 or the maps'
            float64, on the device of the maps.
        """
        heat = at_least_float32(heat_maps.detach().cpu())
        saliency = saliency.detach().cpu().to(heat.dtype)
        if not self.use_saliency:
            saliency = torch.ones_like(saliency)
        measure = self._eq_7 if self.select == 'literal' else self._soft_iou
        scores, indices = measure(heat, saliency, proposals).max(dim=1)
        return indices.to(heat_maps.device), scores.to(heat_maps.device, heat.dtype)

    def _eq_7(self, heat: Tensor, saliency: Tensor, proposals: Proposals) -> Tensor:
        """(k, n) float64."""
        weighted = heat * saliency
        inside = torch.from_numpy(proposals.sums(weighted))
        on_contour = torch.from_numpy(proposals.contour_sums(weighted))
        unsalient = torch.from_numpy(proposals.sums(1 - saliency[None]))
        return self.beta * inside + on_contour - self.gamma * unsalient

    def _soft_iou(self, heat: Tensor, saliency: Tensor, proposals: Proposals) -> Tensor:
        """(k, n) float64."""
        total = heat.sum(dim=(1, 2), keepdim=True).clamp(min=_TINY)
        level = (heat / total * heat).sum(dim=(1, 2), keepdim=True)
        soft = (heat / level.clamp(min=_TINY)).clamp(max=1) * saliency
        inside = torch.from_numpy(proposals.sums(soft))
        area = torch.from_numpy(proposals.areas())
        union = soft.sum(dim=(1, 2))[:, None] + area - inside
        return inside / union.clamp(min=_TINY)
