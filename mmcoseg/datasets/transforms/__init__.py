"""Transforms of group records and of the image records in them."""

from .formatting import PackGroupInputs
from .group import ForEachImage, MixForeignImages, SampleGroup
from .loading import LoadCoSegImage, LoadCoSegMask

__all__ = [
    'ForEachImage',
    'LoadCoSegImage',
    'LoadCoSegMask',
    'MixForeignImages',
    'PackGroupInputs',
    'SampleGroup',
]
