"""Data sets of groups, their transforms, sampling and collation."""

from .base import CoSegDataset
from .coco_seg import COCOSEGDataset
from .concat import ConcatCoSegDataset
from .instances import (
    COCONonVOCDataset,
    COCOVOCDataset,
    InstanceCoSegDataset,
    SOCDataset,
    VOC12Dataset,
)
from .multiclass import MultiClassCoSegDataset, MultiClassVOCDataset
from .named import ICoseg8Dataset, InternetDataset, MSRC7Dataset, PASCALCoSegDataset
from .samplers import EpisodeSampler
from .synthetic import SyntheticCoSegDataset
from .transforms import (
    ForEachImage,
    GiveExamples,
    LoadCoSegImage,
    LoadCoSegMask,
    LoadGroupMap,
    MixForeignImages,
    PackGroupInputs,
    SampleGroup,
    group_collate,
)

__all__ = [
    'COCONonVOCDataset',
    'COCOSEGDataset',
    'COCOVOCDataset',
    'CoSegDataset',
    'ConcatCoSegDataset',
    'EpisodeSampler',
    'ForEachImage',
    'GiveExamples',
    'ICoseg8Dataset',
    'InstanceCoSegDataset',
    'InternetDataset',
    'LoadCoSegImage',
    'LoadCoSegMask',
    'LoadGroupMap',
    'MSRC7Dataset',
    'MixForeignImages',
    'MultiClassCoSegDataset',
    'MultiClassVOCDataset',
    'PASCALCoSegDataset',
    'PackGroupInputs',
    'SOCDataset',
    'SampleGroup',
    'SyntheticCoSegDataset',
    'VOC12Dataset',
    'group_collate',
]
