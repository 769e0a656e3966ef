"""Saliency without labels: where a single image's objects are, judged by its border and contrast.

- :func:`robust_background_detection` (RBD): W. Zhu, S. Liang, Y. Wei and J. Sun, Saliency
  optimization from robust background detection, CVPR 2014.
- :func:`minimum_barrier` (MB+): J. Zhang, S. Sclaroff, Z. Lin, X. Shen, B. Price and R. Mech,
  Minimum barrier salient object detection at 80 FPS, ICCV 2015.
- :func:`fused_saliency`: both together.

Each takes an image as (H, W, 3) uint8 BGR (or (H, W), grey) and gives (H, W) float32 in [0, 1].
"""

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from skimage.segmentation import slic

__all__ = [
    'background_weighted_contrast',
    'boundary_connectivity',
    'border_dissimilarity',
    'fused_saliency',
    'minimum_barrier',
    'minimum_barrier_distance',
    'optimise_saliency',
    'robust_background_detection',
]


def robust_background_detection(
    image: np.ndarray,
    superpixels: int = 300,
    long_side: int = 300,
    sigma_geodesic: float = 10.0,
    sigma_position: float = 0.25,
    sigma_boundary: float = 1.0,
    sigma_colour: float = 10.0,
    mu: float = 0.1,
    background_weight: float = 5.0,
) -> np.ndarray:
    lab = _working_lab(image, long_side)
    labels = superpixel_labels(lab, superpixels)
    colours, centres, edges, border = region_graph(labels, lab)
    distance = np.linalg.norm(colours[:, None] - colours, axis=2)
    connectivity = boundary_connectivity(distance, edges, border, sigma_geodesic)
    background = 1 - np.exp(-np.square(connectivity) / (2 * sigma_boundary**2))
    contrast = background_weighted_contrast(distance, centres, background, sigma_position)
    contrast = _unit_range(contrast)
    saliency = optimise_saliency(
        distance, edges, border, background, contrast, sigma_colour, mu, background_weight
    )
    return _to_size(_unit_range(saliency).astype(np.float32)[labels], image)


def superpixel_labels(lab: np.ndarray, superpixels: int, compactness: float = 10.0) -> np.ndarray:
    spread = float(lab.max() - lab.min())
    if spread == 0:
        spread = 1.0
    # The library scales values to [0, 1] first.
    labels = slic(
        lab,
        superpixels,
        compactness=compactness / spread,
        convert2lab=False,
        start_label=0,
        channel_axis=2,
    )
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def region_graph(labels, lab):
    n = int(labels.max()) + 1
    flat = labels.reshape(-1)
    count = np.bincount(flat, minlength=n)
    height, width = labels.shape
    y, x = np.divmod(np.arange(flat.size), width)
    colours = np.stack(
        [np.bincount(flat, lab[..., c].reshape(-1), n) / count for c in range(lab.shape[2])], 1
    )
    scale = max(height, width)
    centres = np.stack([np.bincount(flat, p, n) / count / scale for p in (y, x)], 1)
    pairs = [
        np.stack([labels[:, :-1].reshape(-1), labels[:, 1:].reshape(-1)], 1),
        np.stack([labels[:-1].reshape(-1), labels[1:].reshape(-1)], 1),
    ]
    edges = np.concatenate(pairs)
    edges = np.sort(edges[edges[:, 0] != edges[:, 1]], axis=1)
    code = np.unique(edges[:, 0] * n + edges[:, 1])
    edges = np.stack(np.divmod(code, n), 1)
    border = np.zeros(n, bool)
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        border[line] = True
    return colours, centres, edges, border


def boundary_connectivity(distance, edges, border, sigma):
    n = len(distance)
    adjacent = np.zeros((n, n), bool)
    adjacent[edges[:, 0], edges[:, 1]] = True
    adjacent |= border[:, None] & border
    adjacent = np.triu(adjacent, 1)
    i, j = adjacent.nonzero()
    # The solver takes zero for no edge.
    weights = np.maximum(distance[i, j], 1e-9)
    geodesic = dijkstra(coo_matrix((weights, (i, j)), (n, n)).tocsr(), directed=False)
    similar = np.exp(-np.square(geodesic) / (2 * sigma**2))
    return similar[:, border].sum(1) / np.sqrt(similar.sum(1))


def background_weighted_contrast(distance, centres, background, sigma):
    apart = np.linalg.norm(centres[:, None] - centres, axis=2)
    return (distance * np.exp(-np.square(apart) / (2 * sigma**2))) @ background


def optimise_saliency(
    distance, edges, border, background, foreground, sigma, mu, background_weight
):
    n = len(distance)
    adjacent = np.zeros((n, n), bool)
    adjacent[edges[:, 0], edges[:, 1]] = True
    adjacent |= adjacent.T
    two = (adjacent.astype(np.float32) @ adjacent.astype(np.float32)) > 0
    linked = adjacent | two | (border[:, None] & border)
    np.fill_diagonal(linked, False)
    weights = np.where(linked, np.exp(-np.square(distance) / (2 * sigma**2)), 0) + mu * adjacent
    matrix = np.diag(weights.sum(1) + background_weight * background + foreground + 1e-9) - weights
    return np.linalg.solve(matrix, foreground)


