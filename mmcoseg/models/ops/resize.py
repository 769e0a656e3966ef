"""Resizing of maps."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

__all__ = ['resize']


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (N, C, h, w), bilinearly at another height and width; as they are where these fit."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode='bilinear', align_corners=False)
