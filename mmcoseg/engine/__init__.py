"""Hooks, loops and optimizer wrappers; how programs start a run (``launch``)."""

from .hooks import GroupPriorHook, GroupVisualizationHook, IterationSeedHook, SaveMasksHook
from .loops import MultiTestLoop
from .optim_wrappers import BFloat16OptimWrapper

__all__ = [
    'BFloat16OptimWrapper',
    'GroupPriorHook',
    'GroupVisualizationHook',
    'IterationSeedHook',
    'MultiTestLoop',
    'SaveMasksHook',
]
