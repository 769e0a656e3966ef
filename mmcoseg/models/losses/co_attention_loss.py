"""The loss of co-attention maps, of one or several classes."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...options import one_of
from ...registry import MODELS
from ..ops import co_attention_distances
from .building import mean_over_groups

__all__ = ['CoAttentionLoss']

Reduction = Literal['sum', 'mean']


@MODELS.register_module()
class CoAttentionLoss(nn.Module):
    """Makes what each map cuts out alike over the images, and unlike what the others cut out.

    Over all ordered pairs of different images of a group and the K classes,

        L = -sum log( exp(-d+) / (exp(-d+) + exp(-d-)) ) = sum softplus(d+ - d-)

    (multi-class co-attention loss, Eqs. 4 to 7), which neither overflows nor underflows; see
    :func:`~mmcoseg.models.ops.co_attention_distances` for d+ and d-. With K = 1 it is the loss of
    Hsu, Lin, Chuang, "Co-attention CNNs for Unsupervised Object Co-segmentation" (IJCAI 2018). The
    loss of several groups is their mean.

    Args:
        reduction: ``'sum'`` over the pairs and classes of a group (Eq. 4), or their ``'mean'``.
        loss_weight, loss_name: factor of the result; name in the log.

    Example:
        >>> round(CoAttentionLoss()(torch.zeros(2, 3, 8), [2]).item(), 4)  # 4 log 2
        2.7726
    """

    def __init__(
        self,
        reduction: Reduction = 'sum',
        loss_weight: float = 1.0,
        loss_name: str = 'loss_co_attention',
    ) -> None:
        super().__init__()
        one_of('reduction', reduction, Reduction)
        self.reduction = reduction
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, vectors: Tensor, group_sizes: list[int]) -> Tensor:
        """The loss of vectors of masked images, (sum N, K + 1, c), background first.

        A scalar, float32 or float64; 0 for groups of one image.
        """
        return self.loss_weight * mean_over_groups(self._group_loss, group_sizes, vectors)

    def _group_loss(self, x: Tensor) -> Tensor:
        same, other = co_attention_distances(x)
        # Each unordered pair stands for two. An empty choice has a derivative of 0.
        i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
        total = 2 * F.softplus(same[:, i, j] - other[:, i, j]).sum()
        if self.reduction == 'mean':
            total = total / max(len(x) * (len(x) - 1) * (x.shape[1] - 1), 1)
        return total
