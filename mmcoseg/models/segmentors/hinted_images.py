"""Hints on single images, where masks are made."""

import cv2
import numpy as np
import torch
from mmengine.structures import PixelData

from ...datasets.image_io import image_of
from ...errors import naming
from ...structures import CoSegDataSample, GroupDataSample, hint_map, to_numpy
from ...structures.hints import HintMap
from ..ops.hints import expected_overlap
from ..ops.image_hints import fill_boxes, set_known, spread_hints

__all__ = ['hinted_images', 'least_sure', 'obey_hints', 'refine_by_hints']

#: Longer side of the map on which hints spread, and of that on which they are drawn then.
_COARSE, _FINE = 128, 512
#: Contradictions of an image that are spelled out.
_MOST_SHOWN = 5

HintedImages = list[tuple[CoSegDataSample, HintMap]]


def hinted_images(group: GroupDataSample) -> HintedImages:
    """Images with hints, and all that is known of their pixels, at the original size."""
    found = []
    for sample in group:
        if 'hints' in sample:
            known = _map_of(sample)
            texts = [*sample.metainfo.get('warnings', ()), *_few(known.contradictions)]
            sample.set_metainfo(dict(warnings=tuple(dict.fromkeys(texts))))
            found.append((sample, known))
    return found


def _few(contradictions: list[str]) -> list[str]:
    """The first ones, and how many more there are: of a thousand hints many may contradict."""
    different = list(dict.fromkeys(contradictions))
    more = len(different) - _MOST_SHOWN
    if more <= 0:
        return different
    return [*different[:_MOST_SHOWN], f'{more} more hints contradict earlier ones']


def _map_of(sample: CoSegDataSample, size: tuple[int, int] | None = None) -> HintMap:
    original = sample.metainfo.get('ori_shape', sample.pred_prob.data.shape[-2:])[:2]
    with naming(sample.identity):
        channels = len(sample.pred_prob.data)
        number = max(1, channels - 1, len(sample.metainfo.get('class_names', ())))
        return hint_map(sample.hints, original, size, number)


def refine_by_hints(images: HintedImages) -> None:
    """Spread hints over the pixels of their images that are near and alike: ``pred_prob``.

    What is surely known has its label there.
    """
    for sample, known in images:
        prob = to_numpy(sample.pred_prob.data.float())
        if not known.sure.all():
            prob = _spread(sample, prob)
        prob = torch.from_numpy(_resized(prob, _limited(known.labels.shape, _FINE)))
        sample.pred_prob = PixelData(data=prob.to(sample.pred_prob.data.device))
        _set_known(sample)


def _set_known(sample: CoSegDataSample) -> None:
    """Write what is surely known of its pixels into an image's soft map."""
    prob = to_numpy(sample.pred_prob.data).copy()
    known = _map_of(sample, prob.shape[1:])
    set_known(prob, known.labels, known.sure)
    device = sample.pred_prob.data.device
    sample.pred_prob = PixelData(data=torch.from_numpy(prob).to(device))


def _spread(sample: CoSegDataSample, prob: np.ndarray) -> np.ndarray:
    """A soft map (C, h, w), coarse, in which hints have spread, and boxes show something."""
    pixels = image_of(sample)
    coarse = _limited(pixels.shape[:2], _COARSE)
    small = cv2.resize(pixels, coarse[::-1], interpolation=cv2.INTER_AREA)
    known = _map_of(sample, coarse)
    prob = spread_hints(small, _resized(prob, coarse), known.labels, known.sure)
    return fill_boxes(prob, known.labels, known.boxes)


def obey_hints(images: HintedImages) -> None:
    """Give pixels the labels that are surely known, in ``pred_sem_seg``, in place.

    Moreover, an image is ``absent``, and its ``presence`` 0, if nothing in it can be an object;
    its presence is 1 if something surely is.
    """
    for sample, known in images:
        mask = sample.pred_sem_seg.data
        sure = torch.from_numpy(known.sure).to(mask.device)
        mask[0, sure] = torch.from_numpy(known.labels).to(mask)[sure]
        if known.sure.all():  # whatever a step has made of the map
            _set_known(sample)
        if known.absent:
            sample.set_metainfo(dict(absent=True))
        if known.absent or known.shows_object:
            sample.presence = float(known.shows_object)


def least_sure(group: GroupDataSample) -> list[int]:
    """Indices of a group's images, from the one of the least sure soft map on.

    See :func:`~mmcoseg.models.ops.hints.expected_overlap`.
    """
    overlaps = [expected_overlap(sample.pred_prob.data) for sample in group]
    return np.argsort(overlaps, kind='stable').tolist()


def _limited(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(1, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _resized(prob: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A soft map (C, h, w) at another height and width, bilinearly."""
    return np.stack([cv2.resize(channel, size[::-1]) for channel in prob])
