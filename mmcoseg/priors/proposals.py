"""Object proposals without labels: many masks of a single image, some of which fit its objects.

- :func:`combinatorial_grouping`: in the spirit of multiscale combinatorial grouping, P. Arbelaez,
  J. Pont-Tuset, J. Barron, F. Marques and J. Malik, Multiscale combinatorial grouping, CVPR 2014;
  on the hierarchies of the library higra. The better choice.
- :func:`selective_search`: in the spirit of J. Uijlings, K. van de Sande, T. Gevers and A.
  Smeulders, Selective search for object recognition, IJCV 2013.
- :func:`load_proposals_mat`, :func:`load_saliency_mat`: published files.

The masks of an image are held by :class:`Proposals`, in a few hundred kilobytes instead of some
hundred megabytes.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from pathlib import Path

import cv2
import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from skimage.segmentation import felzenszwalb

from ..errors import MMCosegError
from .saliency import ROUNDING, _texture, _working_lab

__all__ = [
    'Proposals',
    'combinatorial_grouping',
    'contours_of',
    'diverse_order',
    'load_proposals_mat',
    'load_saliency_mat',
    'selective_search',
]

#: The trees that regions are taken from; see :func:`_trees`.
TREES = ('color', 'place', 'histogram', 'spectral', 'spectral color', 'spectral histogram')
#: What costs as much as a rank that is e times as far down: half a contour along the image's edge,
BORDER_PENALTY = 2.0
#: a contour e^2 times as long for the same area,
RAGGED_PENALTY = 0.5
#: a center of mass off the image's center by 2 / 3 of the long side downwards, or 1 across.
CENTER_PENALTY = 1.5, 1.0
#: Eigenvectors of the normalized cut.
EIGENVECTORS = 16
#: Masks whose overlaps with others are looked at in one go.
OVERLAP_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Proposals:
    """Masks of one image as unions of *atoms*, regions that no mask divides; best first.

    Indexing by a number, slice, list or mask gives fewer of them, so that it may be a field of
    mmengine's ``InstanceData``.

    Args:
        atoms: (H, W) int32, the atom of each pixel, 0 to a - 1.
        members: (n, a) bool, which atoms each mask is made of.
        scores: (n,) float32, falling.

    Raises:
        MMCosegError: if the shapes do not fit, or an atom's number is not in ``members``.

    Example:
        >>> atoms = np.array([[0, 0, 1], [0, 2, 2]], np.int32)
        >>> members = np.array([[True, False, False], [False, True, True]])
        >>> two = Proposals(atoms, members, np.array([2, 1], np.float32))
        >>> two.masks()[1].astype(int)
        array([[0, 0, 1],
               [0, 1, 1]])
        >>> two.sums(np.array([[[1, 2, 3], [4, 5, 6]]]))
        array([[ 7., 14.]])
    """

    atoms: np.ndarray
    members: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        atoms, members, scores = self.atoms, self.members, self.scores
        if atoms.ndim != 2 or members.ndim != 2 or scores.shape != members.shape[:1]:
            raise MMCosegError(
                'atoms must be (H, W), members (n, a) and scores (n,), got '
                f'{atoms.shape}, {members.shape} and {scores.shape}'
            )
        if atoms.size and not 0 <= atoms.min() <= atoms.max() < members.shape[1]:
            raise MMCosegError(
                f'atoms must be from 0 to {members.shape[1] - 1}, the columns of members, got '
                f'{atoms.min()} to {atoms.max()}'
            )

    @classmethod
    def from_masks(cls, masks: np.ndarray, scores: Sequence[float] | None = None) -> 'Proposals':
        """Of masks (n, H, W), bool or 0 and not 0; without scores, n to 1 in the order given."""
        masks = np.asarray(masks)
        if masks.ndim != 3:
            raise MMCosegError(f'masks must be (n, H, W), got {masks.shape}')
        flat = (masks != 0).reshape(len(masks), masks.shape[1] * masks.shape[2])
        # Pixels in the same masks have the same bits, and are one atom.
        bits = np.ascontiguousarray(np.packbits(flat, axis=0).T)
        if bits.shape[1]:
            rows = bits.view(np.dtype((np.void, bits.shape[1])))[:, 0]
            _, first, atoms = np.unique(rows, return_index=True, return_inverse=True)
        else:
            first, atoms = np.zeros(min(1, len(bits)), int), np.zeros(len(bits), int)
        if scores is None:
            scores = np.arange(len(masks), 0, -1)
        return cls(
            atoms.reshape(masks.shape[1:]).astype(np.int32),
            np.ascontiguousarray(flat[:, first]),
            np.asarray(scores, np.float32).reshape(-1),
        )

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index) -> 'Proposals':
        if not isinstance(index, slice):
            index = np.atleast_1d(np.asarray(index))
            if not index.size:
                index = index.astype(np.int64)
        return Proposals(self.atoms, self.members[index], self.scores[index])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, H, W), that of the masks."""
        return (len(self), *self.atoms.shape)

    def masks(self) -> np.ndarray:
        """(n, H, W) bool. Thousands of masks of a photograph are hundreds of megabytes."""
        return self.members[:, self.atoms]

    def contours(self) -> np.ndarray:
        """(n, H, W) bool; see :func:`contours_of`."""
        return contours_of(self.masks())

    def areas(self) -> np.ndarray:
        """(n,) int64, in pixels."""
        # The products of matrices of integers are slow; these are exact in double precision.
        return np.rint(self.members @ self._count().astype(np.float64)).astype(np.int64)

    def boxes(self) -> np.ndarray:
        """(n, 4) int64: left, top, right, bottom; the latter two one past the last pixel.

        An empty mask has zeros.
        """
        height, width = self.atoms.shape
        rows = np.zeros((self.members.shape[1], height), np.float32)
        columns = np.zeros((self.members.shape[1], width), np.float32)
        y, x = np.mgrid[:height, :width]
        rows[self.atoms, y] = columns[self.atoms, x] = 1
        boxes = np.zeros((len(self), 4), np.int64)
        members = self.members.astype(np.float32)
        for first, (taken, length) in enumerate(((columns, width), (rows, height))):
            taken = members @ taken > 0
            boxes[:, first] = taken.argmax(1)
            boxes[:, first + 2] = length - taken[:, ::-1].argmax(1)
            boxes[~taken.any(1), first + 2] = 0
        return boxes

    def sums(self, maps: np.ndarray) -> np.ndarray:
        """The sum of each map over each mask, in a time that hardly depends on the image's size.

        Args:
            maps: (k, H, W), what ``np.asarray`` takes.

        Returns:
            (k, n) float64.
        """
        return self._totals(maps, self.atoms.reshape(-1), self.members)

    def contour_sums(self, maps: np.ndarray) -> np.ndarray:
        """The sum of each map over the contour of each mask; see :func:`contours_of`.

        A pixel is on a mask's contour if its own atom is in the mask and that of a neighbor is
        not. Pixels with the same atoms around are on the same contours, and summed up first.

        Args:
            maps: (k, H, W), what ``np.asarray`` takes.

        Returns:
            (k, n) float64.
        """
        padded = np.pad(self.atoms, 1, mode='edge')
        around = np.stack(
            [
                self.atoms,
                *np.sort(
                    [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]],
                    axis=0,
                ),
            ],
            axis=-1,
        ).reshape(-1, 5)
        edge = (around[:, 1:] != around[:, :1]).any(1)
        if not edge.any() or not len(self):
            return np.zeros((self._maps(maps).shape[0], len(self)))
        kinds, kind = np.unique(around[edge], axis=0, return_inverse=True)
        neighbors = self.members[:, kinds[:, 1:].reshape(-1)].reshape(len(self), -1, 4)
        on = self.members[:, kinds[:, 0]] & ~neighbors.all(2)
        return self._totals(maps, kind.reshape(-1), on, edge)

    def _maps(self, maps: np.ndarray) -> np.ndarray:
        maps = np.asarray(maps)
        if maps.ndim != 3 or maps.shape[1:] != self.atoms.shape:
            raise MMCosegError(
                f'maps must be (k, {self.shape[1]}, {self.shape[2]}), got {maps.shape}'
            )
        return maps.reshape(len(maps), -1)

    def _totals(self, maps, place, members, chosen=slice(None)) -> np.ndarray:
        """Sums by place of the chosen pixels, then over the places of each mask."""
        count = members.shape[1]
        totals = [np.bincount(place, row[chosen], count) for row in self._maps(maps)]
        return np.reshape(totals, (-1, count)) @ members.T.astype(np.float64)

    def _count(self) -> np.ndarray:
        return np.bincount(self.atoms.reshape(-1), minlength=self.members.shape[1])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What a file holds: :meth:`from_arrays` makes the same of it."""
        small = np.uint16 if self.members.shape[1] <= 65536 else np.int32
        return dict(
            atoms=self.atoms.astype(small),
            members=np.packbits(self.members, axis=1),
            atom_count=np.array(self.members.shape[1]),
            scores=self.scores,
        )

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> 'Proposals':
        members = np.unpackbits(arrays['members'], axis=1, count=int(arrays['atom_count']))
        return cls(arrays['atoms'].astype(np.int32), members.astype(bool), arrays['scores'])


def contours_of(masks: np.ndarray) -> np.ndarray:
    """The pixels of each mask with one of their four neighbors outside of it.

    Beyond the image's edge nothing is known: it makes no contour.

    Args:
        masks: (n, H, W) bool.

    Returns:
        (n, H, W) bool.
    """
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)), mode='edge')
    inner = padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    return masks & ~inner


def combinatorial_grouping(
    image: np.ndarray,
    max_proposals: int = 2000,
    superpixels: int = 600,
    long_side: int = 320,
    trees: Sequence[str] = TREES,
    pair_nodes: int = 100,
    triplet_nodes: int = 50,
    min_area: float = 0.004,
    max_area: float = 0.8,
    nms: Sequence[float] = (0.75, 0.9, 0.95),
    candidates: int = 3500,
) -> Proposals:
    """Regions of several hierarchies of one set of superpixels, and their pairs and triplets.

    The superpixels are those of a watershed on edges of Lab at three scales. They are merged in
    trees by Ward's linkage of neighbors: of color and texture, of place, of color histograms,
    and of the eigenvectors of their normalized cut, which see the edges between superpixels. In
    each tree, regions are ranked by persistence: the height at which they are merged minus that at
    which they came about. Pairs and triplets are of neighbors among the best, ranked by the sum of
    the ranks. Contours along the image's edge, ragged contours and a place off the center cost
    ranks. What is alike is left for later; see :func:`diverse_order`.

    Args:
        image: (H, W, 3) uint8 BGR, or (H, W) uint8 gray.
        max_proposals: number of masks at most.
        superpixels: about as many at most.
        long_side: larger images are made this large first, in pixels.
        trees: some of ``TREES``.
        pair_nodes: regions of a tree among which pairs are looked for.
        triplet_nodes: the same for triplets.
        min_area: smallest area of a region, as a share of the image.
        max_area: largest area of a proposal.
        nms: rising IoUs, the last one the largest that two proposals have.
        candidates: number of the best whose overlap is looked at.

    Returns:
        at the image's size, the same for the same image. Where there is nothing to be told apart,
        the whole image is the only one.

    Raises:
        MMCosegError: if ``image`` is no uint8 array.
        MMCosegError: for a wrong shape, an empty image, an unknown tree or numbers below 1.
    """
    unknown = set(trees) - set(TREES)
    if unknown or not trees:
        raise MMCosegError(f'trees must be some of {TREES}, got {tuple(trees)}')
    for name, value in dict(
        max_proposals=max_proposals, superpixels=superpixels, candidates=candidates
    ).items():
        if value < 1:
            raise MMCosegError(f'{name} must be at least 1, got {value}')
    lab = _working_lab(image, long_side)
    labels, gradients = _superpixels(lab, superpixels)
    count = int(labels.max()) + 1
    if count == 1:
        return _finish(np.ones((1, 1), bool), np.ones(1), labels, image)
    graph = _RegionGraph.of(labels, gradients)
    centers = _centers(labels)
    found = [
        _combinations(
            parents, altitudes, graph, centers, pair_nodes, triplet_nodes, min_area, max_area
        )
        for parents, altitudes in _trees(lab, labels, graph, trees)
    ]
    nodes = np.concatenate([members for members, *_ in found])
    offsets = np.cumsum([0] + [len(members) for members, *_ in found[:-1]])
    # The row after the last is the empty region, for what is no triplet.
    parts = np.concatenate(
        [np.where(part < 0, len(nodes), part + at) for (_, part, *_), at in zip(found, offsets)]
    )
    scores = np.concatenate([score for _, _, score, _ in found])
    marks = np.concatenate([mark for *_, mark in found])
    best = np.argsort(-scores, kind='stable')
    _, first = np.unique(marks[best], return_index=True)  # of the same regions the best scored
    best = best[np.sort(first)][:candidates]
    nodes = np.concatenate([nodes, np.zeros((1, count), bool)])
    members = nodes[parts[best]].any(1)
    if not len(members):
        return _finish(np.ones((1, count), bool), np.ones(1), labels, image)
    order = diverse_order(members, graph.sizes, nms, max_proposals)
    # The order is no longer that of the first scores: a score that falls with the final rank.
    return _finish(members[order], 1 / (1 + np.arange(len(order))), labels, image)


def diverse_order(
    members: np.ndarray, sizes: np.ndarray, thresholds: Sequence[float], limit: int | None = None
) -> np.ndarray:
    """Greedy non-maximum suppression in rounds that get less strict.

    Each round goes through those left, from the best, and takes what overlaps with nothing taken
    by more than its threshold. So the first hundred differ from each other, and near doubles of the
    best follow behind. With one threshold it is the common suppression.

    Args:
        members: (n, a) bool, masks as unions of atoms, best first.
        sizes: (a,) pixels of the atoms.
        thresholds: IoU of each round.
        limit: number to take at most.

    Returns:
        (m,) int64 indices in the order taken.
    """
    if not len(members):
        return np.zeros(0, np.int64)
    first, second, overlaps = _overlaps(members, sizes, min(thresholds))
    starts = np.searchsorted(first, np.arange(len(members) + 1))
    taken: list[int] = []
    left = np.ones(len(members), bool)
    limit = len(members) if limit is None else limit
    for threshold in thresholds:
        near = overlaps > np.float32(threshold)
        neighbors = second[near]
        bounds = np.r_[0, np.cumsum(near)][starts]
        free = left.copy()
        for index in taken:
            free[neighbors[bounds[index] : bounds[index + 1]]] = False
        for index in range(len(members)):
            if len(taken) >= limit:
                break
            if free[index]:
                taken.append(index)
                left[index] = False
                free[neighbors[bounds[index] : bounds[index + 1]]] = False
    return np.array(taken, np.int64)


def _overlaps(
    members: np.ndarray, sizes: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which masks overlap by more than the threshold, by whom ascending, and their IoU.

    A mask's IoU is at most the smaller area by the larger one: only masks of about the same area
    are compared, which is a few of them.
    """
    areas = (members @ np.asarray(sizes, np.float64)).astype(np.float32)
    order = np.argsort(areas, kind='stable')
    areas = areas[order]
    weighted = (members * np.sqrt(sizes).astype(np.float32))[order]
    found = []
    for start in range(0, len(members), OVERLAP_BLOCK):
        stop = min(start + OVERLAP_BLOCK, len(members))
        # A little more than what follows from the threshold, for the rounding.
        largest = areas[stop - 1] / max(threshold, 1e-6) * 1.001
        end = np.searchsorted(areas, largest, side='right')
        both = weighted[start:stop] @ weighted[start:end].T
        union = areas[start:stop, None] + areas[start:end] - both
        # Written as a product: an empty mask overlaps with nothing.
        one, other = np.triu(both > np.float32(threshold) * union, 1).nonzero()
        found.append((one + start, other + start, both[one, other] / union[one, other]))
    one, other, overlaps = (np.concatenate(part) for part in zip(*found))
    first, second = np.r_[order[one], order[other]], np.r_[order[other], order[one]]
    rising = np.argsort(first, kind='stable')
    return first[rising], second[rising], np.r_[overlaps, overlaps][rising]


