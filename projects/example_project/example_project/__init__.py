"""One part of each kind that mmcoseg does not have."""

from .csv_dataset import CSVCoSegDataset
from .group_attention_head import GroupAttentionHead
from .group_contrast_loss import GroupContrastLoss
from .prototype_modulator import PrototypeModulator
from .rank_by_area import RankByArea
from .soft_dice_loss import SoftDiceLoss

__all__ = [
    'CSVCoSegDataset',
    'GroupAttentionHead',
    'GroupContrastLoss',
    'PrototypeModulator',
    'RankByArea',
    'SoftDiceLoss',
]
