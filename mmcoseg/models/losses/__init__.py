"""Losses on logits and masks."""

from .balanced_bce_loss import BalancedBCELoss, balanced_bce_with_logits

__all__ = ['BalancedBCELoss', 'balanced_bce_with_logits']
