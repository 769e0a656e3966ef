"""Results as files: masks, pictures, annotations of several forms, and a report to leaf through."""

from .corrections import read_corrections
from .polygons import mask_to_polygons
from .records import REVIEWS, GroupRecord, ImageRecord, SkippedFile
from .report import build_report, show_time
from .results import ExportResult, export_results
from .writer import FORMATS, ResultWriter

__all__ = [
    'FORMATS',
    'REVIEWS',
    'ExportResult',
    'GroupRecord',
    'ImageRecord',
    'ResultWriter',
    'SkippedFile',
    'build_report',
    'export_results',
    'mask_to_polygons',
    'read_corrections',
    'show_time',
]
