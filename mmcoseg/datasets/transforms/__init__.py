"""Transforms of group records and of the image records in them."""

from .formatting import PackGroupInputs
from .group import ForEachImage, MixForeignImages, SampleGroup
from .loading import LoadCoSegImage, LoadCoSegMask, LoadPrior

__all__ = [
    'ForEachImage',
    'LoadCoSegImage',
    'LoadCoSegMask',
    'LoadPrior',
    'MixForeignImages',
    'PackGroupInputs',
    'SampleGroup',
]
