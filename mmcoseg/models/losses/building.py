"""Building losses, and their mean over groups."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...errors import MMCosegError
from ...registry import MODELS
from ...structures import split_groups

__all__ = ['build_loss', 'mean_over_groups']


def build_loss(cfg: dict, key: str) -> nn.Module:
    """A loss from its config, which in that of a run stands under ``key``.

    Refused if training would not sum it: its ``loss_name`` must start with ``loss``, unless its
    ``loss_weight`` is 0.
    """
    if not isinstance(cfg, dict):
        raise MMCosegError(f'{key} must be the config of a loss, dict(type=...), got {cfg!r}')
    loss = MODELS.build(cfg)
    kind, name = type(loss).__name__, getattr(loss, 'loss_name', None)
    if not isinstance(name, str):
        raise MMCosegError(
            f'{key}: {kind} has no loss_name, without which it would not be trained; give it an '
            "attribute loss_name that starts with 'loss'"
        )
    if not name.startswith('loss') and getattr(loss, 'loss_weight', None) != 0:
        raise MMCosegError(
            f"{key}: {kind} has the loss_name {name!r}, which does not start with 'loss', so that "
            f"it would be logged but not trained; set {key}.loss_name='loss_{name}'"
        )
    return loss


def mean_over_groups(
    loss: Callable[..., Tensor], group_sizes: list[int], *batches: Tensor
) -> Tensor:
    """The mean of what a loss, a scalar, is of each group's part of the batches (sum N, ...)."""
    groups = zip(*(split_groups(batch, group_sizes) for batch in batches))
    return torch.stack([loss(*parts) for parts in groups]).mean()
