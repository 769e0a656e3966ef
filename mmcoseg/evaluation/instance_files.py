"""Scoring a file of predicted instances against a file of true ones."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..datasets.base import select_groups
from ..datasets.coco_file import (
    CocoFile,
    image_size,
    listed_size,
    parse_coco,
    read_coco,
    read_json,
    refuse_moved_polygons,
    rle_of,
)
from ..datasets.instances import common_categories, split_file_name
from ..errors import MMCosegError, naming
from ..options import one_of, whole_number
from ..structures.rle import decode_rles, is_number
from .folders import MissingPredictions, refuse_missing
from .functional import Matching, instance_overlaps
from .instance_report import ImageMatches, InstanceReport

__all__ = ['evaluate_instances']

#: The highest score, of either sign.
_MAX_SCORE = 1e300


def evaluate_instances(
    pred: str | Path,
    gt: str | Path,
    *,
    groups: Sequence[str] | None = None,
    missing: MissingPredictions = 'error',
    matching: Matching = 'greedy',
    min_instances: int = 0,
) -> InstanceReport:
    """Score instances in COCO files: mAP at IoU 0.25 and 0.5, and CorLoc, by masks.

    Scores are those of ``InstanceCoSegMetric`` and ``CorLocMetric``. The predictions of an image
    count for its group, whatever their category is called. ``iscrowd`` in the ground truth is void.

    Args:
        pred: ``annotations.json`` as ``mmcoseg segment`` writes it, or its folder; or a list of
            COCO results with the ``image_id`` of the ground truth. Images are found by their
            ``file_name``, ``<group>/<file>``; if none has it, by that name with another suffix.
        gt: ``instances.json``, or its folder; see ``InstanceCoSegDataset``. A group's class is the
            category of its name, or the only one of its instances, or else its name.
        groups: names of the groups to score; None for all of the ground truth's.
        missing: ``'error'``, or ``'empty'`` to score images that the predictions do not list as if
            nothing had been found. A list of results does not say which images it is about: those
            without results are empty.
        matching: see ``match_instances``.
        min_instances: score only images with so many true instances, ``iscrowd`` not counted; such
            as 2, to see how well objects are told apart.

    Raises:
        FileNotFoundError: if a file does not exist, or predictions are missing; it names them.
        MMCosegError: if a file is not of this form, an annotation has no valid mask or score (it is
            named), two predictions could be of one image, a group does not exist, or no image has
            so many instances.
    """
    one_of('missing', missing, MissingPredictions)
    whole_number('min_instances', min_instances, 0)
    report = InstanceReport(matching=matching)
    gt = _file_in(gt, 'instances.json')
    pred = _file_in(pred, 'annotations.json')
    truth = read_coco(gt)
    images = _true_images(truth, gt, groups)
    images = [image for image in images if image.num_instances >= min_instances]
    if not images:
        raise MMCosegError(f'{gt} has no image with {min_instances} or more instances')
    predictions = _read_predictions(pred, gt, truth)
    found = [_prediction_of(image, predictions, pred, gt) for image in images]
    absent = [image.name for image, predicted in zip(images, found) if predicted is None]
    if absent and missing == 'error':
        refuse_missing(f'{pred} does not list {len(absent)} of {len(images)} images', absent)
    for image, predicted in zip(images, found):
        matches = _score(image, predicted or _Predicted(None, []), gt, pred)
        report.add(image.group, Path(image.file).stem, matches, image.name)
    return report


def _file_in(path: str | Path, name: str) -> Path:
    """The file itself, or the one of this name in a folder."""
    path = Path(path)
    return path / name if path.is_dir() else path


@dataclass(frozen=True)
class _TrueImage:
    """An image of the ground truth, its class, and the annotations that count for it."""

    entry: dict
    group: str
    file: str
    category: str
    annotations: list[dict]

    @property
    def name(self) -> str:
        return self.entry['file_name']

    @property
    def num_instances(self) -> int:
        return sum(not annotation.get('iscrowd') for annotation in self.annotations)


def _true_images(truth: CocoFile, gt: Path, groups: Sequence[str] | None) -> list[_TrueImage]:
    """The images of the chosen groups."""
    by_image = truth.annotations_by_image()
    members: dict[str, dict[str, dict]] = defaultdict(dict)
    present: dict[str, set[str]] = defaultdict(set)
    for (group, file), entry in _by_file(truth.images, gt).items():
        members[group][file] = entry
        present[group].update(truth.names[a['category_id']] for a in by_image[entry['id']])
    images = []
    for group in select_groups(sorted(members), groups, (), str(gt)):
        # Instances of other categories than the common one do not count.
        wanted, category = common_categories(group, present[group])
        for file, entry in members[group].items():
            counted = [a for a in by_image[entry['id']] if truth.names[a['category_id']] in wanted]
            images.append(_TrueImage(entry, group, file, category, counted))
    return images


def _by_file(images: Sequence[dict], where: Path) -> dict[tuple[str, str], dict]:
    """Image entries by group and file name."""
    found: dict[tuple[str, str], dict] = {}
    for image in images:
        identity = split_file_name(image, where)
        if identity in found:
            raise MMCosegError(f'{where} lists {image["file_name"]} twice; remove one')
        found[identity] = image
    return found


class _Predicted(NamedTuple):
    """What is predicted for an image, and the size that the predictions' file gives it."""

    size: tuple[int, int] | None
    annotations: list[dict]


