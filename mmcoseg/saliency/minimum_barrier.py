"""MB+ saliency: the barrier on the way to the border, and unlikeness to the border.

J. Zhang, S. Sclaroff, Z. Lin, X. Shen, B. Price and R. Mech, Minimum barrier salient object
detection at 80 FPS, ICCV 2015.
"""

from itertools import pairwise

import numpy as np

from .images import at_image_size, unit_range, working_lab

__all__ = ['border_dissimilarity', 'minimum_barrier', 'minimum_barrier_distance']

#: Larger images are made this large first, in pixels.
LONG_SIDE = 200


def minimum_barrier(
    image: np.ndarray, center: float | None = 0.35, contrast: float = 0.0
) -> np.ndarray:
    """Saliency of pixels by the barrier on the way to the border and unlikeness to the border.

    The barrier distances of the three Lab channels are combined by their Euclidean norm (the paper
    sums them; on photographs the norm is a little better).

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) uint8 gray.
        center: standard deviation, in units of the image's height and width, of the Gaussian around
            the center that the map is multiplied by. None leaves it out.
        contrast: steepness of the sigmoid that ends the map; 10 in the paper. It makes the map
            nearly binary (a smaller mean error, but worse masks by Otsu's threshold). 0 leaves it
            out.

    Returns:
        (H, W) float32 in [0, 1].

    Raises: MMCosegError: for another array than a uint8 image, or an empty one.
    """
    lab = working_lab(image, LONG_SIDE)
    height, width = lab.shape[:2]
    seeds = np.zeros((height, width), bool)
    seeds[[0, -1]] = seeds[:, [0, -1]] = True
    barrier = np.linalg.norm(minimum_barrier_distance(lab, seeds), axis=2)
    saliency = unit_range(barrier) + unit_range(border_dissimilarity(lab))
    if center is not None:
        y = (np.arange(height) - (height - 1) / 2) / height
        x = (np.arange(width) - (width - 1) / 2) / width
        saliency = saliency * np.exp(-(y[:, None] ** 2 + x**2) / (2 * center**2))
    saliency = unit_range(saliency)
    if contrast and saliency.any():
        high = saliency >= 0.5
        middle = (saliency[high].mean() + saliency[~high].mean()) / 2
        saliency = 1 / (1 + np.exp(-contrast * (saliency - middle)))
    return at_image_size(saliency, image)


def minimum_barrier_distance(values: np.ndarray, seeds: np.ndarray, passes: int = 3) -> np.ndarray:
    """The barrier - highest minus lowest value on the way - from each pixel to the seeds.

    The raster scans of FastMBD (Algorithm 1): each pass carries the best ways found on to the next
    pixels, in turn from above and the left, and from below and the right. A diagonal only needs the
    diagonal before it, so whole diagonals, of all channels, are worked on at a time; the result is
    exactly that of the pixel-by-pixel scan. Every distance found is that of a real way, hence never
    below the true minimum.

    Args:
        values: (H, W) or (H, W, C), each channel on its own; float32 is calculated with.
        seeds: (H, W) bool, at least one True.
        passes: number of scans, at least 2: after two each pixel has been reached.

    Returns:
        float32 of the shape of ``values``, 0 at the seeds.
    """
    height, width = seeds.shape
    channels = values.reshape(height, width, -1).shape[2]
    # Diagonals become rows. Pixel (y, x) lies in row y + x at y, so that its neighbors above and
    # to the left lie in the row before, at y - 1 and at y.
    y, x = np.mgrid[:height, :width]
    diagonals = height + width - 1
    level = np.zeros((diagonals, height, channels), np.float32)
    level[y + x, y] = values.reshape(height, width, -1)
    cost = np.full_like(level, np.inf)
    cost[y + x, y] = np.where(seeds, 0, np.inf)[..., None]
    level, cost = level.reshape(diagonals, -1), cost.reshape(diagonals, -1)
    # Highest and lowest value of the way found; where none is, its barrier is infinite.
    reached = cost == 0
    high = np.where(reached, level, np.inf).astype(np.float32)
    low = np.where(reached, level, -np.inf).astype(np.float32)
    number = np.arange(diagonals)
    start = np.maximum(0, number - width + 1) * channels
    stop = np.minimum(height, number + 1) * channels

    def carry(source: int, target: int, offset: int) -> None:
        """Lengthen the ways of one diagonal to the pixels ``offset`` further on another."""
        begin = max(start[target], start[source] + offset)
        end = min(stop[target], stop[source] + offset)
        here, there = slice(begin, end), slice(begin - offset, end - offset)
        highest = np.maximum(high[source, there], level[target, here])
        lowest = np.minimum(low[source, there], level[target, here])
        barrier = highest - lowest
        better = barrier < cost[target, here]
        np.copyto(cost[target, here], barrier, where=better)
        np.copyto(high[target, here], highest, where=better)
        np.copyto(low[target, here], lowest, where=better)

    forward = range(diagonals)
    ways = (forward, channels), (forward[::-1], -channels)
    for index in range(passes):
        order, offset = ways[index % 2]
        for source, target in pairwise(order):
            carry(source, target, offset)
            carry(source, target, 0)
    return cost.reshape(diagonals, height, channels)[y + x, y].reshape(values.shape)


def border_dissimilarity(lab: np.ndarray, width: float = 0.1) -> np.ndarray:
    """Unlikeness to the colors along the image's border (the addition of MB+).

    For each of the four sides the Mahalanobis distance to the strip's mean color under its
    covariance, divided by its maximum; the sum of the four minus the largest, so that an object
    that covers one side does not hide itself.

    Of (H, W, 3) float32 CIE Lab it is (H, W) float32 in [0, 3]; ``width`` is that of a strip, in
    units of the shorter side.
    """
    height = lab.shape[0]
    deep = max(1, round(width * min(lab.shape[:2])))
    colors = lab.reshape(-1, 3).astype(np.float64)
    maps = []
    for strip in (lab[:deep], lab[-deep:], lab[:, :deep], lab[:, -deep:]):
        strip = strip.reshape(-1, 3).astype(np.float64)
        # Of one unit of Lab nothing can be said: a strip of one color has a covariance of 0.
        covariance = np.cov(strip, rowvar=False, bias=True) + np.eye(3)
        off = colors - strip.mean(0)
        apart = np.sqrt(np.maximum((off @ np.linalg.inv(covariance) * off).sum(1), 0))
        maps.append(apart / (apart.max() or 1.0))
    stacked = np.stack(maps)
    return (stacked.sum(0) - stacked.max(0)).reshape(height, -1).astype(np.float32)
