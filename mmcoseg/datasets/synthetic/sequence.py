"""Drawn sequences: objects of the categories move over a background that pans slowly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .scene import SceneObject, _background, _clutter, _develop, _instance, _paint, _palette
from .scene import category as category_of

__all__ = ['render_sequence']

#: Sides of the painted background, in sides of a frame: room to pan in.
_ROOM = 1.3
#: Standard deviation of the noise that is different in each frame, in levels of 255.
_NOISE = 2.0


def render_sequence(
    key: Sequence[int], size: tuple[int, int], objects: Sequence[SceneObject], num_frames: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Paint a sequence of one scene, frame by frame; it depends on the arguments alone.

    Position, side and angle of each object change smoothly. An object may hide others in part or
    whole, and leave the picture in part.

    Args:
        key: non-negative integers that seed everything random.
        size: height and width of a frame.
        objects: what it shows; later ones are in front of earlier ones.
        num_frames: at least 1. The motion from frame to frame does not depend on it.

    Yields:
        The frame, (H, W, 3) uint8 BGR, and the visible parts of the objects, (n, H, W) bool in the
        order given, disjoint.

    Example:
        >>> frames = list(render_sequence((0,), (48, 64), [SceneObject(3, 0.5)], 3))
        >>> image, masks = frames[2]
        >>> image.shape, masks.shape
        ((48, 64, 3), (1, 48, 64))
    """
    rng = np.random.default_rng(list(key))
    light = np.array([-0.6, -0.8])
    palette = _palette(rng, objects)
    wide = tuple(round(_ROOM * side) for side in size)
    background = _background(rng, wide, palette)
    for _ in range(rng.integers(3, 9)):
        center = rng.uniform(0, 1, 2) * wide[::-1]
        sprite, side = _clutter(rng, wide, palette)
        _paint(rng, background, sprite, sprite.covers(wide, center, side), center, side, light)
    movers = [_Mover.of(rng, item, size, light) for item in objects]
    room = np.subtract(wide, size)[::-1] / 2
    pan = _Wave.of(rng, room, room)
    look = int(rng.integers(2**31))  # light and lens, the same in all frames
    for number in range(num_frames):
        shift = np.float32([[1, 0, -pan.at(number)[0]], [0, 1, -pan.at(number)[1]]])
        canvas = cv2.warpAffine(background, shift, size[::-1])
        owner = np.zeros(size, np.uint8)
        for index, mover in enumerate(movers, 1):
            color, alpha = mover.at(number, size)
            canvas += alpha[..., None] * (color - canvas)
            owner[alpha > 0.5] = index
        image = _develop(np.random.default_rng(look), canvas)
        noisy = image + rng.normal(0, _NOISE, image.shape)
        masks = owner[None] == np.arange(1, len(movers) + 1)[:, None, None]
        yield np.rint(noisy.clip(0, 255)).astype(np.uint8), masks


@dataclass
class _Wave:
    """Numbers (n,) that swing around a middle, each with a phase and speed of its own."""

    middle: np.ndarray
    reach: np.ndarray
    phase: np.ndarray
    speed: np.ndarray

    @classmethod
    def of(cls, rng: np.random.Generator, middle: np.ndarray, reach: np.ndarray) -> '_Wave':
        count = len(middle)
        # One way takes from 25 to 60 frames.
        speed = np.pi / rng.uniform(25, 60, count)
        return cls(middle, reach, rng.uniform(0, 2 * np.pi, count), speed)

    def at(self, number: int) -> np.ndarray:
        return self.middle + self.reach * np.sin(self.phase + self.speed * number)


@dataclass
class _Mover:
    """An object that was painted once, and how it moves: x, y, enlargement, angle in degrees."""

    color: np.ndarray
    alpha: np.ndarray
    wave: _Wave

    @classmethod
    def of(
        cls,
        rng: np.random.Generator,
        item: SceneObject,
        size: tuple[int, int],
        light: np.ndarray,
    ) -> '_Mover':
        sprite = _instance(rng, category_of(item.category))
        side = max(8.0, item.scale * min(size))
        extent = int(2 * side) + 1
        center = np.array([extent / 2, extent / 2])
        covers = sprite.covers((extent, extent), center, side)
        # On a ground of its own color, so that its rim shows no other.
        color = np.tile(sprite.colors[0], (extent, extent, 1))
        _paint(rng, color, sprite, covers, center, side, light)
        height, width = size
        middle = np.array([width / 2, height / 2, 1, 0]) + rng.normal(0, (8, 8, 0.05, 2))
        reach = np.array([0.3 * width, 0.3 * height, 0.15, 20])
        return cls(color, covers.max(axis=0), _Wave.of(rng, middle, reach))

    def at(self, number: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Its color (H, W, 3) and how much of each pixel it covers, (H, W), in a frame."""
        x, y, enlargement, angle = self.wave.at(number)
        middle = len(self.alpha) / 2
        matrix = cv2.getRotationMatrix2D((middle, middle), angle, enlargement)
        matrix[:, 2] += x - middle, y - middle
        color = cv2.warpAffine(self.color, matrix, size[::-1], borderMode=cv2.BORDER_REPLICATE)
        return color, cv2.warpAffine(self.alpha, matrix, size[::-1])
