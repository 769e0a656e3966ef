"""Images as the methods that need no training look at them."""

import cv2
import numpy as np

from ..errors import MMCosegError

__all__ = [
    'ROUNDING',
    'at_image_size',
    'region_means',
    'texture_energy',
    'unit_range',
    'working_lab',
]

#: Mean colors nearer than this, in units of Lab, differ by rounding only.
ROUNDING = 1e-3


def working_lab(image: np.ndarray, long_side: int) -> np.ndarray:
    """(h, w, 3) float32 CIE Lab (L in [0, 100]), no side above ``long_side``."""
    image = np.atleast_3d(image)
    if image.dtype != np.uint8 or not image.size or image.shape[2:] not in ((1,), (3,)):
        raise MMCosegError(
            'an image must be (H, W, 3) or (H, W) uint8 and not empty, got '
            f'{image.dtype} {image.shape}'
        )
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    scale = long_side / max(image.shape[:2])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)


def texture_energy(lab: np.ndarray) -> np.ndarray:
    """Local strength of the lightness' bands around 1, 2 and 4 pixels, (H, W, 3) float32."""
    bands, finer = [], lab[..., 0]
    for sigma in (1, 2, 4):
        coarser = cv2.GaussianBlur(lab[..., 0], (0, 0), sigma)
        bands.append(cv2.GaussianBlur(np.abs(finer - coarser), (0, 0), 2))
        finer = coarser
    return np.stack(bands, 2)


def region_means(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n, C) float64, the mean of values (H, W, C) over each of the labels (H, W)."""
    flat = labels.reshape(-1)
    channels = values.reshape(flat.size, -1).T
    sums = np.stack([np.bincount(flat, channel) for channel in channels], 1)
    return sums / np.bincount(flat)[:, None]


def unit_range(values: np.ndarray) -> np.ndarray:
    """Stretched to [0, 1]; zeros where all are equal but for rounding."""
    low, high = values.min(), values.max()
    if high - low <= 1e-6 * max(abs(high), abs(low)):
        return np.zeros_like(values)
    return (values - low) / (high - low)


def at_image_size(saliency: np.ndarray, image: np.ndarray) -> np.ndarray:
    """At the image's size, float32 in [0, 1]."""
    return np.clip(cv2.resize(saliency.astype(np.float32), image.shape[1::-1]), 0, 1)
