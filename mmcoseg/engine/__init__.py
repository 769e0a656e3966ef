"""Hooks, loops, optimizer wrappers; a run's config (``run_config``) and start (``launch``)."""

from .group_optimization import (
    GroupBatches,
    InitialState,
    OptimizationSettings,
    optimize_group,
)
from .hooks import GroupPriorHook, GroupVisualizationHook, IterationSeedHook, SaveMasksHook
from .loops import GroupOptimizationLoop, GroupOptimizationTestLoop, MultiTestLoop
from .optim_wrappers import BFloat16OptimWrapper

__all__ = [
    'BFloat16OptimWrapper',
    'GroupBatches',
    'GroupOptimizationLoop',
    'GroupOptimizationTestLoop',
    'GroupPriorHook',
    'GroupVisualizationHook',
    'InitialState',
    'IterationSeedHook',
    'MultiTestLoop',
    'OptimizationSettings',
    'SaveMasksHook',
    'optimize_group',
]
