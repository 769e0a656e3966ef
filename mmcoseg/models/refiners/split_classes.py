"""From one foreground to the classes that recur in it."""

from collections.abc import Sequence
from typing import get_args

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from ...registry import MODELS
from ..ops.class_clustering import ClassMethod, class_discriminants, cluster_classes
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
    that take several classes can come behind it.

    Args:
        num_classes: K.
        levels: indices of the backbone's levels that are looked at, of one resolution; locations
            are l2-normalised level by level, so that each level counts the same.
        method, num_clusters, num_seeds, num_components: of ``cluster_classes``.
        rounds: of learning; 0 for none.
        ridge: of :func:`~mmcoseg.models.ops.class_discriminants`.
        keep: weight of the clusters in the average.
        union: see above.

    Raises:
        ValueError: for options out of range.
    """

    # Codes are centred over the group before anything else.
    rotation_invariant = True

    def __init__(
        self,
        num_classes: int = 2,
        levels: Sequence[int] = (-1,),
        method: ClassMethod = 'objects',
        num_clusters: int = 8,
        num_seeds: int = 32,
        num_components: int = 64,
        rounds: int = 2,
        ridge: float = 0.1,
        keep: float = 0.3,
        union: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if method not in get_args(ClassMethod):
            raise ValueError(f'method must be one of {get_args(ClassMethod)}, got {method!r}')
        if num_classes < 1 or num_clusters <= num_classes or num_seeds < 1 or rounds < 0:
            raise ValueError(
                'num_classes and num_seeds must be at least 1, num_clusters more than num_classes, '
                f'and rounds at least 0; got {num_classes}, {num_seeds}, {num_clusters}, {rounds}'
            )
        if not 0 <= keep <= 1 or ridge < 0:
            raise ValueError(f'keep must be from 0 to 1 and ridge from 0, got {keep} and {ridge}')
        self.num_classes = num_classes
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
        """The chosen levels, each location normalised: (n, sum d, h, w)."""
        return torch.cat([F.normalize(feats[level], dim=1) for level in self.levels], dim=1)

    def forward(self, prob: Tensor, context: GroupContext) -> Tensor:
        """Soft maps (N, K + 1, h, w) at the resolution of the codes, each location's sum 1.

        Args:
            prob: of the foreground, (N, 1, h', w').
            context: with this refiner's codes.
        """
        codes = context.own
        shape = tuple(codes.shape[-2:])
        foreground = prob.float().cpu()
        if tuple(prob.shape[-2:]) != shape:
            foreground = F.interpolate(
                foreground, size=shape, mode='bilinear', align_corners=False, antialias=True
            )
        clusters = cluster_classes(codes, foreground[:, 0], self.num_classes, **self.options)
        current = clusters
        for _ in range(self.rounds):
            learned = class_discriminants(codes, current, self.ridge)
            current = self.keep * clusters + (1 - self.keep) * learned
        return with_foreground(current, foreground.to(current.device)) if self.union else current


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
