"""Whole models."""

from .base import BaseCoSegmentor
from .class_agnostic_ssnm import ClassAgnosticSSNM
from .deepco3 import DeepCO3
from .mccoseg import MultiClassCoSeg
from .optimized_on_group import OptimizedOnGroup
from .ssnm import SSNM, wrap_around_groups
from .training_free import TrainingFreeCoSegmentor

__all__ = [
    'SSNM',
    'BaseCoSegmentor',
    'ClassAgnosticSSNM',
    'DeepCO3',
    'MultiClassCoSeg',
    'OptimizedOnGroup',
    'TrainingFreeCoSegmentor',
    'wrap_around_groups',
]
