"""Everything with weights, and the mathematics beneath (``ops``)."""

from .backbones import EfficientNetLite, TimmFeatures, VGG16Pools
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
    'EfficientNetLite',
    'GroupDataPreprocessor',
    'LevelProjection',
    'Modulation',
    'Modulator',
    'SemanticModulator',
    'SpatialModulator',
    'TimmFeatures',
    'VGG16Pools',
]
