"""Pictures of groups and their masks."""

from .contact_sheet import PALETTE, SheetEntry, color_of, contact_sheet, overlay
from .group_visualizer import GroupVisualizer

__all__ = ['PALETTE', 'GroupVisualizer', 'SheetEntry', 'color_of', 'contact_sheet', 'overlay']