def minimum_barrier(image: np.ndarray, long_side: int = 300, passes: int = 3) -> np.ndarray:
    lab = _working_lab(image, long_side)
    seeds = np.zeros(lab.shape[:2], bool)
    seeds[0] = seeds[-1] = seeds[:, 0] = seeds[:, -1] = True
    barrier = minimum_barrier_distance(lab, seeds, passes).sum(2)
    saliency = _unit_range(barrier) + _unit_range(border_dissimilarity(lab))
    return _to_size(_finish(_unit_range(saliency)), image)


def minimum_barrier_distance(values: np.ndarray, seeds: np.ndarray, passes: int = 3) -> np.ndarray:
    height, width, channels = values.shape
    # Diagonals as rows: what one pixel of a diagonal needs lies on the diagonal before.
    rows = np.arange(height)
    skew = np.zeros((height + width - 1, height, channels), np.float32)
    y, x = np.mgrid[:height, :width]
    skew[y + x, y] = values
    level = skew.reshape(len(skew), -1)
    cost = np.full_like(skew, np.inf)
    cost[y + x, y] = np.where(seeds, 0, np.inf)[..., None]
    cost = cost.reshape(level.shape)
    high, low = level.copy(), level.copy()
    first = np.maximum(0, np.arange(len(skew)) - width + 1) * channels
    last = (np.minimum(height - 1, np.arange(len(skew))) + 1) * channels
    del rows

    def relax(d, e, start, stop, shift):
        here = slice(start, stop)
        there = slice(start + shift, stop + shift)
        v = level[d, here]
        up = np.maximum(high[e, there], v)
        down = np.minimum(low[e, there], v)
        barrier = up - down
        better = (barrier < cost[d, here]) & np.isfinite(cost[e, there])
        np.copyto(cost[d, here], barrier, where=better)
        np.copyto(high[d, here], up, where=better)
        np.copyto(low[d, here], down, where=better)

    for index in range(passes):
        if index % 2 == 0:
            for d in range(1, len(skew)):
                e = d - 1
                relax(
                    d,
                    e,
                    max(first[d], first[e] + channels),
                    min(last[d], last[e] + channels),
                    -channels,
                )
                relax(d, e, max(first[d], first[e]), min(last[d], last[e]), 0)
        else:
            for d in range(len(skew) - 2, -1, -1):
                e = d + 1
                relax(
                    d,
                    e,
                    max(first[d], first[e] - channels),
                    min(last[d], last[e] - channels),
                    channels,
                )
                relax(d, e, max(first[d], first[e]), min(last[d], last[e]), 0)
    return cost.reshape(skew.shape)[y + x, y]


def border_dissimilarity(lab: np.ndarray, part: float = 0.1) -> np.ndarray:
    height, width = lab.shape[:2]
    deep = max(1, round(part * min(height, width)))
    flat = lab.reshape(-1, 3).astype(np.float64)
    maps = []
    for strip in (lab[:deep], lab[-deep:], lab[:, :deep], lab[:, -deep:]):
        strip = strip.reshape(-1, 3).astype(np.float64)
        mean = strip.mean(0)
        inverse = np.linalg.inv(np.cov(strip.T, bias=True) + np.eye(3))
        off = flat - mean
        maps.append(_unit_peak(np.sqrt(((off @ inverse) * off).sum(1))))
    maps = np.stack(maps)
    return (maps.sum(0) - maps.max(0)).reshape(height, width).astype(np.float32)


def _finish(saliency):
    """Smooth, centre and sharpen (section 3.3)."""
    height, width = saliency.shape
    radius = max(1, round(0.02 * 200 * float(np.sqrt(saliency.mean()))))
    smooth = _reconstruct(saliency, radius)
    y = (np.arange(height) - (height - 1) / 2)[:, None]
    x = np.arange(width) - (width - 1) / 2
    apart = np.hypot(y, x)
    centred = smooth * (1 - apart / max(apart.max() * 1.0, 1e-9))
    centred = _unit_range(centred)
    return (1 / (1 + np.exp(-10 * (centred - 0.5)))).astype(np.float32)


def _reconstruct(values, radius):
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    values = values.astype(np.float32)
    return cv2.morphologyEx(
        cv2.morphologyEx(values, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel
    )


def fused_saliency(image: np.ndarray) -> np.ndarray:
    return (robust_background_detection(image) + minimum_barrier(image)) / 2


def _working_lab(image, long_side):
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, 2)
    scale = long_side / max(image.shape[:2])
    if scale < 1:
        size = [max(1, round(s * scale)) for s in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)


def _unit_range(values):
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _unit_peak(values):
    high = values.max()
    return values / high if high > 0 else values


def _to_size(saliency, image):
    size = image.shape[1::-1]
    return np.clip(cv2.resize(saliency, size, interpolation=cv2.INTER_LINEAR), 0, 1)
