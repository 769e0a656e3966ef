"""Backbones; all others of mmsegmentation can be used by their names too."""

from .base import StagedBackbone
from .efficientnet_lite import EfficientNetLite
from .timm_features import TimmFeatures
from .vgg16 import VGG16Pools
from .weights import MissingWeightsError

__all__ = [
    'EfficientNetLite',
    'MissingWeightsError',
    'StagedBackbone',
    'TimmFeatures',
    'VGG16Pools',
]
