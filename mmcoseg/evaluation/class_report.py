"""How well several classes of a group were found and told apart: P and J by class and group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..errors import MMCosegError
from ..options import one_of
from ..structures.coseg_data_sample import VOID
from .report import render_table

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


def count_labels(pred: np.ndarray, gt: np.ndarray, void: int = VOID) -> np.ndarray:
    """How often each predicted label lies on each true one: all that scoring needs of an image.

    Args:
        pred: (H, W), integer: 0 background, 1..K' predicted classes.
        gt: (H, W), integer: 0 background, 1..K classes, ``void`` ignored.

    Returns:
        (K'+1, K+1) int64, rows predicted and columns true labels; K' and K are the highest labels
        of this image. Pixels that are void in ``gt`` are not in it.

    Raises:
        MMCosegError: if the shapes differ, or a prediction has the value of void or negative ones.

    Example:
        >>> count_labels(np.array([[2, 2, 0, 0]]), np.array([[1, 1, 0, 255]]))
        array([[1, 0],
               [0, 0],
               [0, 2]])
    """
    if pred.shape != gt.shape:
        raise MMCosegError(
            f'prediction {pred.shape} and ground truth {gt.shape} must have one shape'
        )
    if pred.size and (pred.min() < 0 or (pred == void).any()):
        raise MMCosegError(
            f'a prediction must have labels from 0 (background) up and no void ({void}), got '
            f'{np.unique(pred)[[0, -1]].tolist()} as the lowest and highest'
        )
    valid = gt != void
    rows = int(pred.max(initial=0)) + 1
    p, g = pred[valid].astype(np.int64), gt[valid].astype(np.int64)
    columns = int(g.max(initial=0)) + 1
    return np.bincount(p * columns + g, minlength=rows * columns).reshape(rows, columns)


def match_classes(scores: np.ndarray) -> np.ndarray:
    """Give each class a channel of its own, so that the sum of their scores is the highest.

    Args:
        scores: (K', K) of each predicted channel as each class, K' >= K.

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

    Those of ``label_ids`` among ``classes`` where there are enough of them, else the parts of a
    group's name ``a+b``, else numbers.

    Example:
        >>> class_names_of('sofa+dog', 2), class_names_of('pets', 2)
        (('sofa', 'dog'), ('class 1', 'class 2'))
    """
    if len(label_ids) >= number and max(label_ids, default=-1) < len(classes):
        names = tuple(str(classes[i]) for i in label_ids)
    else:
        names = tuple(group.split('+'))
    if len(names) < number or len(set(names)) < len(names):
        names = tuple(f'class {k}' for k in range(1, number + 1))
    return names[:number]


@dataclass(frozen=True)
class ClassScore:
    """How well one class of a group was found.

    Attributes:
        name: of the class.
        channel: mask value of the predictions that was matched to it; None if none was left that
            has a pixel.
        num_images: number of images that its figures are made of.
        precision, jaccard: in per cent; NaN without such images.
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
        num_images: number of its images.
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


class ClassReport:
    """P and J of groups whose objects are of several classes; all figures are in per cent.

    An unsupervised method cannot know which of its channels 1..K' is called which class. Over a
    whole group the channels are therefore matched to the classes 1..K by the assignment of the
    highest sum of J (the Hungarian method). The background, 0, is not matched. Where K' is smaller
    than K, the classes that are left over get an empty channel; where it is larger, the channels
    that are left over are nobody's, and pixels labeled so are wrong.

    - **J** of a class is the Jaccard index of its channel; that of a group is the mean over its
      classes, that of the set the mean over groups.
    - **P** of a group is the share of its pixels with the right one of the K+1 labels; that of the
      set the mean over groups. P of a class is the share of pixels at which the question "this
      class or not" is answered right.

    Void pixels are left out. A class that no image of a group has is left out of the means.
    Each image counts once, however often it is added, and neither the order of images nor the
    numbers of the channels change a bit of the result.

    Args:
        over: ``'images'``: each figure is computed per image, then averaged over images, so that
            large images and large objects count no more than others. This is how the thesis words
            its metrics ("pixels in an image"), and how ``CoSegMetric`` scores single classes.
            ``'pixels'``: one ratio over the pixels of all images, as in semantic segmentation.
        absent: which images make up a class' figures: ``'skip'``: those that show it;
            ``'score'``: all, where J of an image without the class is 1 if nothing was labeled so
            and 0 otherwise, as for single classes. It makes no difference for groups whose images
            show every class. The group's P always sees all images.

    Raises:
        MMCosegError: for another value of ``over`` or ``absent``.

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
        for option, value, allowed in (
            ('over', over, ScoreOver),
            ('absent', absent, AbsentClasses),
        ):
            one_of(option, value, allowed)
        self.over = over
        self.absent = absent
        self._groups: dict[str, dict[str, np.ndarray]] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._sources: dict[tuple[str, str], str | None] = {}

    def add(
        self,
        group: str,
        stem: str,
        counts: np.ndarray,
        source: str | None = None,
        names: Sequence[str] = (),
    ) -> None:
        """Add one image.

        Args:
            group, stem: its identity.
            counts: from :func:`count_labels`.
            source: its file, by which two images of the same name are told from one that comes
                twice.
            names: of the group's mask values 1, 2, ..., where known; else see
                :func:`class_names_of`.

        Raises:
            MMCosegError: if another file was added under the same group and stem.
        """
        identity = group, stem
        if identity in self._sources:
            if self._sources[identity] != source:
                raise MMCosegError(
                    f"two images are called '{group}/{stem}': {self._sources[identity]} and "
                    f'{source}. Rename one group or one file: scores are kept by group/stem.'
                )
            return
        self._sources[identity] = source
        self._groups.setdefault(group, {})[stem] = counts
        self._names[group] = tuple(names)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._sources)

    def group_scores(self) -> dict[str, GroupClassScore]:
        """The figures of every group, by name."""
        return {group: self._score(group) for group in sorted(self._groups)}

    def _score(self, group: str) -> GroupClassScore:
        stems = sorted(self._groups[group])
        counts = _stack([self._groups[group][stem] for stem in stems])
        # In an order that does not depend on the channels' numbers: among equal assignments the
        # first is taken. Channels that are alike in this order are so in all their figures.
        order = sorted(range(1, counts.shape[1]), key=lambda c: counts[:, c].tobytes())
        counts = counts[:, [0, *order]]
        total = counts.sum(axis=(1, 2))  # (N,)
        truth = counts.sum(axis=1)[:, None, 1:]  # (N, 1, K)
        common = counts[:, 1:, 1:]  # (N, K', K)
        union = counts.sum(axis=2)[:, 1:, None] + truth - common
        # (N, K), images that make up a class' figures
        used = truth[:, 0] > 0 if self.absent == 'skip' else np.ones_like(truth[:, 0], bool)
        used &= (truth[:, 0] > 0).any(axis=0)
        jaccard = self._ratio(common, union, used[:, None])  # (K', K)
        matched = match_classes(np.nan_to_num(jaccard))
        classes = np.arange(len(matched))
        correct = (total[:, None, None] - union + common)[:, matched, classes]
        precision = self._ratio(correct, np.broadcast_to(total[:, None], correct.shape), used)
        right = counts[:, 0, 0] + common[:, matched, classes].sum(axis=1)
        by_image = np.where(used, _divide(common, union)[:, matched, classes], np.nan)
        known = self._names.get(group, ())
        names = class_names_of(group, len(matched), range(len(known)), known)
        jaccard = jaccard[matched, classes]
        return GroupClassScore(
            num_images=len(stems),
            precision=100 * float(self._ratio(right, total, np.ones_like(total, bool))),
            jaccard=100 * float(_mean(jaccard)),
            classes=tuple(
                ClassScore(
                    name=names[k],
                    channel=order[channel] if counts[:, 1 + channel].any() else None,
                    num_images=int(used[:, k].sum()),
                    precision=100 * float(precision[k]),
                    jaccard=100 * float(jaccard[k]),
                )
                for k, channel in enumerate(matched.tolist())
            ),
            images={
                stem: (100 * float(p), tuple((100 * j).tolist()))
                for stem, p, j in zip(stems, _divide(right, total), by_image, strict=True)
            },
        )

    def _ratio(self, part: np.ndarray, whole: np.ndarray, used: np.ndarray) -> np.ndarray:
        """The ratio of (N, ...) counts over the images that are used; NaN where none is."""
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
            P=float(_mean(np.array([score.precision for score in scores]))),
            J=float(_mean(np.array([score.jaccard for score in scores]))),
        )

    def table(self, title: str | None = None, format: str = 'text') -> str:
        """A row a group and class, after each group's classes their mean, below the means.

        Args:
            title: printed above the table.
            format: one of :data:`~mmcoseg.evaluation.report.TABLE_FORMATS`.

        Raises:
            MMCosegError: if ``format`` is not one of these.
        """
        rows = []
        for group, score in self.group_scores().items():
            for c in score.classes:
                channel = '-' if c.channel is None else str(c.channel)
                figures = _figures(c.precision, c.jaccard)
                rows.append((group, c.name, channel, str(c.num_images), *figures))
            figures = _figures(score.precision, score.jaccard)
            rows.append((group, 'all', '', str(score.num_images), *figures))
        summary = self.summary()
        mean = ('group mean', '', '', str(len(self)), *_figures(summary['P'], summary['J']))
        columns = ('group', 'class', 'channel', 'images', 'P', 'J')
        return render_table(columns, rows, [mean], title, format)

    def to_dict(self) -> dict:
        """Everything as plain types, for json: ``over``, ``absent``, ``summary``, and by group its
        P and J, its ``classes`` by name, and its ``images`` by identity ``group/stem`` with their P
        and the J of each class. What has no figure is None."""
        groups = {}
        for group, score in self.group_scores().items():
            names = [c.name for c in score.classes]
            groups[group] = dict(
                num_images=score.num_images,
                P=_plain(score.precision),
                J=_plain(score.jaccard),
                classes={
                    c.name: dict(
                        channel=c.channel,
                        num_images=c.num_images,
                        P=_plain(c.precision),
                        J=_plain(c.jaccard),
                    )
                    for c in score.classes
                },
                images={
                    f'{group}/{stem}': dict(P=p, J=dict(zip(names, map(_plain, j), strict=True)))
                    for stem, (p, j) in score.images.items()
                },
            )
        return dict(
            over=self.over,
            absent=self.absent,
            summary={key: _plain(value) for key, value in self.summary().items()},
            num_images=len(self),
            groups=groups,
        )


def _stack(counts: Sequence[np.ndarray]) -> np.ndarray:
    """Counts of all images, (N, K'+1, K+1), with at least as many channels as classes."""
    columns = max(c.shape[1] for c in counts)
    rows = max(columns, *(c.shape[0] for c in counts))
    stacked = np.zeros((len(counts), rows, columns), np.int64)
    for place, c in zip(stacked, counts):
        place[: c.shape[0], : c.shape[1]] = c
    return stacked


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The ratio; where there is nothing, nothing is wrong: 1."""
    return np.where(whole == 0, 1.0, part / np.maximum(whole, 1))


def _mean(values: np.ndarray) -> float:
    """Mean of those that are not NaN; NaN if none is."""
    values = values[~np.isnan(values)]
    return values.mean() if len(values) else float('nan')


def _figures(*values: float) -> list[str]:
    return ['-' if np.isnan(value) else f'{value:.2f}' for value in values]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
