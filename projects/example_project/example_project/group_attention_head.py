"""An attention head of a third party."""

import torch
from torch import Tensor

from mmcoseg.models import CoarseToFineHead
from mmcoseg.registry import MODELS
from mmcoseg.structures import split_groups

__all__ = ['GroupAttentionHead']


@MODELS.register_module()
class GroupAttentionHead(CoarseToFineHead):
    """A coarse-to-fine head whose coarsest level attends to the other images of the group."""

    def forward(self, levels: tuple[Tensor, ...], group_sizes: list[int]) -> Tensor:
        """Logits (sum N, 1, h, w).

        Args:
            levels: fine to coarse, each (sum N, C, h, w).
            group_sizes: number of images of each group. Asking for it is enough to get it.
        """
        groups = [self._attend(group) for group in split_groups(levels[-1], group_sizes)]
        return super().forward((*levels[:-1], torch.cat(groups)))

    @staticmethod
    def _attend(group: Tensor) -> Tensor:
        """Each image plus what its locations find in the group's mean image, (n, C, h, w)."""
        n, channels, height, width = group.shape
        queries = group.flatten(2).transpose(1, 2)
        mean = group.mean(dim=0).flatten(1)
        weights = torch.softmax(queries @ mean / channels**0.5, dim=-1)
        found = (weights @ mean.t()).transpose(1, 2)
        return group + found.reshape(n, channels, height, width)