@dataclass(frozen=True)
class _RegionGraph:
    """Superpixels and what lies between them. Edges are (first, second), first < second."""

    first: np.ndarray
    second: np.ndarray
    lengths: np.ndarray
    #: (edges, scales) mean gradient along each edge.
    strengths: np.ndarray
    sizes: np.ndarray
    #: Pixels of each superpixel along the image's edge.
    border: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, gradients: Sequence[np.ndarray]) -> '_RegionGraph':
        def pairs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            one = np.concatenate([values[:, :-1].reshape(-1), values[:-1].reshape(-1)])
            other = np.concatenate([values[:, 1:].reshape(-1), values[1:].reshape(-1)])
            return one, other

        one, other = pairs(labels)
        between = one != other
        one, other = one[between], other[between]
        count = int(labels.max()) + 1
        code, edge = np.unique(
            np.minimum(one, other) * count + np.maximum(one, other), return_inverse=True
        )
        lengths = np.bincount(edge).astype(np.float64)
        strengths = [
            np.bincount(edge, np.maximum(*pairs(gradient))[between]) / lengths
            for gradient in gradients
        ]
        lines = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        return cls(
            code // count,
            code % count,
            lengths,
            np.stack(strengths, 1) if strengths else np.zeros((len(code), 0)),
            np.bincount(labels.reshape(-1)).astype(np.float64),
            np.bincount(lines, minlength=count).astype(np.float64),
        )

    def shared_lengths(self) -> csr_matrix:
        """(n, n), how long each two superpixels touch."""
        count = len(self.sizes)
        upper = csr_matrix((self.lengths, (self.first, self.second)), (count, count))
        return (upper + upper.T).tocsr()


