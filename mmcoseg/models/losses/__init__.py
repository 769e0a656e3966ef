"""Losses on logits and masks, and on the features and maps of groups."""

from .building import build_loss
from .co_attention_loss import CoAttentionLoss
from .deepco3_losses import AffinityLoss, CoPeakLoss, CoSaliencyLoss
from .initial_map_loss import InitialMapLoss
from .mask_losses import (
    BalancedBCELoss,
    BalancedJaccardLoss,
    MaskSmoothL1Loss,
    balanced_bce_with_logits,
)

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
