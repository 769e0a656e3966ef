"""The figures of co-segmentation: precision and Jaccard index of masks, AP of instances."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from ..errors import MMCosegError
from ..options import one_of
from ..structures.coseg_data_sample import VOID
from ..structures.rle import areas_of, as_rle, decode_rles, encode_masks

__all__ = [
    'Matching',
    'average_precision',
    'binarize_adaptive',
    'check_one_shape',
    'flicker',
    'image_scores',
    'instance_overlaps',
    'match_instances',
    'resize_ground_truth',
]

#: How predictions find their instance; see :func:`match_instances`.
Matching = Literal['greedy', 'voc']

#: Masks (n, H, W), bool or 0 and not 0, or compressed RLEs.
Masks = np.ndarray | Sequence[dict]


def check_one_shape(pred: np.ndarray, gt: np.ndarray) -> None:
    """Refuse masks of two sizes."""
    if pred.shape != gt.shape:
        raise MMCosegError(
            f'the prediction is {pred.shape}, the ground truth {gt.shape}; predict at the '
            "image's original size, and in a test pipeline load masks after Resize"
        )


def flicker(pred: np.ndarray, gt: np.ndarray, within: int = 3) -> float:
    """Share of the pixels of a sequence that change for no reason and change back.

    A pixel flickers in frame t if its label differs from that of frame t - 1, and one of the frames
    t + 1 to t + ``within`` has the label of frame t - 1 again; unless the true labels do the same
    in frame t.

    Args:
        pred, gt: labels of the frames in order, (N, H, W), bool or integer.

    Returns:
        The mean over all pixels of all frames that have one before and one behind them, in [0, 1];
        0 for fewer than three frames.

    Example:
        >>> pred = np.array([0, 1, 0, 0]).reshape(4, 1, 1)
        >>> flicker(pred, np.zeros_like(pred)), flicker(pred, pred)
        (0.5, 0.0)
    """
    check_one_shape(pred, gt)
    if len(pred) < 3:
        return 0.0

    def flips(labels: np.ndarray) -> np.ndarray:
        flips = np.zeros((len(labels) - 2, *labels.shape[1:]), bool)
        for now in range(1, len(labels) - 1):
            later = labels[now + 1 : now + 1 + within]
            back = (later == labels[now - 1]).any(axis=0)
            flips[now - 1] = back & (labels[now] != labels[now - 1])
        return flips

    return float((flips(pred) & ~flips(gt)).mean())


def image_scores(pred: np.ndarray, gt: np.ndarray) -> tuple[float, float]:
    """P and J of one image (SSNM, section 4.2).

    P is the share of pixels labeled correctly, object and background alike; J the Jaccard index
    (intersection over union) of the object's pixels. If the ground truth has no object, J is 1
    for an empty prediction and 0 otherwise.

    Args:
        pred: (H, W), bool or integer; all but 0 is object.
        gt: (H, W), bool or integer; 0 background, 255 void, all else object.

    Returns:
        P and J in [0, 1]. An image of nothing but void has nothing wrong: 1 and 1.

    Example:
        >>> image_scores(np.array([[1, 1, 0, 0]]), np.array([[0, 1, 1, 0]]))
        (0.5, 0.3333333333333333)
    """
    check_one_shape(pred, gt)
    p, g = pred != 0, gt != 0
    count = gt.size
    if gt.dtype != bool:
        valid = gt != VOID
        p, g = p & valid, g & valid
        count = int(np.count_nonzero(valid))
    intersection = int(np.count_nonzero(p & g))
    union = int(np.count_nonzero(p | g))
    precision = (count - union + intersection) / count if count else 1.0
    if not g.any():
        return precision, float(union == 0)
    return precision, intersection / union


def binarize_adaptive(prob: np.ndarray, limit: float = 0.8) -> np.ndarray:
    """Threshold a soft map at its mean plus its standard deviation, at most ``limit``.

    This is how SSNM's published code makes masks. Takes (H, W) floats, gives (H, W) bool.

    Example:
        >>> binarize_adaptive(np.array([[0.0, 0.0, 0.0, 1.0]]))  # mean 0.25 + std 0.43
        array([[False, False, False,  True]])
    """
    # float64: the mean of a constant float32 map is then that constant, not a little less, and
    # the mask of a map without any contrast is empty
    threshold = prob.mean(dtype=np.float64) + prob.std(dtype=np.float64)
    return prob > min(float(threshold), limit)


def resize_ground_truth(gt: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Object mask at ``size`` = (H, W): bilinear, then above one half; void counts as background.

    SSNM's published code scores such masks at 224 x 224. As there, a pixel of the smaller mask is
    a weighted mean of all that it covers (Pillow's bilinear filter, in 8 bits).
    """
    pixels = np.where((gt != 0) & (gt != VOID), 255, 0).astype(np.uint8)
    resized = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized) > 127


