"""From predictions and ground truth to figures and tables."""

from .class_report import ClassReport, ClassScore, GroupClassScore, count_labels, match_classes
from .folders import evaluate_class_folders, evaluate_folders, hold_classes
from .functional import (
    average_precision,
    binarize_adaptive,
    foreground_probability,
    image_scores,
    instance_overlaps,
    match_instances,
)
from .instance_files import evaluate_instance_files
from .instance_report import ImageMatches, InstanceReport
from .metrics import CorLocMetric, CoSegMetric, InstanceCoSegMetric, MultiClassCoSegMetric
from .report import GroupScore, ScoreReport

__all__ = [
    'ClassReport',
    'ClassScore',
    'CoSegMetric',
    'CorLocMetric',
    'GroupClassScore',
    'GroupScore',
    'ImageMatches',
    'InstanceCoSegMetric',
    'InstanceReport',
    'MultiClassCoSegMetric',
    'ScoreReport',
    'average_precision',
    'binarize_adaptive',
    'count_labels',
    'evaluate_class_folders',
    'evaluate_folders',
    'evaluate_instance_files',
    'foreground_probability',
    'hold_classes',
    'image_scores',
    'instance_overlaps',
    'match_classes',
    'match_instances',
]
