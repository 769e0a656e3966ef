"""What users call: the Python door, and what the commands do."""

from ..segment_options import InferenceOptions, SegmentOptions
from .hint_inputs import hints_from
from .inferencer import CoSegInferencer
from .inputs import ImageLimits, read_inputs
from .segment import SegmentResult, segment_to_folder
from .session import GroupSession

__all__ = [
    'CoSegInferencer',
    'GroupSession',
    'ImageLimits',
    'InferenceOptions',
    'SegmentOptions',
    'SegmentResult',
    'hints_from',
    'read_inputs',
    'segment_to_folder',
]
