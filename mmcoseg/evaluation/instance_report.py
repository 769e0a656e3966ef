"""How well instances were found, by class: AP and CorLoc, and the table that shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import MMCosegError
from .functional import Matching, average_precision, match_instances
from .report import render_table

__all__ = ['ImageMatches', 'InstanceReport', 'threshold_key']


# No named tuple: of that mmengine makes a plain one when it collects results.
@dataclass(frozen=True)
class ImageMatches:
    """What scoring keeps of an image: a few numbers, however large its masks are.

    Attributes:
        category: the class that the image counts for.
        scores: (n,) of the predictions, in descending order.
        ious: (n, m), of each with each true instance.
        void_shares: (n,), share of each that is void.
    """

    category: str
    scores: np.ndarray
    ious: np.ndarray
    void_shares: np.ndarray

    @classmethod
    def ranked(
        cls, category: str, scores: Any, ious: np.ndarray, void_shares: np.ndarray
    ) -> 'ImageMatches':
        """Bring predictions into the order of their scores; equal ones keep theirs.

        Raises:
            MMCosegError: if there is not one finite score a prediction.
        """
        scores = np.asarray(scores, np.float64)
        if scores.shape != (len(ious),) or not np.isfinite(scores).all():
            raise MMCosegError(
                f'needs one finite score for each of its {len(ious)} predicted instances, got '
                f'{scores.shape} with {int((~np.isfinite(scores)).sum())} not finite'
            )
        order = np.argsort(-scores, kind='stable')
        return cls(category, scores[order], ious[order], void_shares[order])


def threshold_key(name: str, threshold: float) -> str:
    """Name of a figure at a threshold: ``mAP_25``, ``AP_50``."""
    return f'{name}_{100 * threshold:g}'


class InstanceReport:
    """Instances of every image, scored by class; all figures it gives are in per cent.

    The predictions of all images of a class are ranked together by their scores. See
    ``average_precision`` for the AP, ``match_instances`` for what counts as right. CorLoc is the
    share of images whose best scored prediction has an IoU of at least ``corloc`` with some
    instance; images without instances do not count, images without predictions are misses.
    A class without instances has no figures and is left out of the means.

    Each image counts once, however often it is added, and the order in which processes and batches
    deliver does not change the result.

    Args:
        thresholds: IoUs of the APs; empty: no APs.
        corloc: IoU of CorLoc; None: no CorLoc.
        matching: see ``match_instances``.

    Raises:
        MMCosegError: for thresholds that are not above 0 and at most 1, and if there is nothing to
            compute.

    Example:
        >>> report = InstanceReport(thresholds=(0.5,))
        >>> image = ImageMatches.ranked('cat', [0.9, 0.8], np.array([[0.7], [0.6]]), np.zeros(2))
        >>> report.add('cats', '001', image)
        >>> report.summary()
        {'mAP_50': 100.0, 'CorLoc': 100.0, 'CorLoc_image': 100.0}
    """

    def __init__(
        self,
        thresholds: Sequence[float] = (0.25, 0.5),
        corloc: float | None = 0.5,
        matching: Matching = 'greedy',
    ) -> None:
        self.thresholds = tuple(float(t) for t in thresholds)
        self.corloc = corloc
        self.matching = matching
        limits = (*self.thresholds, *(() if corloc is None else (corloc,)))
        if not limits or not all(0 < t <= 1 for t in limits):
            raise MMCosegError(f'thresholds of IoU must be above 0 and at most 1, got {limits}')
        if len(set(self.thresholds)) < len(self.thresholds):
            raise MMCosegError(f'each threshold must be given once, got {self.thresholds}')
        self._images: dict[tuple[str, str], ImageMatches] = {}
        self._sources: dict[tuple[str, str], str | None] = {}

    def add(self, group: str, stem: str, image: ImageMatches, source: str | None = None) -> None:
        """Add one image.

        Args:
            group, stem: its identity.
            image: its matches.
            source: its file, by which two images of the same name are told from one that comes
                twice.

        Raises:
            MMCosegError: if another file was added under the same group and stem.
        """
        identity = group, stem
        if identity in self._images:
            if self._sources[identity] != source:
                raise MMCosegError(
                    f"two images are called '{group}/{stem}': {self._sources[identity]} and "
                    f'{source}. Rename one group or one file: scores are kept by group/stem.'
                )
            return
        self._images[identity] = image
        self._sources[identity] = source

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def class_scores(self) -> dict[str, dict[str, float]]:
        """Of every class, by name: ``images``, ``instances`` and ``predictions`` (numbers),
        ``AP_25`` and so on, and ``CorLoc``; figures that a class does not have are NaN."""
        members: dict[str, list[ImageMatches]] = {}
        for identity in sorted(self._images):
            image = self._images[identity]
            members.setdefault(image.category, []).append(image)
        return {name: self._score(members[name]) for name in sorted(members)}

    def _score(self, images: list[ImageMatches]) -> dict[str, float]:
        scores = np.concatenate([image.scores for image in images])
        instances = sum(image.ious.shape[1] for image in images)
        result = dict(images=len(images), instances=instances, predictions=len(scores))
        for threshold in self.thresholds:
            flags = [
                match_instances(image.ious, image.void_shares, threshold, self.matching)
                for image in images
            ]
            value = average_precision(scores, np.concatenate(flags), instances)
            result[threshold_key('AP', threshold)] = 100 * value
        if self.corloc is not None:
            hits = self._hits(images)
            result['CorLoc'] = 100 * float(np.mean(hits)) if hits else float('nan')
        return result

    def _hits(self, images: list[ImageMatches]) -> list[bool]:
        """Whether the best prediction lies on an instance, of the images that have instances."""
        return [
            bool((image.ious[:1] >= self.corloc).any()) for image in images if image.ious.shape[1]
        ]

    def summary(self) -> dict[str, float]:
        """``mAP_25`` and so on and ``CorLoc``: means over classes; ``CorLoc_image``: over all
        images. NaN where there is nothing to take a mean of."""
        classes = list(self.class_scores().values())
        result = {}
        for threshold in self.thresholds:
            values = [scores[threshold_key('AP', threshold)] for scores in classes]
            result[threshold_key('mAP', threshold)] = _mean(values)
        if self.corloc is not None:
            result['CorLoc'] = _mean([scores['CorLoc'] for scores in classes])
            hits = self._hits([self._images[identity] for identity in sorted(self._images)])
            result['CorLoc_image'] = 100 * _mean([float(hit) for hit in hits])
        return result

    def table(self, title: str | None = None, format: str = 'text') -> str:
        """One row a class, then the class mean and, with CorLoc, the image mean.

        Args:
            title: printed above the table.
            format: ``'text'`` or ``'markdown'``.

        Raises:
            MMCosegError: for another format.
        """
        counts = ('images', 'instances', 'predictions')
        aps = [threshold_key('AP', threshold) for threshold in self.thresholds]
        figures = [*aps, *(['CorLoc'] if self.corloc is not None else [])]
        classes = self.class_scores()
        rows = [
            (name, *(str(scores[key]) for key in counts), *(_text(scores[key]) for key in figures))
            for name, scores in classes.items()
        ]
        totals = [str(sum(scores[key] for scores in classes.values())) for key in counts]
        summary = self.summary()
        keys = [threshold_key('mAP', threshold) for threshold in self.thresholds]
        means = [('class mean', *totals, *(_text(summary[key]) for key in keys))]
        if self.corloc is not None:
            means[0] += (_text(summary['CorLoc']),)
            over_images = _text(summary['CorLoc_image'])
            means.append(('image mean', *totals, *([''] * len(aps)), over_images))
        return render_table(('class', *counts, *figures), rows, means, title, format)

    def to_dict(self) -> dict:
        """Everything as plain types, for json: ``summary``, the classes' scores, and by image
        (``group/stem``) its number of instances, and the scores and highest IoUs of its
        predictions. What is NaN is None."""
        images = {
            f'{group}/{stem}': dict(
                category=image.category,
                instances=image.ious.shape[1],
                scores=image.scores.tolist(),
                ious=image.ious.max(axis=1, initial=0).tolist(),
            )
            for (group, stem), image in sorted(self._images.items())
        }
        classes = {name: _plain(scores) for name, scores in self.class_scores().items()}
        return dict(
            summary=_plain(self.summary()),
            num_images=len(self),
            matching=self.matching,
            classes=classes,
            images=images,
        )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float('nan')


def _text(value: float) -> str:
    return '-' if np.isnan(value) else f'{value:.2f}'


def _plain(scores: dict[str, float]) -> dict[str, float | None]:
    return {key: None if np.isnan(value) else value for key, value in scores.items()}
