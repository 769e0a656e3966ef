"""Whole models."""

from .base import BaseCoSegmentor
from .ssnm import SSNM, wrap_around_groups

__all__ = ['SSNM', 'BaseCoSegmentor', 'wrap_around_groups']
