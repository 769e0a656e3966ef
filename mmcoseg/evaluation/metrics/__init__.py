"""Metrics on groups."""

from .coseg_metric import CoSegMetric, MultiClassCoSegMetric
from .instance_coseg_metric import CorLocMetric, InstanceCoSegMetric

__all__ = ['CoSegMetric', 'CorLocMetric', 'InstanceCoSegMetric', 'MultiClassCoSegMetric']
