"""Cues from a single image without learning, computed once an image."""

from .cache import PriorCache
from .proposals import (
    Proposals,
    combinatorial_grouping,
    contours_of,
    load_proposals_mat,
    load_saliency_mat,
    selective_search,
)
from .saliency import (
    background_weighted_contrast,
    border_dissimilarity,
    boundary_connectivity,
    fused_saliency,
    minimum_barrier,
    minimum_barrier_distance,
    optimize_saliency,
    robust_background_detection,
    smoothness_weights,
    superpixel_labels,
)

__all__ = [
    'PriorCache',
    'Proposals',
    'background_weighted_contrast',
    'border_dissimilarity',
    'boundary_connectivity',
    'combinatorial_grouping',
    'contours_of',
    'fused_saliency',
    'load_proposals_mat',
    'load_saliency_mat',
    'minimum_barrier',
    'minimum_barrier_distance',
    'optimize_saliency',
    'robust_background_detection',
    'selective_search',
    'smoothness_weights',
    'superpixel_labels',
]
