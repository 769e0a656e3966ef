"""From predictions and ground truth to figures and tables."""

from .folders import evaluate_folders
from .functional import binarise_adaptive, foreground_probability, image_scores
from .metrics import CoSegMetric
from .report import GroupScore, ScoreReport

__all__ = [
    'CoSegMetric',
    'GroupScore',
    'ScoreReport',
    'binarise_adaptive',
    'evaluate_folders',
    'foreground_probability',
    'image_scores',
]
