"""Data elements: one image (:class:`CoSegDataSample`), one group (:class:`GroupDataSample`)."""

from .coseg_data_sample import CoSegDataSample
from .group_data_sample import GroupDataSample, GroupSampleList, group_sizes_of, split_groups

__all__ = [
    'CoSegDataSample',
    'GroupDataSample',
    'GroupSampleList',
    'group_sizes_of',
    'split_groups',
]
