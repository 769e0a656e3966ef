"""Transforms of group records and of the image records in them."""

from .formatting import PackGroupInputs
from .group import ForEachImage, MixForeignImages, SampleGroup
from .loading import LoadCoSegImage, LoadCoSegMask, LoadPrior
from .priors import ComputeSaliency

__all__ = [
    'ComputeSaliency',
    'ForEachImage',
    'LoadCoSegImage',
    'LoadCoSegMask',
    'LoadPrior',
    'MixForeignImages',
    'PackGroupInputs',
    'SampleGroup',
]
