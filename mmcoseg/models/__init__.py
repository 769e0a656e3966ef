"""Everything with weights, and the mathematics beneath (``ops``)."""

from .data_preprocessor import GroupDataPreprocessor

__all__ = ['GroupDataPreprocessor']
