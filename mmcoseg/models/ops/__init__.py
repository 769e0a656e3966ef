"""The mathematics of the methods: pure functions on tensors, without registry, config or I/O."""

from .pooling import channel_covariance
from .spectral import orient_by_border, spatial_clustering_loss, spectral_bipartition

__all__ = [
    'channel_covariance',
    'orient_by_border',
    'spatial_clustering_loss',
    'spectral_bipartition',
]
