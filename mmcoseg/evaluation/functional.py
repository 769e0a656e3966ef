"""Precision and Jaccard index of masks, as the field of co-segmentation defines them."""

import cv2
import numpy as np

from ..structures.coseg_data_sample import VOID

__all__ = [
    'binarise_adaptive',
    'foreground_probability',
    'image_scores',
    'resize_ground_truth',
    'resize_map',
]


def image_scores(pred: np.ndarray, gt: np.ndarray, void: int | None = VOID) -> tuple[float, float]:
    """P and J of one image (SSNM, section 4.2).

    P is the share of pixels labelled right, object and background alike; J the Jaccard index
    (intersection over union) of the object's pixels. Where the ground truth has no object, J is 1
    if the prediction has none either and 0 otherwise.

    Args:
        pred: (H, W), bool or integer; all but 0 is object.
        gt: (H, W), bool or integer; 0 background, ``void`` ignored, all else object.
        void: None if every value but 0 is object.

    Returns:
        P and J in [0, 1]. An image of nothing but void has nothing wrong: 1 and 1.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> image_scores(np.array([[1, 1, 0, 0]]), np.array([[0, 1, 1, 0]]))
        (0.5, 0.3333333333333333)
    """
    if pred.shape != gt.shape:
        raise ValueError(f'prediction {pred.shape} and ground truth {gt.shape} must have one shape')
    p, g = pred != 0, gt != 0
    count = gt.size
    if void is not None and gt.dtype != bool and (gt == void).any():
        valid = gt != void
        p, g = p & valid, g & valid
        count = int(np.count_nonzero(valid))
    intersection = int(np.count_nonzero(p & g))
    union = int(np.count_nonzero(p | g))
    precision = 1.0 if count == 0 else (count - union + intersection) / count
    if not g.any():
        return precision, float(union == 0)
    return precision, intersection / union


def binarise_adaptive(prob: np.ndarray, limit: float = 0.8) -> np.ndarray:
    """Threshold a soft map at its mean plus its standard deviation, at most ``limit``.

    This is how SSNM's published code makes masks. Takes (H, W) floats, gives (H, W) bool.

    Example:
        >>> binarise_adaptive(np.array([[0.0, 0.0, 0.0, 1.0]]))  # mean 0.25 + std 0.43
        array([[False, False, False,  True]])
    """
    # float64: the mean of a constant float32 map is then that constant, not a little less, and
    # the mask of a map without any contrast is empty
    threshold = prob.mean(dtype=np.float64) + prob.std(dtype=np.float64)
    return prob > min(float(threshold), limit)


def foreground_probability(prob: np.ndarray) -> np.ndarray:
    """The soft map of all objects together.

    Args:
        prob: (C, h, w) in [0, 1]. C = 1: probability of the object; C > 1: channel 0 is the
            background's.

    Returns:
        (h, w), float32, in [0, 1].

    Raises:
        ValueError: if ``prob`` is not (C, h, w) with C >= 1.
    """
    if prob.ndim != 3 or not len(prob):
        raise ValueError(f'a soft prediction must be (C, h, w) with C >= 1, got {prob.shape}')
    return np.asarray(prob[0] if len(prob) == 1 else 1 - prob[0], dtype=np.float32)


def resize_map(prob: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a soft map (h, w) to ``size`` = (H, W), bilinear; float32."""
    prob = prob.astype(np.float32, copy=False)
    if prob.shape == tuple(size):
        return prob
    return cv2.resize(prob, size[::-1], interpolation=cv2.INTER_LINEAR)


def resize_ground_truth(gt: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Object mask at ``size`` = (H, W): bilinear, then above one half; void counts as background.

    SSNM's published code scores such masks at 224 x 224.
    """
    return resize_map(((gt != 0) & (gt != VOID)).astype(np.float32), size) > 0.5
