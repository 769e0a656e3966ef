"""Scoring a folder of predicted masks against a folder of true ones."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..datasets.base import select_groups
from ..datasets.image_io import IMAGE_SUFFIXES, read_mask
from ..datasets.multiclass import CLASSES_FILE, read_class_names
from ..datasets.transforms.loading import LoadCoSegMask, MaskValues
from ..errors import MMCosegError, naming
from ..files import named
from ..options import one_of
from ..structures.coseg_data_sample import VOID
from ..workers import default_workers
from .class_report import AbsentClasses, ClassReport, ScoreOver, count_labels
from .functional import image_scores
from .report import MaskReport

__all__ = [
    'MissingPredictions',
    'evaluate_classes',
    'evaluate_masks',
    'hold_classes',
    'refuse_missing',
]

#: What true images without a prediction are: an error, or images in which nothing was found.
MissingPredictions = Literal['error', 'empty']


def evaluate_masks(
    pred_dir: str | Path,
    gt_dir: str | Path,
    *,
    groups: Sequence[str] | None = None,
    missing: MissingPredictions = 'error',
    values: MaskValues = 'auto',
) -> MaskReport:
    """Score mask files by protocol ``native``, all classes as one object.

    Both folders hold ``masks/<group>/<stem>.png``, or ``<group>/<stem>.png`` if they have no
    folder ``masks``; ``mmcoseg segment`` writes such folders. A prediction must have the size of
    the true mask of its name; predictions without a true mask are ignored.

    Args:
        pred_dir, gt_dir: folders of the predictions and of the ground truth.
        groups: names of the groups to score; None for all of the ground truth's.
        missing: ``'error'``, or ``'empty'`` to score true masks without a prediction as if nothing
            had been found.
        values: what the values of mask files mean, on both sides; see ``LoadCoSegMask``.

    Raises:
        FileNotFoundError: if a folder does not exist or predictions are missing; it names them.
        MMCosegError: if a file is no mask, a prediction is not of its true mask's size, or a group
            does not exist; for wrong options.
    """
    pairs = _checked_pairs(pred_dir, gt_dir, groups, missing)
    loader = LoadCoSegMask(values=values)
    report = MaskReport()
    for pair, scores in _scored(pairs, image_scores, loader, loader):
        report.add(pair.group, pair.truth.stem, scores, str(pair.truth))
    return report


def evaluate_classes(
    pred_dir: str | Path,
    gt_dir: str | Path,
    *,
    groups: Sequence[str] | None = None,
    missing: MissingPredictions = 'error',
    values: MaskValues = 'auto',
    over: ScoreOver = 'images',
    absent: AbsentClasses = 'skip',
) -> ClassReport:
    """Score mask files of several classes, as ``MultiClassCoSegMetric`` does.

    The folders are as in :func:`evaluate_masks`. True masks have 0 for background, 1..K for the
    classes and 255 for void. A ``classes.json`` beside ``masks/`` may name the classes of groups
    whose name is not ``a+b``. The values of the predictions are matched to the classes over each
    whole group.

    Args:
        pred_dir, gt_dir, groups, missing: as in :func:`evaluate_masks`.
        values: what the values of mask files mean. With ``'auto'``, 255 is void in true masks, and
            a prediction of nothing but 0 and 255 shows one class; all else goes for both sides.
        over, absent: see :class:`~mmcoseg.evaluation.ClassReport`.

    Raises:
        FileNotFoundError, MMCosegError: as :func:`evaluate_masks`, and if the true masks of a
            group show no class.
    """
    report = ClassReport(over, absent)
    pairs = _checked_pairs(pred_dir, gt_dir, groups, missing)
    pred_loader = LoadCoSegMask(values=values, binary=False)
    gt_loader = LoadCoSegMask(values='label' if values == 'auto' else values, binary=False)
    names = _class_names(gt_dir)
    for pair, counts in _scored(pairs, count_labels, pred_loader, gt_loader):
        known = names.get(pair.group, ())
        report.add(pair.group, pair.truth.stem, counts, str(pair.truth), known)
    empty = [name for name, score in report.group_scores().items() if not score.classes]
    if empty:
        raise MMCosegError(
            f'the true masks of {empty} show no class: 0 is background, 255 void, and there is '
            "nothing else; if 255 is the object, values='0-255' (--values 0-255)"
        )
    return report


def hold_classes(
    pred_dir: str | Path, gt_dir: str | Path, groups: Sequence[str] | None = None
) -> bool:
    """Whether masks on both sides tell classes apart, in groups known to have several.

    A name ``a+b`` or ``classes.json`` beside the true masks says which groups have several. A mask
    tells classes apart if it has a value from 2 to 254.
    """
    names = _class_names(gt_dir)
    pairs = []
    for pair in _find_pairs(pred_dir, gt_dir, groups):
        if '+' in pair.group or len(names.get(pair.group, ())) > 1:
            pairs.append(pair)
    return bool(pairs) and all(any(map(_has_classes, side)) for side in zip(*pairs))


def _has_classes(file: Path) -> bool:
    if not file.is_file():
        return False
    mask = read_mask(file)
    return bool(((mask > 1) & (mask != VOID)).any())


def _class_names(gt_dir: str | Path) -> dict[str, tuple[str, ...]]:
    """Names of classes by group, from ``classes.json``."""
    root = _mask_root(gt_dir)
    folder = root.parent if root.name == 'masks' else root
    return read_class_names(folder / CLASSES_FILE)


def _mask_root(folder: str | Path) -> Path:
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f'{root} is not a folder: give one with masks/<group>/<stem>.png')
    return root / 'masks' if (root / 'masks').is_dir() else root


class _Pair(NamedTuple):
    """The files of a prediction, which may be missing, and of its true mask."""

    prediction: Path
    truth: Path

    @property
    def group(self) -> str:
        return self.truth.parent.name


def _find_pairs(
    pred_dir: str | Path, gt_dir: str | Path, groups: Sequence[str] | None
) -> list[_Pair]:
    """The pair of every true mask, sorted by group and name."""
    pred_root, gt_root = _mask_root(pred_dir), _mask_root(gt_dir)
    by_group = defaultdict(list)
    for truth in sorted(gt_root.glob('*/*.png')):
        pair = _Pair(pred_root / truth.relative_to(gt_root), truth)
        by_group[pair.group].append(pair)
    if not by_group:
        raise FileNotFoundError(f'{gt_root} holds no masks <group>/<stem>.png to score against')
    chosen = select_groups(sorted(by_group), groups, (), str(gt_root))
    return list(chain.from_iterable(map(by_group.get, sorted(chosen))))


def _checked_pairs(
    pred_dir: str | Path,
    gt_dir: str | Path,
    groups: Sequence[str] | None,
    missing: MissingPredictions,
) -> list[_Pair]:
    """The pairs to score. Warns of files that are not read, and refuses missing predictions."""
    one_of('missing', missing, MissingPredictions)
    pairs = _find_pairs(pred_dir, gt_dir, groups)
    predictions, truths = zip(*pairs)
    stems = {file.with_suffix('') for file in predictions}
    _warn_of([file for file in _other_images(predictions) if file.with_suffix('') in stems])
    _warn_of(_other_images(truths))
    absent = [file for file in predictions if not file.is_file()]
    if absent and missing == 'error':
        summary = _mask_root(pred_dir).parent / 'summary.json'
        hint = f' ({summary} says what `mmcoseg segment` skipped)' if summary.is_file() else ''
        refuse_missing(f'{len(absent)} of {len(predictions)} predictions are missing', absent, hint)
    return pairs


def refuse_missing(problem: str, names: Sequence[object], hint: str = '') -> None:
    """Raise FileNotFoundError with the names and what to do."""
    raise FileNotFoundError(
        f'{problem}: {named(names)}{hint}; predict them, score fewer groups (--groups), or take '
        'them as empty (--missing empty)'
    )


def _warn_of(files: Sequence[Path]) -> None:
    if files:
        warnings.warn(f'{named(files)} are not looked at: masks are <stem>.png', stacklevel=4)


def _other_images(masks: Iterable[Path]) -> list[Path]:
    """Images beside masks that are not called <stem>.png."""
    suffixes = {*IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES)} - {'.png'}
    folders = sorted({mask.parent for mask in masks})
    files = chain.from_iterable(sorted(folder.glob('*')) for folder in folders)
    return [file for file in files if file.suffix in suffixes]


def _scored(
    pairs: list[_Pair],
    score: Callable[[np.ndarray, np.ndarray], Any],
    pred_loader: LoadCoSegMask,
    gt_loader: LoadCoSegMask,
) -> Iterator[tuple[_Pair, Any]]:
    """The pairs with what ``score(pred, gt)`` makes of their masks."""
    score_pair = partial(_score, score=score, pred_loader=pred_loader, gt_loader=gt_loader)
    # Decoding and counting leave the interpreter free to run other threads.
    with ThreadPoolExecutor(default_workers()) as pool:
        yield from zip(pairs, pool.map(score_pair, pairs))


def _score(
    pair: _Pair, score: Callable, pred_loader: LoadCoSegMask, gt_loader: LoadCoSegMask
) -> Any:
    gt = gt_loader.translate(read_mask(pair.truth), str(pair.truth))
    if not pair.prediction.is_file():
        return score(np.zeros_like(gt), gt)
    pred = pred_loader.translate(read_mask(pair.prediction), str(pair.prediction))
    with naming(str(pair.prediction)):
        return score(pred, gt)
