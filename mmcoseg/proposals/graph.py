"""Superpixels, and the graph of those that touch."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import csr_matrix

from ..saliency.images import ROUNDING, region_means

__all__ = ['RegionGraph', 'centers_of', 'edge_strength', 'superpixels_of']


@dataclass(frozen=True)
class RegionGraph:
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
    def of(cls, labels: np.ndarray, gradients: Sequence[np.ndarray]) -> 'RegionGraph':
        def pairs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            one = np.concatenate([values[:, :-1].reshape(-1), values[:-1].reshape(-1)])
            other = np.concatenate([values[:, 1:].reshape(-1), values[1:].reshape(-1)])
            return one, other

        one, other = pairs(labels)
        between = one != other
        one, other = one[between], other[between]
        count = int(labels.max()) + 1
        codes = np.minimum(one, other) * count + np.maximum(one, other)
        code, edge = np.unique(codes, return_inverse=True)
        lengths = np.bincount(edge).astype(np.float64)
        strengths = np.zeros((len(code), len(gradients)))
        for column, gradient in zip(strengths.T, gradients):
            column[:] = np.bincount(edge, np.maximum(*pairs(gradient))[between]) / lengths
        lines = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        return cls(
            code // count,
            code % count,
            lengths,
            strengths,
            np.bincount(labels.reshape(-1)).astype(np.float64),
            np.bincount(lines, minlength=count).astype(np.float64),
        )

    def shared_lengths(self) -> csr_matrix:
        """(n, n), how long each two superpixels touch."""
        count = len(self.sizes)
        upper = csr_matrix((self.lengths, (self.first, self.second)), (count, count))
        return (upper + upper.T).tocsr()


def superpixels_of(lab: np.ndarray, superpixels: int) -> tuple[np.ndarray, list[np.ndarray]]:
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
    total = edge_strength(np.stack(gradients, 2)).astype(np.float64)
    if height * width == 1:
        return np.zeros((1, 1), np.int64), gradients
    graph = hg.get_4_adjacency_graph((height, width))
    weights = hg.weight_graph(graph, total, hg.WeightFunction.mean)
    tree, altitudes = hg.watershed_hierarchy_by_area(graph, weights)
    explorer = hg.HorizontalCutExplorer(tree, altitudes)
    cut = explorer.horizontal_cut_from_num_regions(superpixels, at_least=False)
    regions = np.asarray(cut.labelisation_leaves(tree)).reshape(-1)
    return np.unique(regions, return_inverse=True)[1].reshape(height, width), gradients


def edge_strength(strengths: np.ndarray) -> np.ndarray:
    """The three scales of the last axis in one."""
    return strengths @ np.array([1, 0.7, 0.5], strengths.dtype)


def centers_of(labels: np.ndarray) -> np.ndarray:
    """(n, 2) y and x of each label's center off the image's, in units of the long side."""
    centers = region_means(labels, np.moveaxis(np.indices(labels.shape), 0, 2))
    return (centers - (np.array(labels.shape) - 1) / 2) / max(labels.shape)
