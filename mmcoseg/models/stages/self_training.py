"""Self-training: the group's soft maps teach what tells its object from everything else."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import MMCosegError
from ...options import in_range, whole_number
from ...registry import MODELS, TASK_UTILS
from ...structures import GroupImages
from ..ops.class_clustering import class_discriminants
from ..ops.discriminant import group_discriminant
from ..ops.locations import maps_at_locations, maps_at_pixels, pad_map
from ..ops.resize import resize
from .group_stage import Descriptors, GroupContext, GroupStage

__all__ = ['SelfTraining', 'match_area', 'match_areas']

#: Of the discriminant: larger values lead to the difference of the mean descriptors.
RIDGE = 1.0
#: Steepness of the soft maps of one object, in standard deviations of the discriminant.
SLOPE = 4.0
#: Weight of the maps that came in, between rounds and in the end.
KEEP, KEEP_LAST = 0.4, 0.3


@MODELS.register_module()
class SelfTraining(GroupStage):
    """Rounds of drawing targets at the images' edges and learning from them.

    In each round the soft maps are fitted to the images' edges, Fisher's discriminant of the
    group's features is found on the result, and its values become soft maps again that cover as
    much of the group as the targets did. They are averaged with the maps that came in, which keep
    the object from drifting.

    Maps of K + 1 classes, background first (after ``SplitClasses``), are treated alike, by linear
    discriminant analysis of all classes at once.

    Args:
        levels: indices of the backbone's levels that are learned from, of one resolution;
            l2-normalized one by one, so that each counts the same.
        rounds: at least 1.
        area: in the last round, area of the soft maps relative to the targets', above 0; a CRF
            after this stage takes some away.
        targets: config from ``TASK_UTILS`` of an :class:`EdgeRefiner` that draws the targets;
            None: the maps themselves.
    """

    def __init__(
        self,
        levels: Sequence[int] = (-1,),
        rounds: int = 2,
        area: float = 1.1,
        targets: Mapping | None = dict(
            type='DenseCRF', max_side=192, bilateral=(78, 10, 5), gaussian=(5, 3)
        ),
    ) -> None:
        super().__init__()
        whole_number('rounds of SelfTraining', rounds)
        in_range('area of SelfTraining', area, 1e-6)
        self.descriptors = Descriptors(tuple(levels), normalized=True)
        self.rounds = rounds
        self.area = area
        self.targets = TASK_UTILS.build(dict(targets)) if targets else None

    def forward(self, context: GroupContext) -> Tensor:
        """Soft maps (N, C, h, w) of one object or of background and classes, as they came in."""
        descriptors = context.descriptors[self.descriptors]
        given = resize(self.maps_before(context), descriptors.shape[-2:])
        current = given
        for number in range(self.rounds):
            last = number == self.rounds - 1
            target = self._draw(current, context.images)
            learned = self._learn(descriptors, target, self.area if last else 1)
            weight = KEEP_LAST if last else KEEP
            current = weight * given + (1 - weight) * learned.to(given.device)
        return current

    def _learn(self, descriptors: Tensor, target: Tensor, area: float) -> Tensor:
        """Soft maps (N, C, h, w) by what tells the targets apart, ``area`` times as large."""
        soft = target.clamp(0.02, 0.98)
        if target.shape[1] == 1:
            values, _ = group_discriminant(descriptors, soft[:, 0], RIDGE)
            # Centered: what is the same everywhere must not exceed what match_area can undo.
            values = values - values.mean()
            logits = SLOPE * values / values.std(correction=0).clamp(min=1e-6)
            return torch.sigmoid(match_area(logits, float(target.mean() * area)))
        learned = class_discriminants(descriptors, soft / soft.sum(dim=1, keepdim=True), RIDGE)
        shares = target.mean(dim=(0, 2, 3)).double()
        shares[1:] *= area
        return match_areas(learned, (shares / shares.sum()).to(learned.device))

    def _draw(self, prob: Tensor, images: GroupImages) -> Tensor:
        """The targets (N, C, h, w) that soft maps stand for."""
        if self.targets is None:
            return prob
        parts = [tuple(image.shape[-2:]) for image in images]
        maps = (_at_image(one[None], images.size, part) for one, part in zip(prob, parts))
        drawn = self.targets.refine((_array(image) for image in images), maps)
        shape = tuple(prob.shape[-2:])
        targets = []
        for one, part in zip(drawn, parts):
            target = pad_map(torch.from_numpy(np.asarray(one))[None], part, images.size)
            if target.shape[1] > 1:  # padding is background
                target[:, 0] = 1 - target[:, 1:].sum(dim=1)
            targets.append(maps_at_locations(target, shape, images.size))
        return torch.cat(targets)


def match_area(logits: Tensor, share: float) -> Tensor:
    """Add a constant, from -30 to 30, so that the mean of the probabilities becomes ``share``."""
    low, high = -30.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        if torch.sigmoid(logits + middle).mean() < share:
            low = middle
        else:
            high = middle
    return logits + (low + high) / 2


def match_areas(maps: Tensor, shares: Tensor, rounds: int = 100) -> Tensor:
    """Weigh classes so that each one's mean becomes its share; a location's sum stays 1.

    Each of at most so many rounds multiplies each class by how much it lacks. Maps are
    (N, C, h, w), above 0; shares are (C,), their sum 1.
    """
    weights = torch.ones_like(shares, dtype=torch.float64)
    for _ in range(rounds):
        weighted = maps * weights.to(maps.dtype)[:, None, None]
        weighted = weighted / weighted.sum(dim=1, keepdim=True).clamp(min=1e-12)
        ratio = shares / weighted.mean(dim=(0, 2, 3)).double().clamp(min=1e-12)
        if (ratio.log().abs()[shares > 0] < 1e-4).all():
            break
        weights = (weights * ratio).clamp(min=0, max=1e12)
        weights = weights / weights.max().clamp(min=1e-12)
    return weighted


def _array(image: Tensor) -> np.ndarray:
    """An image (3, H, W) uint8 as OpenCV has it."""
    if image.dtype != torch.uint8:
        raise MMCosegError(
            'SelfTraining draws its targets on the images themselves, which must arrive as uint8; '
            'these were normalized before: leave that to the data preprocessor, or set targets=None'
        )
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def _at_image(prob: Tensor, size: tuple[int, int], part: tuple[int, int]) -> np.ndarray:
    """A soft map (1, 1, h, w) of the network's input over an image, a ``part`` of it.

    It gives (1, H / 4, W / 4): coarse maps need no more.
    """
    full = maps_at_pixels(prob.float(), size)[..., : part[0], : part[1]]
    return F.adaptive_avg_pool2d(full, [-(-side // 4) for side in part])[0].cpu().numpy()
