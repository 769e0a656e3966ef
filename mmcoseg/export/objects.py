"""From a data sample to the objects that the formats describe."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from ..errors import MMCosegError
from ..structures import CoSegDataSample, to_numpy

__all__ = ['ImageResult', 'ObjectMask', 'class_names', 'sureness', 'to_annotation', 'to_result']


@dataclass
class ObjectMask:
    """One object, or all that belongs to one class.

    Args:
        mask: (H, W) bool.
        label: value of the class in the image's mask, 1..K.
        category: name of the class.
        score: 0 to 1.
        instance: whether it is a single object.
    """

    mask: np.ndarray
    label: int
    category: str
    score: float
    instance: bool


#: Mask (H, W) bool, label from 1, and score.
_Found = tuple[np.ndarray, int, float]


@dataclass
class ImageResult:
    """What was found in an image.

    Args:
        labels: (H, W) uint8, 0 background, 1..K classes.
        names: of the K classes.
        categories: of the K classes, as the objects have them.
        objects: those that are not empty, the classes in order, or the instances in order.
        instances: masks (n, H, W) bool of all instances, or None where the method gives none.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    categories: tuple[str, ...]
    objects: list[ObjectMask]
    instances: np.ndarray | None


def class_names(classes: Sequence[str] | None, number: int) -> tuple[str, ...]:
    """Names of mask values 1..K: those given, or else ``object``, or ``class 1`` to ``class K``.

    Raises:
        MMCosegError: if fewer names are given than there are classes, or a name comes twice.

    Example:
        >>> class_names(None, 1), class_names(None, 2), class_names(('cat', 'dog'), 1)
        (('object',), ('class 1', 'class 2'), ('cat', 'dog'))
    """
    if not classes:
        return ('object',) if number == 1 else tuple(f'class {k}' for k in range(1, number + 1))
    names = tuple(map(str, classes))
    if len(set(names)) < max(number, len(names)):
        raise MMCosegError(
            f'classes must name each of the {number} classes of the mask once, got {names}'
        )
    return names


def to_result(sample: CoSegDataSample, classes: Sequence[str] | None = None) -> ImageResult:
    """The objects of an image, from its ``pred_instances`` or else its ``pred_sem_seg``.

    The number of classes K is that of ``classes``, or the channels of ``pred_prob`` but the
    background's, or the highest value of the mask, whichever is highest. A score is the instance's
    own, or the mean of ``pred_prob`` over the class' mask; times the image's ``presence``, where
    the method gives one. What is not known counts as 1.

    Where K is 1 the category is the group's name: the group is what its images have in common.
    Otherwise it is the class' name, for nameless classes with the group's name in front. Labels of
    instances count the classes from 0 (where K is 1 they do not matter).

    Raises:
        MMCosegError: naming the image, if it has no prediction or one that cannot be.
    """
    instances = sample.get('pred_instances')
    if instances is None and 'pred_sem_seg' not in sample:
        raise MMCosegError(
            f'{sample.identity} has no prediction (pred_sem_seg or pred_instances) to write'
        )
    prob = _prob_of(sample)
    masks = None if instances is None else to_numpy(instances.masks).astype(bool)
    if 'pred_sem_seg' in sample:
        labels = to_numpy(sample.pred_sem_seg.data)[0].astype(np.uint8)
    else:  # later instances lie above earlier ones, as in overlays
        labels = np.zeros(masks.shape[1:], np.uint8)
        for label, mask in zip(instances.labels, masks):
            labels[mask] = int(label) + 1
    number = max(len(classes or ()), 0 if prob is None else len(prob) - 1, labels.max(initial=1))
    names = class_names(classes, int(number))
    categories = names
    if len(names) == 1:
        categories = (str(sample.get('group')),)
    elif not classes:
        categories = tuple(f'{sample.get("group")} {name}' for name in names)
    is_instance = instances is not None
    found = _found_instances(sample, masks, names) if is_instance else _found_classes(labels, prob)
    objects = []
    for mask, label, score in found:
        score = _share(score * _presence_of(sample))
        objects.append(ObjectMask(mask, label, categories[label - 1], score, is_instance))
    return ImageResult(labels, names, categories, objects, masks)


def _found_classes(labels: np.ndarray, prob: np.ndarray | None) -> Iterator[_Found]:
    for label in range(1, int(labels.max(initial=0)) + 1):
        mask = labels == label
        if mask.any():
            yield mask, label, _mean_prob(prob, label, mask)


def _found_instances(
    sample: CoSegDataSample, masks: np.ndarray, names: Sequence[str]
) -> Iterator[_Found]:
    instances = sample.pred_instances
    labels = to_numpy(instances.labels).astype(int) * (len(names) > 1) + 1
    if not set(labels.tolist()) <= set(range(1, len(names) + 1)):
        raise MMCosegError(
            f'{sample.identity} has instances with labels {np.unique(labels - 1).tolist()}, but '
            f'its {len(names)} classes are {names}: labels count them from 0'
        )
    for mask, label, score in zip(masks, labels.tolist(), to_numpy(instances.scores)):
        if mask.any():
            yield mask, label, score


def _prob_of(sample: CoSegDataSample) -> np.ndarray | None:
    return to_numpy(sample.pred_prob.data) if 'pred_prob' in sample else None


def _presence_of(sample: CoSegDataSample) -> float:
    return float(sample.get('presence', 1.0))


def sureness(sample: CoSegDataSample, result: ImageResult) -> float | None:
    """How sure the method is of what it found in an image, 0 to 1: what is low needs a look.

    The mean of ``pred_prob``, of each pixel's own class, over all objects; times twice the
    ``presence`` where that is below 0.5, so that the image probably does not show the object at
    all. What is not known counts as 1. 0 where nothing was found.

    Returns:
        The number. None where neither ``pred_prob`` nor ``presence`` is there, and of an image
        that is ``absent``, whose mask was emptied on purpose.
    """
    if sample.get('absent', False):
        return None
    if not result.objects:
        return 0.0
    prob = _prob_of(sample)
    if prob is None and 'presence' not in sample:
        return None
    means = [_mean_prob(prob, item.label, item.mask) for item in result.objects]
    areas = [np.count_nonzero(item.mask) for item in result.objects]
    return _share(np.average(means, weights=areas) * min(1.0, 2 * _presence_of(sample)))


def to_annotation(item: ObjectMask) -> dict[str, Any]:
    """The object in COCO's form, as far as one image knows it: plain types, RLE with text counts.

    The RLE decodes to exactly the mask.
    """
    rle = coco_mask.encode(np.asfortranarray(item.mask, dtype=np.uint8))
    box = coco_mask.toBbox(rle)
    return dict(
        category=item.category,
        label=item.label,
        segmentation=dict(size=[int(side) for side in rle['size']], counts=rle['counts'].decode()),
        bbox=[float(side) for side in box],
        area=int(coco_mask.area(rle)),
        score=item.score,
    )


def _share(value: float) -> float:
    """A number from 0 to 1 that json can hold, with as many digits as mean anything."""
    return round(float(np.clip(np.nan_to_num(value), 0, 1)), 6)


def _mean_prob(prob: np.ndarray | None, label: int, mask: np.ndarray) -> float:
    """Mean of a class' probability over its mask; the map may have any resolution."""
    if prob is None:
        return 1.0
    channel = prob[0 if len(prob) == 1 else label].astype(np.float32)
    weight = mask.astype(np.float32)
    if channel.shape != mask.shape:
        weight = cv2.resize(weight, channel.shape[::-1], interpolation=cv2.INTER_AREA)
    total = float(weight.sum())
    return float((channel * weight).sum()) / total if total else 1.0
