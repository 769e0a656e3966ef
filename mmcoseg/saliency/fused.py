"""Where two methods agree."""

import numpy as np

from .images import unit_range
from .minimum_barrier import minimum_barrier
from .robust_background import robust_background_detection

__all__ = ['fused_saliency']

#: A dark border that is one map's doubt must not veto the other map altogether.
FUSION_FLOOR = 0.2


def fused_saliency(image: np.ndarray) -> np.ndarray:
    """The product of RBD and MB+, each raised by a floor; high where both agree.

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) uint8 gray.

    Returns:
        (H, W) float32 in [0, 1].

    Raises: MMCosegError: for another array than a uint8 image, or an empty one.

    Example:
        >>> image = np.full((60, 80, 3), 200, np.uint8)
        >>> image[20:40, 30:50] = (30, 40, 180)
        >>> saliency = fused_saliency(image)
        >>> bool(saliency[30, 40] > 0.9), bool(saliency[5, 5] < 0.1)
        (True, True)
    """
    region = robust_background_detection(image) + FUSION_FLOOR
    pixel = minimum_barrier(image) + FUSION_FLOOR
    return unit_range(region * pixel)
