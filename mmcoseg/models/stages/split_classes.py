"""From one foreground to the classes that recur in it."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import MMCosegError
from ...options import in_range, one_of, whole_number
from ...registry import MODELS
from ...structures import GroupDataSample, NumClasses, check_num_classes, num_classes_of
from ..ops.class_clustering import ClassMethod, class_discriminants, cluster_classes
from ..ops.class_count import MOST_CLASSES, count_classes
from .group_stage import Descriptors, GroupContext, GroupStage

__all__ = ['SplitClasses']


@MODELS.register_module()
class SplitClasses(GroupStage):
    """K + 1 soft maps, background first, of the soft map of one foreground.

    The group's locations are clustered (:func:`~mmcoseg.models.ops.cluster_classes`); then, in each
    round, discriminants of the classes are learned from the maps so far, and their posteriors are
    averaged with the clusters, which keep the classes from drifting. With ``union`` a location is
    foreground in the end where the classes or the foreground that came in say so (the probability
    that not both of two independent ones say no); which class, the posteriors say. Only refiners
    that take several classes can come behind it. A single class, of the method ``'objects'``, is
    the foreground that came in.

    Args:
        num_classes: K: a number; ``'data'`` for what the data set says of each group (metainfo
            ``num_classes``); ``'auto'`` for an estimate
            (:func:`~mmcoseg.models.ops.count_classes`), which becomes the group's metainfo
            ``class_count``.
        levels: indices of the backbone's levels that are looked at, of one resolution; locations
            are l2-normalized level by level, so that each level counts the same.
        method, num_clusters, num_seeds: of ``cluster_classes``.
        rounds: of learning; 0 for none.
        ridge: of :func:`~mmcoseg.models.ops.class_discriminants`.
        keep: weight of the clusters in the average.
        union: see above.
        max_classes: the largest K of ``'auto'``.

    Raises:
        MMCosegError: for options out of range; while working, if it is not known how many classes a
            group has, or they are too many for ``num_clusters``.
    """

    def __init__(
        self,
        num_classes: NumClasses = 2,
        levels: Sequence[int] = (-1,),
        method: ClassMethod = 'objects',
        num_clusters: int = 8,
        num_seeds: int = 64,
        rounds: int = 2,
        ridge: float = 0.1,
        keep: float = 0.3,
        union: bool = True,
        init_cfg: dict | None = None,
        max_classes: int = MOST_CLASSES,
    ) -> None:
        super().__init__(init_cfg)
        check_num_classes(num_classes)
        one_of('method', method, ClassMethod)
        whole_number('num_seeds', num_seeds)
        whole_number('rounds', rounds, 0)
        whole_number('max_classes', max_classes)
        in_range('keep', keep, 0, 1)
        in_range('ridge', ridge, 0)
        self.num_classes = num_classes
        self.max_classes = max_classes
        self.descriptors = Descriptors(tuple(levels), normalized=True)
        self.rounds = rounds
        self.ridge = ridge
        self.keep = keep
        self.union = union
        self.method = method
        self.num_clusters = num_clusters
        self.num_seeds = num_seeds
        self.choose_classes(None, None)

    def choose_classes(self, num_classes: NumClasses | None, max_classes: int | None) -> None:
        """Take the model's ``num_classes`` and ``max_classes``, where these are not None."""
        if num_classes is not None:
            self.num_classes = num_classes
        if max_classes is not None:
            self.max_classes = max_classes
        most = dict(data=1, auto=min(self.max_classes, MOST_CLASSES))
        if self.num_clusters <= most.get(self.num_classes, self.num_classes):
            raise MMCosegError(
                f'num_clusters={self.num_clusters} of SplitClasses must be more than there may be '
                f'classes: num_classes={self.num_classes!r}, max_classes={self.max_classes}'
            )

    def forward(self, context: GroupContext) -> Tensor:
        """Soft maps (N, K + 1, h, w) at the descriptors' resolution; each location sums to 1."""
        descriptors = context.descriptors[self.descriptors]
        foreground = self.maps_before(context).float().cpu()
        shape = tuple(descriptors.shape[-2:])
        if tuple(foreground.shape[-2:]) != shape:
            foreground = F.interpolate(
                foreground, size=shape, mode='bilinear', align_corners=False, antialias=True
            )
        num_classes = self._num_classes_of(context.group, descriptors, foreground[:, 0])
        if num_classes == 1 and self.method == 'objects':
            return torch.cat([1 - foreground, foreground], dim=1).to(descriptors.device)
        clusters = cluster_classes(
            descriptors,
            foreground[:, 0],
            num_classes,
            method=self.method,
            num_clusters=self.num_clusters,
            num_seeds=self.num_seeds,
        )
        current = clusters
        for _ in range(self.rounds):
            learned = class_discriminants(descriptors, current, self.ridge)
            current = self.keep * clusters + (1 - self.keep) * learned
        return with_foreground(current, foreground.to(current.device)) if self.union else current

    def _num_classes_of(
        self, group: GroupDataSample, descriptors: Tensor, foreground: Tensor
    ) -> int:
        """K of a group; where it is estimated, the group is told."""
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
        return number


def with_foreground(shares: Tensor, foreground: Tensor) -> Tensor:
    """K + 1 soft maps whose foreground is the union of their own and another.

    Args:
        shares: (N, K + 1, h, w), the background first, each location's sum 1.
        foreground: probability, (N, 1, h, w).

    Returns:
        Of the shape of ``shares``: background ``b (1 - f)``, of the background b and the foreground
        f; what is left is shared out as the classes are to each other, evenly where there is none.
    """
    background, classes = shares[:, :1], shares[:, 1:]
    total = classes.sum(dim=1, keepdim=True)
    even = torch.full_like(classes, 1 / classes.shape[1])
    among = torch.where(total > 1e-6, classes / total.clamp(min=1e-6), even)
    background = background * (1 - foreground)
    return torch.cat([background, (1 - background) * among], dim=1)
