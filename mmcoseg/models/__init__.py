"""Everything with weights, and the mathematics beneath (``ops``)."""

from .backbones import EfficientNetLite, TimmFeatures, VGG16Pools
from .data_preprocessor import GroupDataPreprocessor
from .heads import CoarseToFineHead, CoSaliencyHead, CueHead
from .losses import (
    AffinityLoss,
    BalancedBCELoss,
    BalancedJaccardLoss,
    CoPeakLoss,
    CoSaliencyLoss,
)
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
from .postprocessors import DenseCRF, GuidedFilter, InstanceRanking, MaskNMS
from .refiners import PrototypePresence, SelfTraining
from .segmentors import (
    SSNM,
    BaseCoSegmentor,
    ClassAgnosticSSNM,
    DeepCO3,
    TrainingFreeCoSegmentor,
)

__all__ = [
    'SSNM',
    'AffinityLoss',
    'BalancedBCELoss',
    'BalancedJaccardLoss',
    'BaseCoSegmentor',
    'ClassAgnosticSSNM',
    'CoPeakLoss',
    'CoSaliencyHead',
    'CoSaliencyLoss',
    'CoarseToFineHead',
    'ConsensusModulator',
    'CueHead',
    'DDTModulator',
    'DFFModulator',
    'DeepCO3',
    'DenseCRF',
    'DiscriminantModulator',
    'EfficientNetLite',
    'FeatureWhitening',
    'GroupDataPreprocessor',
    'GuidedFilter',
    'InstanceRanking',
    'KMeansModulator',
    'LevelProjection',
    'MaskNMS',
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
