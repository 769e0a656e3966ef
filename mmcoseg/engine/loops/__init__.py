"""Loops beyond mmengine's."""

from .click_loop import ClickLoop
from .group_optimization_loop import GroupOptimizationLoop
from .multi_test_loop import MultiTestLoop

__all__ = ['ClickLoop', 'GroupOptimizationLoop', 'MultiTestLoop']
