"""Modulators, attention, and what brings features into the form that they act on."""

from .attention import GatedAttention, MutualAttention, SelfAttention
from .cue_modulator import CueModulator
from .discriminant_modulator import DiscriminantModulator
from .feature_whitening import FeatureWhitening
from .group_necks import AttentionNeck, ModulationNeck
from .level_projection import LevelProjection
from .modulator import Modulation, Modulator, modulate
from .semantic_modulator import SecondOrderPooling, SemanticModulator
from .spatial_modulator import SpatialModulator

__all__ = [
    'AttentionNeck',
    'CueModulator',
    'DiscriminantModulator',
    'FeatureWhitening',
    'GatedAttention',
    'LevelProjection',
    'Modulation',
    'ModulationNeck',
    'Modulator',
    'MutualAttention',
    'SecondOrderPooling',
    'SelfAttention',
    'SemanticModulator',
    'SpatialModulator',
    'modulate',
]
