"""Proposals in the spirit of multiscale combinatorial grouping.

P. Arbelaez, J. Pont-Tuset, J. Barron, F. Marques and J. Malik, Multiscale combinatorial grouping,
CVPR 2014; on the hierarchies of the library higra.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import MMCosegError
from ..options import whole_number
from ..saliency.images import working_lab
from ..structures import Proposals
from .graph import RegionGraph, centers_of, superpixels_of
from .order import diverse_order
from .trees import TREES, region_trees

__all__ = ['combinatorial_grouping']

#: Superpixels, about as many at most.
SUPERPIXELS = 600
#: Larger images are made this large first, in pixels.
LONG_SIDE = 320
#: The smallest region and the largest proposal, as a share of the image.
MIN_AREA, MAX_AREA = 0.004, 0.8
#: The best so many are compared with each other,
CANDIDATES = 3500
#: in rounds that allow a rising IoU.
ROUNDS = (0.75, 0.9, 0.95)
#: What costs as much as a rank that is e times as far down: half a contour along the image's edge,
BORDER_PENALTY = 2.0
#: a contour e^2 times as long for the same area,
RAGGED_PENALTY = 0.5
#: a center of mass off the image's center by 2 / 3 of the long side downwards, or 1 across.
CENTER_PENALTY = 1.5, 1.0


def combinatorial_grouping(
    image: np.ndarray,
    max_proposals: int = 2000,
    trees: Sequence[str] = TREES,
    pair_nodes: int = 100,
    triplet_nodes: int = 50,
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
        trees: some of ``TREES``.
        pair_nodes: regions of a tree among which pairs are looked for.
        triplet_nodes: the same for triplets.

    Returns:
        at the image's size, the same for the same image. Where there is nothing to be told apart,
        the whole image is the only one.

    Raises: MMCosegError: for another kind of image, an empty one, an unknown tree or no proposals.
    """
    unknown = set(trees) - set(TREES)
    if unknown or not trees:
        raise MMCosegError(f'trees must be some of {TREES}, got {tuple(trees)}')
    whole_number('max_proposals', max_proposals)
    lab = working_lab(image, LONG_SIDE)
    labels, gradients = superpixels_of(lab, SUPERPIXELS)
    count = int(labels.max()) + 1
    whole_image = np.ones((1, count), bool)
    if count == 1:
        return _at_image_size(whole_image, labels, image)
    graph = RegionGraph.of(labels, gradients)
    centers = centers_of(labels)
    found = []
    for parents, altitudes in region_trees(lab, labels, graph, trees):
        regions = _regions(parents, altitudes, graph)
        found.append(_combinations(regions, graph, centers, pair_nodes, triplet_nodes))
    membership = _best(found)
    if not len(membership):
        return _at_image_size(whole_image, labels, image)
    order = diverse_order(membership, graph.sizes, ROUNDS, max_proposals)
    return _at_image_size(membership[order], labels, image)


@dataclass
class _Combinations:
    """Regions of a tree, alone, in pairs and in triplets."""

    #: (m + 1, n) bool, the superpixels of each region; the last region is empty.
    membership: np.ndarray
    #: (c, 3), the regions of each combination; m for the empty region.
    parts: np.ndarray
    #: (c,).
    scores: np.ndarray
    #: (c,) uint64, the same for the same superpixels.
    marks: np.ndarray


def _best(found: Sequence[_Combinations]) -> np.ndarray:
    """(c, n) bool, superpixels of the best combinations of all trees, none of them twice."""
    scores = np.concatenate([some.scores for some in found])
    marks = np.concatenate([some.marks for some in found])
    best = np.argsort(-scores, kind='stable')
    _, first = np.unique(marks[best], return_index=True)  # of the same superpixels the best scored
    best = best[np.sort(first)][:CANDIDATES]
    nodes = np.concatenate([some.membership for some in found])
    parts, start = [], 0
    for some in found:
        parts.append(some.parts + start)
        start += len(some.membership)
    return nodes[np.concatenate(parts)[best]].any(axis=1)


def _regions(
    parents: np.ndarray, altitudes: np.ndarray, graph: RegionGraph
) -> tuple[np.ndarray, np.ndarray]:
    """Those of a tree that are neither too small nor too large, the most persistent first.

    Their superpixels, (m, n) bool, and the node of the tree that each is part of, (m,).
    """
    leaves, total = len(graph.sizes), graph.sizes.sum()
    membership = np.zeros((len(parents), leaves), bool)
    membership[np.arange(leaves), np.arange(leaves)] = True
    for node, parent in enumerate(parents[:-1]):  # children come before parents
        membership[parent] |= membership[node]
    areas = membership @ graph.sizes
    # The image as a whole is merged with nothing.
    persistence = np.where(parents == np.arange(len(parents)), 0, altitudes[parents] - altitudes)
    fit = np.flatnonzero((areas >= MIN_AREA * total) & (areas <= MAX_AREA * total))
    nodes = fit[np.argsort(-persistence[fit], kind='stable')]
    return membership[nodes], parents[nodes]


