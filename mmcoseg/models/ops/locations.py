"""Where the locations of a map of features lie on the image, and from one to the other."""

from torch import Tensor
from torch.nn import functional as F

from .resize import resize

__all__ = ['corners_aligned', 'maps_at_locations', 'maps_at_pixels', 'pad_map']


def corners_aligned(size: tuple[int, int], shape: tuple[int, int]) -> bool:
    """Whether the centers of the outermost locations lie on the image's outermost pixels.

    So they do for backbones with symmetric padding, on sides of 32 k + 1: the way from the first
    pixel to the last is then a whole number of strides. Those of backbones that pool or cut
    patches lie half a stride inside.

    ``size`` is height and width of the image in pixels, ``shape`` those of the map in locations.

    Example:
        >>> corners_aligned((385, 385), (25, 25)), corners_aligned((224, 224), (16, 16))
        (True, False)
    """
    return all(map(_aligned, size, shape))


def _aligned(side: int, locations: int) -> bool:
    if locations < 2 or (side - 1) % (locations - 1):
        return False
    stride = (side - 1) // (locations - 1)
    return stride & (stride - 1) == 0


def maps_at_pixels(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (n, C, h, w) of locations at the pixels of the image, (n, C, *size), bilinearly."""
    return resize(maps, size, align_corners=corners_aligned(size, maps.shape[-2:]))


def maps_at_locations(maps: Tensor, shape: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Means of maps (n, C, H, W) around the locations of a feature map: (n, C, *shape).

    The maps cover the whole image at any resolution; ``size`` is that of the image that went
    through the network.
    """
    if not corners_aligned(size, shape):
        return F.adaptive_avg_pool2d(maps, shape)
    # Two parts for each stride and one for each end, so that every location has one in the middle.
    halves = F.adaptive_avg_pool2d(maps, [2 * n - 1 for n in shape])
    return F.avg_pool2d(halves, 3, stride=2, padding=1, count_include_pad=False)


def pad_map(maps: Tensor, part: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Maps of images as maps of the same images with padding at the right and the bottom.

    Args:
        maps: (n, C, h, w), covering the image without padding at any resolution.
        part: height and width of the image without padding.
        size: with padding, where the result is 0.
    """
    if tuple(part) == tuple(size):
        return maps
    full = F.pad(resize(maps, part), (0, size[1] - part[1], 0, size[0] - part[0]))
    return F.adaptive_avg_pool2d(full, maps.shape[-2:])
