"""Soft maps of a sequence that do not jump from frame to frame."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...registry import MODELS
from ..ops.resize import resize
from .group_stage import Descriptors, GroupContext, GroupStage

__all__ = ['SteadyMaps', 'steady']

#: Frames before and after that a frame looks at, and locations around each location.
FRAMES, RADIUS = 2, 2
#: How fast weights fall with the cosine of descriptors, and what each further frame counts.
TEMPERATURE, FADING = 0.05, 0.7


@MODELS.register_module()
class SteadyMaps(GroupStage):
    """Means of the maps over what looks alike nearby, in the frames before and after.

    See :func:`steady`. It acts on groups whose metainfo has ``sequence=True``; their images are the
    frames of one scene in order. The maps of other groups stay as they are.

    Args:
        levels: indices of the backbone's levels that are compared, of one resolution;
            l2-normalized one by one, so that each counts the same.
    """

    def __init__(self, levels: Sequence[int] = (-1,)) -> None:
        super().__init__()
        self.descriptors = Descriptors(tuple(levels), normalized=True)

    def forward(self, context: GroupContext) -> Tensor:
        """Soft maps (N, C, h, w), at the descriptors' resolution for a sequence."""
        prob = self.maps_before(context)
        if not context.group.get('sequence', False):
            return prob
        descriptors = context.descriptors[self.descriptors]
        return steady(resize(prob.float(), descriptors.shape[-2:]), descriptors)


def steady(maps: Tensor, descriptors: Tensor) -> Tensor:
    r"""The mean of each location over a window in space and time, by how like its descriptors are.

    With unit descriptors :math:`d`, a location :math:`i` of frame t becomes

    .. math:: \sum_{s,j} w_{sj} m_{sj} / \sum_{s,j} w_{sj}, \quad
              w_{sj} = 0.7^{|s - t|} \exp((d_{ti} \cdot d_{sj} - 1) / 0.05)

    over the frames s within 2 of t and the locations j within 2 rows and columns of i. So the maps
    follow what moves without any optical flow. Time grows linearly with the number of frames; what
    is needed beyond the maps does not grow.

    Args:
        maps: (N, C, h, w).
        descriptors: (N, d, h, w), of any length.

    Returns:
        (N, C, h, w) float32, on the maps' device.
    """
    count, _, height, width = maps.shape
    side = 2 * RADIUS + 1
    found = torch.empty_like(maps, dtype=torch.float32)
    inside = F.pad(maps.new_ones(height, width), [RADIUS] * 4)

    def unit(number: int) -> Tensor:
        return F.normalize(descriptors[number].to(maps.device).float(), dim=0)

    units = {number: unit(number) for number in range(min(FRAMES, count))}
    for now in range(count):
        units.pop(now - FRAMES - 1, None)
        if now + FRAMES < count:
            units[now + FRAMES] = unit(now + FRAMES)
        total, weights = maps.new_zeros(maps.shape[1:]), maps.new_zeros(height, width)
        for other, descriptor in units.items():
            padded = F.pad(descriptor, [RADIUS] * 4)
            values = F.pad(maps[other].float(), [RADIUS] * 4)
            for place in range(side * side):
                top, left = divmod(place, side)
                part = ..., slice(top, top + height), slice(left, left + width)
                cosine = (units[now] * padded[part]).sum(dim=0)
                weight = FADING ** abs(other - now) * torch.exp((cosine - 1) / TEMPERATURE)
                weight = weight * inside[part]
                total += weight * values[part]
                weights += weight
        found[now] = total / weights
    return found
