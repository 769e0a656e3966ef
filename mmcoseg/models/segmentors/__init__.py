"""Whole models."""

from .base import BaseCoSegmentor
from .class_agnostic_ssnm import ClassAgnosticSSNM
from .ssnm import SSNM, wrap_around_groups

__all__ = ['SSNM', 'BaseCoSegmentor', 'ClassAgnosticSSNM', 'wrap_around_groups']
