"""From one foreground to the classes that recur in it."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from ...errors import MMCosegError
from ...options import one_of
from ...registry import MODELS
from ...structures import GroupDataSample, NumClasses, check_num_classes, num_classes_of
from ..ops.class_clustering import ClassMethod, class_discriminants, cluster_classes
from ..ops.class_count import MOST_CLASSES, count_classes
from .group_context import GroupContext

__all__ = ['SplitClasses']


@MODELS.register_module()
class SplitClasses(BaseModule):
    """Refiner: K + 1 soft maps, background first, of the soft map of one foreground.

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
        method, num_clusters, num_seeds, num_components: of ``cluster_classes``.
        rounds: of learning; 0 for none.
        ridge: of :func:`~mmcoseg.models.ops.class_discriminants`.
        keep: weight of the clusters in the average.
        union: see above.
        max_classes: the largest K of ``'auto'``.

    Raises:
        MMCosegError: for options out of range; while working, if it is not known how many classes a
            group has, or they are too many for ``num_clusters``.
    """

    # Codes are centered over the group before anything else.
    rotation_invariant = True

    def __init__(
        self,
        num_classes: NumClasses = 2,
        levels: Sequence[int] = (-1,),
        method: ClassMethod = 'objects',
        num_clusters: int = 8,
        num_seeds: int = 64,
        num_components: int = 64,
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
        most = dict(data=1, auto=min(max_classes, MOST_CLASSES)).get(num_classes, num_classes)
        if num_clusters <= most or num_seeds < 1 or rounds < 0 or max_classes < 1:
            raise MMCosegError(
                'num_seeds and max_classes must be at least 1, num_clusters more than there may be '
                f'classes (num_classes={num_classes!r}: {most}), and rounds at least 0; got '
                f'{num_seeds}, {max_classes}, {num_clusters}, {rounds}'
            )
        if not 0 <= keep <= 1 or ridge < 0:
            raise MMCosegError(f'keep must be from 0 to 1 and ridge from 0, got {keep} and {ridge}')
        self.num_classes = num_classes
        self.max_classes = max_classes
        self.levels = tuple(levels)
        self.rounds = rounds
        self.ridge = ridge
        self.keep = keep
        self.union = union
        self.options = dict(
            method=method,
            num_clusters=num_clusters,
            num_seeds=num_seeds,
            num_components=num_components,
        )

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The chosen levels, each location normalized: (n, sum d, h, w)."""
        return torch.cat([F.normalize(feats[level], dim=1) for level in self.levels], dim=1)

    def forward(self, prob: Tensor, context: GroupContext) -> Tensor:
        """Soft maps (N, K + 1, h, w) at the resolution of the descriptors, each location's sum 1.

        Args:
            prob: of the foreground, (N, 1, h', w').
            context: with this refiner's descriptors.
        """
        descriptors = context.own
        shape = tuple(descriptors.shape[-2:])
        foreground = prob.float().cpu()
        if tuple(prob.shape[-2:]) != shape:
            foreground = F.interpolate(
                foreground, size=shape, mode='bilinear', align_corners=False, antialias=True
            )
        num_classes = self._num_classes_of(context.group, descriptors, foreground[:, 0])
        if num_classes == 1 and self.options['method'] == 'objects':
            return torch.cat([1 - foreground, foreground], dim=1).to(descriptors.device)
        clusters = cluster_classes(descriptors, foreground[:, 0], num_classes, **self.options)
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
        if number >= self.options['num_clusters']:
            raise MMCosegError(
                f'the group {group.get("group")!r} has {number} classes, too many for '
                f'num_clusters={self.options["num_clusters"]} of SplitClasses: set it to '
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
