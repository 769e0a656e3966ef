"""Everything with weights, and the mathematics beneath (``ops``)."""

from . import backbones, heads, losses, necks, postprocessors, segmentors, stages
from .backbones import *  # noqa: F403
from .data_preprocessor import GroupDataPreprocessor
from .heads import *  # noqa: F403
from .losses import *  # noqa: F403
from .necks import *  # noqa: F403
from .postprocessors import *  # noqa: F403
from .segmentors import *  # noqa: F403
from .stages import *  # noqa: F403

__all__ = [
    'GroupDataPreprocessor',
    *backbones.__all__,
    *heads.__all__,
    *losses.__all__,
    *necks.__all__,
    *postprocessors.__all__,
    *segmentors.__all__,
    *stages.__all__,
]
