"""What a person says of single pixels of an image."""

import hashlib
import numbers
from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from ..errors import MMCosegError
from ..options import whole_number

__all__ = [
    'UNKNOWN',
    'Absent',
    'Box',
    'Click',
    'ExampleMask',
    'Hint',
    'HintMap',
    'Stroke',
    'hint_map',
]

#: The label of pixels of which nothing is known; classes have lower ones.
UNKNOWN = 255
#: Radius of a click, and half the width of a stroke, as a share of the image's longer side.
_RADIUS = 0.01

Size = tuple[int, int]


@dataclass
class HintMap:
    """All that is known of an image's pixels.

    Args:
        labels: (H, W) uint8: 0 no object, 1..K classes, 255 unknown.
        sure: (H, W) bool: False where the label is only likely, or unknown.
        contradictions: a sentence about each hint that contradicts an earlier one.
        num_classes: of objects that the image may show.
    """

    labels: np.ndarray
    sure: np.ndarray
    contradictions: list[str]
    num_classes: int = 1

    @property
    def absent(self) -> bool:
        """Whether no pixel can be an object's."""
        return not self.labels.any()

    @property
    def shows_object(self) -> bool:
        """Whether an object surely is in it, if only somewhere in a box."""
        return bool(((self.labels != 0) & (self.labels != UNKNOWN)).any())

    @property
    def sure_objects(self) -> np.ndarray:
        """Which pixels surely are an object's, (H, W) bool."""
        return (self.labels != 0) & (self.labels != UNKNOWN) & self.sure

    @property
    def boxes(self) -> np.ndarray:
        """Which pixels are in a box, and nothing more is known of them, (H, W) bool."""
        return (self.labels != UNKNOWN) & ~self.sure


@dataclass(frozen=True)
class Hint(metaclass=ABCMeta):
    """What is known of some pixels: that they are an object's, or no object's.

    Coordinates are pixels of the upright original, from its upper left corner.

    Args:
        label: 0 for no object, or the number of the object's class, 1 to 254.

    Raises:
        MMCosegError: for another label.
    """

    label: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        whole_number('the label of a hint', self.label, 0)
        if self.label >= UNKNOWN:
            raise MMCosegError(f'the label of a hint must be below {UNKNOWN}, got {self.label}')

    @property
    def classes(self) -> set[int]:
        """Numbers of the classes that it shows; none if it tells of no object."""
        return {self.label} - {0}

    @abstractmethod
    def paint(self, known: HintMap, original: Size) -> None:
        """Write what is said into an image's map, of any resolution.

        Args:
            original: height and width of the upright original.

        Raises:
            MMCosegError: if the hint lies outside of the image.
        """


@dataclass(frozen=True)
class Stroke(Hint):
    """A line through ``points``, (x, y) each: a list or an array (n, 2), n at least 1."""

    points: Sequence[tuple[float, float]]

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            points = np.array(self.points, float)
        except (TypeError, ValueError):
            points = np.empty(0)
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise MMCosegError('a stroke is a list of points (x, y), at least one')
        # As plain numbers, which can be compared and written to files.
        object.__setattr__(self, 'points', tuple(map(tuple, points.tolist())))

    def paint(self, known: HintMap, original: Size) -> None:
        _draw_line(known, self.points, self.label, original)


@dataclass(frozen=True)
class Click(Hint):
    """One place."""

    x: float
    y: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_numbers('a click is x, y', self.x, self.y)

    def paint(self, known: HintMap, original: Size) -> None:
        _draw_line(known, [(self.x, self.y)], self.label, original)


