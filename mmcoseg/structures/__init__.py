"""Data elements: one image (:class:`CoSegDataSample`), one group (:class:`GroupDataSample`)."""

from .coseg_data_sample import CoSegDataSample, shallow_copy, to_numpy
from .group_data_sample import GroupDataSample, GroupSampleList, group_sizes_of, split_groups
from .group_images import GroupImages
from .hints import Absent, Box, Click, ExampleMask, Hint, Stroke, hint_map
from .num_classes import (
    NumClasses,
    check_num_classes,
    hinted_classes,
    num_classes_of,
    num_named_classes,
)
from .proposals import Proposals
from .saved_object import SavedObject, read_object, read_objects

__all__ = [
    'Absent',
    'Box',
    'Click',
    'CoSegDataSample',
    'ExampleMask',
    'GroupDataSample',
    'GroupImages',
    'GroupSampleList',
    'Hint',
    'NumClasses',
    'Proposals',
    'SavedObject',
    'Stroke',
    'check_num_classes',
    'group_sizes_of',
    'hint_map',
    'hinted_classes',
    'num_classes_of',
    'num_named_classes',
    'read_object',
    'read_objects',
    'shallow_copy',
    'split_groups',
    'to_numpy',
]
