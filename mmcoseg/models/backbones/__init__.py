"""Backbones; all others of mmsegmentation can be used by their names too."""

from .base import StagedBackbone
from .efficientnet_lite import EfficientNetLite
from .timm_model import TimmModel
from .vgg16 import VGG16
from .weights import MissingWeightsError

__all__ = [
    'VGG16',
    'EfficientNetLite',
    'MissingWeightsError',
    'StagedBackbone',
    'TimmModel',
]
