"""A cue of training-free segmentors as a modulator."""

import torch
from torch import Tensor

from ...registry import MODELS
from ...structures import split_groups
from ..stages import GroupCue
from .modulator import Modulation, Modulator

__all__ = ['CueModulator']


@MODELS.register_module()
class CueModulator(Modulator):
    """A spatial modulator whose S is what a cue finds in the group; nothing in it is trained.

    Args:
        cue: config of a :class:`GroupCue`. In place of saliency it sees the maps of the modulators
            before it.
    """

    def __init__(self, cue: dict) -> None:
        super().__init__()
        self.cue: GroupCue = MODELS.build(cue)

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The descriptors that the cue looks at, (n, d, h, w)."""
        return self.cue.descriptors(feats)

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: S of all images, (sum N, 1, h, w) in [0, 1]."""
        groups = split_groups(descriptors, group_sizes)
        before = [None] * len(groups)
        if previous.shift is not None:
            before = split_groups(previous.shift, group_sizes)
        maps = [self.cue.group_maps(group, shift) for group, shift in zip(groups, before)]
        return Modulation(shift=torch.cat(maps).unsqueeze(1))
