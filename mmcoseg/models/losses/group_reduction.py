"""From what each pair or image of a group costs to one number a batch of groups."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ...options import one_of

__all__ = ['GroupReduction', 'check_group_reduction', 'reduce_groups']

GroupReduction = Literal['sum', 'mean']


def check_group_reduction(reduction: str) -> None:
    """Raises: MMCosegError: for an unknown name."""
    one_of('reduction', reduction, GroupReduction)


def reduce_groups(
    sums: Sequence[Tensor], counts: Sequence[int], reduction: GroupReduction
) -> Tensor:
    """The mean over the groups of what each one costs.

    Args:
        sums: a scalar a group, over its pairs or images.
        counts: how many those are; with 0 the sum stands as it is.
        reduction: ``'sum'``: a group costs its sum, as in DeepCO3's Eq. 1; ``'mean'``: the mean
            of its pairs or images, so that groups of different size weigh the same.
    """
    if reduction == 'mean':
        sums = [total / max(count, 1) for total, count in zip(sums, counts, strict=True)]
    return torch.stack(list(sums)).mean()
