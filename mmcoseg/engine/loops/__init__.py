"""Loops beyond mmengine's."""

from .group_optimization_loop import GroupOptimizationLoop
from .multi_test_loop import MultiTestLoop

__all__ = ['GroupOptimizationLoop', 'MultiTestLoop']
