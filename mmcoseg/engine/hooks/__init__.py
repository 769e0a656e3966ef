"""Hooks of the runner."""

from .group_prior_hook import GroupPriorHook
from .iteration_seed_hook import IterationSeedHook
from .plain_checkpoint_hook import PlainCheckpointHook
from .save_masks_hook import SaveMasksHook
from .visualization_hook import GroupVisualizationHook

__all__ = [
    'GroupPriorHook',
    'GroupVisualizationHook',
    'IterationSeedHook',
    'PlainCheckpointHook',
    'SaveMasksHook',
]
