"""Metrics on groups."""

from .coseg_metric import CoSegMetric
from .instance_coseg_metric import CorLocMetric, InstanceCoSegMetric
from .multiclass_coseg_metric import MultiClassCoSegMetric

__all__ = ['CoSegMetric', 'CorLocMetric', 'InstanceCoSegMetric', 'MultiClassCoSegMetric']
