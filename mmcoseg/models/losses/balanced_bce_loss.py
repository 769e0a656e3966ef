"""Class-balanced binary cross-entropy over the pixels of each image."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...options import one_of
from ...registry import MODELS
from ...structures.coseg_data_sample import VOID

__all__ = ['BalancedBCELoss', 'balanced_bce_with_logits']

Balance = Literal['inverse', 'literal']


def balanced_bce_with_logits(
    logits: Tensor, target: Tensor, balance: Balance = 'inverse'
) -> Tensor:
    """Weighted binary cross-entropy of each image (SSNM, Eq. 13).

    With r the share of object pixels of an image, without void, the object's pixels weigh

    - ``'inverse'``: 1 - r, and the background's r, so that both classes weigh the same in sum
      whatever the object's size (the evident intent of the paper); an image without the object
      weighs nothing;
    - ``'literal'``: r, and the background's 1 - r, as the paper's text defines delta.

    Args:
        logits: (n, H, W), float.
        target: (n, H, W), integer; 0 background, 255 void (ignored), all else object.

    Returns:
        (n,): sum over the valid pixels divided by their number, 0 where there is none.

    Example:
        >>> target = torch.tensor([[[1, 0, 0, 0]]])
        >>> balanced_bce_with_logits(torch.zeros(1, 1, 4), target)  # (3/4 + 3 * 1/4) / 4 * log 2
        tensor([0.2599])
    """
    valid = target != VOID
    positive = valid & (target != 0)
    count = valid.sum(dim=(-2, -1)).clamp(min=1)
    share = (positive.sum(dim=(-2, -1)) / count)[:, None, None]
    weight_positive = share if balance == 'literal' else 1 - share
    weights = torch.where(positive, weight_positive, 1 - weight_positive) * valid
    losses = F.binary_cross_entropy_with_logits(logits.float(), positive.float(), reduction='none')
    return (weights * losses).sum(dim=(-2, -1)) / count


@MODELS.register_module()
class BalancedBCELoss(nn.Module):
    """Mean of :func:`balanced_bce_with_logits` over the images (SSNM, Eq. 13).

    Args:
        balance: ``'inverse'`` or ``'literal'``.
        loss_weight, loss_name: factor of the result; name in the log.
    """

    def __init__(
        self,
        balance: Balance = 'inverse',
        loss_weight: float = 1.0,
        loss_name: str = 'loss_seg',
    ) -> None:
        super().__init__()
        one_of('balance', balance, Balance)
        self.balance = balance
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Args: logits (n, H, W), target (n, H, W) with void 255. Returns: a scalar."""
        return self.loss_weight * balanced_bce_with_logits(logits, target, self.balance).mean()
