"""Scoring a file of predicted instances against a file of true ones."""

import json
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..datasets.base import select_groups
from ..datasets.coco_file import (
    image_size,
    listed_size,
    parse_coco,
    read_coco,
    read_json,
    refuse_moved_polygons,
    rle_of,
)
from ..datasets.instances import split_file_name
from ..errors import MMCosegError
from ..structures.rle import decode_rles
from .functional import Matching, instance_overlaps
from .instance_report import ImageMatches, InstanceReport

__all__ = ['evaluate_instance_files', 'instance_file']

#: How many images an error message names.
_MAX_NAMED = 20

#: The highest score, of whatever sign.
_MAX_SCORE = 1e300


def instance_file(path: str | Path, name: str) -> Path:
    """The file that a user means by a file, or by the folder that it stands in as ``name``."""
    path = Path(path)
    return path / name if path.is_dir() else path


def evaluate_instance_files(
    pred: str | Path,
    gt: str | Path,
    *,
    groups: Sequence[str] | None = None,
    thresholds: Sequence[float] = (0.25, 0.5),
    matching: Matching = 'greedy',
    out_file: str | Path | None = None,
    format: str = 'text',
    verbose: bool = True,
    missing: str = 'error',
) -> InstanceReport:
    """Score instances that stand in files of COCO's form: mAP and CorLoc by masks.

    As ``InstanceCoSegMetric`` and ``CorLocMetric`` score. The predictions of an image count for
    its group, whatever their category is called. ``iscrowd`` in the ground truth is void.

    Args:
        pred: ``annotations.json`` as ``mmcoseg segment`` writes it, or its folder; or a list of
            COCO results, whose ``image_id`` are those of the ground truth. Images are found by
            their ``file_name``, ``<group>/<file>``; where none has it, by that of another suffix.
        gt: ``instances.json``, or its folder; see ``InstanceCoSegDataset``. A group's class is its
            category: that of its name, or the only one of its instances, or else its name.
        groups: names of the groups to score; None for all of the ground truth's.
        thresholds, matching: of the APs; see ``InstanceReport``.
        out_file: json file for all scores; None: not written.
        format: of the table, ``'text'`` or ``'markdown'``.
        verbose: print the table.
        missing: what images are that the predictions do not list: ``'error'``, or ``'empty'`` if
            they are to be scored as if nothing had been found in them. A list of results does not
            say which images it is about: those without results are empty.

    Returns:
        The report, with the scores of all classes and images.

    Raises:
        FileNotFoundError: if a file is not there, or predictions are missing, which it names.
        MMCosegError: if a file is not of this form, an annotation's mask is none (it is named), a
            prediction has no score or another size than the true image, two could be of one
            image, for unknown groups, or another value of ``missing``.

    Example:
        >>> report = evaluate_instance_files('results', 'data/voc12')  # doctest: +SKIP
        >>> report.summary()['mAP_50']  # doctest: +SKIP
        25.1
    """
    if missing not in ('error', 'empty'):
        raise MMCosegError(f"missing must be 'error' or 'empty', got {missing!r}")
    pred, gt = instance_file(pred, 'annotations.json'), instance_file(gt, 'instances.json')
    truth = read_coco(gt)
    members: dict[str, list[dict]] = defaultdict(list)
    for (group, _), image in _by_file(truth.images, gt).items():
        members[group].append(image)
    chosen = select_groups(sorted(members), groups, (), str(gt))
    annotations = _by_image(truth.annotations)
    images = [image for group in chosen for image in members[group]]
    found = _match(images, _predictions(pred, gt, truth.images), pred, gt)
    absent = [image['file_name'] for image in images if image['file_name'] not in found]
    if absent and missing == 'error':
        more = len(absent) - _MAX_NAMED
        raise FileNotFoundError(
            f'{pred} does not list {len(absent)} of {len(images)} images: '
            + ', '.join(absent[:_MAX_NAMED])
            + (f' and {more} more' if more > 0 else '')
            + '; predict them, score fewer groups (--groups), or take them as empty (--missing '
            'empty)'
        )
    report = InstanceReport(thresholds, matching=matching)
    for group in chosen:
        shown = [a for image in members[group] for a in annotations[image['id']]]
        present = {truth.names[a['category_id']] for a in shown}
        category = present.pop() if len(present) == 1 and group not in present else group
        for image in members[group]:
            truths = [
                a
                for a in annotations[image['id']]
                # Other things than what is common to the group do not count.
                if group not in present or truth.names[a['category_id']] == group
            ]
            predicted = found.get(image['file_name'], _Predicted(None, []))
            matches = _score(image, predicted, truths, category, pred, gt)
            name = split_file_name(image, gt)[1]
            report.add(group, Path(name).stem, matches, image['file_name'])
    if verbose:
        print(report.table('instances', format))
    if out_file is not None:
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({'instances': report.to_dict()}, indent=1)
        Path(out_file).write_text(text, encoding='utf-8')
    return report


