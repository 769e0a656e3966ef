"""Scoring a folder of predicted masks against a folder of true ones."""

import json
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.base import group_names
from ..datasets.image_io import IMAGE_SUFFIXES, read_mask
from ..datasets.multiclass import CLASSES_FILE, read_class_names
from ..datasets.transforms.loading import LoadCoSegMask
from ..errors import MMCosegError
from ..structures.coseg_data_sample import VOID
from .class_report import AbsentClasses, ClassReport, ScoreOver, count_labels
from .functional import image_scores
from .report import ScoreReport

__all__ = ['evaluate_class_folders', 'evaluate_folders', 'hold_classes']

#: How many files an error message names.
_MAX_NAMED = 20


def evaluate_folders(
    pred_dir: str | Path,
    gt_dir: str | Path,
    *,
    groups: Sequence[str] | None = None,
    values: str = 'auto',
    num_workers: int = 0,
    out_file: str | Path | None = None,
    format: str = 'text',
    verbose: bool = True,
    missing: str = 'error',
) -> ScoreReport:
    """Score masks that stand in files; protocol ``native``, all object classes as one.

    Both folders hold ``masks/<group>/<stem>.png``, or ``<group>/<stem>.png`` if they have no
    folder ``masks``, such as what ``mmcoseg segment`` writes. Predictions must have the size of the
    true mask of their name; predictions without a true mask are not looked at.

    Args:
        pred_dir: folder of the predictions.
        gt_dir: folder of the ground truth.
        groups: names of the groups to score; None for all of the ground truth's.
        values: what the values of mask files mean, on both sides; see ``LoadCoSegMask``.
        num_workers: threads that read and score; 0: only this one. Decoding and counting leave the
            interpreter free to run others.
        out_file: json file for the scores of every group and image; None: not written.
        format: of the table, ``'text'`` or ``'markdown'``.
        verbose: print the table.
        missing: what true masks without a prediction are: ``'error'``, or ``'empty'`` if they are
            to be scored as if nothing had been found in these images.

    Returns:
        The scores of every image, with their means.

    Raises:
        FileNotFoundError: if a folder or a group is not there or predictions are missing, which
            it names.
        MMCosegError: if ``groups`` is no list of names.
        MMCosegError: if a file is no mask, a prediction is not of its true mask's size, for another
            value of ``missing``, and for no groups or one that comes twice.

    Example:
        >>> report = evaluate_folders('results', 'data/msrc')  # doctest: +SKIP
        >>> report.summary()['J']  # doctest: +SKIP
        71.3
    """
    loader = LoadCoSegMask(values=values)
    scored = _score_files(
        pred_dir, gt_dir, groups, missing, num_workers, image_scores, loader, loader
    )
    report = ScoreReport()
    for gt_file, score in scored:
        report.add(gt_file.parent.name, gt_file.stem, score, str(gt_file))
    if verbose:
        print(report.table('protocol native', format))
    _write(out_file, {'native': report.to_dict()})
    return report


