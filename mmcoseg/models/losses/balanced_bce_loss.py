"""Class-balanced binary cross-entropy over the pixels of each image."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...options import one_of
from ...registry import MODELS
from ...structures.coseg_data_sample import VOID

__all__ = ['BalancedBCELoss', 'balanced_bce_with_logits']

Balance = Literal['inverse', 'literal', 'none']


def balanced_bce_with_logits(
    logits: Tensor,
    target: Tensor,
    balance: Balance = 'inverse',
    min_weight: float = 0.0,
    void: int = VOID,
) -> Tensor:
    """Weighted binary cross-entropy of each image (SSNM, Eq. 13).

    With r the share of object pixels of an image, without void, the object's pixels weigh

    - ``'inverse'``: 1 - r, and the background's r, so that both classes weigh the same in sum
      whatever the object's size (the evident intent of the paper);
    - ``'literal'``: r, and the background's 1 - r, as the paper's text defines delta;
    - ``'none'``: 1/2 each.

    Args:
        logits: (n, H, W), float.
        target: (n, H, W), integer; 0 background, ``void`` ignored, all else object.
        min_weight: the two weights are kept within [min_weight, 1 - min_weight]. With 0 and
            ``'inverse'`` an image without the object has no weight at all.
        void: value of the pixels to ignore.

    Returns:
        Tensor (n,): sum over the valid pixels divided by their number, 0 where there is none.

    Raises:
        MMCosegError: if ``balance`` is none of the three, or shapes differ.

    Example:
        >>> target = torch.tensor([[[1, 0, 0, 0]]])
        >>> balanced_bce_with_logits(torch.zeros(1, 1, 4), target)  # (3/4 + 3 * 1/4) / 4 * log 2
        tensor([0.2599])
    """
    one_of('balance', balance, Balance)
    if logits.shape != target.shape:
        raise MMCosegError(
            f'logits {tuple(logits.shape)} and target {tuple(target.shape)} must have one shape'
        )
    valid = target != void
    positive = valid & (target != 0)
    count = valid.sum(dim=(-2, -1)).clamp(min=1)
    share = (positive.sum(dim=(-2, -1)) / count)[:, None, None]
    if balance == 'none':
        weight_positive = torch.full_like(share, 0.5)
    else:
        weight_positive = share if balance == 'literal' else 1 - share
        weight_positive = weight_positive.clamp(min_weight, 1 - min_weight)
    weights = torch.where(positive, weight_positive, 1 - weight_positive) * valid
    losses = F.binary_cross_entropy_with_logits(logits.float(), positive.float(), reduction='none')
    return (weights * losses).sum(dim=(-2, -1)) / count


@MODELS.register_module()
class BalancedBCELoss(nn.Module):
    """Mean of :func:`balanced_bce_with_logits` over the images (SSNM, Eq. 13).

    Args:
        balance: ``'inverse'``, ``'literal'`` or ``'none'``.
        min_weight: lower bound of both classes' weights; above 0, images without the object
            (foreign images of a group) are learned from too.
        loss_weight: factor of the result.
        loss_name: name in the log; must start with ``loss``.

    Raises:
        MMCosegError: if ``balance`` is unknown or ``min_weight`` is not in [0, 0.5].
    """

    def __init__(
        self,
        balance: Balance = 'inverse',
        min_weight: float = 0.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_seg',
    ) -> None:
        super().__init__()
        one_of('balance', balance, Balance)
        if not 0 <= min_weight <= 0.5:
            raise MMCosegError(f'min_weight must be in [0, 0.5], got {min_weight}')
        self.balance = balance
        self.min_weight = min_weight
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Args: logits (n, H, W), target (n, H, W) with void 255. Returns: a scalar."""
        losses = balanced_bce_with_logits(logits, target, self.balance, self.min_weight)
        return self.loss_weight * losses.mean()
