"""Hooks of the runner."""

from .best_score_hook import BestScoreHook
from .group_map_hook import GroupMapHook
from .iteration_seed_hook import IterationSeedHook
from .plain_checkpoint_hook import PlainCheckpointHook
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
