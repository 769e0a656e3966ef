"""Hooks of the runner."""

from .checkpoint_hooks import BestScoreHook, PlainCheckpointHook
from .group_map_hook import GroupMapHook
from .iteration_seed_hook import IterationSeedHook
from .prediction_hooks import GroupVisualizationHook, SaveMasksHook

__all__ = [
    'BestScoreHook',
    'GroupMapHook',
    'GroupVisualizationHook',
    'IterationSeedHook',
    'PlainCheckpointHook',
    'SaveMasksHook',
]
