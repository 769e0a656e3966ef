"""Everything with weights, and the mathematics beneath (``ops``)."""

from .backbones import EfficientNetLite, TimmFeatures, VGG16Pools
from .data_preprocessor import GroupDataPreprocessor
from .heads import CoarseToFineHead, CueHead
from .losses import BalancedBCELoss, BalancedJaccardLoss
from .necks import (
    ConsensusModulator,
    DiscriminantModulator,
    FeatureWhitening,
    LevelProjection,
    Modulation,
    Modulator,
    SemanticModulator,
    SpatialModulator,
)
from .segmentors import SSNM, BaseCoSegmentor, ClassAgnosticSSNM

__all__ = [
    'SSNM',
    'BalancedBCELoss',
    'BalancedJaccardLoss',
    'BaseCoSegmentor',
    'ClassAgnosticSSNM',
    'CoarseToFineHead',
    'ConsensusModulator',
    'CueHead',
    'DiscriminantModulator',
    'EfficientNetLite',
    'FeatureWhitening',
    'GroupDataPreprocessor',
    'LevelProjection',
    'Modulation',
    'Modulator',
    'SemanticModulator',
    'SpatialModulator',
    'TimmFeatures',
    'VGG16Pools',
]
