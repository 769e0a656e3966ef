"""Transforms of group records and of the image records in them."""

from .formatting import PackGroupInputs, group_collate
from .group import ForEachImage, MixForeignImages, SampleGroup
from .hints import GiveExamples
from .loading import LoadCoSegImage, LoadCoSegMask, LoadGroupMap
from .priors import ComputeProposals, ComputeSaliency, LoadProposals, LoadSaliency
from .resizing import ResizeToInput

__all__ = [
    'ComputeProposals',
    'ComputeSaliency',
    'ForEachImage',
    'GiveExamples',
    'LoadCoSegImage',
    'LoadCoSegMask',
    'LoadGroupMap',
    'LoadProposals',
    'LoadSaliency',
    'MixForeignImages',
    'PackGroupInputs',
    'ResizeToInput',
    'SampleGroup',
    'group_collate',
]
