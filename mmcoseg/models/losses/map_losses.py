"""What else can be asked of the K + 1 soft maps of an image: not in the multi-class paper."""

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...registry import MODELS
from ...structures import split_groups

__all__ = ['MapAreaLoss', 'MapEntropyLoss', 'PriorMapLoss']


@MODELS.register_module()
class MapAreaLoss(nn.Module):
    """Keeps each map from being empty, or everything, over the images of a group.

    With the share a_k of map k, its mean over all pixels of a group's images, a group costs

        sum over k of max(0, log(smallest / a_k)) + max(0, log((1 - largest) / (1 - a_k))).

    An image by itself may well lack a class. The logarithms hold where softmax has no slope left.
    The loss of several groups is their mean.

    Args:
        smallest, largest: shares that cost nothing, ``0 < smallest < largest < 1``.
        loss_weight: factor of the result.
        loss_name: name in the log; must start with ``loss``.

    Raises:
        MMCosegError: for other shares.
    """

    def __init__(
        self,
        smallest: float = 0.05,
        largest: float = 0.8,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_area',
    ) -> None:
        super().__init__()
        if not 0 < smallest < largest < 1:
            raise MMCosegError(
                f'shares must be 0 < smallest < largest < 1, got {smallest!r} and {largest!r}'
            )
        self.smallest, self.largest = smallest, largest
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, maps: Tensor, group_sizes: list[int]) -> Tensor:
        """The loss, a scalar, float32 or float64.

        Args:
            maps: (sum N, K + 1, h, w), each pixel's sum 1.
            group_sizes: number of images of each group.
        """
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        shares = torch.stack([x.mean(dim=(0, 2, 3)) for x in split_groups(maps, group_sizes)])
        tiny = torch.finfo(maps.dtype).tiny
        small = log(self.smallest) - shares.clamp(min=tiny).log()
        large = log(1 - self.largest) - (1 - shares).clamp(min=tiny).log()
        return self.loss_weight * (small.relu() + large.relu()).sum(dim=1).mean()


@MODELS.register_module()
class MapEntropyLoss(nn.Module):
    """Asks each pixel to be of one map: mean entropy of the pixels, as a share of ``log(K + 1)``.

    Args:
        loss_weight: factor of the result.
        loss_name: name in the log; must start with ``loss``.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_entropy') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, maps: Tensor, group_sizes: list[int]) -> Tensor:
        """The loss, a scalar, float32 or float64: the mean over the groups.

        Args:
            maps: (sum N, K + 1, h, w), each pixel's sum 1.
            group_sizes: number of images of each group.
        """
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        entropy = -(maps * _log(maps)).sum(dim=1) / log(maps.shape[1])
        return self.loss_weight * _group_mean(entropy, group_sizes)


@MODELS.register_module()
class PriorMapLoss(nn.Module):
    """Holds the maps near those that something else has found: cross-entropy of soft labels.

    Mean over the pixels of ``-sum_k w_k T_k log S_k``, of maps S and labels T.

    Args:
        balanced: ``w_k`` is in inverse proportion to the share of map k in the group's labels, of
            mean 1 over them, so that all maps count alike; otherwise 1. A map that the labels have
            not counts nothing.
        loss_weight: factor of the result.
        loss_name: name in the log; must start with ``loss``.
    """

    def __init__(
        self,
        balanced: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_prior',
    ) -> None:
        super().__init__()
        self.balanced = balanced
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, maps: Tensor, labels: Tensor, group_sizes: list[int]) -> Tensor:
        """The loss, a scalar, float32 or float64: the mean over the groups.

        Args:
            maps: (sum N, K + 1, H, W), each pixel's sum 1.
            labels: the same of any resolution, (sum N, K + 1, h, w); resized to that of the maps.
            group_sizes: number of images of each group.

        Raises:
            MMCosegError: if there are labels of another number of maps.
        """
        if labels.shape[:2] != maps.shape[:2]:
            raise MMCosegError(
                f'maps and labels must have the same number of images and of maps, got '
                f'{tuple(maps.shape)} and {tuple(labels.shape)}'
            )
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        labels = labels.to(maps.dtype)
        if labels.shape[-2:] != maps.shape[-2:]:
            labels = F.interpolate(
                labels, size=maps.shape[-2:], mode='bilinear', align_corners=False
            )
        costs = -labels * _log(maps)
        if self.balanced:
            weights = []
            for group in split_groups(labels, group_sizes):
                shares = group.mean(dim=(0, 2, 3))
                inverse = torch.where(shares > 0, 1 / shares.clamp(min=1e-6), 0)
                weight = inverse / (inverse * shares).sum().clamp(min=1e-6)
                weights.append(weight.expand(len(group), -1))
            costs = costs * torch.cat(weights)[..., None, None]
        return self.loss_weight * _group_mean(costs.sum(dim=1), group_sizes)


def _log(maps: Tensor) -> Tensor:
    """Logarithm whose derivative stays finite."""
    return maps.clamp(min=1e-8).log()


def _group_mean(values: Tensor, group_sizes: list[int]) -> Tensor:
    """Mean over groups of the mean over their pixels (sum N, h, w)."""
    return torch.stack([group.mean() for group in split_groups(values, group_sizes)]).mean()
