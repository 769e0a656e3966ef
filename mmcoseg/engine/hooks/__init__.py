"""Hooks of the runner."""

from .group_map_hook import GroupMapHook
from .prediction_hooks import GroupVisualizationHook, SaveMasksHook
from .run_hooks import BestScoreHook, IterationSeedHook, PlainCheckpointHook

__all__ = [
    'BestScoreHook',
    'GroupMapHook',
    'GroupVisualizationHook',
    'IterationSeedHook',
    'PlainCheckpointHook',
    'SaveMasksHook',
]
