"""RBD saliency: how weakly the surroundings of a superpixel are tied to the image's border.

W. Zhu, S. Liang, Y. Wei and J. Sun, Saliency optimization from robust background detection,
CVPR 2014.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from skimage.segmentation import slic

from ..errors import MMCosegError
from .images import ROUNDING, at_image_size, region_means, texture_energy, unit_range, working_lab

__all__ = [
    'background_weighted_contrast',
    'boundary_connectivity',
    'optimize_saliency',
    'robust_background_detection',
    'smoothness_weights',
    'superpixel_labels',
]

#: Larger images are made this large first, in pixels.
LONG_SIDE = 300
#: Reach of contrast, in units of the long side (Eq. 6).
SIGMA_POSITION = 0.25
#: Distance up to which neighbors are to be equally salient, and their least smoothness (Eq. 10).
SIGMA_COLOR, MU = 10.0, 0.1
#: Weight of the background term of Eq. 9 against the foreground term.
BACKGROUND_WEIGHT = 5.0


def robust_background_detection(
    image: np.ndarray,
    superpixels: int | Sequence[int] = (150, 300),
    texture: float = 5.0,
    compactness: float = 20.0,
    sigma_geodesic: float = 15.0,
    sigma_boundary: float = 0.7,
) -> np.ndarray:
    """Saliency of superpixels by how weakly their surroundings are tied to the image's border.

    The paper has one size of superpixels, color alone (``texture=0``), ``sigma_geodesic=10`` and
    ``sigma_boundary=1``. The defaults are what works best on photographs of everyday scenes: see
    ``benchmarks/saliency.py``.

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) uint8 gray.
        superpixels: number wanted; of several numbers, the mean of the maps is taken.
        texture: weight of three texture channels beside CIE Lab. 0 leaves them out.
        compactness: of SLIC's superpixels.
        sigma_geodesic: distance up to which superpixels count as the same region (Eq. 3).
        sigma_boundary: boundary connectivity from which a superpixel is background (Eq. 7).

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        MMCosegError: for another array than a uint8 image, or an empty one; superpixels below 1.
    """
    lab = working_lab(image, LONG_SIDE)
    energy = texture_energy(lab) * np.float32(texture)
    total = np.zeros(lab.shape[:2])
    for count in np.atleast_1d(superpixels).tolist():
        labels = superpixel_labels(lab, count, compactness)
        features = region_means(labels, np.concatenate([lab, energy], 2))
        places = np.moveaxis(np.indices(labels.shape), 0, 2)
        centers = region_means(labels, places) / max(labels.shape)
        adjacent, border = _region_graph(labels)
        distance = _distances(features)
        distance[distance < ROUNDING] = 0
        connectivity = boundary_connectivity(distance, adjacent, border, sigma_geodesic)
        background = 1 - np.exp(-np.square(connectivity) / (2 * sigma_boundary**2))  # Eq. 7
        contrast = background_weighted_contrast(distance, centers, background, SIGMA_POSITION)
        weights = smoothness_weights(distance, adjacent, border, SIGMA_COLOR, MU)
        saliency = optimize_saliency(weights, BACKGROUND_WEIGHT * background, unit_range(contrast))
        total += unit_range(saliency)[labels]
    return at_image_size(unit_range(total), image)


def superpixel_labels(
    lab: np.ndarray, superpixels: int = 300, compactness: float = 20.0
) -> np.ndarray:
    """SLIC superpixels of (H, W, 3) float32 CIE Lab, about as many as wanted.

    ``compactness`` is the distance of colors that weighs as much as one superpixel's width. Labels
    are (H, W) int64, 0 to n - 1, none missing.
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
    border; one of length ``sigma`` still leads mostly to the same region.

    Of the distances (n, n) of mean colors, which superpixels touch, (n, n) bool, and which touch
    the image's border, (n,) bool, it is (n,) float64, not negative.
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

    Of the distances (n, n) of mean colors, the superpixels' centers (n, 2) and probabilities of
    background (n,), it is (n,) float64, not negative; ``sigma`` is in units of the centers.
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

    No weight is negative: w, the smoothness, is (n, n) and symmetric, the others are (n,). The
    saliency is (n,) float64 in [0, 1]; superpixels that no term speaks of get 0.
    """
    diagonal = weights.sum(1) + background + foreground
    # Far below every weight that means something, it only keeps the matrix regular.
    diagonal = diagonal + 1e-12 * max(1.0, float(diagonal.max(initial=0)))
    return np.clip(np.linalg.solve(np.diag(diagonal) - weights, foreground), 0, 1)


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
