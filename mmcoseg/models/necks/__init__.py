"""Modulators, attention, and what brings features into the form that they act on."""

from .attention import GatedAttention, MutualAttention, SelfAttention
from .ddt_modulator import DDTModulator
from .dff_modulator import DFFModulator
from .feature_whitening import FeatureWhitening
from .group_cues import ConsensusModulator, DiscriminantModulator, KMeansModulator
from .level_projection import LevelProjection
from .modulator import Modulation, Modulator, modulate
from .saliency_modulator import SaliencyModulator
from .semantic_modulator import SecondOrderPooling, SemanticModulator
from .spatial_modulator import SpatialModulator
from .spectral_modulator import SpectralModulator

__all__ = [
    'ConsensusModulator',
    'DDTModulator',
    'DFFModulator',
    'DiscriminantModulator',
    'FeatureWhitening',
    'GatedAttention',
    'KMeansModulator',
    'LevelProjection',
    'Modulation',
    'Modulator',
    'MutualAttention',
    'SaliencyModulator',
    'SecondOrderPooling',
    'SelfAttention',
    'SemanticModulator',
    'SpatialModulator',
    'SpectralModulator',
    'modulate',
]
