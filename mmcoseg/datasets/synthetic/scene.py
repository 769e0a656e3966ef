"""Categories, and pictures of them: objects, clutter and light on a background."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .shapes import SHAPES, Part, make_shape
from .textures import TEXTURES, fractal_noise, make_pattern

__all__ = ['Category', 'SceneObject', 'category', 'render_scene']

#: Keeps the random numbers that define categories apart from all others.
_CATEGORY_STREAM = 0xC05E6


@dataclass(frozen=True)
class Category:
    """What all instances of a category share; ``category(index)`` makes one.

    Neighboring numbers share neither a family of shapes or textures nor a hue. Any 40 in a row
    differ in the pair of families; after that, families return with other proportions.

    ``index`` alone determines the category. ``colors`` are two of the pattern and one of plain
    parts, as (hue, saturation, value) in [0, 1]. With ``any_hue`` instances have any, as cars do.
    """

    index: int
    shape: str
    texture: str
    colors: tuple[tuple[float, float, float], ...]
    any_hue: bool

    @property
    def name(self) -> str:
        return f'synth_{self.index:03}'

    def rng(self, stream: int) -> np.random.Generator:
        """A generator that starts alike for every instance; ``stream`` from 1, each independent."""
        return np.random.default_rng((_CATEGORY_STREAM, self.index, stream))


@lru_cache(maxsize=4096)
def category(index: int) -> Category:
    """Category number ``index``, from 0; the same in every data set, whatever its seed."""
    rng = np.random.default_rng((_CATEGORY_STREAM, index, 0))
    hue = (0.11 + index * 0.618034) % 1  # the golden ratio spreads any run of numbers evenly
    value = rng.uniform(0.35, 0.85)
    second = np.clip(value + rng.choice([-1, 1]) * rng.uniform(0.3, 0.5), 0.12, 0.97)
    colors = (
        (hue, rng.uniform(0.3, 0.85), value),
        (hue + rng.normal(0, 0.07), rng.uniform(0.1, 0.8), second),
        (hue + rng.choice([0.08, 0.33, 0.5, 0.67, 0.92]), *rng.uniform(0.15, 0.85, 2)),
    )
    # The numbers of families have no common divisor, so that all pairs occur.
    shape, texture = list(SHAPES)[index % len(SHAPES)], list(TEXTURES)[index % len(TEXTURES)]
    return Category(index, shape, texture, colors, any_hue=bool(rng.random() < 0.2))


@dataclass(frozen=True)
class SceneObject:
    """An object: its category's number, its size as a share of the image's shorter side."""

    category: int
    scale: float


@dataclass
class _Sprite:
    """An object to paint: parts and pose of ``make_shape``, BGR colors as those of ``Category``."""

    parts: list[Part]
    pose: np.ndarray
    colors: list[np.ndarray]
    texture: str
    texture_rng: np.random.Generator

    def covers(self, size: tuple[int, int], center: Sequence[float], side: float) -> np.ndarray:
        """How much of each pixel the parts cover, (n, H, W) float32 in [0, 1]."""
        layers = np.zeros((len(self.parts), *size), np.uint8)
        for layer, (points, _) in zip(layers, self.parts):
            fixed = np.rint((points * side / 2 + center) * 16).astype(np.int32)
            cv2.fillPoly(layer, [fixed], 255, cv2.LINE_AA, 4)
        return layers.astype(np.float32) / 255


def render_scene(
    key: Sequence[int], size: tuple[int, int], objects: Sequence[SceneObject]
) -> tuple[np.ndarray, np.ndarray]:
    """Paint one picture; it depends on the arguments alone.

    Args:
        key: non-negative integers that seed everything random.
        size: height and width.
        objects: what it shows; each may hide a quarter of what is still visible of earlier ones,
            and clutter in front a third; in a crowd they shrink.

    Returns:
        The image, (H, W, 3) uint8 BGR, and the visible parts of the objects, (n, H, W) bool in the
        order given, disjoint and none of them empty.

    Example:
        >>> objects = [SceneObject(3, 0.5), SceneObject(7, 0.4)]
        >>> image, masks = render_scene((0, 1), (96, 128), objects)
        >>> image.shape, masks.shape, bool(masks.all(0).any())
        ((96, 128, 3), (2, 96, 128), False)
    """
    rng = np.random.default_rng(list(key))
    angle = rng.uniform(-np.pi, 0)
    light = np.array([np.cos(angle), np.sin(angle)])  # from above
    palette = _palette(rng, objects)
    canvas = _background(rng, size, palette)
    for _ in range(rng.integers(3, 9)):
        center = rng.uniform(0, 1, 2) * size[::-1]
        sprite, side = _clutter(rng, size, palette)
        _paint(rng, canvas, sprite, sprite.covers(size, center, side), center, side, light)
    owner = np.zeros(size, np.uint8)
    for number, item in enumerate(objects, 1):
        sprite = _instance(rng, category(item.category))
        _place(rng, canvas, owner, number, sprite, max(8.0, item.scale * min(size)), light)
    _occlude(rng, canvas, owner, palette, light)
    return _develop(rng, canvas), owner[None] == np.arange(1, len(objects) + 1)[:, None, None]


def _instance(rng: np.random.Generator, kind: Category) -> _Sprite:
    parts, pose = make_shape(kind.shape, kind.rng(1), rng)
    hue = rng.uniform() if kind.any_hue else rng.normal(0, 0.02)
    strength, gain = np.exp(rng.normal(0, (0.15, 0.12)))
    colors = [_bgr(h + hue, s * strength, v * gain) for h, s, v in kind.colors]
    return _Sprite(parts, pose, colors, kind.texture, kind.rng(2))


def _clutter(rng, size, palette) -> tuple[_Sprite, float]:
    """A stone or a stick of the palette's colors and any texture, and its side in pixels."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    points = np.stack([np.cos(angles), np.sin(angles) * np.exp(-rng.exponential(0.7))], axis=1)
    colors = [palette[i] for i in rng.permutation(len(palette))[:3]]
    side = max(4.0, np.exp(rng.uniform(np.log(0.08), np.log(0.4))) * min(size))
    return _Sprite([Part(points)], np.eye(2), colors, rng.choice(list(TEXTURES)), rng), side


