"""Saliency without labels: where the objects of a single image are, judged by border and contrast.

- :func:`robust_background_detection` (RBD): W. Zhu, S. Liang, Y. Wei and J. Sun, Saliency
  optimization from robust background detection, CVPR 2014.
- :func:`minimum_barrier` (MB+): J. Zhang, S. Sclaroff, Z. Lin, X. Shen, B. Price and R. Mech,
  Minimum barrier salient object detection at 80 FPS, ICCV 2015.
- :func:`fused_saliency`: what both find. The better choice where no more is known.

Each takes an image as (H, W, 3) uint8 BGR or (H, W) uint8 gray and gives (H, W) float32 in [0, 1],
the same for the same image. An image of one color has saliency 0 everywhere.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from skimage.segmentation import slic

from ..errors import MMCosegError

__all__ = [
    'background_weighted_contrast',
    'border_dissimilarity',
    'boundary_connectivity',
    'fused_saliency',
    'minimum_barrier',
    'minimum_barrier_distance',
    'optimize_saliency',
    'robust_background_detection',
    'smoothness_weights',
    'superpixel_labels',
]

#: A dark border that is one map's doubt must not veto the other map altogether.
FUSION_FLOOR = 0.2
#: Mean colors nearer than this, in units of Lab, differ by rounding only.
ROUNDING = 1e-3


def fused_saliency(image: np.ndarray) -> np.ndarray:
    """The product of RBD and MB+, each raised by a floor; high where both agree.

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) uint8 gray.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        MMCosegError: if ``image`` is no uint8 array.
        MMCosegError: for a wrong shape or an empty image.

    Example:
        >>> image = np.full((60, 80, 3), 200, np.uint8)
        >>> image[20:40, 30:50] = (30, 40, 180)
        >>> saliency = fused_saliency(image)
        >>> bool(saliency[30, 40] > 0.9), bool(saliency[5, 5] < 0.1)
        (True, True)
    """
    region = robust_background_detection(image) + FUSION_FLOOR
    pixel = minimum_barrier(image) + FUSION_FLOOR
    return _unit_range(region * pixel)


def robust_background_detection(
    image: np.ndarray,
    superpixels: int | Sequence[int] = (150, 300),
    texture: float = 5.0,
    long_side: int = 300,
    compactness: float = 20.0,
    sigma_geodesic: float = 15.0,
    sigma_position: float = 0.25,
    sigma_boundary: float = 0.7,
    sigma_color: float = 10.0,
    mu: float = 0.1,
    background_weight: float = 5.0,
) -> np.ndarray:
    """Saliency of superpixels by how weakly their surroundings are tied to the image's border.

    The paper has one size of superpixels, color alone (``texture=0``), ``sigma_geodesic=10`` and
    ``sigma_boundary=1``. The defaults are what works best on photographs of everyday scenes: see
    ``benchmarks/saliency.py``.

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) uint8 gray.
        superpixels: number wanted; of several numbers, the mean of the maps is taken.
        texture: weight of three texture channels beside CIE Lab. 0 leaves them out.
        long_side: larger images are made this large first, in pixels.
        compactness: of SLIC's superpixels.
        sigma_geodesic: distance up to which superpixels count as the same region (Eq. 3).
        sigma_position: reach of contrast, in units of the long side (Eq. 6).
        sigma_boundary: boundary connectivity from which a superpixel is background (Eq. 7).
        sigma_color: distance up to which neighbors are to be equally salient (Eq. 10).
        mu: least smoothness between neighbors (Eq. 10).
        background_weight: of the background term of Eq. 9 against the foreground term.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        MMCosegError: if ``image`` is no uint8 array.
        MMCosegError: for a wrong shape, an empty image, or a number of superpixels below 1.
    """
    lab = _working_lab(image, long_side)
    energy = _texture(lab) * np.float32(texture)
    total = np.zeros(lab.shape[:2])
    counts = [superpixels] if isinstance(superpixels, int) else list(superpixels)
    for count in counts:
        labels = superpixel_labels(lab, count, compactness)
        features, centers = _region_means(labels, np.concatenate([lab, energy], 2))
        adjacent, border = _region_graph(labels)
        distance = _distances(features)
        distance[distance < ROUNDING] = 0
        connectivity = boundary_connectivity(distance, adjacent, border, sigma_geodesic)
        background = 1 - np.exp(-np.square(connectivity) / (2 * sigma_boundary**2))  # Eq. 7
        contrast = background_weighted_contrast(distance, centers, background, sigma_position)
        weights = smoothness_weights(distance, adjacent, border, sigma_color, mu)
        saliency = optimize_saliency(weights, background_weight * background, _unit_range(contrast))
        total += _unit_range(saliency)[labels]
    return _to_size(_unit_range(total), image)


def minimum_barrier(
    image: np.ndarray,
    long_side: int = 200,
    passes: int = 3,
    center: float | None = 0.35,
    contrast: float = 0.0,
) -> np.ndarray:
    """Saliency of pixels by the barrier on the way to the border and unlikeness to the border.

    The barrier distances of the three Lab channels are combined by their Euclidean norm (the paper
    sums them; on photographs the norm is a little better).

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) uint8 gray.
        long_side: larger images are made this large first, in pixels.
        passes: raster scans of the distance transform, at least 2.
        center: standard deviation, in units of the image's height and width, of the Gaussian around
            the center that the map is multiplied by. None leaves it out.
        contrast: steepness of the sigmoid that ends the map; 10 in the paper. It makes the map
            nearly binary (a smaller mean error, but worse masks by Otsu's threshold). 0 leaves it
            out.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        MMCosegError: if ``image`` is no uint8 array.
        MMCosegError: for a wrong shape, an empty image, or fewer than 2 passes.
    """
    lab = _working_lab(image, long_side)
    height, width = lab.shape[:2]
    seeds = np.zeros((height, width), bool)
    seeds[[0, -1]] = seeds[:, [0, -1]] = True
    barrier = np.linalg.norm(minimum_barrier_distance(lab, seeds, passes), axis=2)
    saliency = _unit_range(barrier) + _unit_range(border_dissimilarity(lab))
    if center is not None:
        y = (np.arange(height) - (height - 1) / 2) / height
        x = (np.arange(width) - (width - 1) / 2) / width
        saliency = saliency * np.exp(-(y[:, None] ** 2 + x**2) / (2 * center**2))
    saliency = _unit_range(saliency)
    if contrast and saliency.any():
        high = saliency >= 0.5
        middle = (saliency[high].mean() + saliency[~high].mean()) / 2
        saliency = 1 / (1 + np.exp(-contrast * (saliency - middle)))
    return _to_size(saliency, image)


def superpixel_labels(
    lab: np.ndarray, superpixels: int = 300, compactness: float = 20.0
) -> np.ndarray:
    """SLIC superpixels.

    Args:
        lab: (H, W, 3) float32 CIE Lab.
        superpixels: number wanted; about as many come out.
        compactness: the distance of colors that weighs as much as one superpixel's width.

    Returns:
        (H, W) int64 labels, 0 to n - 1, none missing.

    Raises:
        MMCosegError: if ``superpixels`` is below 1.
    """
    if superpixels < 1:
        raise MMCosegError(f'superpixels must be at least 1, got {superpixels}')
    # SLIC stretches the values to [0, 1]; compactness is to mean the same in every image.
    spread = float(lab.max() - lab.min()) or 1.0
    labels = slic(
        lab,
        min(superpixels, lab.shape[0] * lab.shape[1]),
        compactness=compactness / spread,
        max_num_iter=5,  # ten take twice as long and make no better maps
        convert2lab=False,
        start_label=0,
        channel_axis=2,
    )
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def boundary_connectivity(
    distance: np.ndarray, adjacent: np.ndarray, border: np.ndarray, sigma: float
) -> np.ndarray:
    """How much of a superpixel's region lies along the image's border (RBD, Eq. 2-5).

    Length on the border over the square root of the area of the soft region of superpixels that can
    be reached by short ways. A way leads over neighbors, and between any two superpixels of the
    border.

    Args:
        distance: (n, n) distance of the superpixels' mean colors.
        adjacent: (n, n) bool, symmetric, which superpixels touch.
        border: (n,) bool, which superpixels touch the image's border.
        sigma: length of a way at which a superpixel is still mostly of the region.

    Returns:
        (n,) float64, not negative.
    """
    linked = np.triu(adjacent | (border[:, None] & border), 1)
    i, j = linked.nonzero()
    # In a sparse graph zero means no edge, but equal colors are no distance apart.
    steps = np.maximum(distance[i, j], np.finfo(np.float32).tiny)
    geodesic = dijkstra(csr_matrix((steps, (i, j)), linked.shape), directed=False)  # Eq. 2
    similar = np.exp(-np.square(geodesic) / (2 * sigma**2))
    area, length = similar.sum(1), similar[:, border].sum(1)  # Eq. 3, 4
    return length / np.sqrt(area)


def background_weighted_contrast(
    distance: np.ndarray, centers: np.ndarray, background: np.ndarray, sigma: float
) -> np.ndarray:
    """Difference from what is near and likely to be background (RBD, Eq. 6 and 8).

    Args:
        distance: (n, n) distance of the superpixels' mean colors.
        centers: (n, 2) places of the superpixels.
        background: (n,) probability of background.
        sigma: reach, in the units of ``centers``.

    Returns:
        (n,) float64, not negative.
    """
    near = np.exp(-np.square(_distances(centers)) / (2 * sigma**2))
    return (distance * near) @ background


def smoothness_weights(
    distance: np.ndarray, adjacent: np.ndarray, border: np.ndarray, sigma: float, mu: float
) -> np.ndarray:
    """The weights of RBD's smoothness term (Eq. 10).

    Neighbors, neighbors of neighbors, and any two superpixels of the border are tied by the
    likeness of their colors; neighbors also by ``mu``.

    Returns:
        (n, n) float64, symmetric, zeros on the diagonal.
    """
    steps = adjacent.astype(np.float32)
    linked = adjacent | (steps @ steps > 0) | (border[:, None] & border)
    np.fill_diagonal(linked, False)
    return np.where(linked, np.exp(-np.square(distance) / (2 * sigma**2)), 0) + mu * adjacent


def optimize_saliency(
    weights: np.ndarray, background: np.ndarray, foreground: np.ndarray
) -> np.ndarray:
    """The saliency s that minimizes RBD's cost (Eq. 9), exactly.

    ``sum_i background_i s_i^2 + sum_i foreground_i (s_i - 1)^2 + sum_{i<j} w_ij (s_i - s_j)^2``

    Args:
        weights: (n, n) smoothness, symmetric and not negative.
        background: (n,) weights of being background, not negative.
        foreground: (n,) weights of being salient, not negative.

    Returns:
        (n,) float64 in [0, 1]. Superpixels that no term speaks of get 0.
    """
    diagonal = weights.sum(1) + background + foreground
    # Far below every weight that means something, it only keeps the matrix regular.
    diagonal = diagonal + 1e-12 * max(1.0, float(diagonal.max(initial=0)))
    return np.clip(np.linalg.solve(np.diag(diagonal) - weights, foreground), 0, 1)


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

    Raises:
        MMCosegError: if the shapes do not fit, there is no seed, or fewer than 2 passes.
    """
    if values.ndim not in (2, 3) or seeds.shape != values.shape[:2]:
        raise MMCosegError(
            f'values must be (H, W) or (H, W, C) and seeds (H, W), got {values.shape} '
            f'and {seeds.shape}'
        )
    if not seeds.any():
        raise MMCosegError('seeds has no True: there is nothing to measure the distance to')
    if passes < 2:
        raise MMCosegError(f'passes must be at least 2 to reach every pixel, got {passes}')
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
        if begin >= end:
            return
        here, there = slice(begin, end), slice(begin - offset, end - offset)
        highest = np.maximum(high[source, there], level[target, here])
        lowest = np.minimum(low[source, there], level[target, here])
        barrier = highest - lowest
        better = barrier < cost[target, here]
        np.copyto(cost[target, here], barrier, where=better)
        np.copyto(high[target, here], highest, where=better)
        np.copyto(low[target, here], lowest, where=better)

    for index in range(passes):
        if index % 2 == 0:
            for target in range(1, diagonals):
                carry(target - 1, target, channels)
                carry(target - 1, target, 0)
        else:
            for target in range(diagonals - 2, -1, -1):
                carry(target + 1, target, -channels)
                carry(target + 1, target, 0)
    return cost.reshape(diagonals, height, channels)[y + x, y].reshape(values.shape)


def border_dissimilarity(lab: np.ndarray, width: float = 0.1) -> np.ndarray:
    """Unlikeness to the colors along the image's border (the addition of MB+).

    For each of the four sides the Mahalanobis distance to the strip's mean color under its
    covariance, divided by its maximum; the sum of the four minus the largest, so that an object
    that covers one side does not hide itself.

    Args:
        lab: (H, W, 3) float32 CIE Lab.
        width: of a strip, in units of the shorter side.

    Returns:
        (H, W) float32 in [0, 3].
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


def _working_lab(image: np.ndarray, long_side: int) -> np.ndarray:
    """(h, w, 3) float32 CIE Lab (L in [0, 100]), no side above ``long_side``."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise MMCosegError(
            f'image must be a uint8 array, got {getattr(image, "dtype", type(image).__name__)}'
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or not image.size:
        raise MMCosegError(f'image must be (H, W, 3) or (H, W) and not empty, got {image.shape}')
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, 2)
    scale = long_side / max(image.shape[:2])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)


