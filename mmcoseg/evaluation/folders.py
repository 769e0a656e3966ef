"""Scoring a folder of predicted masks against a folder of true ones."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from ..datasets.base import group_names
from ..datasets.image_io import read_mask
from ..datasets.transforms.loading import LoadCoSegMask
from .functional import image_scores
from .report import ScoreReport

__all__ = ['evaluate_folders']

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
        TypeError: if ``groups`` is no list of names.
        ValueError: if a file is no mask, a prediction is not of its true mask's size, for another
            value of ``missing``, and for no groups or one that comes twice.

    Example:
        >>> report = evaluate_folders('results', 'data/msrc')  # doctest: +SKIP
        >>> report.summary()['J']  # doctest: +SKIP
        71.3
    """
    if missing not in ('error', 'empty'):
        raise ValueError(f"missing must be 'error' or 'empty', got {missing!r}")
    if groups is not None:
        groups = group_names('groups', groups)
    pred_root, gt_root = _mask_root(pred_dir), _mask_root(gt_dir)
    pairs = _pairs(pred_root, gt_root, groups)
    if missing == 'error':
        _require_all([pred for pred, _ in pairs], pred_root)
    score = partial(_score_pair, loader=LoadCoSegMask(values=values))
    if num_workers > 0:
        with ThreadPoolExecutor(num_workers) as pool:
            scores = list(pool.map(score, pairs))
    else:
        scores = [score(pair) for pair in pairs]
    report = ScoreReport()
    for (_, gt_file), image in zip(pairs, scores, strict=True):
        report.add(gt_file.parent.name, gt_file.stem, image, str(gt_file))
    if verbose:
        print(report.table('protocol native', format))
    if out_file is not None:
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({'native': report.to_dict()}, indent=1)
        Path(out_file).write_text(text, encoding='utf-8')
    return report


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


def _score_pair(pair: tuple[Path, Path], loader: LoadCoSegMask) -> tuple[float, float]:
    gt = _read(pair[1], loader)
    if not pair[0].is_file():
        return image_scores(np.zeros_like(gt), gt)
    pred = _read(pair[0], loader)
    if pred.shape != gt.shape:
        raise ValueError(
            f'the prediction {pair[0]} is {pred.shape[0]} x {pred.shape[1]}, the ground truth '
            f'{pair[1]} is {gt.shape[0]} x {gt.shape[1]} (height x width); predict at the '
            "image's original size"
        )
    return image_scores(pred, gt)


def _read(path: Path, loader: LoadCoSegMask) -> np.ndarray:
    return loader.translate(read_mask(path), str(path))
