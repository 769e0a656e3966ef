"""What a stage of a training-free segmentor is: it looks at a group and gives soft maps."""

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from ...errors import MMCosegError
from ...structures import GroupDataSample, GroupImages
from .feature_store import FeatureStore

__all__ = ['Descriptors', 'GroupContext', 'GroupCue', 'GroupStage']


@dataclass(frozen=True)
class Descriptors:
    """Which descriptors of the images a stage looks at. Stages that want the same share them.

    A subclass may compute others: any frozen dataclass that is called with the backbone's levels.

    Attributes:
        levels: indices of the backbone's levels, of one resolution.
        normalized: l2-normalize each location, level by level, so that each level counts the same.
        nonnegative: negative values count as 0.
        rotation_invariant: the stage depends on them only through the inner products of locations.
            They may then be kept in an orthonormal basis of few dimensions.
    """

    levels: tuple[int, ...]
    normalized: bool = False
    nonnegative: bool = False
    rotation_invariant: bool = True

    def __call__(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Descriptors (n, sum d, h, w) of images whose levels are ``feats``, fine to coarse."""
        levels = [feats[index].detach() for index in self.levels]
        if self.normalized:
            levels = [F.normalize(level, dim=1) for level in levels]
        joined = torch.cat(levels, dim=1)
        return joined.clamp(min=0) if self.nonnegative else joined


@dataclass
class GroupContext:
    """What a stage may look at, of a group of N images.

    Attributes:
        images: of the group.
        group: the group's sample; without predictions, since those come last.
        descriptors: by what stages asked for, (N, d, h, w) float16.
        saliency: of the images, (N, 1, h, w) in [0, 1], where the pipeline gives it.
        maps: what each stage so far gave, by the stage's name, (N, C, h, w) in [0, 1].
        prob: what the last stage gave.
        stores: what keeps the descriptors.
        kept: what stages keep for the next time that they are called with the group.
    """

    images: GroupImages
    group: GroupDataSample
    descriptors: dict[Descriptors, Tensor] = field(default_factory=dict)
    saliency: Tensor | None = None
    maps: dict[str, Tensor] = field(default_factory=dict)
    prob: Tensor | None = None
    stores: dict[Descriptors, FeatureStore] = field(default_factory=dict)
    kept: dict[Any, Any] = field(default_factory=dict)


class GroupStage(BaseModule, metaclass=ABCMeta):
    """Base class of stages: from a :class:`GroupContext` to soft maps of the group.

    A subclass is registered in ``MODELS`` and named in a config under ``model.stages``. Stages act
    in the order of the config; the maps of the last one are the prediction.

    Attributes:
        descriptors: what of the backbone it looks at, ``context.descriptors[self.descriptors]``;
            None for nothing.
    """

    descriptors: Descriptors | None = None

    @abstractmethod
    def forward(self, context: GroupContext) -> Tensor:
        """Soft maps (N, C, h, w) in [0, 1] at any resolution; C as of ``pred_prob``."""

    def maps_before(self, context: GroupContext) -> Tensor:
        """The maps of the stage before, for stages that refine them."""
        if context.prob is None:
            raise MMCosegError(
                f'{type(self).__name__} refines the maps of the stage before it, but is the first '
                'of model.stages: put a cue such as ConsensusCue before it'
            )
        return context.prob


class GroupCue(GroupStage):
    """Base class of stages that find the object from descriptors alone, group by group."""

    @abstractmethod
    def group_maps(self, descriptors: Tensor, saliency: Tensor | None) -> Tensor:
        """Where the object is, (N, h, w) in [0, 1], by descriptors (N, d, h, w) of one group.

        ``saliency`` is that of the images, (N, 1, h', w') in [0, 1], or None.
        """

    def forward(self, context: GroupContext) -> Tensor:
        maps = self.group_maps(context.descriptors[self.descriptors], context.saliency)
        return maps.unsqueeze(1).float()
