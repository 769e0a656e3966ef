"""Results as files: masks, pictures, annotations of several forms, and a report to leaf through."""

from .polygons import mask_to_polygons
from .records import GroupRecord, ImageRecord, SkippedFile
from .report import build_report, show_time
from .writer import FORMATS, ResultWriter

__all__ = [
    'FORMATS',
    'GroupRecord',
    'ImageRecord',
    'ResultWriter',
    'SkippedFile',
    'build_report',
    'mask_to_polygons',
    'show_time',
]
