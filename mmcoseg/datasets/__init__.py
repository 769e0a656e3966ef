"""Data sets of groups, their transforms, sampling and collation."""

from .base import CoSegDataset
from .collate import group_collate
from .samplers import EpisodeSampler
from .transforms import (
    ForEachImage,
    LoadCoSegImage,
    LoadCoSegMask,
    LoadPrior,
    MixForeignImages,
    PackGroupInputs,
    SampleGroup,
)

__all__ = [
    'CoSegDataset',
    'EpisodeSampler',
    'ForEachImage',
    'LoadCoSegImage',
    'LoadCoSegMask',
    'LoadPrior',
    'MixForeignImages',
    'PackGroupInputs',
    'SampleGroup',
    'group_collate',
]
