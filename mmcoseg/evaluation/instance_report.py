"""How well instances were found, by class: AP and CorLoc."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from ..errors import MMCosegError
from ..options import one_of
from .functional import Matching, average_precision, match_instances
from .report import Cells, Report, known_mean

__all__ = ['ImageMatches', 'InstanceReport']

#: Columns of a class that are numbers of things.
_COUNTS = ('images', 'instances', 'predictions')


# Not a named tuple: mmengine turns those into plain tuples when it collects results.
@dataclass(frozen=True)
class ImageMatches:
    """What is kept of an image: a few numbers, however large its masks are.

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
        """Sort predictions by their scores, which must be finite; equal ones keep their order."""
        scores = np.asarray(scores, np.float64)
        if scores.shape != (len(ious),) or not np.isfinite(scores).all():
            raise MMCosegError(
                f'needs one finite score for each of its {len(ious)} predicted instances, got '
                f'{scores.shape} with {int((~np.isfinite(scores)).sum())} not finite'
            )
        order = np.argsort(-scores, kind='stable')
        return cls(category, scores[order], ious[order], void_shares[order])


class InstanceReport(Report):
    """Instances of every image, added as :class:`ImageMatches` and scored by class.

    The predictions of all images of a class are ranked together by their scores. See
    ``average_precision`` for the AP and ``match_instances`` for which predictions are right.
    CorLoc is the share of images whose best scored prediction has an IoU of at least ``corloc``
    with some instance; images without instances do not count, images without predictions are
    misses. A class without instances has no figures and is left out of the means.

    Args:
        thresholds: IoUs of the APs, above 0 and at most 1; empty: no APs.
        corloc: IoU of CorLoc; None: no CorLoc.
        matching: see ``match_instances``.

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
        super().__init__()
        one_of('matching', matching, Matching)
        self.corloc = corloc
        self.matching = matching
        limits = np.array([*thresholds, 1 if corloc is None else corloc])
        if not np.logical_and(0 < limits, limits <= 1).all():
            raise MMCosegError(
                f'thresholds of IoU must be above 0 and at most 1, got {limits.tolist()}'
            )
        #: Names of the APs and their thresholds: ``dict(AP_25=0.25)``.
        self.thresholds = {f'AP_{100 * limit:g}': limit for limit in thresholds}

    def class_scores(self) -> dict[str, dict[str, float]]:
        """Of every class, by name: ``images``, ``instances`` and ``predictions`` (numbers),
        ``AP_25`` and so on, and ``CorLoc``; figures that do not exist are NaN."""
        members: dict[str, list[ImageMatches]] = {}
        for _, image in self.images():
            members.setdefault(image.category, []).append(image)
        return {name: self._score(images) for name, images in sorted(members.items())}

    def _score(self, images: list[ImageMatches]) -> dict[str, float]:
        scores = np.concatenate([image.scores for image in images])
        instances = sum(image.ious.shape[1] for image in images)
        result = dict(images=len(images), instances=instances, predictions=len(scores))
        for name, threshold in self.thresholds.items():
            flags = [
                match_instances(image.ious, image.void_shares, threshold, self.matching)
                for image in images
            ]
            result[name] = 100 * average_precision(scores, np.concatenate(flags), instances)
        if self.corloc is not None:
            result['CorLoc'] = self._corloc(images)
        return result

    def _corloc(self, images: Iterable[ImageMatches]) -> float:
        """Share of the images with instances on which the best prediction is one, in per cent."""
        hits = []
        for image in images:
            if image.ious.shape[1]:
                hits.append(float((image.ious[:1] >= self.corloc).any()))
        return 100 * known_mean(hits)

    def summary(self) -> dict[str, float]:
        """``mAP_25`` and so on and ``CorLoc``: means over classes; ``CorLoc_image``: over all
        images. NaN where there is nothing to take a mean of."""
        classes = self.class_scores()
        result = {}
        for name in self.thresholds:
            result[f'm{name}'] = known_mean(map(itemgetter(name), classes.values()))
        if self.corloc is not None:
            result['CorLoc'] = known_mean(map(itemgetter('CorLoc'), classes.values()))
            result['CorLoc_image'] = self._corloc(dict(self.images()).values())
        return result

    def _cells(self) -> Cells:
        classes = self.class_scores()
        totals = [sum(scores[key] for scores in classes.values()) for key in _COUNTS]
        summary = self.summary()
        columns = ['class', *_COUNTS, *self.thresholds]
        means = [['class mean', *totals, *summary.values()]]
        if self.corloc is not None:
            columns.append('CorLoc')
            over_images = means[0].pop()
            means.append(['image mean', *totals, *[''] * len(self.thresholds), over_images])
        return columns, [[name, *scores.values()] for name, scores in classes.items()], means

    def _details(self) -> dict:
        """``matching``, the scores of all classes, and by image (``group/stem``) its number of
        instances, and the scores and highest IoUs of its predictions."""
        images = {}
        for identity, image in self.images():
            images[identity] = dict(
                category=image.category,
                instances=image.ious.shape[1],
                scores=image.scores.tolist(),
                ious=image.ious.max(axis=1, initial=0).tolist(),
            )
        return dict(matching=self.matching, classes=self.class_scores(), images=images)
