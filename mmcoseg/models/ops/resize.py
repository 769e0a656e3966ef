"""Resizing of maps."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

__all__ = ['resize']


def resize(
    maps: Tensor, size: Sequence[int], antialias: bool = False, align_corners: bool = False
) -> Tensor:
    """Maps (N, C, h, w), bilinearly at another height and width; as they are where these fit.

    Args:
        antialias: take means where the maps shrink, rather than samples.
        align_corners: the outermost locations stay on the outermost pixels.
    """
    size = tuple(size)
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size, None, 'bilinear', align_corners, antialias=antialias)
