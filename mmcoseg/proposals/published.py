"""Proposals of published files."""

from pathlib import Path

import cv2
import numpy as np

from ..errors import MMCosegError
from ..matlab import read_mat
from ..structures import Proposals

__all__ = ['load_proposals_mat']


def load_proposals_mat(path: str | Path, shape: tuple[int, int] | None = None) -> Proposals:
    """Read proposals from a published file: ``masks`` (H, W, n) and ``scores`` (n).

    MATLAB's files of version 7.3 (HDF5, which needs h5py) and of older versions.

    Args:
        path: of the file.
        shape: height and width of the image. Masks of another size are resized to it (nearest
            pixel), as the code published with DeepCO3 does.

    Returns:
        highest score first.

    Raises:
        ImportError: if it is HDF5 and h5py is missing.
        MMCosegError: if it is damaged, lacks an array, or its masks have other proportions than
            the image.
    """
    arrays = read_mat(path, ('masks', 'scores'))
    # MATLAB drops a last dimension of 1.
    masks, scores = np.atleast_3d(arrays['masks']), arrays['scores'].reshape(-1)
    if masks.ndim != 3 or masks.shape[2] != len(scores):
        raise MMCosegError(
            f'{path}: masks must be (H, W, n) and scores (n), got {masks.shape} and {scores.shape}'
        )
    masks = np.moveaxis(masks, 2, 0)
    if shape is not None and masks.shape[1:] != tuple(shape):
        masks = _resized_masks(masks, tuple(shape), path)
    order = np.argsort(-scores, kind='stable')
    return Proposals.from_masks(masks[order], scores[order])


def _resized_masks(masks: np.ndarray, shape: tuple[int, int], path: str | Path) -> np.ndarray:
    """Masks (n, h, w) at the size of their image, (n, *shape), nearest pixel."""
    height, width = masks.shape[1:]
    resized = np.zeros((len(masks), *shape), np.uint8)
    # Each side may be rounded by a pixel.
    if abs(height * shape[1] - width * shape[0]) > max(height, width, *shape):
        raise MMCosegError(
            f'{path} has masks of {height} x {width}, its image is {shape[0]} x {shape[1]} '
            '(height x width); the file belongs to another image'
        )
    for target, mask in zip(resized, masks):
        cv2.resize(mask.astype(np.uint8), shape[::-1], target, interpolation=cv2.INTER_NEAREST)
    return resized
