"""What users call: the Python door, and what the commands do."""

from .inferencer import CoSegInferencer
from .inputs import ImageLimits, read_inputs

__all__ = ['CoSegInferencer', 'ImageLimits', 'read_inputs']