class _Predicted(NamedTuple):
    """What is predicted for an image, and the size that the predictions' file says it has."""

    size: tuple[int, int] | None
    annotations: list[dict]


def _by_image(annotations: Sequence[dict]) -> dict[Any, list[dict]]:
    result: dict[Any, list[dict]] = defaultdict(list)
    for annotation in annotations:
        result[annotation['image_id']].append(annotation)
    return result


def _predictions(
    file: Path, gt: Path, true_images: Sequence[dict]
) -> dict[tuple[str, str], _Predicted]:
    """The predictions of every image that the file is about, by group and file name."""
    hint = ' Give the annotations.json that `mmcoseg segment` writes, or its folder.'
    content = read_json(file, hint=hint)
    where = file
    if isinstance(content, list):  # results, of the true images
        content = dict(images=true_images, annotations=content, categories=[])
        where = gt
    coco = parse_coco(content, file, with_categories=False)
    by_image = _by_image(coco.annotations)
    return {
        identity: _Predicted(listed_size(image), by_image[image['id']])
        for identity, image in _by_file(coco.images, where).items()
    }


def _by_file(images: Sequence[dict], where: Path) -> dict[tuple[str, str], dict]:
    """Image entries by group and file name."""
    found: dict[tuple[str, str], dict] = {}
    for image in images:
        identity = split_file_name(image, where)
        if identity in found:
            raise MMCosegError(f'{where} lists {image["file_name"]} twice; remove one')
        found[identity] = image
    return found


def _match(
    images: Sequence[dict], predictions: dict[tuple[str, str], _Predicted], pred: Path, gt: Path
) -> dict[str, _Predicted]:
    """The predictions of true images, by their ``file_name``.

    They are those of the very file, or else of the only one that differs in its suffix.
    """
    by_stem: dict[tuple[str, str], list[str]] = defaultdict(list)
    for group, file in predictions:
        by_stem[group, Path(file).stem].append(file)
    result = {}
    for image in images:
        group, file = split_file_name(image, gt)
        twins = by_stem[group, Path(file).stem]
        others = [f'{group}/{twin}' for twin in twins if twin != file]
        if file in twins:
            result[image['file_name']] = predictions[group, file]
            if others:
                warnings.warn(
                    f'{pred}: {", ".join(others)} only differs in its suffix from '
                    f'{image["file_name"]}, and is not scored',
                    stacklevel=3,
                )
        elif len(twins) == 1:
            result[image['file_name']] = predictions[group, twins[0]]
        elif twins:
            raise MMCosegError(
                f'{pred}: {" and ".join(others)} could both be {image["file_name"]} of {gt}; '
                'rename one'
            )
    return result


def _score(
    image: dict, preds: _Predicted, truths: list[dict], category: str, pred: Path, gt: Path
) -> ImageMatches:
    try:
        size = image_size(image)
        crowds = [rle_of(a, size) for a in truths if a.get('iscrowd')]
        void = decode_rles(crowds, *size).any(axis=0) if crowds else None
        true = [rle_of(a, size) for a in truths if not a.get('iscrowd')]
    except ValueError as error:
        raise MMCosegError(f'{gt}: {image["file_name"]}: {error}') from error
    try:
        shapes = (a.get('segmentation') for a in preds.annotations)
        refuse_moved_polygons(shapes, preds.size, size)
        rles = [rle_of(a, size) for a in preds.annotations]
        scores = np.array([_score_of(a) for a in preds.annotations])
        return ImageMatches.ranked(category, scores, *instance_overlaps(rles, true, void))
    except ValueError as error:
        raise MMCosegError(f'{pred}: {image["file_name"]}: {error}') from error


def _score_of(annotation: dict) -> float:
    score = annotation.get('score', np.nan)
    if isinstance(score, bool) or not isinstance(score, (int, float)) or abs(score) > _MAX_SCORE:
        raise MMCosegError(
            f'annotation {annotation["id"]}: its score is {repr(score)[:40]}, not a number'
        )
    return float(score)