def instance_overlaps(
    preds: Masks, gts: Masks, void: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How much the predicted instances of an image overlap the true ones.

    Void pixels are taken out of the predictions first. Pixels of a true instance are never void.

    Args:
        preds: the n predicted masks.
        gts: the m true masks, of the same size.
        void: (H, W) bool, pixels that are not scored: crowds, borders. None: no pixel.

    Returns:
        The IoU of each prediction with each instance, (n, m) float64, and the share of each
        prediction that is void, (n,) float64, both in [0, 1]. A mask without a pixel has 0.

    Example:
        >>> masks = np.array([[[1, 1, 0, 0]], [[0, 0, 1, 1]]])
        >>> instance_overlaps(masks, masks[:1], void=np.array([[False, False, True, False]]))
        (array([[1.],
               [0.]]), array([0. , 0.5]))
    """
    preds, gts = _rles(preds), _rles(gts)
    sizes = {tuple(rle['size']) for rle in (*preds, *gts)}
    if void is not None:
        sizes.add(void.shape)
    if len(sizes) > 1:
        raise MMCosegError(f'all masks of an image must have one size, got {sorted(sizes)}')
    areas = areas_of(preds)
    inside = np.zeros(len(preds))
    if void is not None and void.any():
        void = void & ~decode_rles(gts, *void.shape).any(axis=0)
        inside = _intersections(preds, encode_masks(void[None]), areas)[:, 0]
    common = _intersections(preds, gts, areas)
    union = (areas - inside)[:, None] + areas_of(gts) - common
    return common / np.maximum(union, 1), inside / np.maximum(areas, 1)


def _rles(masks: Masks) -> list[dict]:
    if isinstance(masks, np.ndarray):
        return encode_masks(masks)
    return [as_rle(rle, *rle['size']) for rle in masks]


def _intersections(preds: list[dict], others: list[dict], areas: np.ndarray) -> np.ndarray:
    """Pixels that masks have in common, (n, m) float64, whole numbers."""
    if not preds or not others:
        return np.zeros((len(preds), len(others)))
    # For a crowd COCO's IoU is the share of the prediction.
    shares = np.asarray(coco_mask.iou(preds, others, [1] * len(others)))
    return np.rint(shares * areas[:, None])


def match_instances(
    ious: np.ndarray, void_shares: np.ndarray, threshold: float, matching: Matching = 'greedy'
) -> np.ndarray:
    """Which predictions of an image are right.

    In descending order of score, each prediction takes an instance that it overlaps by an IoU of
    at least ``threshold``, and is right if it finds one. An instance can be taken once, so
    duplicates are wrong.

    - ``'greedy'``: take the instance of highest IoU among those still free, as in COCO's evaluation
      and in the code published with DeepCO3 (which asks for more than the threshold).
    - ``'voc'``: look at the instance of highest IoU among all, as in PASCAL VOC's evaluation; if it
      is taken already, the prediction is a duplicate, even if it fits another instance.

    Args:
        ious: (n, m), predictions in descending order of score.
        void_shares: (n,), share of each prediction that is void.
        threshold: IoU of a match, inclusive.

    Returns:
        (n,) int8: 1 right, 0 wrong, -1 ignored: no match, and a share of void of at least
        ``threshold``.

    Example:
        >>> match_instances(np.array([[0.6], [0.9]]), np.zeros(2), 0.5)
        array([1, 0], dtype=int8)
    """
    one_of('matching', matching, Matching)
    flags = np.where(void_shares >= threshold, -1, 0).astype(np.int8)
    free = np.ones(ious.shape[1], bool)
    for number, row in enumerate(ious):
        reach = row >= threshold
        if matching == 'greedy':
            reach &= free
        if not reach.any():
            continue
        best = int(np.where(reach, row, -1).argmax())
        flags[number] = free[best]
        free[best] = False
    return flags


def average_precision(scores: np.ndarray, flags: np.ndarray, num_instances: int) -> float:
    """AP of a class: the area under its interpolated precision-recall curve.

    The precision at a recall is the highest at this or any higher recall; the area is taken over
    all points of the curve (PASCAL VOC since 2010), not over 11 or 101 of them.

    Args:
        scores: (n,), of the predictions in all images of the class. Equal scores keep their order.
        flags: (n,), from :func:`match_instances`; ignored predictions are left out.
        num_instances: number of true instances.

    Returns:
        In [0, 1]; 0 without predictions, NaN without instances.

    Example:
        >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1]), num_instances=2)
        0.8333333333333333
    """
    if not num_instances:
        return float('nan')
    right = flags[np.argsort(-np.asarray(scores, np.float64), kind='stable')]
    right = right[right >= 0] == 1
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    # Each right prediction raises the recall by one instance.
    return float(highest[right].sum() / num_instances)