def _combinations(
    regions: tuple[np.ndarray, np.ndarray],
    graph: RegionGraph,
    centers: np.ndarray,
    pair_nodes: int,
    triplet_nodes: int,
) -> _Combinations:
    """The regions, and the pairs and triplets of those that touch, with their scores."""
    # All sums are of regions, with a last, empty one, and add up over disjoint regions;
    # contours do, but for what they share.
    membership, parents = regions
    empty = len(membership)
    membership = np.concatenate([membership, np.zeros((1, len(graph.sizes)), bool)])
    floats = membership.astype(np.float64)
    shared = graph.shared_lengths()
    areas = floats @ graph.sizes
    border = floats @ graph.border
    places = floats @ (centers * graph.sizes[:, None])
    inside = ((floats @ shared) * floats).sum(axis=1)
    contours = floats @ np.asarray(shared.sum(axis=1)).reshape(-1) - inside + border
    numbers = np.random.default_rng(0).integers(0, 2**64, len(graph.sizes), np.uint64)
    marks = (membership * numbers).sum(axis=1, dtype=np.uint64)

    best = floats[: min(pair_nodes, empty)]
    touch = (best @ shared) @ best.T
    apart = best @ best.T == 0
    parts = _parts(parents, apart & (touch > 0), apart, triplet_nodes)
    common = np.zeros(len(parts))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        both = (parts[:, one] < empty) & (parts[:, other] < empty)
        common[both] += touch[parts[both, one], parts[both, other]]
    length = np.maximum(contours[parts].sum(axis=1) - 2 * common, 1)
    area = areas[parts].sum(axis=1)
    ranks = np.where(parts < empty, parts, 0).sum(axis=1)
    scores = -np.log1p(ranks) - BORDER_PENALTY * border[parts].sum(axis=1) / length
    scores -= RAGGED_PENALTY * np.log(length / np.sqrt(area))
    scores -= np.abs(places[parts].sum(axis=1) / area[:, None]) @ CENTER_PENALTY
    small = area <= MAX_AREA * graph.sizes.sum()
    mark = marks[parts].sum(axis=1, dtype=np.uint64)
    return _Combinations(membership, parts[small], scores[small], mark[small])


def _parts(
    parents: np.ndarray, beside: np.ndarray, apart: np.ndarray, triplet_nodes: int
) -> np.ndarray:
    """The regions of each combination, (c, 3); the number of regions stands for none.

    Of the best regions, ``beside`` (p, p) says which touch without overlap, ``apart`` which do not
    overlap.
    """
    empty = len(parents)
    singles = np.full((empty, 3), empty)
    singles[:, 0] = np.arange(empty)
    one, two = np.triu(beside).nonzero()
    # A pair of siblings is their parent.
    strangers = parents[one] != parents[two]
    pairs = np.stack([one, two, np.full(len(one), empty)], axis=1)[strangers]
    few = (one < triplet_nodes) & (two < triplet_nodes)
    one, two = one[few], two[few]
    third = (beside[one] | beside[two]) & apart[one] & apart[two]
    pair, three = third[:, :triplet_nodes].nonzero()
    triplets = np.sort(np.stack([one[pair], two[pair], three], axis=1), axis=1)
    return np.concatenate([singles, pairs, np.unique(triplets, axis=0)])


def _at_image_size(membership: np.ndarray, labels: np.ndarray, image: np.ndarray) -> Proposals:
    """Proposals of an image; superpixels that none of them tells apart become one.

    Their scores fall with their places.
    """
    _, first, superpixel = np.unique(
        np.packbits(membership, axis=0), axis=1, return_index=True, return_inverse=True
    )
    superpixels = superpixel.reshape(-1)[labels].astype(np.int32)
    (height, width), (h, w) = image.shape[:2], labels.shape
    y, x = np.arange(height) * h // height, np.arange(width) * w // width
    return Proposals(
        np.ascontiguousarray(superpixels[y[:, None], x]),
        np.ascontiguousarray(membership[:, first]),
        (1 / (1 + np.arange(len(membership)))).astype(np.float32),
    )