def _superpixels(lab: np.ndarray, superpixels: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """(h, w) int64 labels, none missing, and the gradients of Lab at scales 1, 1/2 and 1/4."""
    import higra as hg

    height, width = lab.shape[:2]
    smooth = cv2.GaussianBlur(lab, (0, 0), 0.8)
    gradients = []
    for scale in (1, 2, 4):
        size = max(1, round(width / scale)), max(1, round(height / scale))
        small = cv2.resize(smooth, size, interpolation=cv2.INTER_AREA)
        across, down = (cv2.Scharr(small, cv2.CV_32F, *way) / 32 for way in ((1, 0), (0, 1)))
        strength = np.sqrt((np.square(across) + np.square(down)).reshape(*small.shape).sum(2))
        strength[strength < ROUNDING] = 0
        gradients.append(cv2.resize(strength, (width, height)))
    total = _edge_strength(np.stack(gradients, 2)).astype(np.float64)
    if height * width == 1:
        return np.zeros((1, 1), np.int64), gradients
    graph = hg.get_4_adjacency_graph((height, width))
    weights = hg.weight_graph(graph, total, hg.WeightFunction.mean)
    tree, altitudes = hg.watershed_hierarchy_by_area(graph, weights)
    explorer = hg.HorizontalCutExplorer(tree, altitudes)
    cut = explorer.horizontal_cut_from_num_regions(superpixels, at_least=False)
    regions = np.asarray(cut.labelisation_leaves(tree)).reshape(-1)
    return np.unique(regions, return_inverse=True)[1].reshape(height, width), gradients


def _edge_strength(strengths: np.ndarray) -> np.ndarray:
    """The three scales of the last axis in one."""
    return strengths @ np.array([1, 0.7, 0.5], strengths.dtype)


def _trees(
    lab: np.ndarray, labels: np.ndarray, graph: _RegionGraph, names: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Binary trees over the superpixels: parent, and height, of each node; leaves come first."""
    import higra as hg

    regions = hg.UndirectedGraph(len(graph.sizes))
    regions.add_edges(graph.first, graph.second)
    flat = labels.reshape(-1)
    channels = np.concatenate([lab, 5 * _texture(lab)], 2).reshape(len(flat), -1).T
    means = np.stack([np.bincount(flat, c) for c in channels], 1) / graph.sizes[:, None]
    centers = _centers(labels)
    # Light and shade are of one object more often than two colors.
    color = means * [0.3, 1.5, 1.5, 1, 1, 1]
    ways = {
        'color': lambda: color,
        'place': lambda: np.concatenate([means, 30 * centers], 1),
        'histogram': lambda: np.concatenate([histograms, 40 * centers], 1),
        'spectral': lambda: eigenvectors,
        'spectral color': lambda: np.concatenate([eigenvectors, _unit(color)], 1),
        'spectral histogram': lambda: np.concatenate([eigenvectors, _unit(histograms)], 1),
    }
    if any('spectral' in name for name in names):
        eigenvectors = _unit(_normalized_cut(means, graph))
    if any('histogram' in name for name in names):
        histograms = 20 * np.sqrt(_histograms(lab, labels))
    trees = []
    for name in names:
        features = np.ascontiguousarray(ways[name](), np.float64)
        tree, heights = hg.binary_partition_tree_ward_linkage(regions, features, graph.sizes)
        trees.append((np.asarray(tree.parents()), np.asarray(heights)))
    return trees


def _unit(features: np.ndarray) -> np.ndarray:
    """(n, C) at a mean squared distance of 1 from their mean."""
    spread = np.square(features - features.mean(0)).sum(1).mean()
    return features / np.sqrt(spread + 1e-12)


def _centers(labels: np.ndarray) -> np.ndarray:
    """(n, 2) y and x of each label's center off the image's, in units of the long side."""
    flat, long_side = labels.reshape(-1), max(labels.shape)
    count = np.bincount(flat)
    places = np.divmod(np.arange(flat.size), labels.shape[1])
    return np.stack(
        [
            (np.bincount(flat, place) / count - (length - 1) / 2) / long_side
            for place, length in zip(places, labels.shape)
        ],
        1,
    )


def _normalized_cut(means: np.ndarray, graph: _RegionGraph) -> np.ndarray:
    """(n, k) eigenvectors of the graph's random walk, those of slow mixing scaled up.

    J. Shi and J. Malik, Normalized cuts and image segmentation, TPAMI 2000; the weights
    1 / sqrt(eigenvalue) are those of the spectral gradients of P. Arbelaez, M. Maire, C. Fowlkes
    and J. Malik, Contour detection and hierarchical image segmentation, TPAMI 2011.
    """
    count = len(means)
    apart = (means[graph.first] - means[graph.second]) * [0.5, 1.5, 1.5, 1, 1, 1]
    affinity = graph.lengths.copy()
    for unlike in (np.linalg.norm(apart, axis=1), _edge_strength(graph.strengths)):
        affinity *= np.exp(-unlike / max(np.median(unlike), ROUNDING))
    # No superpixel is left alone.
    affinity += 1e-6 * graph.lengths
    upper = csr_matrix((affinity, (graph.first, graph.second)), (count, count))
    symmetric = upper + upper.T
    scale = 1 / np.sqrt(np.asarray(symmetric.sum(1)).reshape(-1))
    walk = diags(scale) @ symmetric @ diags(scale)
    values = vectors = None
    if count > 2 * EIGENVECTORS:  # else too small for the iteration
        with suppress(ArpackNoConvergence):
            values, vectors = eigsh(walk, EIGENVECTORS + 1, which='LA', v0=np.ones(count))
    if values is None:
        values, vectors = np.linalg.eigh(walk.toarray())
    best = np.argsort(-values, kind='stable')[1 : EIGENVECTORS + 1]
    return vectors[:, best] * scale[:, None] / np.sqrt(np.maximum(1 - values[best], 1e-6))


def _histograms(lab: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n, 144), the share of each color of Lab, in 4 x 6 x 6 bins, of each label."""
    code, bins = np.zeros(labels.shape, np.int64), (4, 6, 6)
    for channel, (low, high), number in zip(
        np.moveaxis(lab, 2, 0), ((0, 100), (-60, 60), (-60, 60)), bins
    ):
        level = (channel - low) * (number / (high - low))
        code = code * number + np.clip(level.astype(np.int64), 0, number - 1)
    size = int(np.prod(bins))
    counts = np.bincount(
        (labels * size + code).reshape(-1), minlength=(int(labels.max()) + 1) * size
    ).reshape(-1, size)
    return counts / counts.sum(1, keepdims=True)


def _combinations(
    parents: np.ndarray,
    altitudes: np.ndarray,
    graph: _RegionGraph,
    centers: np.ndarray,
    pair_nodes: int,
    triplet_nodes: int,
    min_area: float,
    max_area: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The regions of a tree, most persistent first, and their pairs and triplets.

    Returns:
        the regions' superpixels (m, n) bool; the regions that each candidate is made of, (c, 3)
        with -1 for none; scores (c,); marks (c,) uint64, the same for the same superpixels.
    """
    leaves, total = len(graph.sizes), graph.sizes.sum()
    members = np.zeros((len(parents), leaves), bool)
    members[np.arange(leaves), np.arange(leaves)] = True
    for node, parent in enumerate(parents[:-1]):  # children come before parents
        members[parent] |= members[node]
    areas = members @ graph.sizes
    # The image as a whole is merged with nothing.
    persistence = np.where(parents == np.arange(len(parents)), 0, altitudes[parents] - altitudes)
    fit = np.flatnonzero((areas >= min_area * total) & (areas <= max_area * total))
    nodes = fit[np.argsort(-persistence[fit], kind='stable')]
    members, areas, parents = members[nodes], areas[nodes], parents[nodes]
    # What follows is additive over disjoint regions; contours, but for what they share.
    numbers = np.random.default_rng(0).integers(0, 2**64, leaves, np.uint64)
    marks = (members * numbers).sum(1, dtype=np.uint64)
    border = members @ graph.border
    floats = members.astype(np.float64)
    places = floats @ (centers * graph.sizes[:, None])
    shared = graph.shared_lengths()
    inside = (floats @ shared) * floats
    contours = floats @ np.asarray(shared.sum(1)).reshape(-1) - inside.sum(1) + border

    best = floats[:pair_nodes]
    touch = (best @ shared) @ best.T
    apart = best @ best.T == 0
    beside = apart & (touch > 0)
    one, two = np.triu(beside).nonzero()
    kinds = [np.stack([np.arange(len(nodes)), *np.full((2, len(nodes)), -1)], 1)]
    # A pair of siblings is their parent.
    strangers = parents[one] != parents[two]
    kinds.append(np.stack([one, two, np.full(len(one), -1)], 1)[strangers])
    few = (one < triplet_nodes) & (two < triplet_nodes)
    one, two = one[few], two[few]
    third = (beside[one] | beside[two]) & apart[one] & apart[two]
    pair, three = third[:, :triplet_nodes].nonzero()
    triplets = np.sort(np.stack([one[pair], two[pair], three], 1), axis=1)
    kinds.append(np.unique(triplets, axis=0))
    parts = np.concatenate(kinds)

    def add(values: np.ndarray) -> np.ndarray:
        none = np.zeros((1, *values.shape[1:]), values.dtype)
        return np.concatenate([values, none])[parts].sum(1, dtype=values.dtype)

    empty = parts < 0
    inner = np.zeros(len(parts))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        both = ~empty[:, a] & ~empty[:, b]
        inner[both] += touch[parts[both, a], parts[both, b]]
    contours = np.maximum(add(contours) - 2 * inner, 1)
    sums = add(areas)
    ranks = np.where(empty, 0, parts).sum(1)
    scores = -np.log1p(ranks) - BORDER_PENALTY * add(border) / contours
    scores -= RAGGED_PENALTY * np.log(contours / np.sqrt(sums))
    scores -= np.abs(add(places) / sums[:, None]) @ CENTER_PENALTY
    small = sums <= max_area * total
    return members, parts[small], scores[small], add(marks)[small]


def _finish(
    members: np.ndarray, scores: np.ndarray, labels: np.ndarray, image: np.ndarray
) -> Proposals:
    """At the image's size; superpixels that no proposal tells apart become one atom."""
    _, first, atom = np.unique(
        np.packbits(members, axis=0), axis=1, return_index=True, return_inverse=True
    )
    atoms = atom.reshape(-1)[labels].astype(np.int32)
    (height, width), (h, w) = image.shape[:2], labels.shape
    y, x = np.arange(height) * h // height, np.arange(width) * w // width
    return Proposals(
        np.ascontiguousarray(atoms[y[:, None], x]),
        np.ascontiguousarray(members[:, first]),
        np.asarray(scores, np.float32),
    )


def selective_search(
    image: np.ndarray,
    max_proposals: int = 2000,
    scales: Sequence[float] = (30, 100),
    long_side: int = 320,
    min_area: float = 0.004,
    max_area: float = 0.8,
    nms: Sequence[float] = (0.75, 0.9, 0.95),
) -> Proposals:
    """Regions that come about as the likest neighbors of an over-segmentation are merged.

    Likeness is that of color histograms, texture energies, smallness and fit of the boxes, as in
    the paper's four terms; with two sizes of Felzenszwalb's regions instead of its 80 variants.
    Later merges come first.

    Args:
        scales: of Felzenszwalb's regions, larger for larger ones.
        image, max_proposals, long_side, min_area, max_area, nms: as in
            :func:`combinatorial_grouping`.

    Returns:
        at the image's size. Where there is nothing to be told apart, the whole image alone.

    Raises:
        MMCosegError: if ``image`` is no uint8 array.
        MMCosegError: for a wrong shape or an empty image.
    """
    lab = _working_lab(image, long_side)
    pixels = lab.shape[0] * lab.shape[1]
    found, partitions = [], []
    for scale in scales:
        labels = felzenszwalb(lab / 100, scale, sigma=0.8, min_size=max(1, round(2e-4 * pixels)))
        labels = np.unique(labels, return_inverse=True)[1].reshape(lab.shape[:2])
        partitions.append(labels)
        found.append(_merges(lab, labels))
    # The pieces that all partitions leave whole.
    code = partitions[0]
    for labels in partitions[1:]:
        code = np.unique(code * (int(labels.max()) + 1) + labels, return_inverse=True)[1]
        code = code.reshape(labels.shape)
    _, first = np.unique(code, return_index=True)
    sizes = np.bincount(code.reshape(-1)).astype(np.float64)
    members = [m[:, p.reshape(-1)[first]] for m, p in zip(found, partitions)]
    ranks = np.concatenate([np.arange(len(m)) for m in members])
    members = np.concatenate(members)[np.argsort(ranks, kind='stable')]
    areas = members @ sizes
    members = members[(areas >= min_area * pixels) & (areas <= max_area * pixels)]
    if not len(members):
        return _finish(np.ones((1, len(sizes)), bool), np.ones(1), code, image)
    order = diverse_order(members, sizes, nms, max_proposals)
    return _finish(members[order], 1 / (1 + np.arange(len(order))), code, image)


def _merges(lab: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(2 n - 1, n) bool, the regions of greedy merging of n labels, last first."""
    texture = _texture(lab)
    count, pixels = int(labels.max()) + 1, labels.size
    members = np.zeros((2 * count - 1, count), bool)
    members[np.arange(count), np.arange(count)] = True
    if count == 1:
        return members
    graph = _RegionGraph.of(labels, [])
    flat = labels.reshape(-1)
    sizes = list(graph.sizes)
    energies = [np.bincount(flat, band.reshape(-1)) for band in np.moveaxis(texture, 2, 0)]
    features = list(
        np.concatenate([_histograms(lab, labels), np.stack(energies, 1) / graph.sizes[:, None]], 1)
    )
    y, x = np.divmod(np.arange(flat.size), labels.shape[1])
    boxes = np.empty((count, 4), np.int64)
    boxes[:, :2], boxes[:, 2:] = labels.size, -1
    for place, column in ((x, 0), (y, 1)):
        np.minimum.at(boxes[:, column], flat, place)
        np.maximum.at(boxes[:, column + 2], flat, place)
    boxes = list(boxes)
    neighbors = [set() for _ in range(2 * count - 1)]
    for a, b in zip(graph.first.tolist(), graph.second.tolist()):
        neighbors[a].add(b)
        neighbors[b].add(a)

    def likeness(a: int, b: int) -> float:
        color = np.minimum(features[a][:-3], features[b][:-3]).sum()
        bands = features[a][-3:], features[b][-3:]
        texture = np.minimum(*bands).sum() / max(np.maximum(*bands).sum(), 1e-6)
        low = np.minimum(boxes[a][:2], boxes[b][:2])
        high = np.maximum(boxes[a][2:], boxes[b][2:]) + 1
        both = sizes[a] + sizes[b]
        return float(color + texture - both / pixels - (np.prod(high - low) - both) / pixels)

    queue = [(-likeness(a, b), a, b) for a in range(count) for b in neighbors[a] if a < b]
    heapify(queue)
    gone = set()
    new = count
    while queue:
        _, a, b = heappop(queue)
        if a in gone or b in gone:
            continue
        gone.update((a, b))
        members[new] = members[a] | members[b]
        size = sizes[a] + sizes[b]
        features.append((features[a] * sizes[a] + features[b] * sizes[b]) / size)
        low, high = np.minimum(boxes[a], boxes[b])[:2], np.maximum(boxes[a], boxes[b])[2:]
        boxes.append(np.concatenate([low, high]))
        sizes.append(size)
        neighbors[new] = (neighbors[a] | neighbors[b]) - {a, b}
        for other in sorted(neighbors[new]):
            neighbors[other] -= {a, b}
            neighbors[other].add(new)
            heappush(queue, (-likeness(other, new), other, new))
        new += 1
    return members[:new][::-1]


def load_proposals_mat(path: str | Path, shape: tuple[int, int] | None = None) -> Proposals:
    """Read proposals from a published file: ``masks`` (H, W, n) and ``scores`` (n).

    MATLAB's files of version 7.3 (HDF5, which needs h5py) and of older versions.

    Args:
        path: of the file.
        shape: height and width of the image. Masks of another size are resized to it (nearest
            pixel), as the code published with DeepCO3 does.

    Returns:
        highest score first.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if it is HDF5 and h5py is missing.
        MMCosegError: if it is damaged, lacks one of the two, or its masks have not the image's sides
            in proportion.
    """
    arrays = _read_mat(path, ('masks', 'scores'))
    masks, scores = arrays['masks'], arrays['scores'].reshape(-1)
    if masks.ndim == 2:  # MATLAB drops a last dimension of 1
        masks = masks[:, :, None]
    if masks.ndim != 3 or masks.shape[2] != len(scores):
        raise MMCosegError(
            f'{path}: masks must be (H, W, n) and scores (n), got {masks.shape} and {scores.shape}'
        )
    masks = np.moveaxis(masks, 2, 0)
    if shape is not None and masks.shape[1:] != tuple(shape):
        masks = _resized_masks(masks, tuple(shape), path)
    order = np.argsort(-scores, kind='stable')
    return Proposals.from_masks(masks[order], scores[order])


def _resized_masks(masks: np.ndarray, shape: tuple[int, int], path: str | Path) -> np.ndarray:
    """Masks (n, h, w) at the size of their image, (n, *shape), nearest pixel."""
    height, width = masks.shape[1:]
    # Each side may be rounded by a pixel.
    if abs(height * shape[1] - width * shape[0]) > max(height, width, *shape):
        raise MMCosegError(
            f'{path} has masks of {height} x {width}, its image is {shape[0]} x {shape[1]} '
            '(height x width); the file belongs to another image'
        )
    size = shape[::-1]
    resized = [
        cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for mask in masks
    ]
    return np.array(resized).reshape(len(masks), *shape)


def load_saliency_mat(path: str | Path) -> np.ndarray:
    """Read saliency from a published file: ``SalMap`` (H, W), from 0 to 1 or to 255.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        FileNotFoundError, ImportError, MMCosegError: as :func:`load_proposals_mat`.
    """
    values = _read_mat(path, ('SalMap',))['SalMap']
    if values.ndim != 2 or not np.isfinite(values).all():
        raise MMCosegError(f'{path}: SalMap must be (H, W) and finite, got {values.shape}')
    scale = 255 if values.dtype == np.uint8 or values.max(initial=0) > 1 else 1
    return np.clip(values.astype(np.float32) / scale, 0, 1)


def _read_mat(path: str | Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of a MATLAB file with MATLAB's order of dimensions."""
    path = Path(path)
    with open(path, 'rb') as file:
        start = file.read(520)
    if b'\x89HDF\r\n\x1a\n' in start:
        try:
            import h5py
        except ImportError as error:
            raise ImportError(
                f"reading {path} needs the package 'h5py' ({error}); install it with "
                "`pip install 'mmcoseg[mat]'`"
            ) from error
        try:
            with h5py.File(path, 'r') as file:
                # HDF5 has the rows last that MATLAB has first.
                arrays = {name: file[name][()].T for name in names if name in file}
        except (OSError, RuntimeError, AttributeError) as error:
            raise MMCosegError(f'{path} cannot be read, it seems damaged: {error}') from error
    else:
        from scipy.io import loadmat

        try:
            arrays = loadmat(path, variable_names=list(names))
        except Exception as error:  # scipy's reader raises anything on damaged files
            raise MMCosegError(f'{path} cannot be read as a MATLAB file: {error}') from error
    missing = [name for name in names if name not in arrays]
    if missing:
        raise MMCosegError(f'{path} has no {" and no ".join(missing)}')
    return {name: np.asarray(arrays[name]) for name in names}
