"""Data elements: one image (:class:`CoSegDataSample`), one group (:class:`GroupDataSample`)."""

from .coseg_data_sample import CoSegDataSample
from .group_data_sample import GroupDataSample, GroupSampleList, group_sizes_of, split_groups
from .proposal_data import ProposalData

__all__ = [
    'CoSegDataSample',
    'GroupDataSample',
    'GroupSampleList',
    'ProposalData',
    'group_sizes_of',
    'split_groups',
]
