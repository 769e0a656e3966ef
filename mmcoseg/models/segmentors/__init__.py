"""Whole models."""

from .applied_objects import AppliedObjects
from .base import BaseCoSegmentor
from .class_agnostic_ssnm import ClassAgnosticSSNM
from .deepco3 import DeepCO3
from .mccoseg import MultiClassCoSeg
from .optimized_on_group import OptimizedOnGroup
from .saved_objects import learn_object, save_object
from .ssnm import SSNM, wrap_around_groups
from .training_free import TrainingFreeCoSegmentor

__all__ = [
    'SSNM',
    'AppliedObjects',
    'BaseCoSegmentor',
    'ClassAgnosticSSNM',
    'DeepCO3',
    'MultiClassCoSeg',
    'OptimizedOnGroup',
    'TrainingFreeCoSegmentor',
    'learn_object',
    'save_object',
    'wrap_around_groups',
]