def evaluate_class_folders(
    pred_dir: str | Path,
    gt_dir: str | Path,
    *,
    groups: Sequence[str] | None = None,
    values: str = 'auto',
    over: ScoreOver = 'images',
    absent: AbsentClasses = 'skip',
    num_workers: int = 0,
    out_file: str | Path | None = None,
    format: str = 'text',
    verbose: bool = True,
    missing: str = 'error',
) -> ClassReport:
    """Score masks of several classes that stand in files, as ``MultiClassCoSegMetric`` does.

    The folders are as in :func:`evaluate_folders`. True masks have 0 for background, 1..K for the
    classes and 255 for void; a ``classes.json`` beside ``masks/`` may name the classes of groups
    whose name ``a+b`` does not. Which value of the predictions stands for which class is found out
    for each group as a whole.

    Args:
        pred_dir, gt_dir, groups, num_workers, out_file, format, verbose, missing: as in
            :func:`evaluate_folders`.
        values: what the values of mask files mean. With ``'auto'``, 255 is void in true masks, and
            a prediction of nothing but 0 and 255 shows one class; all else goes for both sides.
        over, absent: see :class:`~mmcoseg.evaluation.ClassReport`.

    Returns:
        The scores of every group and class, with their means.

    Raises:
        FileNotFoundError, MMCosegError: as :func:`evaluate_folders`.
        MMCosegError: as :func:`evaluate_folders`; and if the true masks of a group show no class.

    Example:
        >>> report = evaluate_class_folders('results', 'data/voc_multiclass')  # doctest: +SKIP
        >>> report.group_scores()['car+person'].classes[0].channel  # doctest: +SKIP
        2
    """
    report = ClassReport(over, absent)
    scored = _score_files(
        pred_dir,
        gt_dir,
        groups,
        missing,
        num_workers,
        count_labels,
        LoadCoSegMask(values=values, binary=False),
        LoadCoSegMask(values='label' if values == 'auto' else values, binary=False),
    )
    known = _class_names(_mask_root(gt_dir))
    for gt_file, counts in scored:
        group = gt_file.parent.name
        report.add(group, gt_file.stem, counts, str(gt_file), known.get(group, ()))
    empty = [name for name, score in report.group_scores().items() if not score.classes]
    if empty:
        raise MMCosegError(
            f'the true masks of {empty} show no class: 0 is background, 255 void, and there is '
            "nothing else; if 255 is the object, values='0-255' (--values 0-255)"
        )
    if verbose:
        print(report.table(f'classes, matched over each group, by {over}', format))
    _write(out_file, {'classes': report.to_dict()})
    return report


def hold_classes(
    pred_dir: str | Path, gt_dir: str | Path, groups: Sequence[str] | None = None
) -> bool:
    """Whether masks on both sides tell classes apart, in groups that are known to have several.

    Known is it by a name ``a+b``, or by ``classes.json`` beside the true masks. A mask tells
    classes apart if it has a value from 2 to 254.
    """
    roots = _mask_root(pred_dir), _mask_root(gt_dir)
    known = _class_names(roots[1])
    pairs = [
        pair
        for pair in _pairs(*roots, groups)
        if '+' in pair[1].parent.name or len(known.get(pair[1].parent.name, ())) > 1
    ]
    return all(
        any(_has_classes(pair[side]) for pair in pairs if pair[side].is_file()) for side in range(2)
    )


def _has_classes(file: Path) -> bool:
    mask = read_mask(file)
    return bool(((mask > 1) & (mask != VOID)).any())


def _class_names(gt_root: Path) -> dict[str, tuple[str, ...]]:
    """Names of classes by group, from ``classes.json``."""
    folder = gt_root.parent if gt_root.name == 'masks' else gt_root
    return read_class_names(folder / CLASSES_FILE)


def _write(out_file: str | Path | None, content: dict) -> None:
    if out_file is not None:
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        Path(out_file).write_text(json.dumps(content, indent=1), encoding='utf-8')


def _score_files(
    pred_dir: str | Path,
    gt_dir: str | Path,
    groups: Sequence[str] | None,
    missing: str,
    num_workers: int,
    score: Callable[[np.ndarray, np.ndarray], Any],
    pred_loader: LoadCoSegMask,
    gt_loader: LoadCoSegMask,
) -> list[tuple[Path, Any]]:
    """Every true mask, and the score of its prediction; sorted by group and name."""
    if missing not in ('error', 'empty'):
        raise MMCosegError(f"missing must be 'error' or 'empty', got {missing!r}")
    if groups is not None:
        groups = group_names('groups', groups)
    pred_root, gt_root = _mask_root(pred_dir), _mask_root(gt_dir)
    pairs = _pairs(pred_root, gt_root, groups)
    predictions, truths = zip(*pairs)
    _name_unread(predictions, alone=False)
    _name_unread(truths, alone=True)
    if missing == 'error':
        _require_all([pred for pred, _ in pairs], pred_root)
    score_pair = partial(_score_pair, score=score, pred_loader=pred_loader, gt_loader=gt_loader)
    if num_workers > 0:
        with ThreadPoolExecutor(num_workers) as pool:
            scores = list(pool.map(score_pair, pairs))
    else:
        scores = [score_pair(pair) for pair in pairs]
    return [(gt_file, image) for (_, gt_file), image in zip(pairs, scores, strict=True)]


