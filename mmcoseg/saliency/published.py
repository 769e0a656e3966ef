"""Saliency of published files."""

from pathlib import Path

import numpy as np

from ..errors import MMCosegError
from ..matlab import read_mat

__all__ = ['load_saliency_mat']


def load_saliency_mat(path: str | Path) -> np.ndarray:
    """Read saliency from a published file: ``SalMap`` (H, W), from 0 to 1 or to 255.

    Returns:
        (H, W) float32 in [0, 1].

    Raises: FileNotFoundError, ImportError, MMCosegError: as :func:`load_proposals_mat`.
    """
    values = read_mat(path, ('SalMap',))['SalMap']
    if values.ndim != 2 or not np.isfinite(values).all():
        raise MMCosegError(f'{path}: SalMap must be (H, W) and finite, got {values.shape}')
    scale = 255 if values.dtype == np.uint8 or values.max(initial=0) > 1 else 1
    return np.clip(values.astype(np.float32) / scale, 0, 1)
