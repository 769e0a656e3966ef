"""How well several classes of a group were found and told apart: P and J by class and group."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..errors import MMCosegError
from ..options import one_of
from ..structures.coseg_data_sample import VOID
from .functional import check_one_shape
from .report import Cells, Report, known_mean

__all__ = [
    'AbsentClasses',
    'ClassReport',
    'ClassScore',
    'GroupClassScore',
    'ScoreOver',
    'class_names_of',
    'count_labels',
    'match_classes',
]

#: What J and P are ratios over; see :class:`ClassReport`.
ScoreOver = Literal['images', 'pixels']
#: What images without a class do to its figures; see :class:`ClassReport`.
AbsentClasses = Literal['skip', 'score']


def count_labels(pred: np.ndarray, gt: np.ndarray) -> np.ndarray:
    """Count how often each predicted label lies on each true one.

    Args:
        pred: (H, W), integer: 0 background, 1..K' predicted classes.
        gt: (H, W), integer: 0 background, 1..K classes, 255 void.

    Returns:
        (K'+1, K+1) int64, rows predicted and columns true labels; K' and K are the highest labels
        of this image. Void pixels are not counted.

    Raises:
        MMCosegError: for two shapes, and void or negative values in the prediction.

    Example:
        >>> count_labels(np.array([[2, 2, 0, 0]]), np.array([[1, 1, 0, 255]]))
        array([[1, 0],
               [0, 0],
               [0, 2]])
    """
    check_one_shape(pred, gt)
    if pred.min(initial=0) < 0 or (pred == VOID).any():
        given = f'{pred.min()} to {pred.max()}'
        raise MMCosegError(f'a prediction must have labels from 0, no void ({VOID}), got {given}')
    valid = gt != VOID
    rows = int(pred.max(initial=0)) + 1
    p, g = pred[valid].astype(np.int64), gt[valid].astype(np.int64)
    columns = int(g.max(initial=0)) + 1
    return np.bincount(p * columns + g, minlength=rows * columns).reshape(rows, columns)


def match_classes(scores: np.ndarray) -> np.ndarray:
    """Give each class its own channel so that the sum of their scores is the highest.

    Args:
        scores: (K', K), of each predicted channel as each class, K' >= K.

    Returns:
        (K,) int64, the channel of each class.

    Example:
        >>> match_classes(np.array([[0.6, 0.5], [0.5, 0.1]]))  # 0.5 + 0.5 beats 0.6 + 0.1
        array([1, 0])
    """
    channels, classes = linear_sum_assignment(scores, maximize=True)
    return channels[np.argsort(classes)]


def class_names_of(
    group: str, number: int, label_ids: Sequence[int] = (), classes: Sequence[str] = ()
) -> tuple[str, ...]:
    """Names of the mask values 1..K of a group.

    These are the ``classes`` that ``label_ids`` names if there are enough of them, else the parts
    of a group's name ``a+b``, else numbers.

    Example:
        >>> class_names_of('sofa+dog', 2), class_names_of('pets', 2)
        (('sofa', 'dog'), ('class 1', 'class 2'))
    """
    names = tuple(group.split('+'))
    if len(label_ids) >= number and max(label_ids, default=-1) < len(classes):
        names = tuple(str(classes[i]) for i in label_ids)
    if len(names) < number or len(set(names)) < len(names):
        names = tuple(f'class {k}' for k in range(1, number + 1))
    return names[:number]


@dataclass(frozen=True)
class ClassScore:
    """How well one class of a group was found.

    Attributes:
        channel: mask value of the predictions that was matched to it; None if no channel with a
            pixel was left.
        num_images: that count for it.
        precision, jaccard: in per cent; NaN if no image counts.
    """

    name: str
    channel: int | None
    num_images: int
    precision: float
    jaccard: float


@dataclass(frozen=True)
class GroupClassScore:
    """How well a group was labeled.

    Attributes:
        precision: share of pixels with the right label, background included, in per cent.
        jaccard: mean over its classes, in per cent; NaN if the ground truth has none.
        classes: of the mask values 1..K.
        images: by stem, P of the image and J of each class (NaN where it does not count).
    """

    num_images: int
    precision: float
    jaccard: float
    classes: tuple[ClassScore, ...]
    images: dict[str, tuple[float, tuple[float, ...]]]


class ClassReport(Report):
    """P and J of groups with objects of several classes.

    An unsupervised method cannot know which of its channels 1..K' is called which class. So the
    channels are matched to the classes 1..K over each whole group, by the assignment with the
    highest sum of J (the Hungarian method). The background, 0, is not matched. If K' is smaller
    than K, the remaining classes get an empty channel; if it is larger, pixels of the remaining
    channels are wrong.

    - **J** of a class is the Jaccard index of its channel; J of a group is the mean over its
      classes, J of the set the mean over groups.
    - **P** of a group is the share of its pixels with the right one of the K+1 labels; P of the
      set is the mean over groups. P of a class is the share of pixels where the question "this
      class or not" is answered correctly.

    Void pixels are ignored. A class that no image of a group shows is left out of the means.
    The numbers of the channels never change a figure.

    Args:
        over: ``'images'``: compute each figure per image, then average over images, as the thesis
            words it ("pixels in an image") and as ``CoSegMetric`` does. ``'pixels'``: one ratio
            over the pixels of all images, as in semantic segmentation.
        absent: which images count for a class. ``'skip'``: those that show it; ``'score'``: all,
            with J = 1 for an image without the class if nothing was labeled so, else 0, as for
            single classes. P of a group always counts all images.

    Example:
        >>> report = ClassReport()
        >>> pred, gt = np.array([[2, 2, 1, 0]]), np.array([[1, 1, 2, 2]])
        >>> report.add('car+person', '001', count_labels(pred, gt))
        >>> report.summary()
        {'P': 75.0, 'J': 75.0}
        >>> [(c.name, c.channel, c.jaccard) for c in report.group_scores()['car+person'].classes]
        [('car', 2, 100.0), ('person', 1, 50.0)]
    """

    def __init__(self, over: ScoreOver = 'images', absent: AbsentClasses = 'skip') -> None:
        super().__init__()
        one_of('over', over, ScoreOver)
        one_of('absent', absent, AbsentClasses)
        self.over = over
        self.absent = absent
        self._names: dict[str, tuple[str, ...]] = {}

    def add(
        self,
        group: str,
        stem: str,
        scored: np.ndarray,
        source: str | None = None,
        names: Sequence[str] = (),
    ) -> None:
        """Add one image, as :meth:`Report.add`.

        Args:
            scored: counts from :func:`count_labels`.
            names: of the group's mask values 1, 2, ..., if known; else see :func:`class_names_of`.
        """
        super().add(group, stem, scored, source)
        self._names[group] = tuple(names)

    def group_scores(self) -> dict[str, GroupClassScore]:
        """The figures of every group, by name."""
        return {group: self._score(group, images) for group, images in self.groups()}

    def _score(self, group: str, images: dict[str, np.ndarray]) -> GroupClassScore:
        counts, channels = _stack(list(images.values()))
        total = counts.sum(axis=(1, 2))  # (N,)
        truth = counts.sum(axis=1)[:, 1:]  # (N, K)
        common = counts[:, 1:, 1:]  # (N, K', K)
        union = counts.sum(axis=2)[:, 1:, None] + truth[:, None] - common
        shown = truth > 0
        # Which images count for which class, (N, K).
        used = shown if self.absent == 'skip' else shown | shown.any(axis=0)
        jaccard = self._ratio(common, union, used[:, None])  # (K', K)
        rows = match_classes(np.nan_to_num(jaccard))
        # From here on every class has its channel: (N, K), and (K,) for the group's figures.
        classes = np.arange(len(rows))
        common, union = common[:, rows, classes], union[:, rows, classes]
        jaccard = jaccard[rows, classes]
        precision = self._ratio(total[:, None] - union + common, total[:, None], used)
        right = counts[:, 0, 0] + common.sum(axis=1)
        names = class_names_of(group, len(rows), range(len(self._names[group])), self._names[group])
        scores = []
        for k, row in enumerate(rows):
            channel = channels[row] if counts[:, 1 + row].any() else None
            figures = 100 * float(precision[k]), 100 * float(jaccard[k])
            scores.append(ClassScore(names[k], channel, int(used[:, k].sum()), *figures))
        image_precision = 100 * _divide(right, total)
        image_jaccard = 100 * np.where(used, _divide(common, union), np.nan)
        by_image = zip(image_precision.tolist(), map(tuple, image_jaccard.tolist()))
        return GroupClassScore(
            num_images=len(images),
            precision=100 * float(self._ratio(right, total, np.ones_like(total, bool))),
            jaccard=100 * known_mean(jaccard),
            classes=tuple(scores),
            images=dict(zip(images, by_image)),
        )

    def _ratio(self, part: np.ndarray, whole: np.ndarray, used: np.ndarray) -> np.ndarray:
        """The ratio of counts (N, ...) over the images that are used; NaN where none is."""
        used = np.broadcast_to(used, part.shape)
        if self.over == 'pixels':
            ratio = _divide((part * used).sum(axis=0), (whole * used).sum(axis=0))
        else:
            number = np.maximum(used.sum(axis=0), 1)
            ratio = np.where(used, _divide(part, whole), 0).sum(axis=0) / number
        return np.where(used.any(axis=0), ratio, np.nan)

    def summary(self) -> dict[str, float]:
        """``P`` and ``J``: means over groups; NaN without any."""
        scores = self.group_scores().values()
        return dict(
            P=known_mean(map(attrgetter('precision'), scores)),
            J=known_mean(map(attrgetter('jaccard'), scores)),
        )

    def _cells(self) -> Cells:
        """A row for each class of a group, then the group's mean."""
        rows = []
        for group, score in self.group_scores().items():
            for c in score.classes:
                rows.append((group, c.name, c.channel or '-', c.num_images, c.precision, c.jaccard))
            rows.append((group, 'all', '', score.num_images, score.precision, score.jaccard))
        columns = ('group', 'class', 'channel', 'images', 'P', 'J')
        return columns, rows, [('group mean', '', '', len(self), *self.summary().values())]

    def _details(self) -> dict:
        """The options, and by group its P and J, its ``classes`` by name, and its ``images`` by
        identity ``group/stem`` with their P and the J of each class."""
        groups = {}
        for group, score in self.group_scores().items():
            classes, images = {}, {}
            for c in score.classes:
                figures = dict(num_images=c.num_images, P=c.precision, J=c.jaccard)
                classes[c.name] = dict(channel=c.channel, **figures)
            for stem, (precision, jaccards) in score.images.items():
                images[f'{group}/{stem}'] = dict(P=precision, J=dict(zip(classes, jaccards)))
            means = dict(num_images=score.num_images, P=score.precision, J=score.jaccard)
            groups[group] = dict(**means, classes=classes, images=images)
        return dict(over=self.over, absent=self.absent, groups=groups)


def _stack(counts: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Counts of all images, (N, K'+1, K+1), K' >= K, and the channels of the rows 1..K'."""
    rows, columns = np.max([c.shape for c in counts], axis=0)
    rows = max(rows, columns)
    stacked = np.zeros((len(counts), rows, columns), np.int64)
    for place, c in zip(stacked, counts):
        place[: c.shape[0], : c.shape[1]] = c
    # Of equally good assignments the first is taken, so the order must not depend on the numbers.
    channels = sorted(range(1, rows), key=lambda channel: stacked[:, channel].tobytes())
    return stacked[:, [0, *channels]], channels


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The ratio; where there is nothing, nothing is wrong: 1."""
    return np.where(whole == 0, 1.0, part / np.maximum(whole, 1))
