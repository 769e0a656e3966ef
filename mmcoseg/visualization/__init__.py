"""Pictures of groups and their masks."""

from .contact_sheet import PALETTE, SheetEntry, contact_sheet, overlay
from .group_visualizer import GroupVisualizer, group_file_name

__all__ = [
    'PALETTE',
    'GroupVisualizer',
    'SheetEntry',
    'contact_sheet',
    'group_file_name',
    'overlay',
]
