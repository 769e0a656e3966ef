"""Cues from a single image without learning, computed once an image."""

from .saliency import (
    fused_saliency,
    minimum_barrier,
    robust_background_detection,
)

__all__ = [
    'fused_saliency',
    'minimum_barrier',
    'robust_background_detection',
]
