"""Which object proposal fits the heat map of a peak best."""

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...errors import MMCosegError
from ...options import one_of
from ...priors.proposals import Proposals
from ...registry import TASK_UTILS

__all__ = ['InstanceRanking']

Measure = Literal['literal', 'mean', 'contrast', 'soft_iou']

#: Pixels of masks that are looked at in one piece: 64 megabytes of float32.
_CHUNK = 1 << 24


@TASK_UTILS.register_module()
class InstanceRanking:
    """Choose for each peak's heat map O_i the best of an image's proposals P.

    With the co-saliency S, ``*`` element by element and ``.`` the sum of products, the measures are

    - ``'literal'``: DeepCO3 (CVPR 2019), Eq. 7,
      ``R(P) = beta (O_i * S) . P + (O_i * S) . P^ - gamma (1 - S) . P``, where P^ is the contour of
      P: its pixels with one of their four neighbors outside of it, the image's edge being none.
      Its scale is that of O_i, and larger masks have more of everything.
    - ``'mean'``: the same with means over P and P^ in place of sums, and O_i scaled to the mean 1
      over the image.
    - ``'contrast'``: ``(inside - outside) / (inside + outside)`` of the means of O_i * S inside and
      outside of P; in [-1, 1].
    - ``'soft_iou'``: overlap of P with the soft mask ``M = min(1, O_i / t) * S``, namely
      ``M . P / (M . 1 + 1 . P - M . P)``; in [0, 1]. t is the mean of O_i weighted by itself, so
      that the tips, of which these maps have many, do not decide alone.

    The last two do not depend on the scale of O_i, so that they mean the same in all images of a
    group, as average precision presupposes.

    Args:
        beta, gamma: of the first two measures.
        use_saliency: False puts S = 1, the paper's ablation: the term with gamma vanishes.
        select: the measure by which proposals are chosen.
        score: that of the scores; None for ``select``.
        weigh_by_saliency: multiply the scores with the mean of S inside of the proposal, a
            confidence that all images of a group share. Nothing where ``use_saliency`` is off.

    Raises:
        MMCosegError: for an unknown measure; when called, if shapes do not fit, or there are no
            proposals.

    Example:
        >>> heat = torch.tensor([[[0.0, 0.5, 0.5, 0.0]]])
        >>> masks = torch.tensor([[[1, 1, 1, 1]], [[0, 1, 1, 0]]]).bool()
        >>> indices, scores = InstanceRanking()(heat, torch.ones(1, 4), masks)
        >>> indices.item(), round(scores.item(), 4)
        (1, 1.8)
    """

    def __init__(
        self,
        beta: float = 0.8,
        gamma: float = 1e-5,
        use_saliency: bool = True,
        select: Measure = 'literal',
        score: Measure | None = None,
        weigh_by_saliency: bool = False,
    ) -> None:
        for name, measure in (('select', select), ('score', score or select)):
            one_of(name, measure, Measure)
        self.beta = beta
        self.gamma = gamma
        self.use_saliency = use_saliency
        self.select = select
        self.score = score or select
        self.weigh_by_saliency = weigh_by_saliency

    def __call__(
        self, heat_maps: Tensor, saliency: Tensor, proposals: Any, presence: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The best proposal of each heat map.

        Args:
            heat_maps: (k, H, W), not negative.
            saliency: (H, W) in [0, 1].
            proposals: masks (n, H, W) bool, or anything with such ``masks``, as the proposals of a
                ``CoSegDataSample``; with ``atoms`` and ``members`` instead, as ``ProposalData`` and
                :class:`~mmcoseg.priors.Proposals` have them, nothing of size n H W is made.
            presence: how sure it is that the object is in this image: the scores are multiplied
                with it.

        Returns:
            Indices (k,) int64, the first of equal ones, and scores (k,), float32 or the maps'
            float64, on the device of the maps.
        """
        if heat_maps.ndim != 3 or saliency.shape != heat_maps.shape[1:]:
            raise MMCosegError(
                f'heat maps must be (k, H, W) and the saliency (H, W), got '
                f'{tuple(heat_maps.shape)} and {tuple(saliency.shape)}'
            )
        dtype = torch.promote_types(heat_maps.dtype, torch.float32)
        heat = heat_maps.to(dtype)
        saliency = saliency.to(heat) if self.use_saliency else torch.ones_like(heat[:0].sum(0))
        sums = _sums_of(proposals, heat, saliency)
        if not len(sums.area):
            raise MMCosegError('there are no proposals to choose from')
        values = self._measure(self.select, heat, saliency, sums)
        indices = values.argmax(dim=1)
        if self.score != self.select:
            values = self._measure(self.score, heat, saliency, sums)
        scores = values.gather(1, indices[:, None])[:, 0] * presence
        if self.weigh_by_saliency:
            scores = scores * (1 - sums.unsalient[0] / sums.area.clamp(min=1))[indices]
        return indices, scores.to(dtype)

    def _measure(self, name: str, heat: Tensor, saliency: Tensor, sums: 'Sums') -> Tensor:
        """(k, n)."""
        area, unsalient = sums.area.clamp(min=1), sums.unsalient
        if name == 'literal':
            rest = sums.on_contour - self.gamma * unsalient
            return self.beta * sums.inside + rest
        if name == 'mean':
            scale = saliency.numel() / heat.flatten(1).sum(dim=1).clamp(min=_TINY)[:, None]
            inside = scale * sums.inside / area
            on_contour = scale * sums.on_contour / sums.length.clamp(min=1)
            return self.beta * inside + on_contour - self.gamma * unsalient / area
        if name == 'contrast':
            total = (heat * saliency).flatten(1).sum(dim=1)[:, None]
            inside = sums.inside / area
            left = (saliency.numel() - sums.area).clamp(min=1)
            outside = (total - sums.inside).clamp(min=0) / left
            return (inside - outside) / (inside + outside).clamp(min=_TINY)
        total = (_soft_masks(heat) * saliency).flatten(1).sum(dim=1)[:, None]
        union = (total + sums.area - sums.soft).clamp(min=_TINY)
        return sums.soft / union

    def __repr__(self) -> str:
        return f'{type(self).__name__}(select={self.select!r}, score={self.score!r})'


_TINY = 1e-30


class Sums(NamedTuple):
    """Sums over proposals and their contours."""

    #: (k, n): of O * S inside, and on the contour; of the soft masks inside.
    inside: Tensor
    on_contour: Tensor
    soft: Tensor
    #: (1, n): of 1 - S inside.
    unsalient: Tensor
    #: (n,): pixels of the mask and of its contour.
    area: Tensor
    length: Tensor


def _soft_masks(heat: Tensor) -> Tensor:
    """min(1, O / t), (k, H, W); see :class:`InstanceRanking`."""
    total = heat.sum(dim=(1, 2), keepdim=True).clamp(min=_TINY)
    level = (heat / total * heat).sum(dim=(1, 2), keepdim=True)
    return (heat / level.clamp(min=_TINY)).clamp(max=1)


def _sums_of(proposals: Any, heat: Tensor, saliency: Tensor) -> Sums:
    count, one = len(heat), torch.ones_like(saliency)[None]
    weighted = heat * saliency
    maps = torch.cat([weighted, _soft_masks(heat) * saliency, 1 - saliency[None], one])
    on_contours = torch.cat([weighted, one])
    if hasattr(proposals, 'atoms') and hasattr(proposals, 'members'):
        inside, around = _sums_by_atoms(proposals, maps, on_contours)
    else:
        masks = proposals
        if not isinstance(proposals, (Tensor, np.ndarray)):
            masks = proposals['masks'] if isinstance(proposals, dict) else proposals.masks
        inside, around = _sums_by_masks(torch.as_tensor(masks), maps, on_contours)
    return Sums(
        inside[:count], around[:count], inside[count:-2], inside[-2:-1], inside[-1], around[-1]
    )


def _sums_by_atoms(proposals: Any, maps: Tensor, on_contours: Tensor) -> tuple[Tensor, Tensor]:
    members = np.asarray(proposals.members)
    # Their own scores do not matter here.
    compact = Proposals(np.asarray(proposals.atoms), members, np.zeros(len(members), np.float32))
    inside = compact.sums(maps.detach().cpu().numpy())
    around = compact.contour_sums(on_contours.detach().cpu().numpy())
    # In double precision, in which they were summed; not every device has that.
    dtype = torch.float32 if maps.device.type == 'mps' else torch.float64
    return tuple(
        torch.as_tensor(sums, dtype=dtype, device=maps.device) for sums in (inside, around)
    )


def _sums_by_masks(masks: Tensor, maps: Tensor, on_contours: Tensor) -> tuple[Tensor, Tensor]:
    """As matrix products over masks (n, H, W), some at a time."""
    if masks.ndim != 3 or masks.shape[1:] != maps.shape[1:]:
        raise MMCosegError(
            f'masks must be (n, {maps.shape[1]}, {maps.shape[2]}) as the maps are, got '
            f'{tuple(masks.shape)}'
        )
    maps, on_contours = maps.flatten(1), on_contours.flatten(1)
    inside, around = [maps.new_zeros(len(maps), 0)], [maps.new_zeros(len(on_contours), 0)]
    for some in masks.split(max(1, _CHUNK // maps.shape[1])):
        some = some.to(maps.device) != 0
        inside.append(maps @ some.flatten(1).to(maps.dtype).t())
        around.append(on_contours @ _contours(some).flatten(1).to(maps.dtype).t())
    return torch.cat(inside, dim=1), torch.cat(around, dim=1)


def _contours(masks: Tensor) -> Tensor:
    """As :func:`~mmcoseg.priors.contours_of`, on any device."""
    inner = masks.clone()
    inner[:, 1:] &= masks[:, :-1]
    inner[:, :-1] &= masks[:, 1:]
    inner[:, :, 1:] &= masks[:, :, :-1]
    inner[:, :, :-1] &= masks[:, :, 1:]
    return masks & ~inner
