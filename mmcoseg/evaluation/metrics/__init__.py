"""Metrics on groups."""

from .corloc_metric import CorLocMetric
from .coseg_metric import CoSegMetric
from .instance_coseg_metric import InstanceCoSegMetric
from .multiclass_coseg_metric import MultiClassCoSegMetric

__all__ = ['CoSegMetric', 'CorLocMetric', 'InstanceCoSegMetric', 'MultiClassCoSegMetric']