def _texture(lab: np.ndarray) -> np.ndarray:
    """Local strength of the lightness' bands around 1, 2 and 4 pixels, (H, W, 3) float32."""
    bands, finer = [], lab[..., 0]
    for sigma in (1, 2, 4):
        coarser = cv2.GaussianBlur(lab[..., 0], (0, 0), sigma)
        bands.append(cv2.GaussianBlur(np.abs(finer - coarser), (0, 0), 2))
        finer = coarser
    return np.stack(bands, 2)


def _region_means(labels: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of ``values`` (n, C), and center in units of the long side (n, 2), of each label."""
    flat = labels.reshape(-1)
    count = np.bincount(flat)
    places = np.divmod(np.arange(flat.size), labels.shape[1])
    channels = values.reshape(flat.size, -1).T
    means = [np.bincount(flat, channel) / count for channel in channels]
    centers = [np.bincount(flat, place) / count / max(labels.shape) for place in places]
    return np.stack(means, 1), np.stack(centers, 1)


def _region_graph(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which labels touch, (n, n) bool, and which touch the image's border, (n,) bool."""
    n = int(labels.max()) + 1
    adjacent = np.zeros((n, n), bool)
    adjacent[labels[:, :-1], labels[:, 1:]] = True
    adjacent[labels[:-1], labels[1:]] = True
    adjacent |= adjacent.T
    np.fill_diagonal(adjacent, False)
    border = np.zeros(n, bool)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        border[line] = True
    return adjacent, border


def _distances(points: np.ndarray) -> np.ndarray:
    """(n, n) Euclidean distances of the rows."""
    return np.linalg.norm(points[:, None] - points, axis=2)


def _unit_range(values: np.ndarray) -> np.ndarray:
    """Stretched to [0, 1]; zeros where all are equal but for rounding."""
    low, high = values.min(), values.max()
    if high - low <= 1e-6 * max(abs(high), abs(low)):
        return np.zeros_like(values)
    return (values - low) / (high - low)


def _to_size(saliency: np.ndarray, image: np.ndarray) -> np.ndarray:
    """At the image's size, float32 in [0, 1]."""
    resized = cv2.resize(
        saliency.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_LINEAR
    )
    return np.clip(resized, 0, 1)
