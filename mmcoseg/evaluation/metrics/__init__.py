"""Metrics on groups."""

from .coseg_metric import CoSegMetric

__all__ = ['CoSegMetric']
