"""A loss of a third party."""

import torch
from torch import Tensor, nn

from mmcoseg.registry import MODELS

__all__ = ['SoftDiceLoss']


@MODELS.register_module()
class SoftDiceLoss(nn.Module):
    """One minus the soft Dice coefficient of each image, averaged over the images.

    Args:
        smooth: added to numerator and denominator; an image without the object and without a
            prediction then costs nothing.
        loss_name: name in the log; must start with ``loss``.
    """

    def __init__(self, smooth: float = 1.0, loss_name: str = 'loss_dice') -> None:
        super().__init__()
        self.smooth = smooth
        self.loss_name = loss_name

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Args: logits (n, H, W), target (n, H, W) with void 255. Returns: a scalar."""
        valid = target != 255
        truth = (valid & (target != 0)).float()
        prob = torch.sigmoid(logits) * valid
        both = (prob * truth).sum(dim=(1, 2))
        total = prob.sum(dim=(1, 2)) + truth.sum(dim=(1, 2))
        return (1 - (2 * both + self.smooth) / (total + self.smooth)).mean()
