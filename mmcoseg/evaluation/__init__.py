"""From predictions and ground truth to figures and tables."""

from .functional import binarise_adaptive, image_scores
from .metrics import CoSegMetric

__all__ = ['CoSegMetric', 'binarise_adaptive', 'image_scores']