def _paint(rng, canvas, sprite, covers, center, side, light) -> None:
    """Paint a sprite, and the shadow that it casts, where its parts cover the canvas."""
    left, top = np.maximum(0, np.subtract(center, side)).astype(int)
    rows, columns = np.s_[top : int(center[1] + side) + 1, left : int(center[0] + side) + 1]
    canvas, covers = canvas[rows, columns], covers[:, rows, columns]
    alpha = covers.max(axis=0)
    height, width = alpha.shape
    shadow = cv2.GaussianBlur(alpha, (0, 0), max(1.0, side / 25))
    shift = np.float32([[1, 0, -0.06 * side * light[0]], [0, 1, -0.06 * side * light[1]]])
    canvas *= (1 - 0.35 * cv2.warpAffine(shadow, shift, (width, height)))[..., None]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x - np.float32(center[0] - left), y - np.float32(center[1] - top)
    (a, b), (c, d) = (np.linalg.inv(sprite.pose) * 2 / side).astype(np.float32)
    u, v = a * x + b * y, c * x + d * y
    pattern = make_pattern(sprite.texture, sprite.texture_rng, rng, u, v)[..., None]
    first, second, plain = sprite.colors
    fills = first + (second - first) * pattern, plain
    color = fills[0].copy()
    for cover, (_, slot) in zip(covers, sprite.parts):
        # A dim rim sets parts of one color apart.
        rim = 0.75 + 0.25 * cv2.GaussianBlur(cover, (0, 0), max(0.8, side / 40))
        color += cover[..., None] * (fills[slot] * rim[..., None] - color)
    # A body that bulges towards us is bright where it slopes towards the light.
    bulge = cv2.GaussianBlur(alpha, (0, 0), max(1.0, side / 12))
    slopes = [cv2.Sobel(bulge, cv2.CV_32F, dx, 1 - dx, scale=side / 20) for dx in (1, 0)]
    shade = np.clip(0.95 - 0.55 * (slopes[0] * light[0] + slopes[1] * light[1]), 0.45, 1.5)
    canvas += alpha[..., None] * (color * shade[..., None].astype(np.float32) - canvas)


