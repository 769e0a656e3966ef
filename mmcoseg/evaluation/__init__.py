"""From predictions and ground truth to figures and tables."""

from .class_report import ClassReport, ClassScore, GroupClassScore, count_labels, match_classes
from .folders import evaluate_classes, evaluate_masks, hold_classes
from .functional import (
    average_precision,
    binarize_adaptive,
    flicker,
    image_scores,
    instance_overlaps,
    match_instances,
)
from .instance_files import evaluate_instances
from .instance_report import ImageMatches, InstanceReport
from .metrics import CorLocMetric, CoSegMetric, InstanceCoSegMetric, MultiClassCoSegMetric
from .report import GroupScore, MaskReport, Report

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
    'MaskReport',
    'MultiClassCoSegMetric',
    'Report',
    'average_precision',
    'binarize_adaptive',
    'count_labels',
    'evaluate_classes',
    'evaluate_instances',
    'evaluate_masks',
    'flicker',
    'hold_classes',
    'image_scores',
    'instance_overlaps',
    'match_classes',
    'match_instances',
]
