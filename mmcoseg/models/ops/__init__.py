"""The mathematics of the methods: pure functions on tensors, without registry, config or I/O."""

from .affinity import pairwise_affinity
from .attention import mutual_attention, self_attention
from .class_clustering import class_discriminants, cluster_classes
from .class_count import ClassCount, count_classes
from .clustering import border_ring, consensus_foreground, principal_components
from .co_attention import co_attention_distances
from .co_peaks import co_peak_means, co_peaks
from .dff import deep_feature_factorization, factor_off_border, nonnegative_coefficients
from .discriminant import group_discriminant
from .landmarks import landmark_affinity, landmark_bipartition
from .locations import corners_aligned, maps_at_locations, maps_at_pixels, pad_map
from .masks import mask_iou, mask_of_prob, mask_overlaps, min_max_maps, soften_by_otsu
from .peaks import PeakPropagation, find_peaks, peak_response_maps
from .pooling import channel_covariance
from .spectral import (
    deep_descriptor_transform,
    orient_by_border,
    spatial_clustering_loss,
    spectral_bipartition,
)

__all__ = [
    'ClassCount',
    'PeakPropagation',
    'border_ring',
    'channel_covariance',
    'class_discriminants',
    'cluster_classes',
    'co_attention_distances',
    'co_peak_means',
    'co_peaks',
    'consensus_foreground',
    'corners_aligned',
    'count_classes',
    'deep_descriptor_transform',
    'deep_feature_factorization',
    'factor_off_border',
    'find_peaks',
    'group_discriminant',
    'landmark_affinity',
    'landmark_bipartition',
    'maps_at_locations',
    'maps_at_pixels',
    'mask_iou',
    'mask_of_prob',
    'mask_overlaps',
    'min_max_maps',
    'mutual_attention',
    'nonnegative_coefficients',
    'orient_by_border',
    'pad_map',
    'pairwise_affinity',
    'peak_response_maps',
    'principal_components',
    'self_attention',
    'soften_by_otsu',
    'spatial_clustering_loss',
    'spectral_bipartition',
]
