"""Stages: what looks at a whole group and gives soft maps, without training."""

from .cues import ConsensusCue, DDTCue, DFFCue, SaliencyCue, SpectralCue
from .follow_hints import FollowHints
from .group_stage import Descriptors, GroupContext, GroupCue, GroupStage
from .presence import PrototypePresence
from .self_training import SelfTraining
from .split_classes import SplitClasses
from .steady_maps import SteadyMaps
from .weighted_mean import WeightedMean

__all__ = [
    'ConsensusCue',
    'DDTCue',
    'DFFCue',
    'Descriptors',
    'FollowHints',
    'GroupContext',
    'GroupCue',
    'GroupStage',
    'PrototypePresence',
    'SaliencyCue',
    'SelfTraining',
    'SpectralCue',
    'SplitClasses',
    'SteadyMaps',
    'WeightedMean',
]
