"""Cues from a single image without learning, computed once an image."""

from .saliency import (
    background_weighted_contrast,
    border_dissimilarity,
    boundary_connectivity,
    fused_saliency,
    minimum_barrier,
    minimum_barrier_distance,
    optimise_saliency,
    robust_background_detection,
    smoothness_weights,
    superpixel_labels,
)

__all__ = [
    'background_weighted_contrast',
    'border_dissimilarity',
    'boundary_connectivity',
    'fused_saliency',
    'minimum_barrier',
    'minimum_barrier_distance',
    'optimise_saliency',
    'robust_background_detection',
    'smoothness_weights',
    'superpixel_labels',
]
