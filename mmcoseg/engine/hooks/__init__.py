"""Hooks of the runner."""

from .checkpoint_hooks import BestScoreHook, PlainCheckpointHook
from .group_map_hook import GroupMapHook
from .iteration_seed_hook import IterationSeedHook
from .save_masks_hook import SaveMasksHook
from .visualization_hook import GroupVisualizationHook

__all__ = [
    'BestScoreHook',
    'GroupMapHook',
    'GroupVisualizationHook',
    'IterationSeedHook',
    'PlainCheckpointHook',
    'SaveMasksHook',
]
