"""From hints on an image to what that says of its other pixels."""

import cv2
import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

__all__ = ['fill_boxes', 'set_known', 'spread_hints']

#: Standard deviations of the kernel: of colors in CIELAB; and of places, in pixels of the map, as
#: a share of the side of a square as large as the object, and its range.
COLOR, REACH, PLACE = 8.0, 0.35, (4.0, 12.0)
#: Variance of a hint's error; most pixels with hints that count; range of the probabilities.
NOISE, MOST_HINTS, LOW, HIGH = 0.1, 256, 0.02, 0.98
#: Share of its box that an object fills at least, by its probabilities.
FILL = 0.5


def spread_hints(
    image: np.ndarray, prob: np.ndarray, labels: np.ndarray, sure: np.ndarray
) -> np.ndarray:
    """Correct an image's soft map near the hints on it, where its colors are like theirs.

    A Gaussian process over places x and colors c, smoothed a little, corrects the soft map p: its
    mean is 0, its covariance ``exp(-|x - x'|^2 / 2 sx^2 - |c - c'|^2 / 2 sc^2)``, and a pixel known
    to be y says that it is ``y - p`` there. sx is 0.35 times the root of the object's area, by its
    probabilities, from 4 to 12 pixels.

    Args:
        image: (h, w, 3) uint8 BGR, of some 128 pixels along its longer side.
        prob: (C, h, w), as ``CoSegDataSample.pred_prob``.
        labels: (h, w) uint8, which count where ``sure``, (h, w) bool, is True.

    Returns:
        The corrected map, (C, h, w) float32 in [0.02, 0.98]; several classes sum to 1.
    """
    rows, columns = np.nonzero(sure)
    if len(rows) > MOST_HINTS:
        even = np.linspace(0, len(rows) - 1, MOST_HINTS).round().astype(int)
        rows, columns = rows[even], columns[even]
    if not len(rows):
        return prob
    smooth = cv2.GaussianBlur(image, (0, 0), 1).astype(np.float32) / 255
    foreground = prob[0] if len(prob) == 1 else 1 - prob[0]
    reach = np.clip(REACH * np.sqrt(foreground.sum()), *PLACE)
    colors = cv2.cvtColor(smooth, cv2.COLOR_BGR2LAB) / COLOR
    places = np.indices(image.shape[:2], np.float32).transpose(1, 2, 0) / reach
    points = np.concatenate([places, colors], axis=2)
    hinted = points[rows, columns]
    kernel = _kernel(points.reshape(-1, 5), hinted)
    among = _kernel(hinted, hinted) + NOISE * np.eye(len(hinted), dtype=np.float32)
    values = prob.reshape(len(prob), -1).T
    residual = _one_hot(labels[rows, columns], len(prob)) - prob[:, rows, columns].T
    values = values + kernel @ np.linalg.solve(among, residual)
    values = values.clip(LOW, HIGH)
    if len(prob) > 1:
        values = values / values.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(values.T.reshape(prob.shape), np.float32)


def fill_boxes(prob: np.ndarray, labels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Make objects likelier in their boxes until half of each box is expected to be its object.

    The odds of all pixels of a class's boxes are multiplied by the same factor, at least 1. So a
    box around what was missed shows what is the likeliest there.

    Args:
        prob: (C, h, w), as ``CoSegDataSample.pred_prob``.
        labels: (h, w) uint8: classes of the boxes, where ``boxes``, (h, w) bool, is True.
    """
    prob = prob.copy()
    for label in np.unique(labels[boxes]).tolist():
        inside = boxes & (labels == label)
        channel = min(label, len(prob) - 1)
        before = prob[channel, inside].astype(np.float64).clip(LOW, HIGH)
        if before.mean() >= FILL:
            continue
        odds = logit(before)
        factor = brentq(lambda factor, odds=odds: expit(odds + factor).mean() - FILL, 0, 10)
        after = expit(odds + factor)
        prob[:, inside] *= (1 - after) / (1 - before)
        prob[channel, inside] = after
    return prob / prob.sum(axis=0) if len(prob) > 1 else prob


def set_known(prob: np.ndarray, labels: np.ndarray, sure: np.ndarray) -> None:
    """Write into a soft map (C, h, w) what is surely known of its pixels, both (h, w)."""
    prob[:, sure] = _one_hot(labels[sure], len(prob)).T.clip(LOW, HIGH)
    if len(prob) > 1:
        prob /= prob.sum(axis=0)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    return np.exp(-squares.clip(0) / 2)


def _one_hot(labels: np.ndarray, channels: int) -> np.ndarray:
    """Labels (n,) as channels (n, C); a single channel is that of any object."""
    if channels == 1:
        return (labels != 0)[:, None].astype(np.float32)
    return np.eye(256, dtype=np.float32)[labels][:, :channels]
