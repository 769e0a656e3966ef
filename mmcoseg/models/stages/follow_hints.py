"""A person's hints as a stage: what is said of one image counts for all of the group."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...registry import MODELS
from ...structures import CoSegDataSample, GroupDataSample
from ...structures.hints import UNKNOWN
from ..ops.hints import HintPosterior, match_best_overlap
from ..ops.locations import maps_at_locations, pad_map
from ..ops.resize import resize
from .group_stage import Descriptors, GroupContext, GroupStage

__all__ = ['FollowHints', 'known_at_locations']

#: What a location counts at most, and all of one image together.
LOCATION_WEIGHT, IMAGE_WEIGHT = 0.1, 1.0
#: What a pixel counts whose label is only likely.
LIKELY = 0.3


@MODELS.register_module()
class FollowHints(GroupStage):
    """Corrects the maps of all images by what ``sample.hints`` say of some pixels of some images.

    See :class:`~mmcoseg.models.ops.hints.HintPosterior`. A location counts 0.1, and all locations
    of an image together at most 1, so that a whole mask does not outweigh many clicks. Without
    hints the maps stay as they are.

    Hints of K classes make K + 1 maps, the background first, of the map of one object.

    Args:
        levels: indices of the backbone's levels that are compared, of one resolution;
            l2-normalized one by one, so that each counts the same.
    """

    def __init__(self, levels: Sequence[int] = (-1,)) -> None:
        super().__init__()
        self.descriptors = Descriptors(tuple(levels), normalized=True)

    def forward(self, context: GroupContext) -> Tensor:
        """Soft maps (N, C, h, w), at the descriptors' resolution where there are hints."""
        prob = self.maps_before(context)
        if not any('hints' in sample for sample in context.group):
            return prob
        descriptors = context.descriptors[self.descriptors]
        shape = descriptors.shape[-2:]
        before = split_object(resize(prob.float().cpu(), shape), num_hinted_classes(context.group))
        labels, weights = known_at_locations(
            context.group, before.shape[1], shape, context.images.size
        )
        after = HintPosterior(descriptors).maps(before, labels, weights)
        return match_best_overlap(after, before)


def num_hinted_classes(group: GroupDataSample) -> int:
    """The highest class number in a group's hints, at least 1."""
    highest = 1
    for sample in group:
        if 'hints' in sample:
            labels = sample.hints.data
            highest = max(highest, int(labels.masked_fill(labels == UNKNOWN, 0).max()))
    return highest


def split_object(prob: Tensor, num_classes: int) -> Tensor:
    """Maps (N, K + 1, h, w) of at least so many classes; those that are new share the first's.

    The map of one object stays as it is where there is one class.
    """
    missing = num_classes - max(1, prob.shape[1] - 1)
    if missing <= 0:
        return prob
    if prob.shape[1] == 1:
        shares = [prob / num_classes] * num_classes
        return torch.cat([1 - prob, *shares], dim=1)
    share = prob[:, 1:2] / (missing + 1)
    return torch.cat([prob[:, :1], share, prob[:, 2:], *[share] * missing], dim=1)


def known_at_locations(
    group: GroupDataSample, channels: int, shape: Sequence[int], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """What the hints say of the locations of a feature map, and how much it counts.

    Args:
        channels: 1 for the object alone, or K + 1 with the background first.
        shape: height and width of the feature map.
        size: of the network's input.

    Returns:
        Labels (N, channels, h, w) in [0, 1], and weights (N, h, w), 0 where nothing is known.
    """
    labels = torch.zeros(len(group), channels, *shape)
    weights = torch.zeros(len(group), *shape)
    for number, sample in enumerate(group):
        if 'hints' in sample:
            maps = _at_locations(sample, channels, shape, size)
            weights[number] = maps[-1]
            labels[number] = maps[:-1] / maps[-1].clamp(min=1e-6)
    strongest = weights.amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    weights = weights / strongest
    total = weights.sum(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    return labels, weights * (IMAGE_WEIGHT / total).clamp(max=LOCATION_WEIGHT)


def _at_locations(
    sample: CoSegDataSample, channels: int, shape: Sequence[int], size: tuple[int, int]
) -> Tensor:
    """How much of each location has each label, and is known at all: (channels + 1, h, w)."""
    known, sure = sample.hints.data[0].long(), sample.hints.sure[0]
    first = 1 if channels == 1 else 0
    values = known.masked_fill(known == UNKNOWN, channels + first)
    maps = F.one_hot(values, channels + first + 1).permute(2, 0, 1)[first:-1].float()
    counts = torch.where(sure, 1.0, LIKELY) * (known != UNKNOWN)
    maps = torch.cat([maps * counts, counts[None]])[None]
    maps = pad_map(maps, sample.metainfo.get('img_shape', size)[:2], size)
    return maps_at_locations(maps, tuple(shape), size)[0]
