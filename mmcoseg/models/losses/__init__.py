"""Losses on logits and masks, and on the features and maps of groups."""

from .affinity_loss import AffinityLoss
from .balanced_bce_loss import BalancedBCELoss, balanced_bce_with_logits
from .balanced_jaccard_loss import BalancedJaccardLoss
from .co_peak_loss import CoPeakLoss
from .co_saliency_loss import CoSaliencyLoss

__all__ = [
    'AffinityLoss',
    'BalancedBCELoss',
    'BalancedJaccardLoss',
    'CoPeakLoss',
    'CoSaliencyLoss',
    'balanced_bce_with_logits',
]
