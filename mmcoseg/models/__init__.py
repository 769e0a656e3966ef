"""Everything with weights, and the mathematics beneath (``ops``)."""

from .backbones import EfficientNetLite, TimmFeatures, VGG16Pools
from .data_preprocessor import GroupDataPreprocessor
from .heads import CoarseToFineHead, CueHead
from .losses import BalancedBCELoss, BalancedJaccardLoss
from .necks import (
    ConsensusModulator,
    DDTModulator,
    DFFModulator,
    DiscriminantModulator,
    FeatureWhitening,
    KMeansModulator,
    LevelProjection,
    Modulation,
    Modulator,
    SaliencyModulator,
    SemanticModulator,
    SpatialModulator,
    SpectralModulator,
)
from .postprocessors import DenseCRF, GuidedFilter
from .refiners import PrototypePresence, SelfTraining
from .segmentors import SSNM, BaseCoSegmentor, ClassAgnosticSSNM, TrainingFreeCoSegmentor

__all__ = [
    'SSNM',
    'BalancedBCELoss',
    'BalancedJaccardLoss',
    'BaseCoSegmentor',
    'ClassAgnosticSSNM',
    'CoarseToFineHead',
    'ConsensusModulator',
    'CueHead',
    'DDTModulator',
    'DFFModulator',
    'DenseCRF',
    'DiscriminantModulator',
    'EfficientNetLite',
    'FeatureWhitening',
    'GroupDataPreprocessor',
    'GuidedFilter',
    'KMeansModulator',
    'LevelProjection',
    'Modulation',
    'Modulator',
    'PrototypePresence',
    'SaliencyModulator',
    'SelfTraining',
    'SemanticModulator',
    'SpatialModulator',
    'SpectralModulator',
    'TimmFeatures',
    'TrainingFreeCoSegmentor',
    'VGG16Pools',
]
