"""In a sequence, what moves against the background is rather the object."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...registry import MODELS
from ..ops.resize import resize
from .group_stage import Descriptors, GroupContext, GroupStage

__all__ = ['MovingObjects', 'motion']

#: Frames that each frame is compared with, and locations that the background may have moved.
FRAMES, REACH = 7, 6
#: How much odds change with motion, and what is added to it so that its noise does not count.
EXPONENT, FLOOR = 2.0, 0.05
#: Share of the frame that must still be there after the background has moved.
LEAST_COMMON = 0.5


@MODELS.register_module()
class MovingObjects(GroupStage):
    """Raises maps of one object where something moves, and lowers them where nothing does.

    The background of a sequence recurs in all frames just as the object does, so that only its
    motion, and what stands out, tell the object from it. The odds are multiplied by the square of
    :func:`motion` relative to its mean. It acts on groups whose metainfo has ``sequence=True``; the
    maps of other groups stay as they are.

    Args:
        levels: indices of the backbone's levels that are compared, of one resolution;
            l2-normalized one by one, so that each counts the same.
    """

    def __init__(self, levels: Sequence[int] = (-1,)) -> None:
        super().__init__()
        self.descriptors = Descriptors(tuple(levels), normalized=True)

    def forward(self, context: GroupContext) -> Tensor:
        """Soft maps (N, 1, h, w), at the descriptors' resolution for a sequence."""
        prob = self.maps_before(context)
        if not context.group.get('sequence', False) or len(prob) == 1:
            return prob
        descriptors = context.descriptors[self.descriptors]
        moves = motion(descriptors).unsqueeze(1).to(prob.device)
        weight = ((moves + FLOOR) / (moves.mean() + FLOOR)) ** EXPONENT
        maps = resize(prob.float(), descriptors.shape[-2:])
        return maps * weight / (maps * weight + 1 - maps)


def motion(descriptors: Tensor) -> Tensor:
    """How unlike each location is to where the background is in other frames.

    For each of seven frames at even distances, the background's shift is the one of at most 6
    locations along rows and columns by which the median location finds the highest cosine. A
    location's value is 1 minus the highest cosine within one location around its place after that
    shift; of all these frames the median, without those where the place is outside.

    Args:
        descriptors: of N >= 2 frames, (N, d, h, w).

    Returns:
        (N, h, w) float32 in [0, 2].
    """
    count, _, height, width = descriptors.shape
    side = 2 * REACH + 1
    places, inside = _shifted_places(height, width)
    enough = inside.float().mean(dim=1) >= LEAST_COMMON
    others = sorted({round(i * (count - 1) / (FRAMES - 1)) for i in range(FRAMES)})

    def unit(number: int) -> Tensor:
        return F.normalize(descriptors[number].float(), dim=0).flatten(1)

    units = {number: unit(number) for number in others}
    found = []
    for now in range(count):
        differences = []
        for other in others:
            if other == now:
                continue
            cosines = (unit(now).T @ units[other]).gather(1, places.T).T
            cosines = cosines.masked_fill(~inside, torch.nan)
            score = cosines.nanmedian(dim=1).values.masked_fill(~enough, -1)
            row, column = divmod(int(score.argmax()), side)
            window = cosines.view(side, side, -1)[
                max(0, row - 1) : row + 2, max(0, column - 1) : column + 2
            ]
            best = window.nan_to_num(-1).amax(dim=(0, 1))
            there = inside[row * side + column]
            differences.append((1 - best).clamp(min=0).masked_fill(~there, torch.nan))
        found.append(torch.stack(differences).nanmedian(dim=0).values)
    moves = torch.stack(found).view(count, height, width)
    return torch.where(moves.isnan(), moves.nanmean(), moves)


def _shifted_places(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Of all shifts of the rows and columns, where each location lies, and whether that is inside.

    Both are (shifts, h * w): numbers of locations, and bool.
    """
    steps = torch.arange(-REACH, REACH + 1)
    rows = torch.arange(height) + steps[:, None]
    columns = torch.arange(width) + steps[:, None]
    within_rows = (rows >= 0) & (rows < height)
    within_columns = (columns >= 0) & (columns < width)
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    places = rows[:, None, :, None] * width + columns[None, :, None, :]
    inside = within_rows[:, None, :, None] & within_columns[None, :, None, :]
    return places.reshape(len(steps) ** 2, -1), inside.reshape(len(steps) ** 2, -1)
