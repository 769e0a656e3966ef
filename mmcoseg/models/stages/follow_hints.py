"""A person's hints as a stage: what is said of one image counts for all of the group."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...registry import MODELS
from ...structures import (
    CoSegDataSample,
    ExampleMask,
    GroupDataSample,
    hint_map,
    hinted_classes,
    num_named_classes,
)
from ..ops.hints import HintPosterior, match_best_overlap, order_classes
from ..ops.locations import maps_at_locations
from ..ops.resize import resize
from .group_stage import Descriptors, GroupContext, GroupStage
from .split_classes import SplitClasses

__all__ = ['FollowHints', 'known_at_locations', 'split_object']

#: What a location counts at most, and all of one image together.
LOCATION_WEIGHT, IMAGE_WEIGHT = 0.03, 1.0
#: What a pixel counts whose label is only likely.
LIKELY = 0.3
#: How much less hints that are only likely count where classes are named.
UNSURE = 1e-3
#: Classes that one object is split into at most; clusterings of more take long.
MOST_SPLIT = 12


@MODELS.register_module()
class FollowHints(GroupStage):
    """Corrects the maps of all images by what ``sample.hints`` say of pixels of some images.

    See :class:`~mmcoseg.models.ops.hints.HintPosterior`. A location counts 0.03, and all locations
    of an image together at most 1, so that a whole mask does not outweigh many clicks. Without
    hints the maps stay as they are.

    Hints of K classes make K + 1 maps, the background first. Where one object came in, it is split
    into K classes (:class:`SplitClasses`). Each class of the hints gets the map that fits it best;
    where there are too few, new ones are as likely as the first. Classes that have a name, but no
    hint, are not found.

    Args:
        levels: indices of the backbone's levels that are compared, of one resolution;
            l2-normalized one by one, so that each counts the same.
    """

    def __init__(self, levels: Sequence[int] = (-1,)) -> None:
        super().__init__()
        self.descriptors = Descriptors(tuple(levels), normalized=True)
        self.splitter = SplitClasses(levels=levels)

    def forward(self, context: GroupContext) -> Tensor:
        """Soft maps (N, C, h, w), at the descriptors' resolution where there are hints."""
        prob = self.maps_before(context)
        if not any('hints' in sample for sample in context.group):
            return prob
        posterior = self.posterior(context)
        shape = posterior.size
        before = self._classes_before(context, resize(prob.float().cpu(), shape))
        labels, weights, sure = known_at_locations(
            context.group, before.shape[1], shape, context.images.size
        )
        said = weights.flatten(1).any(dim=1).tolist()  # nothing by a mask of void alone
        if not any(said):
            return prob
        examples = [i for i, sample in enumerate(context.group) if said[i] and _has_example(sample)]
        # What is only likely, as in a box, names a class where nothing surer does.
        before = order_classes(before, labels, weights * (sure + UNSURE))
        after = posterior.maps(before, labels, weights, examples)
        return match_best_overlap(after, before)

    def posterior(self, context: GroupContext) -> HintPosterior:
        """What hints are compared by in a group; found once."""
        if 'hint_posterior' not in context.kept:
            context.kept['hint_posterior'] = HintPosterior(context.descriptors[self.descriptors])
        return context.kept['hint_posterior']

    def _classes_before(self, context: GroupContext, prob: Tensor) -> Tensor:
        """The maps (N, C, h, w) that hints correct; of classes without hints they are 0."""
        shown = hinted_classes(context.group)
        if prob.shape[1] == 1 and 1 < len(shown) <= MOST_SPLIT:
            maps = self._split(context, prob, len(shown))
        else:
            maps = split_object(prob, len(shown))
        number = num_named_classes(context.group)
        if number > 1 and maps.shape[1] == 1:
            maps = torch.cat([1 - maps, maps], dim=1)
        missing = max(0, number + 1 - maps.shape[1]) if number > 1 else 0
        return F.pad(maps, (0, 0, 0, 0, 0, missing))

    def _split(self, context: GroupContext, prob: Tensor, number: int) -> Tensor:
        """Maps (N, K + 1, h, w) of the classes that recur in an object; found once a group."""
        if ('classes', number) not in context.kept:
            descriptors = context.descriptors[self.descriptors]
            context.kept['classes', number] = self.splitter.split(descriptors, prob, number).cpu()
        return context.kept['classes', number]


def _has_example(sample: CoSegDataSample) -> bool:
    return any(isinstance(hint, ExampleMask) for hint in sample.get('hints', ()))


def split_object(prob: Tensor, num_classes: int) -> Tensor:
    """Maps (N, K + 1, h, w) of at least so many classes; new ones are as likely as the first.

    So a location that was object stays object. The map of one object stays as it is where there is
    one class.
    """
    missing = num_classes - max(1, prob.shape[1] - 1)
    if missing <= 0:
        return prob
    if prob.shape[1] == 1:
        prob = torch.cat([1 - prob, prob], dim=1)
    maps = torch.cat([prob, *[prob[:, 1:2]] * missing], dim=1)
    return maps / maps.sum(dim=1, keepdim=True)


def known_at_locations(
    group: GroupDataSample, channels: int, shape: Sequence[int], size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """What the hints say of the locations of a feature map, and how much it counts.

    Args:
        channels: 1 for the object alone, or K + 1 with the background first.
        shape: height and width of the feature map.
        size: of the network's input.

    Returns:
        Labels (N, channels, h, w) in [0, 1]; weights (N, h, w), 0 where nothing is known; and how
        much of each location is sure, (N, h, w) in [0, 1].
    """
    labels = torch.zeros(len(group), channels, *shape)
    weights, sure = torch.zeros(2, len(group), *shape)
    for number, sample in enumerate(group):
        if 'hints' in sample:
            shares, sure[number] = _known_shares(sample, channels, shape, size)
            total = shares.sum(dim=0)
            # A map of the object alone is what is left without the background.
            labels[number] = shares[-channels:] / total.clamp(min=1e-6)
            weights[number] = total
    strongest = weights.amax(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    weights = weights / strongest
    total = weights.sum(dim=(1, 2), keepdim=True).clamp(min=1e-6)
    return labels, weights * (IMAGE_WEIGHT / total).clamp(max=LOCATION_WEIGHT), sure


def _known_shares(
    sample: CoSegDataSample, channels: int, shape: Sequence[int], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """How much of each location has each label, (max(2, channels), h, w), and is sure, (h, w)."""
    part = sample.metainfo.get('img_shape', size)[:2]
    original = sample.metainfo.get('ori_shape', part)[:2]
    known = hint_map(sample.hints, original, part, max(1, channels - 1))
    labels = torch.from_numpy(known.labels)
    counts = torch.from_numpy(known.sure).float().clamp(min=LIKELY)
    maps = [(labels == label) * counts for label in range(max(2, channels))]
    maps.append(torch.from_numpy(known.sure).float())
    padding = (0, size[1] - part[1], 0, size[0] - part[0])
    found = maps_at_locations(F.pad(torch.stack(maps)[None], padding), tuple(shape), size)[0]
    return found[:-1], found[-1]
