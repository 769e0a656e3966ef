"""Losses of soft masks against true ones."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...options import one_of
from ...registry import MODELS
from ...structures.coseg_data_sample import VOID

__all__ = ['BalancedBCELoss', 'BalancedJaccardLoss', 'MaskSmoothL1Loss', 'balanced_bce_with_logits']

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


@MODELS.register_module()
class MaskSmoothL1Loss(nn.Module):
    """Huber loss of the probabilities, mean over the pixels of all images.

    The authors' code of SSNM adds it to the cross-entropy of Eq. 13; the paper does not have it.
    Differences of probabilities are below 1, so this is half their mean square.

    Args:
        loss_weight, loss_name: factor of the result (1 in the authors' code); name in the log.

    Example:
        >>> MaskSmoothL1Loss()(torch.zeros(1, 1, 2), torch.tensor([[[1, 0]]]))  # 0.5 * 0.5^2
        tensor(0.1250)
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_l1') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss, a scalar, of logits (n, H, W) and integer targets (n, H, W).

        Targets are 0 for background, 255 for void, which does not count; all else is object.
        """
        valid = target != VOID
        positive = valid & (target != 0)
        losses = F.smooth_l1_loss(logits.float().sigmoid(), positive.float(), reduction='none')
        return self.loss_weight * (losses * valid).sum() / valid.sum().clamp(min=1)
