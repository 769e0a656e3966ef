"""Balanced cross-entropy and soft Jaccard index in one."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...registry import MODELS

__all__ = ['BalancedJaccardLoss']


@MODELS.register_module()
class BalancedJaccardLoss(nn.Module):
    """Cross-entropy with gently balanced classes, plus one minus the soft Jaccard index.

    With f the object's share of an image, kept within [0.05, 0.95], its pixels weigh
    ``sqrt(0.5 / f)`` and the background's ``sqrt(0.5 / (1 - f))``: between no balance and the full
    one of ``BalancedBCELoss``, under which masks come out too large for a threshold of one half.
    The second term is what the evaluation measures.

    Args:
        loss_weight, loss_name: factor of the result; name in the log.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_seg') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """The loss, a scalar, of logits and shares of the object, both (n, h, w).

        ``valid`` weighs the locations, (n, h, w) in [0, 1]; None for 1.
        """
        valid = torch.ones_like(target) if valid is None else valid
        count = valid.sum(dim=(-2, -1), keepdim=True).clamp(min=1e-6)
        share = ((target * valid).sum(dim=(-2, -1), keepdim=True) / count).clamp(0.05, 0.95)
        weight = target * (0.5 / share).sqrt() + (1 - target) * (0.5 / (1 - share)).sqrt()
        losses = F.binary_cross_entropy_with_logits(logits.float(), target, reduction='none')
        cross_entropy = (losses * weight * valid).sum(dim=(-2, -1)) / count.flatten()
        prob = torch.sigmoid(logits.float()) * valid
        target = target * valid
        overlap = (prob * target).sum(dim=(-2, -1))
        union = (prob + target - prob * target).sum(dim=(-2, -1))
        jaccard = (overlap + 1) / (union + 1)
        return self.loss_weight * (cross_entropy + 1 - jaccard).mean()
