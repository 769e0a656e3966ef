"""Everything with weights, and the mathematics beneath (``ops``)."""

from . import backbones, postprocessors
from .data_preprocessor import GroupDataPreprocessor
from .heads import CoarseToFineHead
from .losses import BalancedBCELoss
from .necks import LevelProjection, Modulation, Modulator, SemanticModulator, SpatialModulator
from .segmentors import SSNM, BaseCoSegmentor

__all__ = [
    'SSNM',
    'BalancedBCELoss',
    'BaseCoSegmentor',
    'CoarseToFineHead',
    'GroupDataPreprocessor',
    'LevelProjection',
    'Modulation',
    'Modulator',
    'SemanticModulator',
    'SpatialModulator',
    'backbones',
    'postprocessors',
]
