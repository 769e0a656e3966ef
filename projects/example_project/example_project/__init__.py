"""A modulator and a loss that mmcoseg does not have."""

from .prototype_modulator import PrototypeModulator
from .soft_dice_loss import SoftDiceLoss

__all__ = ['PrototypeModulator', 'SoftDiceLoss']
