"""Losses on logits and masks, and on the features and maps of groups."""

from .balanced_bce_loss import BalancedBCELoss, balanced_bce_with_logits
from .balanced_jaccard_loss import BalancedJaccardLoss
from .building import build_loss
from .co_attention_loss import CoAttentionLoss
from .deepco3_losses import AffinityLoss, CoPeakLoss, CoSaliencyLoss
from .initial_map_loss import InitialMapLoss
from .mask_smooth_l1_loss import MaskSmoothL1Loss

__all__ = [
    'AffinityLoss',
    'BalancedBCELoss',
    'BalancedJaccardLoss',
    'CoAttentionLoss',
    'CoPeakLoss',
    'CoSaliencyLoss',
    'InitialMapLoss',
    'MaskSmoothL1Loss',
    'balanced_bce_with_logits',
    'build_loss',
]
