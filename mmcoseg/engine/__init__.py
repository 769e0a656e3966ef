"""Hooks, loops, optimizer wrappers; a run's config (``run_config``) and start (``launch``)."""

from .group_optimization import InitialState, OptimizationSettings, optimize_and_segment
from .hooks import GroupMapHook, GroupVisualizationHook, IterationSeedHook, SaveMasksHook
from .loops import ClickLoop, GroupOptimizationLoop, MultiTestLoop
from .optim_wrappers import BFloat16OptimWrapper

__all__ = [
    'BFloat16OptimWrapper',
    'ClickLoop',
    'GroupMapHook',
    'GroupOptimizationLoop',
    'GroupVisualizationHook',
    'InitialState',
    'IterationSeedHook',
    'MultiTestLoop',
    'OptimizationSettings',
    'SaveMasksHook',
    'optimize_and_segment',
]
