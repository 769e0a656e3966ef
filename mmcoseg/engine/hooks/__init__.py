"""Hooks of the runner."""

from .iteration_seed_hook import IterationSeedHook
from .save_masks_hook import SaveMasksHook
from .visualization_hook import GroupVisualizationHook

__all__ = ['GroupVisualizationHook', 'IterationSeedHook', 'SaveMasksHook']