def _mask_root(folder: str | Path) -> Path:
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f'{root} is not a folder: give one with masks/<group>/<stem>.png')
    return root / 'masks' if (root / 'masks').is_dir() else root


def _pairs(pred_root: Path, gt_root: Path, groups: Sequence[str] | None) -> list[tuple[Path, Path]]:
    """Prediction and ground truth of every image, sorted by group and name."""
    available = sorted(path.name for path in gt_root.iterdir() if path.is_dir())
    unknown = sorted(set(groups or ()) - set(available))
    if unknown:
        raise FileNotFoundError(f'{gt_root} has no groups {unknown}; it has {available}')
    names = available if groups is None else sorted(groups)
    truths = [path for name in names for path in sorted((gt_root / name).glob('*.png'))]
    if not truths:
        raise FileNotFoundError(f'{gt_root} holds no masks <group>/<stem>.png to score against')
    pairs = [(pred_root / path.relative_to(gt_root), path) for path in truths]
    return pairs


def _name_unread(masks: Sequence[Path], alone: bool) -> None:
    """Say which files beside masks only differ from them in their suffix.

    Args:
        masks: those that are read.
        alone: name files of another suffix, too, that are of no mask's name.
    """
    stems = {(path.parent, path.stem) for path in masks}
    known = set(masks)
    unread = [
        str(file)
        for folder in sorted({path.parent for path in masks})
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in IMAGE_SUFFIXES
        and file not in known
        and (alone or (folder, file.stem) in stems)
    ]
    if unread:
        more = len(unread) - _MAX_NAMED
        warnings.warn(
            f'{", ".join(unread[:_MAX_NAMED])}{f" and {more} more" if more > 0 else ""} are not '
            'looked at: masks are <stem>.png',
            stacklevel=4,
        )


def _require_all(predictions: Sequence[Path], root: Path) -> None:
    missing = [path for path in predictions if not path.is_file()]
    if not missing:
        return
    more = len(missing) - _MAX_NAMED
    skipped = _skipped(root) & {(path.parent.name, path.stem) for path in missing}
    hint = ''
    if skipped:
        hint = (
            f' ({len(skipped)} of these were skipped by `mmcoseg segment`, see '
            f'{root.parent / "summary.json"})'
        )
    raise FileNotFoundError(
        f'{len(missing)} of {len(predictions)} predictions are missing: '
        + ', '.join(map(str, missing[:_MAX_NAMED]))
        + (f' and {more} more' if more > 0 else '')
        + hint
        + '; predict them, score fewer groups (--groups), or take them as empty (--missing empty)'
    )


def _skipped(root: Path) -> set[tuple[str, str]]:
    """Group and stem of the images that `mmcoseg segment` could not read."""
    try:
        summary = json.loads((root.parent / 'summary.json').read_text(encoding='utf-8'))
        return {
            (group['name'], Path(file['file_name']).stem)
            for group in summary['groups']
            for file in group['skipped']
        }
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _score_pair(
    pair: tuple[Path, Path],
    score: Callable[[np.ndarray, np.ndarray], Any],
    pred_loader: LoadCoSegMask,
    gt_loader: LoadCoSegMask,
) -> Any:
    gt = _read(pair[1], gt_loader)
    if not pair[0].is_file():
        return score(np.zeros_like(gt), gt)
    pred = _read(pair[0], pred_loader)
    if pred.shape != gt.shape:
        raise MMCosegError(
            f'the prediction {pair[0]} is {pred.shape[0]} x {pred.shape[1]}, the ground truth '
            f'{pair[1]} is {gt.shape[0]} x {gt.shape[1]} (height x width); predict at the '
            "image's original size"
        )
    try:
        return score(pred, gt)
    except ValueError as error:
        raise MMCosegError(f'{pair[0]}: {error}') from error


def _read(path: Path, loader: LoadCoSegMask) -> np.ndarray:
    return loader.translate(read_mask(path), str(path))
