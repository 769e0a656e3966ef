"""Hooks of the runner."""

from .iteration_seed_hook import IterationSeedHook
from .save_masks_hook import SaveMasksHook

__all__ = ['IterationSeedHook', 'SaveMasksHook']
