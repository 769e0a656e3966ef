"""The second term of SSNM's loss of masks."""

from torch import Tensor, nn
from torch.nn import functional as F

from ...registry import MODELS
from ...structures.coseg_data_sample import VOID

__all__ = ['MaskSmoothL1Loss']


@MODELS.register_module()
class MaskSmoothL1Loss(nn.Module):
    """Huber loss of the probabilities, mean over the pixels of all images.

    The authors' code of SSNM adds it to the cross-entropy of Eq. 13; the paper does not have it.
    Differences of probabilities are below 1, so this is half their mean square.

    Args:
        loss_weight, loss_name: factor of the result (1 in the authors' code); name in the log.

    Example:
        >>> import torch
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
