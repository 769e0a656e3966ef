"""From predictions and ground truth to figures and tables."""

from .folders import evaluate_folders
from .functional import (
    average_precision,
    binarise_adaptive,
    foreground_probability,
    image_scores,
    instance_overlaps,
    match_instances,
)
from .instance_files import evaluate_instance_files
from .instance_report import ImageMatches, InstanceReport
from .metrics import CorLocMetric, CoSegMetric, InstanceCoSegMetric
from .report import GroupScore, ScoreReport

__all__ = [
    'CoSegMetric',
    'CorLocMetric',
    'GroupScore',
    'ImageMatches',
    'InstanceCoSegMetric',
    'InstanceReport',
    'ScoreReport',
    'average_precision',
    'binarise_adaptive',
    'evaluate_folders',
    'evaluate_instance_files',
    'foreground_probability',
    'image_scores',
    'instance_overlaps',
    'match_instances',
]
