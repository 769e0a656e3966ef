"""From one foreground to the classes that recur in it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import MMCosegError
from ...options import one_of, whole_number
from ...registry import MODELS
from ...structures import (
    GroupDataSample,
    NumClasses,
    check_num_classes,
    hinted_classes,
    num_classes_of,
)
from ..ops.class_clustering import ClassMethod, class_discriminants, cluster_classes
from ..ops.class_count import MOST_CLASSES, count_classes
from ..ops.resize import resize
from .group_stage import Descriptors, GroupContext, GroupStage

__all__ = ['SplitClasses']

#: Of :func:`class_discriminants`.
RIDGE = 0.1
#: Weight of the clusters in the average.
KEEP = 0.3


@MODELS.register_module()
class SplitClasses(GroupStage):
    """K + 1 soft maps, background first, of the soft map of one foreground.

    The group's locations are clustered (:func:`~mmcoseg.models.ops.cluster_classes`). In each round
    discriminants of the classes are learned from the maps so far, and their posteriors are averaged
    with the clusters, which keep the classes from drifting. Stages after it must take several
    classes. A single class, of the method ``'objects'``, is the foreground that came in. Maps of
    several classes, which hints have told apart, stay as they are.

    Args:
        num_classes: K: a number; ``'data'`` for what the data set says of each group (metainfo
            ``num_classes``); ``'auto'`` for an estimate
            (:func:`~mmcoseg.models.ops.count_classes`), which becomes the group's metainfo
            ``class_count``. A person's hints on several classes say more.
        levels: indices of the backbone's levels that are looked at, of one resolution;
            l2-normalized one by one, so that each counts the same.
        method, num_clusters: of ``cluster_classes``.
        rounds: of learning; 0 for none.
        union: a location is foreground where the classes or the foreground that came in say so.
        max_classes: the largest K of ``'auto'``.
    """

    def __init__(
        self,
        num_classes: NumClasses = 2,
        levels: Sequence[int] = (-1,),
        method: ClassMethod = 'objects',
        num_clusters: int = 8,
        rounds: int = 2,
        union: bool = True,
        max_classes: int = MOST_CLASSES,
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        one_of('method', method, ClassMethod)
        whole_number('rounds', rounds, 0)
        self.num_classes = num_classes
        self.max_classes = max_classes
        self.descriptors = Descriptors(tuple(levels), normalized=True)
        self.rounds = rounds
        self.union = union
        self.method = method
        self.num_clusters = num_clusters
        self.choose_classes(None, None)

    def choose_classes(self, num_classes: NumClasses | None, max_classes: int | None) -> None:
        """Take the model's ``num_classes`` and ``max_classes``, where these are not None."""
        if num_classes is not None:
            self.num_classes = num_classes
        if max_classes is not None:
            self.max_classes = max_classes
        whole_number('max_classes', self.max_classes)
        most = dict(data=1, auto=min(self.max_classes, MOST_CLASSES))
        if self.num_clusters <= most.get(self.num_classes, self.num_classes):
            raise MMCosegError(
                f'num_clusters={self.num_clusters} of SplitClasses must be more than there may be '
                f'classes: num_classes={self.num_classes!r}, max_classes={self.max_classes}'
            )

    def forward(self, context: GroupContext) -> Tensor:
        """Soft maps (N, K + 1, h, w) at the descriptors' resolution; each location sums to 1."""
        descriptors = context.descriptors[self.descriptors]
        before = self.maps_before(context)
        if before.shape[1] > 1:
            return before
        foreground = resize(before.float().cpu(), descriptors.shape[-2:], antialias=True)
        num_classes = self._num_classes_of(context.group, descriptors, foreground[:, 0])
        return self.split(descriptors, foreground, num_classes)

    def split(self, descriptors: Tensor, foreground: Tensor, num_classes: int) -> Tensor:
        """Soft maps (N, K + 1, h, w) of the foreground (N, 1, h, w) at descriptors (N, d, h, w)."""
        if num_classes == 1 and self.method == 'objects':
            return torch.cat([1 - foreground, foreground], dim=1).to(descriptors.device)
        num_clusters = max(self.num_clusters, num_classes + 1)
        clusters = cluster_classes(
            descriptors, foreground[:, 0], num_classes, self.method, num_clusters
        )
        current = clusters
        for _ in range(self.rounds):
            learned = class_discriminants(descriptors, current, RIDGE)
            current = KEEP * clusters + (1 - KEEP) * learned
        return with_foreground(current, foreground.to(current.device)) if self.union else current

    def _num_classes_of(
        self, group: GroupDataSample, descriptors: Tensor, foreground: Tensor
    ) -> int:
        """K of a group; where it is estimated, the group is told."""
        shown = len(hinted_classes(group))
        if self.num_classes == 'auto' and shown > 1:
            return shown
        if self.num_classes == 'auto':
            count = count_classes(descriptors, foreground, self.max_classes)
            group.set_metainfo(dict(class_count=count))
            return count.num_classes
        number = num_classes_of(group, self.num_classes)
        if number >= self.num_clusters:
            raise MMCosegError(
                f'the group {group.get("group")!r} has {number} classes, too many for '
                f'num_clusters={self.num_clusters} of SplitClasses: set it to '
                f'{number + 1} or more'
            )
        return max(number, shown)


def with_foreground(shares: Tensor, foreground: Tensor) -> Tensor:
    """K + 1 soft maps whose foreground is the union of their own and another.

    Of the shares (N, K + 1, h, w), the background b first, and the foreground f (N, 1, h, w), the
    background becomes ``b (1 - f)``; what is left is shared out among the classes in their
    proportions, evenly where there are none.
    """
    background, classes = shares[:, :1], shares[:, 1:]
    total = classes.sum(dim=1, keepdim=True)
    even = torch.full_like(classes, 1 / classes.shape[1])
    among = torch.where(total > 1e-6, classes / total.clamp(min=1e-6), even)
    background = background * (1 - foreground)
    return torch.cat([background, (1 - background) * among], dim=1)
