"""Tensors and arrays as numpy arrays."""

from typing import Any

import numpy as np
import torch

__all__ = ['to_numpy']


def to_numpy(values: Any) -> np.ndarray:
    """A tensor on any device, an array or a list as a numpy array."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
