"""Hooks, loops and optimizer wrappers; how programs start a run (``launch``)."""

from .hooks import IterationSeedHook, SaveMasksHook
from .loops import MultiTestLoop
from .optim_wrappers import BFloat16OptimWrapper

__all__ = ['BFloat16OptimWrapper', 'IterationSeedHook', 'MultiTestLoop', 'SaveMasksHook']