#: By group and stem, and then by file: images of one stem differ in the suffix.
_Predictions = dict[tuple[str, str], dict[str, _Predicted]]


def _read_predictions(file: Path, gt: Path, truth: CocoFile) -> _Predictions:
    hint = ' Give the annotations.json that `mmcoseg segment` writes, or its folder.'
    content, where = read_json(file, hint), file
    if isinstance(content, list):  # results, of the true images
        content = dict(images=truth.images, annotations=content, categories=[])
        where = gt
    coco = parse_coco(content, file, with_categories=False)
    annotations = coco.annotations_by_image()
    predictions: _Predictions = defaultdict(dict)
    for (group, name), image in _by_file(coco.images, where).items():
        predicted = _Predicted(listed_size(image), annotations[image['id']])
        predictions[group, Path(name).stem][name] = predicted
    return predictions


def _prediction_of(
    image: _TrueImage, predictions: _Predictions, pred: Path, gt: Path
) -> _Predicted | None:
    """That of the very file, or else of the only one that differs in its suffix."""
    twins = predictions.get((image.group, Path(image.file).stem), {})
    others = ' and '.join(f'{image.group}/{file}' for file in twins if file != image.file)
    if image.file not in twins and len(twins) > 1:
        raise MMCosegError(f'{pred}: {others} could both be {image.name} of {gt}; rename one')
    if image.file in twins and others:
        unlike = f'only differs in its suffix from {image.name}, and is not scored'
        warnings.warn(f'{pred}: {others} {unlike}', stacklevel=3)
    return twins.get(image.file) or next(iter(twins.values()), None)


def _score(image: _TrueImage, predicted: _Predicted, gt: Path, pred: Path) -> ImageMatches:
    with naming(f'{gt}: {image.name}'):
        size = image_size(image.entry)
        true, crowds = [], []
        for annotation in image.annotations:
            kind = crowds if annotation.get('iscrowd') else true
            kind.append(rle_of(annotation, size))
        void = decode_rles(crowds, *size).any(axis=0)
    with naming(f'{pred}: {image.name}'):
        shapes = [a.get('segmentation') for a in predicted.annotations]
        refuse_moved_polygons(shapes, predicted.size, size)
        rles = [rle_of(annotation, size) for annotation in predicted.annotations]
        scores = list(map(_score_of, predicted.annotations))
        overlaps = instance_overlaps(rles, true, void)
        return ImageMatches.ranked(image.category, scores, *overlaps)


def _score_of(annotation: dict) -> float:
    score = annotation.get('score', np.nan)
    if is_number(score) and not abs(score) > _MAX_SCORE:
        return float(score)
    found = f'its score is {repr(score)[:40]}, not a number'
    raise MMCosegError(f'annotation {annotation["id"]}: {found}')
