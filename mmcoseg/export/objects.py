"""From a data sample to the objects that the formats describe."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from ..errors import MMCosegError
from ..evaluation.class_report import class_names_of
from ..files import file_name_of
from ..structures import CoSegDataSample, to_numpy
from ..structures.coseg_data_sample import VOID
from ..visualization import PALETTE

__all__ = ['ImageResult', 'ObjectMask', 'Picture', 'sureness', 'to_annotation', 'to_result']


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
    names: list[str]
    categories: list[str]
    objects: list[ObjectMask]
    instances: np.ndarray | None


@dataclass
class Picture:
    """An image and what was found in it.

    Args:
        image: (H, W, 3) uint8 BGR.
        source: file of the image; None where it has none.
        scores: of the instances, if there are any.
    """

    image: np.ndarray
    result: ImageResult
    group: str
    stem: str
    source: Path | None
    scores: Sequence[float] | None = None

    @cached_property
    def rgb(self) -> np.ndarray:
        """The image, (H, W, 3) uint8 RGB."""
        return np.ascontiguousarray(self.image[:, :, ::-1])

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """Numbers of instances from 1, (H, W) uint16; the surest one where they overlap."""
        masks = self.result.instances
        if masks is None:
            return None
        numbers = np.zeros(masks.shape[1:], np.uint16)
        for number in np.argsort(np.asarray(self.scores), kind='stable'):
            numbers[masks[number]] = number + 1
        return numbers

    @cached_property
    def shown(self) -> np.ndarray:
        """The labels that pictures show, (H, W) uint8: instances if there are any, else classes."""
        if self.numbers is None:
            return self.result.labels
        # Colors repeat after the end of the palette, without the color of void.
        whole = VOID // len(PALETTE) * len(PALETTE)
        table = np.r_[0, np.arange(np.iinfo(np.uint16).max) % whole + 1].astype(np.uint8)
        return table[self.numbers]

    def path(self, folder: str, suffix: str) -> str:
        """Relative path of a result: ``<folder>/<group>/<stem><suffix>``."""
        return f'{folder}/{file_name_of(self.group)}/{file_name_of(self.stem, suffix)}'


def to_result(sample: CoSegDataSample) -> ImageResult:
    """The objects of an image: its ``pred_instances``, or else the classes of ``pred_sem_seg``.

    The number of classes K is that of the channels of ``pred_prob`` but the background's, or the
    highest value of the mask if that is higher. A score is the instance's own, or the mean of
    ``pred_prob`` over the class' mask; times the image's ``presence``, where the method gives one.
    What is not known counts as 1.

    Categories are the ``class_names`` of the metainfo, where it has some. Else,
    where K is 1 the category is the group's name: the group is what its images have in common.
    Otherwise it is the group's name and ``class 1`` to ``class K``. Labels of instances count the
    classes from 0 (where K is 1 they do not matter).

    Raises:
        MMCosegError: naming the image, if it has no mask, or predictions of other shapes or labels.
    """
    if 'pred_sem_seg' not in sample:
        raise MMCosegError(f'{sample.identity} has no prediction (pred_sem_seg) to write')
    instances = sample.get('pred_instances')
    prob, group = _prob_of(sample), str(sample.get('group'))
    labels = to_numpy(sample.pred_sem_seg.data)
    if labels.shape[:-2] != (1,):
        raise MMCosegError(f'pred_sem_seg of {sample.identity} is not (1, H, W): {labels.shape}')
    labels = labels[0].astype(np.uint8)
    names, categories = ['object'], [group]
    number = max(len(prob) - 1, int(labels.max(initial=1)))
    given = sample.get('class_names', ())
    if given:
        others = class_names_of('', max(number, 2))
        names = categories = [*given[:number], *others[len(given) : number]]
    elif number > 1:
        names = list(class_names_of('', number))
        categories = [f'{group} {name}' for name in names]
    if instances is None:
        masks, found = None, _found_classes(labels, prob)
    else:
        _check_instances(sample, labels.shape, number)
        masks = to_numpy(instances.masks).astype(bool)
        values = to_numpy(instances.labels).astype(int) * (number > 1) + 1
        found = zip(masks, values.tolist(), to_numpy(instances.scores))
    objects = []
    for mask, label, score in found:
        if mask.any():
            score = _share(score * float(sample.get('presence', 1.0)))
            category = categories[label - 1]
            objects.append(ObjectMask(mask, label, category, score, instances is not None))
    return ImageResult(labels, names, categories, objects, masks)


def _check_instances(sample: CoSegDataSample, size: tuple[int, int], number: int) -> None:
    instances, whose = sample.pred_instances, f'pred_instances of {sample.identity}'
    missing = {'masks', 'labels', 'scores'} - set(instances.keys())
    if missing:
        raise MMCosegError(f'{whose} have no {", ".join(sorted(missing))}')
    shape = tuple(instances.masks.shape[1:])
    if shape != size:
        raise MMCosegError(f'{whose} are {shape}, pred_sem_seg is {size}')
    labels = to_numpy(instances.labels) * (number > 1)  # of one class they do not matter
    wrong = set(labels.tolist()) - set(range(number))
    if wrong:
        raise MMCosegError(
            f'{whose} have the labels {sorted(wrong)}; the labels of {number} classes are 0 to '
            f'{number - 1}'
        )


def _found_classes(labels: np.ndarray, prob: np.ndarray) -> Iterator[tuple[np.ndarray, int, float]]:
    """Mask, number and score of each class."""
    for label in np.unique(labels[labels > 0]).tolist():
        mask = labels == label
        yield mask, label, _mean_prob(prob, label, mask)


def _prob_of(sample: CoSegDataSample) -> np.ndarray:
    return to_numpy(sample.pred_prob.data) if 'pred_prob' in sample else np.ones((1, 1, 1))


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
    if 'pred_prob' not in sample and 'presence' not in sample:
        return None
    prob = _prob_of(sample)
    means = [_mean_prob(prob, item.label, item.mask) for item in result.objects]
    areas = [np.count_nonzero(item.mask) for item in result.objects]
    presence = float(sample.get('presence', 1.0))
    return _share(np.average(means, weights=areas) * min(1.0, 2 * presence))


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


def _mean_prob(prob: np.ndarray, label: int, mask: np.ndarray) -> float:
    """Mean of a class' probability over its mask; the map may have any resolution."""
    channel = prob[min(label, len(prob) - 1)].astype(np.float32)
    weight = mask.astype(np.float32)
    if channel.shape != mask.shape:
        weight = cv2.resize(weight, channel.shape[::-1], interpolation=cv2.INTER_AREA)
    return float((channel * weight).sum() / weight.sum())
