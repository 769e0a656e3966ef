"""Scoring a file of predicted instances against a file of true ones."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.base import select_groups
from ..datasets.coco_seg import read_coco
from ..datasets.instances import split_file_name
from ..structures.rle import as_rle, decode_rles
from .functional import Matching, instance_overlaps
from .instance_report import ImageMatches, InstanceReport

__all__ = ['evaluate_instance_files', 'instance_file']

#: How many images an error message names.
_MAX_NAMED = 20


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
            their ``file_name``, ``<group>/<file>``, up to the suffix.
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
        ValueError: if a file is not of this form, a prediction has no score or another size than
            the true image, for unknown groups, or another value of ``missing``.

    Example:
        >>> report = evaluate_instance_files('results', 'data/voc12')  # doctest: +SKIP
        >>> report.summary()['mAP_50']  # doctest: +SKIP
        25.1
    """
    if missing not in ('error', 'empty'):
        raise ValueError(f"missing must be 'error' or 'empty', got {missing!r}")
    pred, gt = instance_file(pred, 'annotations.json'), instance_file(gt, 'instances.json')
    truth = read_coco(gt)
    members: dict[str, list[dict]] = defaultdict(list)
    for image in truth['images']:
        members[split_file_name(image, gt)[0]].append(image)
    chosen = select_groups(sorted(members), groups, (), str(gt))
    names = {category['id']: category['name'] for category in truth['categories']}
    annotations = _by_image(truth['annotations'], gt)
    images = [image for group in chosen for image in members[group]]
    found = _predictions(pred, gt, truth['images'])
    absent = [image['file_name'] for image in images if _identity(image, gt) not in found]
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
        present = {
            names.get(a['category_id']) for i in members[group] for a in annotations[i['id']]
        }
        category = str(present.pop()) if len(present) == 1 and group not in present else group
        for image in members[group]:
            truths = [a for a in annotations[image['id']] if _counts(a, group, names, present)]
            matches = _score(image, found.get(_identity(image, gt), []), truths, category, pred, gt)
            report.add(*_identity(image, gt), matches, image['file_name'])
    if verbose:
        print(report.table('instances', format))
    if out_file is not None:
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({'instances': report.to_dict()}, indent=1)
        Path(out_file).write_text(text, encoding='utf-8')
    return report


def _counts(annotation: dict, group: str, names: dict, present: set) -> bool:
    """Whether an annotation is of what is common to its group."""
    return group not in present or names.get(annotation['category_id']) == group


def _identity(image: dict, where: Path) -> tuple[str, str]:
    group, file = split_file_name(image, where)
    return group, Path(file).stem


def _by_image(annotations: Sequence[dict], where: Path) -> dict[Any, list[dict]]:
    result: dict[Any, list[dict]] = defaultdict(list)
    for annotation in annotations:
        lacking = {'image_id', 'category_id', 'segmentation'} - set(annotation)
        if lacking:
            raise ValueError(f'{where}: annotation {annotation.get("id")} has no {sorted(lacking)}')
        result[annotation['image_id']].append(annotation)
    return result


def _predictions(
    file: Path, gt: Path, true_images: Sequence[dict]
) -> dict[tuple[str, str], list[dict]]:
    """Predicted annotations of every image that the file is about, by group and stem."""
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise FileNotFoundError(
            f'there is no file {file}; give the annotations.json that `mmcoseg segment` writes, '
            'or its folder'
        ) from None
    except ValueError as error:
        raise ValueError(f'{file} is not valid json ({error})') from error
    if isinstance(content, list):
        by_image, images, where = _by_image(content, file), true_images, gt
        unknown = sorted(set(by_image) - {image['id'] for image in images}, key=str)
        if unknown:
            raise ValueError(f'{file} has results of image_id {unknown[:5]}, which {gt} lacks')
    else:
        content = read_coco(file)
        by_image, images, where = _by_image(content['annotations'], file), content['images'], file
    return {_identity(image, where): by_image[image['id']] for image in images}


def _score(
    image: dict, preds: list[dict], truths: list[dict], category: str, pred: Path, gt: Path
) -> ImageMatches:
    height, width = int(image['height']), int(image['width'])
    try:
        crowds = [a for a in truths if a.get('iscrowd')]
        void = None
        if crowds:
            rles = [as_rle(a['segmentation'], height, width) for a in crowds]
            void = decode_rles(rles, height, width).any(axis=0)
        true = [as_rle(a['segmentation'], height, width) for a in truths if not a.get('iscrowd')]
    except ValueError as error:
        raise ValueError(f'{gt}: {image["file_name"]}: {error}') from error
    try:
        rles = [as_rle(a['segmentation'], height, width) for a in preds]
        scores = np.array([float(a.get('score', np.nan)) for a in preds])
        return ImageMatches.ranked(category, scores, *instance_overlaps(rles, true, void))
    except ValueError as error:
        raise ValueError(f'{pred}: {image["file_name"]}: {error}') from error