def _place(rng, canvas, owner, number, sprite, side, light) -> None:
    """Find room for an object and paint it: mostly inside, not hiding much of others."""
    counts = np.bincount(owner.ravel(), minlength=number)
    for attempt in range(24):
        center = rng.uniform(0.2, 0.8, 2) * owner.shape[::-1]
        size = side * 0.8 ** (attempt // 4)
        covers = sprite.covers(owner.shape, center, size)
        visible = covers.max(axis=0) > 0.5
        hidden = np.bincount(owner[visible], minlength=number)[1:]
        hides_little = (hidden <= 0.25 * counts[1:]).all() and hidden.sum() <= 0.3 * visible.sum()
        if hides_little and visible.sum() >= 4:
            break
    else:  # crowded: a small one where there is most room, behind what is there
        free = np.pad((owner == 0).astype(np.uint8), 1)
        room = cv2.distanceTransform(free, cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(room.argmax(), room.shape)
        center, size = (x, y), min(size, 1.6 * room[y, x])
        covers = sprite.covers(owner.shape, center, size)
        covers[0, y, x] = 1
        covers[:, owner > 0] = 0
        visible = covers.max(axis=0) > 0.5
    _paint(rng, canvas, sprite, covers, center, size, light)
    owner[visible] = number


def _occlude(rng, canvas, owner, palette, light) -> None:
    """Sometimes something in front; at least two thirds of every object stay in sight."""
    before = np.bincount(owner.ravel())
    for _ in range(rng.integers(0, 3) if len(before) > 1 else 0):
        center = rng.permutation(np.argwhere(owner))[0][::-1]
        sprite, side = _clutter(rng, owner.shape, palette)
        covers = sprite.covers(owner.shape, center, side)
        left = np.where(covers[0] > 0.5, 0, owner)
        if (np.bincount(left.ravel(), minlength=len(before)) >= 0.67 * before)[1:].all():
            _paint(rng, canvas, sprite, covers, center, side, light)
            owner[:] = left


def _palette(rng: np.random.Generator, objects: Sequence[SceneObject]) -> list[np.ndarray]:
    """Colors of the surroundings; often some of them are an object's own, as camouflage."""
    # Earth, sand, leaves, water and sky more often than other hues.
    natural = rng.random() < 0.75
    hues = rng.choice((0.07, 0.11, 0.25, 0.33, 0.52, 0.59), 5) if natural else rng.uniform(0, 1, 5)
    vivid = rng.uniform(0.15, 0.65)
    colors = [
        _bgr(h + rng.normal(0, 0.06), rng.uniform(0.05, vivid), rng.uniform(0.15, 0.95))
        for h in hues
    ]
    if objects and rng.random() < 0.6:
        kind = category(objects[rng.integers(len(objects))].category)
        colors[1:3] = [_bgr(h, s * rng.uniform(0.5, 1), v) for h, s, v in kind.colors[:2]]
        rng.shuffle(colors)
    return colors


def _background(rng, size, palette) -> np.ndarray:
    """Regions of the palette's colors, divided by fractal fields, with fractal light over them."""
    canvas = np.tile(palette[0], (*size, 1))
    horizon = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None] * rng.choice([0, 2])
    for color in palette[1:4]:
        field = fractal_noise(rng, size, rng.uniform(1.5, 2.2)) + horizon
        horizon = 0  # the first field often divides a ground from a sky
        share = 1 / (1 + np.exp(-rng.uniform(0.6, 6) * (field - rng.normal(0.3, 0.5))))
        canvas += share[..., None].astype(np.float32) * (color - canvas)
    detail = fractal_noise(rng, size, rng.uniform(0.9, 1.4), coarsest=4)
    canvas *= (1 + np.float32(rng.uniform(0.08, 0.22)) * detail)[..., None]
    return np.clip(canvas, 0.02, 1, out=canvas)


def _develop(rng, canvas) -> np.ndarray:
    """Light, lens and sensor: a gradient of light, a color cast, noise, gamma."""
    height, width = canvas.shape[:2]
    dx, dy = rng.normal(0, 0.12, 2)
    glow = 1 + dx * np.linspace(-1, 1, width)[None] + dy * np.linspace(-1, 1, height)[:, None]
    canvas = canvas * glow[..., None] * np.exp(rng.normal(0, 0.05, 3) + rng.normal(0, 0.12))
    canvas += rng.uniform(0.005, 0.03) * rng.standard_normal((height, width, 1))
    canvas = np.clip(canvas, 0, 1) ** np.exp(rng.normal(-0.1, 0.12))
    return np.rint(canvas * 255).astype(np.uint8)


def _bgr(hue: float, saturation: float, value: float) -> np.ndarray:
    """(3,) float32 in [0, 1]; the hue wraps around, the others are cut to their range."""
    saturation, value = np.clip([saturation, value], [0, 0.03], [1, 0.97])
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value)[::-1], np.float32)
