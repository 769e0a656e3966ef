"""What a person says of single pixels of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from mmengine.structures import PixelData

from ..errors import MMCosegError

__all__ = [
    'UNKNOWN',
    'Absent',
    'Box',
    'Click',
    'ExampleMask',
    'Hint',
    'Stroke',
    'hint_map',
]

#: The value of pixels of which nothing is known.
UNKNOWN = 255
#: Radius of a click, and half the width of a stroke, as a share of the image's longer side.
_RADIUS = 0.01


@dataclass(frozen=True)
class Hint:
    """What is known of some pixels: that they are an object's, or no object's.

    Args:
        label: 0 for no object, or the number of the object's class, from 1 on.
    """

    #: Whether pixels surely have the label; otherwise it is only likely.
    sure: ClassVar[bool] = True
    label: int = 1

    def paint(self, labels: np.ndarray, sure: np.ndarray) -> None:
        """Write the label into the image's maps.

        Args:
            labels: (H, W) uint8, with ``UNKNOWN``.
            sure: (H, W) bool.

        Raises: MMCosegError: if the hint lies outside the image.
        """
        where = self.pixels(labels.shape)
        labels[where] = self.label
        sure[where] = True

    def pixels(self, size: tuple[int, int]) -> np.ndarray:
        """The pixels, (H, W) bool, of an image of this height and width."""
        raise NotImplementedError


@dataclass(frozen=True)
class Click(Hint):
    """One place, ``x`` and ``y`` in pixels from the image's upper left corner."""

    x: float = 0
    y: float = 0

    def pixels(self, size: tuple[int, int]) -> np.ndarray:
        return _line([(self.x, self.y)], size)


@dataclass(frozen=True)
class Stroke(Hint):
    """A line through ``points``, (x, y) each."""

    points: Sequence[tuple[float, float]] = ()

    def pixels(self, size: tuple[int, int]) -> np.ndarray:
        return _line(self.points, size)


@dataclass(frozen=True)
class Box(Hint):
    """A box around an object, or around what is none.

    Outside of all boxes of objects an image shows none. Inside of one, a pixel is likely the
    object's.

    Args:
        left, top, right, bottom: in pixels; the right and lower edges do not belong to it.
    """

    left: float = 0
    top: float = 0
    right: float = 0
    bottom: float = 0

    def pixels(self, size: tuple[int, int]) -> np.ndarray:
        edges = (self.left, self.top, self.right, self.bottom)
        _require_inside([edges[:2], edges[2:]], size)
        left, top, right, bottom = map(round, edges)
        if right <= left or bottom <= top:
            raise MMCosegError(f'a box must be (left, top, right, bottom), got {edges}')
        inside = np.zeros(size, bool)
        inside[top:bottom, left:right] = True
        return inside

    def paint(self, labels: np.ndarray, sure: np.ndarray) -> None:
        inside = self.pixels(labels.shape)
        if self.label == 0:
            labels[inside], sure[inside] = 0, True
            return
        outside = ~inside & (labels == UNKNOWN)
        labels[outside], sure[outside] = 0, True
        free = inside & ~((labels != UNKNOWN) & (labels != 0) & sure)
        labels[free], sure[free] = self.label, False


@dataclass(frozen=True)
class Absent(Hint):
    """No object is in the image."""

    label: int = 0

    def pixels(self, size: tuple[int, int]) -> np.ndarray:
        return np.ones(size, bool)


@dataclass(frozen=True, eq=False)
class ExampleMask(Hint):
    """The whole mask, (H, W) uint8: 0 background, 1..K classes, 255 unknown."""

    mask: np.ndarray | None = None

    def paint(self, labels: np.ndarray, sure: np.ndarray) -> None:
        if self.mask.shape != labels.shape:
            raise MMCosegError(
                f'the mask is {self.mask.shape[0]} x {self.mask.shape[1]}, its image '
                f'{labels.shape[0]} x {labels.shape[1]} (height x width)'
            )
        known = self.mask != UNKNOWN
        labels[known], sure[known] = self.mask[known], True


def hint_map(hints: Sequence[Hint], size: tuple[int, int]) -> tuple[PixelData, list[str]]:
    """All that is known of an image's pixels.

    Args:
        hints: of the image; later ones count where they contradict earlier ones.
        size: height and width of the upright original.

    Returns:
        - ``CoSegDataSample.hints``: ``data`` (1, H, W) uint8, 0 no object, 1..K classes, 255
          unknown; ``sure`` (1, H, W) bool, False where the label is only likely.
        - What contradicts what, for messages.

    Raises:
        MMCosegError: for a hint outside of the image.

    Example:
        >>> found, _ = hint_map([Click(x=1, y=0), Click(label=0, x=4, y=0)], (1, 6))
        >>> found.data
        tensor([[[255,   1, 255, 255,   0, 255]]], dtype=torch.uint8)
    """
    labels = np.full(size, UNKNOWN, np.uint8)
    sure = np.zeros(size, bool)
    contradictions = []
    # Boxes first: what is said of pixels inside or outside is more than they say.
    ordered = sorted(hints, key=lambda hint: not isinstance(hint, Box))
    for hint in ordered:
        before, was_sure = labels.copy(), sure.copy()
        hint.paint(labels, sure)
        if not isinstance(hint, Box) and (was_sure & (before != labels)).any():
            contradictions.append(f'{_text(hint)} contradicts earlier hints there, and counts')
    data = PixelData(data=torch.from_numpy(labels)[None])
    data.sure = torch.from_numpy(sure)[None]
    return data, contradictions


def _text(hint: Hint) -> str:
    values: dict[str, Any] = {key: v for key, v in vars(hint).items() if key != 'mask'}
    return f'{type(hint).__name__.lower()} {values}'


def _line(points: Sequence[tuple[float, float]], size: tuple[int, int]) -> np.ndarray:
    _require_inside(points, size)
    radius = round(_RADIUS * max(size))
    places = np.minimum(np.floor(points), np.array(size[::-1]) - 1).astype(int).tolist()
    drawn = np.zeros(size, np.uint8)
    for start, end in zip(places, places[1:]):
        cv2.line(drawn, start, end, 1, max(1, 2 * radius))
    for place in places:
        cv2.circle(drawn, place, radius, 1, -1)
    return drawn.astype(bool)


def _require_inside(points: Sequence[tuple[float, float]], size: tuple[int, int]) -> None:
    if not len(points):
        raise MMCosegError('a stroke needs at least one point')
    for x, y in points:
        if not (0 <= x <= size[1] and 0 <= y <= size[0]):
            raise MMCosegError(
                f'({x:g}, {y:g}) lies outside of the image of {size[1]} x {size[0]} pixels '
                '(width x height); coordinates are (x, y) in the upright original'
            )
