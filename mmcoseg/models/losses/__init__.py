"""Losses on logits and masks."""

from .balanced_bce_loss import BalancedBCELoss, balanced_bce_with_logits
from .balanced_jaccard_loss import BalancedJaccardLoss

__all__ = ['BalancedBCELoss', 'BalancedJaccardLoss', 'balanced_bce_with_logits']
