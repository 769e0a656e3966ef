"""An unsupervised group loss of a third party."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcoseg.registry import MODELS
from mmcoseg.structures import split_groups

__all__ = ['GroupContrastLoss']


@MODELS.register_module()
class GroupContrastLoss(nn.Module):
    """Objects of a group should look alike, and unlike the group's background.

    Args:
        loss_weight: factor of the result.
        loss_name: name in the log; must start with ``loss``.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_contrast') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, features: Tensor, maps: Tensor, group_sizes: list[int]) -> Tensor:
        """The names of the parameters say what the loss is given; see ``OptimizedOnGroup``.

        Args:
            features: (sum N, C, h, w).
            maps: (sum N, K, H, W) in [0, 1]; of several, the first is taken.
            group_sizes: number of images of each group.

        Returns:
            A scalar.
        """
        weights = F.adaptive_avg_pool2d(maps[:, :1], features.shape[-2:])
        losses = []
        for x, w in zip(split_groups(features, group_sizes), split_groups(weights, group_sizes)):
            objects = F.normalize((x * w).mean(dim=(2, 3)), dim=1)
            background = F.normalize((x * (1 - w)).mean(dim=(0, 2, 3)), dim=0)
            alike = (objects @ objects.mean(dim=0)).mean()
            losses.append((objects @ background).mean() - alike)
        return self.loss_weight * torch.stack(losses).mean()
