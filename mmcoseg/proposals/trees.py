"""Hierarchies of superpixels: binary trees by which neighbors are merged."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from ..saliency.images import ROUNDING, region_means, texture_energy
from .graph import RegionGraph, centers_of, edge_strength

__all__ = ['TREES', 'normalized_cut', 'region_trees']

#: The trees that regions are taken from; see :func:`region_trees`.
TREES = ('color', 'place', 'histogram', 'spectral', 'spectral color', 'spectral histogram')
#: Eigenvectors of the normalized cut.
EIGENVECTORS = 16


def region_trees(
    lab: np.ndarray, labels: np.ndarray, graph: RegionGraph, names: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Binary trees over the superpixels: parent, and height, of each node; leaves come first."""
    import higra as hg

    regions = hg.UndirectedGraph(len(graph.sizes))
    regions.add_edges(graph.first, graph.second)
    means = region_means(labels, np.concatenate([lab, 5 * texture_energy(lab)], 2))
    centers = centers_of(labels)
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
        eigenvectors = _unit(normalized_cut(means, graph))
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


def normalized_cut(means: np.ndarray, graph: RegionGraph) -> np.ndarray:
    """(n, k) eigenvectors of the graph's random walk, those of slow mixing scaled up.

    J. Shi and J. Malik, Normalized cuts and image segmentation, TPAMI 2000; the weights
    1 / sqrt(eigenvalue) are those of the spectral gradients of P. Arbelaez, M. Maire, C. Fowlkes
    and J. Malik, Contour detection and hierarchical image segmentation, TPAMI 2011.
    """
    count = len(means)
    apart = (means[graph.first] - means[graph.second]) * [0.5, 1.5, 1.5, 1, 1, 1]
    affinity = graph.lengths.copy()
    for unlike in (np.linalg.norm(apart, axis=1), edge_strength(graph.strengths)):
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
    shape = int(labels.max()) + 1, int(np.prod(bins))
    codes = (labels * shape[1] + code).reshape(-1)
    counts = np.bincount(codes, minlength=shape[0] * shape[1]).reshape(shape)
    return counts / counts.sum(1, keepdims=True)
