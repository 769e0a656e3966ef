"""Modulators, and what brings features into the form that they act on."""

from .level_projection import LevelProjection
from .modulator import Modulation, Modulator, modulate
from .semantic_modulator import SecondOrderPooling, SemanticModulator
from .spatial_modulator import SpatialModulator

__all__ = [
    'LevelProjection',
    'Modulation',
    'Modulator',
    'SecondOrderPooling',
    'SemanticModulator',
    'SpatialModulator',
    'modulate',
]
