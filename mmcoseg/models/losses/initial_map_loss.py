"""A loss that keeps maps near what an initial segmentor found."""

import torch
from torch import Tensor, nn

from ...errors import MMCosegError
from ...registry import MODELS
from ..ops.precision import at_least_float32
from ..ops.resize import resize
from .building import mean_over_groups

__all__ = ['InitialMapLoss']


@MODELS.register_module()
class InitialMapLoss(nn.Module):
    """Cross-entropy of soft labels: mean over the pixels of ``-sum_k T_k log S_k``.

    T are the initial segmentor's maps, S those of the model. Not in the multi-class paper.

    Args:
        loss_weight, loss_name: factor of the result; name in the log.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_initial') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, maps: Tensor, initial_maps: Tensor, group_sizes: list[int]) -> Tensor:
        """The mean over the groups of maps (sum N, K + 1, H, W) and initial ones of any resolution.

        The sum of each pixel is 1. A scalar, float32 or float64.
        """
        if initial_maps.shape[:2] != maps.shape[:2]:
            raise MMCosegError(
                f'maps and initial maps must have the same number of images and of maps, got '
                f'{tuple(maps.shape)} and {tuple(initial_maps.shape)}'
            )
        maps = at_least_float32(maps)
        labels = resize(initial_maps.to(maps.dtype), maps.shape[-2:])
        # Clamped so that the derivative of the logarithm stays finite.
        costs = -(labels * maps.clamp(min=1e-8).log()).sum(dim=1)
        return self.loss_weight * mean_over_groups(torch.mean, group_sizes, costs)
