"""Scoring a folder of predicted masks against a folder of true ones."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

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
) -> ScoreReport:
    """Score masks that stand in files; protocol ``native``, all object classes as one.

    Both folders hold ``masks/<group>/<stem>.png``, or ``<group>/<stem>.png`` if they have no
    folder ``masks``. Every true mask must have a prediction of its name and size; predictions
    without a true mask are not looked at.

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

    Returns:
        The scores of every image, with their means.

    Raises:
        FileNotFoundError: if a folder or a group is not there or predictions are missing, which
            it names.
        ValueError: if a file is no mask, or a prediction is not of its true mask's size.

    Example:
        >>> report = evaluate_folders('results', 'data/msrc')  # doctest: +SKIP
        >>> report.summary()['J']  # doctest: +SKIP
        71.3
    """
    pred_root, gt_root = _mask_root(pred_dir), _mask_root(gt_dir)
    pairs = _pairs(pred_root, gt_root, groups)
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
    names = available if groups is None else sorted(set(groups))
    truths = [path for name in names for path in sorted((gt_root / name).glob('*.png'))]
    if not truths:
        raise FileNotFoundError(f'{gt_root} holds no masks <group>/<stem>.png to score against')
    pairs = [(pred_root / path.relative_to(gt_root), path) for path in truths]
    missing = [str(pred) for pred, _ in pairs if not pred.is_file()]
    if missing:
        more = len(missing) - _MAX_NAMED
        raise FileNotFoundError(
            f'{len(missing)} of {len(pairs)} predictions are missing: '
            + ', '.join(missing[:_MAX_NAMED])
            + (f' and {more} more' if more > 0 else '')
            + '; predict them, or score fewer groups'
        )
    return pairs


def _score_pair(pair: tuple[Path, Path], loader: LoadCoSegMask) -> tuple[float, float]:
    pred, gt = (_read(path, loader) for path in pair)
    if pred.shape != gt.shape:
        raise ValueError(
            f'the prediction {pair[0]} is {pred.shape[0]} x {pred.shape[1]}, the ground truth '
            f'{pair[1]} is {gt.shape[0]} x {gt.shape[1]} (height x width); predict at the '
            "image's original size"
        )
    return image_scores(pred, gt)


def _read(path: Path, loader: LoadCoSegMask) -> np.ndarray:
    return loader.translate(read_mask(path), str(path))