@dataclass(frozen=True)
class Box(Hint):
    """A box around an object, or around what is none.

    Outside of all boxes of objects an image shows none; where there are several classes, a box does
    not say what is outside. Inside of one, a pixel is likely the object's. The right and lower
    edges do not belong to it.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        super().__post_init__()
        edges = (self.left, self.top, self.right, self.bottom)
        _require_numbers('a box is left, top, right, bottom', *edges)
        if not (self.left < self.right and self.top < self.bottom):
            raise MMCosegError(f'a box is left, top, right, bottom, from 0 on, got {edges}')

    def paint(self, known: HintMap, original: Size) -> None:
        _require_inside([(self.left, self.top), (self.right, self.bottom)], original)
        height, width = known.labels.shape
        rows = _interval(self.top, self.bottom, height / original[0])
        columns = _interval(self.left, self.right, width / original[1])
        inside = np.zeros((height, width), bool)
        inside[rows, columns] = True
        if self.label == 0:
            known.labels[inside], known.sure[inside] = 0, True
            return
        if known.num_classes == 1:
            outside = ~inside & (known.labels == UNKNOWN)
            known.labels[outside], known.sure[outside] = 0, True
        known.labels[inside], known.sure[inside] = self.label, False


@dataclass(frozen=True)
class Absent(Hint):
    """No object is in the image."""

    label: int = field(default=0, init=False)

    def paint(self, known: HintMap, original: Size) -> None:
        _paint_all(known, np.zeros_like(known.labels), '"no object"')


@dataclass(frozen=True, eq=False, repr=False)
class ExampleMask(Hint):
    """The whole mask, (H, W) uint8 of the original's size: 0, 1..K, or 255 for unknown."""

    mask: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        dtype, shape = getattr(self.mask, 'dtype', None), np.shape(self.mask)
        if dtype != np.uint8 or len(shape) != 2:
            raise MMCosegError(f'an example mask is an array (H, W) of uint8, got {dtype} {shape}')

    def __repr__(self) -> str:
        height, width = self.mask.shape
        digest = hashlib.sha1(np.ascontiguousarray(self.mask)).hexdigest()
        return f'ExampleMask({width} x {height}, {digest})'

    @cached_property
    def classes(self) -> set[int]:
        return set(np.unique(self.mask).tolist()) - {0, UNKNOWN}

    def paint(self, known: HintMap, original: Size) -> None:
        if self.mask.shape != tuple(original):
            raise MMCosegError(
                f'the mask is {self.mask.shape[1]} x {self.mask.shape[0]}, its image '
                f'{original[1]} x {original[0]} (width x height)'
            )
        size = known.labels.shape[::-1]
        mask = cv2.resize(self.mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
        _paint_all(known, mask, 'the whole mask')


def hint_map(
    hints: Sequence[Hint], original: Size, size: Size | None = None, num_classes: int = 1
) -> HintMap:
    """All that is known of an image's pixels. Later hints count where they contradict earlier ones.

    Boxes say less than the rest, and count only where nothing else is said. An absence does not
    count at all where an object is shown later.

    Args:
        original: height and width of the upright original, whose pixels hints are given in.
        size: height and width of the map; None: the original's.
        num_classes: of objects that the image may show.

    Raises:
        MMCosegError: for a hint outside of the image.

    Example:
        >>> hint_map([Click(1, 0), Click(4, 0, label=0)], (1, 6)).labels
        array([[255,   1, 255, 255,   0, 255]], dtype=uint8)
    """
    shape = original if size is None else size
    for hint in hints:
        num_classes = max(num_classes, *hint.classes, 1)
    known = HintMap(np.full(shape, UNKNOWN, np.uint8), np.zeros(shape, bool), [], num_classes)
    lasting = _without_wrong_absences(hints, known)
    boxes = [hint for hint in lasting if isinstance(hint, Box)]
    others = [hint for hint in lasting if not isinstance(hint, Box)]
    for hint in (*boxes, *others):
        hint.paint(known, original)
    return known


def _without_wrong_absences(hints: Sequence[Hint], known: HintMap) -> list[Hint]:
    """The hints without absences that a later hint on an object contradicts."""
    last_object = max((i for i, hint in enumerate(hints) if hint.classes), default=-1)
    lasting = []
    for number, hint in enumerate(hints):
        if isinstance(hint, Absent) and number < last_object:
            known.contradictions.append('"no object" is contradicted by a later hint, which counts')
        else:
            lasting.append(hint)
    return lasting


def _draw_line(known: HintMap, points: Sequence, label: int, original: Size) -> None:
    """Write a label along a line through points (x, y) of the original."""
    _require_inside(points, original)
    size = known.labels.shape
    scale = np.array([size[1] / original[1], size[0] / original[0]])
    places = np.floor(np.array(points, float) * scale).astype(int)
    places = places.clip(0, np.array(size[::-1]) - 1)
    radius = round(_RADIUS * max(size))
    # Only the part of the map around the line: maps are large, and lines many.
    left, top = (places.min(axis=0) - radius).clip(0)
    right, bottom = places.max(axis=0) + radius + 1
    window = known.labels[top:bottom, left:right]
    sure = known.sure[top:bottom, left:right]
    drawn = np.zeros(window.shape, np.uint8)
    corners = (places - [left, top]).tolist()
    for start, end in zip(corners, corners[1:]):
        cv2.line(drawn, start, end, 1, max(1, 2 * radius))
    for corner in corners:
        cv2.circle(drawn, corner, radius, 1, -1)
    where = drawn == 1
    if (sure & where & (window != label)).any():
        x, y = points[0]
        known.contradictions.append(
            f'the hint at ({x:g}, {y:g}) contradicts an earlier one; the later one counts'
        )
    window[where], sure[where] = label, True


def _paint_all(known: HintMap, labels: np.ndarray, what: str) -> None:
    """Write labels of all pixels."""
    said = labels != UNKNOWN
    if (known.sure & said & (known.labels != labels)).any():
        known.contradictions.append(f'{what} contradicts an earlier hint; the later one counts')
    known.labels[said], known.sure[said] = labels[said], True


def _interval(start: float, end: float, scale: float) -> slice:
    """Rows or columns of a map between two edges in the original: at least one."""
    first = int(start * scale)
    return slice(first, max(first + 1, round(end * scale)))


def _require_numbers(form: str, *values: Any) -> None:
    for value in values:
        if not isinstance(value, numbers.Real):
            raise MMCosegError(f'{form} in pixels, got {value!r}')


def _require_inside(points: Sequence[tuple[float, float]], original: Size) -> None:
    height, width = original
    for x, y in points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise MMCosegError(
                f'({x:g}, {y:g}) lies outside of the image, which is {width} x {height} pixels '
                '(width x height); coordinates are (x, y) in the upright original'
            )
