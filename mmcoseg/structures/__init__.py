"""Data elements: one image (:class:`CoSegDataSample`), one group (:class:`GroupDataSample`)."""

from .coseg_data_sample import CoSegDataSample
from .group_data_sample import GroupDataSample, GroupSampleList, group_sizes_of, split_groups
from .num_classes import NumClasses, check_num_classes, num_classes_of
from .proposals import Proposals

__all__ = [
    'CoSegDataSample',
    'GroupDataSample',
    'GroupSampleList',
    'NumClasses',
    'Proposals',
    'check_num_classes',
    'group_sizes_of',
    'num_classes_of',
    'split_groups',
]
