"""Keeping sums and comparisons out of half precision."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

__all__ = ['at_least_float32', 'without_autocast']


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` as float32, or as it is where it is float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(x: Tensor) -> AbstractContextManager:
    """A context in which products on the device of ``x`` are not done in half precision."""
    return torch.autocast(x.device.type, enabled=False)
