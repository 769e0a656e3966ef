"""A modulator of a third party."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcoseg.models import Modulation, Modulator
from mmcoseg.registry import MODELS
from mmcoseg.structures import split_groups

__all__ = ['PrototypeModulator']


@MODELS.register_module()
class PrototypeModulator(Modulator):
    """Add to every location how like it is to the group's mean descriptor.

    Args:
        in_channels: channels of the coarsest level.
        channels: of the descriptors.
    """

    def __init__(self, in_channels: int, channels: int = 64) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, channels, 1)

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Descriptors of unit length, (n, channels, h, w)."""
        return F.normalize(self.project(feats[-1]), dim=1)

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: cosine to the mean of the location's own group, (sum N, 1, h, w)."""
        maps = []
        for group in split_groups(descriptors, group_sizes):
            prototype = F.normalize(group.mean(dim=(0, 2, 3)), dim=0)
            maps.append(torch.einsum('nchw,c->nhw', group, prototype))
        return Modulation(shift=torch.cat(maps).unsqueeze(1))
