"""Categories, and pictures of them: objects, clutter and light on a background."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import cv2
import numpy as np

from ...errors import MMCosegError
from .shapes import HOLE, SHAPES, Part, make_shape
from .textures import TEXTURES, fractal_noise, make_pattern

__all__ = ['Category', 'SceneObject', 'category', 'render_scene']

#: Keeps the random numbers that define categories apart from all others.
_CATEGORY_STREAM = 0xC05E6


@dataclass(frozen=True)
class Category:
    """What all instances of a category share; ``category(index)`` makes one.

    Neighboring numbers share neither a family of shapes or textures nor a hue, so that a data set
    of a few categories is varied; far apart, families return with other proportions.

    Attributes:
        index: number in the endless catalogue; it alone determines the category.
        shape: key of ``SHAPES``.
        texture: key of ``TEXTURES``.
        colors: for each of the three color slots of parts, the two colors of the pattern as (hue,
            saturation, value) in [0, 1].
        any_hue: instances have any hue, as cars have.
    """

    index: int
    shape: str
    texture: str
    colors: tuple[tuple[tuple[float, float, float], ...], ...]
    any_hue: bool

    @property
    def name(self) -> str:
        return f'synth_{self.index:03}'

    def rng(self, stream: int) -> np.random.Generator:
        """A generator that starts alike for every instance; ``stream`` from 1, each independent."""
        return np.random.default_rng((_CATEGORY_STREAM, self.index, stream))


@lru_cache(maxsize=4096)
def category(index: int) -> Category:
    """Category number ``index``, from 0; the same in every data set, whatever its seed.

    Raises:
        MMCosegError: if the number is negative.
    """
    if index < 0:
        raise MMCosegError(f'categories are numbered from 0, got {index}')
    rng = np.random.default_rng((_CATEGORY_STREAM, index, 0))
    shapes, textures = list(SHAPES), list(TEXTURES)
    hue = (0.11 + index * 0.618034) % 1  # the golden ratio spreads any run of numbers evenly
    contrast = rng.choice([-1, 1]) * rng.uniform(0.3, 0.5)
    value = rng.uniform(0.35, 0.85)
    saturation = rng.uniform(0.3, 0.85)
    second = np.clip(value + contrast, 0.12, 0.97)
    main = (
        (hue, saturation, value),
        (hue + rng.normal(0, 0.07), saturation * rng.uniform(0.3, 1), second),
    )
    other = hue + rng.choice([0.08, 0.33, 0.5, 0.67, 0.92])
    parts = (
        (other, rng.uniform(0.2, 0.7), rng.uniform(0.3, 0.9)),
        (other, rng.uniform(0.1, 0.6), rng.uniform(0.2, 0.8)),
    )
    dark = rng.uniform(0.08, 0.3) if rng.random() < 0.7 else rng.uniform(0.85, 0.95)
    accent = ((hue + 0.5, rng.uniform(0, 0.5), dark),) * 2
    return Category(
        index=index,
        shape=shapes[(index * 5) % len(shapes)],
        # Another step in every round of the shapes, so that pairs of families differ too.
        texture=textures[(index * 5 + index // len(shapes)) % len(textures)],
        colors=(main, parts, accent),
        any_hue=bool(rng.random() < 0.2),
    )


@dataclass(frozen=True)
class SceneObject:
    """An object: its category's number, its size as a share of the image's shorter side."""

    category: int
    scale: float


@dataclass
class _Sprite:
    """A painted object not yet placed: color (h, w, 3) and alpha (h, w), float32 in [0, 1]."""

    color: np.ndarray
    alpha: np.ndarray


@dataclass
class _Light:
    """What the objects of one picture have in common."""

    direction: np.ndarray = field(default_factory=lambda: np.array([-0.7, -0.7]))
    shadow: float = 0.35


def render_scene(
    key: Sequence[int], size: tuple[int, int], objects: Sequence[SceneObject]
) -> tuple[np.ndarray, np.ndarray]:
    """Paint one picture.

    The result depends on the arguments alone, not on global generators.

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
    seeds = np.random.SeedSequence(list(key)).spawn(1 + len(objects))
    rng, *streams = map(np.random.default_rng, seeds)
    angle = rng.uniform(-np.pi, 0)  # light comes from above
    light = _Light(np.array([np.cos(angle), np.sin(angle)]), rng.uniform(0.15, 0.5))
    palette = _palette(rng, objects)
    canvas = _background(rng, size, palette)
    _clutter(rng, canvas, palette, light, int(rng.integers(3, 9)))
    owner = np.zeros(size, np.uint8)
    for number, (item, stream) in enumerate(zip(objects, streams), 1):
        side = max(8.0, item.scale * min(size))
        sprite = _paint_category(stream, category(item.category), side, light)
        _place(stream, canvas, owner, number, sprite, light)
    _occlude(rng, canvas, owner, palette, light)
    image = _develop(rng, canvas)
    return image, owner[None] == np.arange(1, len(objects) + 1)[:, None, None]


def _paint_category(
    rng: np.random.Generator, kind: Category, side: float, light: _Light
) -> _Sprite:
    """One instance of a category; ``side``: geometric mean of its bounding box's sides, pixels."""
    parts, pose = make_shape(kind.shape, kind.rng(1), rng)
    hue = rng.uniform() if kind.any_hue else rng.normal(0, 0.02)
    gain, strength = np.exp(rng.normal(0, 0.12)), np.exp(rng.normal(0, 0.15))
    colors = [[_bgr(h + hue, s * strength, v * gain) for h, s, v in pair] for pair in kind.colors]
    return _paint(rng, parts, pose, side, colors, kind.texture, kind.rng(2), light)


def _paint(rng, parts, pose, side, colors, texture, texture_rng, light) -> _Sprite:
    points = np.concatenate([part.points for part in parts])
    half = np.abs(points).max(0) * side / 2
    width, height = (2 * np.ceil(half) + 5).astype(int)
    center = np.array([width / 2, height / 2])
    yy, xx = np.mgrid[0:height, 0:width].astype(np.float32)
    inverse = np.linalg.inv(pose).astype(np.float32) * np.float32(2 / side)
    xx, yy = xx - np.float32(center[0]), yy - np.float32(center[1])
    u = inverse[0, 0] * xx + inverse[0, 1] * yy
    v = inverse[1, 0] * xx + inverse[1, 1] * yy
    pattern = make_pattern(texture, texture_rng, rng, u, v)[..., None]
    fills = [a + (b - a) * pattern for a, b in colors]
    color, alpha = fills[0].copy(), np.zeros((height, width), np.float32)
    layer = np.empty((height, width), np.uint8)
    for shape, slot in parts:
        layer[:] = 0
        fixed = np.rint((shape * side / 2 + center) * 16).astype(np.int32)
        cv2.fillPoly(layer, [fixed], 255, cv2.LINE_AA, 4)
        cover = layer.astype(np.float32) / 255
        if slot == HOLE:
            alpha *= 1 - cover
            continue
        fill = fills[slot]
        if len(parts) > 1:  # a dim rim sets parts of one color apart
            rim = 0.75 + 0.25 * cv2.GaussianBlur(cover, (0, 0), max(0.8, side / 40))
            fill = fill * rim[..., None]
        color += cover[..., None] * (fill - color)
        np.maximum(alpha, cover, out=alpha)
    color *= _relief(alpha, side, light)[..., None]
    return _Sprite(color, alpha)


def _relief(alpha: np.ndarray, side: float, light: _Light) -> np.ndarray:
    """Shading of a body that bulges towards us."""
    coarse = cv2.GaussianBlur(alpha, (0, 0), max(1.0, side / 9))
    height = coarse + 0.5 * cv2.GaussianBlur(alpha, (0, 0), max(0.8, side / 25))
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=side / 30)
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=side / 30)
    # Where height grows along the direction towards the light, the surface turns away from it.
    slope = -(dx * np.float32(light.direction[0]) + dy * np.float32(light.direction[1]))
    return np.clip(0.95 + 0.55 * slope, 0.45, 1.5)


def _place(rng, canvas, owner, number, sprite, light) -> None:
    """Find room for a sprite and paint it: mostly inside the image, not hiding much of others."""
    counts = np.bincount(owner.ravel(), minlength=number)
    for attempt in range(24):
        if attempt and attempt % 4 == 0:
            sprite = _shrunk(sprite, 0.8)
        top, left = map(partial(_start, rng), sprite.alpha.shape, owner.shape)
        inner, outer = _windows(sprite.alpha.shape, owner.shape, top, left)
        solid = sprite.alpha > 0.5
        visible = solid[inner]
        covered = np.bincount(owner[outer][visible], minlength=number)[1:]
        is_seen = visible.sum() >= max(0.75 * solid.sum(), 4)
        hides_little = (covered <= 0.25 * counts[1:]).all()
        if is_seen and hides_little and covered.sum() <= 0.3 * visible.sum():
            break
    else:  # crowded: a small one where there is most room
        free = np.pad((owner == 0).astype(np.uint8), 1)
        room = cv2.distanceTransform(free, cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = np.unravel_index(int(room.argmax()), room.shape)
        sprite = _shrunk(sprite, min(1.0, 1.6 * float(room.max()) / max(sprite.alpha.shape)))
        top, left = y - sprite.alpha.shape[0] // 2, x - sprite.alpha.shape[1] // 2
        inner, outer = _windows(sprite.alpha.shape, owner.shape, top, left)
        sprite.alpha[inner][owner[outer] > 0] = 0  # behind what is there
        visible = sprite.alpha[inner] > min(0.5, 0.99 * float(sprite.alpha[inner].max()))
    _blend(canvas, sprite, top, left, light)
    owner[outer][visible] = number


def _start(rng, length, limit) -> int:
    """Where a sprite begins on an axis; a quarter of it may be cut off by the image's border."""
    if length >= 1.6 * limit:
        return (limit - length) // 2
    return int(rng.uniform(-0.2 * length, limit - 0.8 * length))


def _shrunk(sprite: _Sprite, factor: float) -> _Sprite:
    h, w = (max(3, round(factor * n)) for n in sprite.alpha.shape)
    return _Sprite(
        cv2.resize(sprite.color, (w, h), interpolation=cv2.INTER_AREA),
        cv2.resize(sprite.alpha, (w, h), interpolation=cv2.INTER_AREA),
    )


def _windows(shape, canvas_shape, top, left):
    """The part of a patch that lies on the canvas, and where: two pairs of slices."""
    inner, outer = [], []
    for length, limit, start in zip(shape, canvas_shape, (top, left)):
        low, high = max(0, -start), max(0, min(length, limit - start))
        inner.append(slice(low, max(low, high)))
        outer.append(slice(low + start, max(low, high) + start))
    return tuple(inner), tuple(outer)


def _blend(canvas: np.ndarray, sprite: _Sprite, top: int, left: int, light: _Light) -> None:
    """Paint a sprite with the shadow that it casts."""
    h, w = sprite.alpha.shape
    offset = -light.direction * 0.06 * np.sqrt(h * w)
    y, x = top + round(offset[1]), left + round(offset[0])
    inner, outer = _windows((h, w), canvas.shape[:2], y, x)
    if sprite.alpha[inner].size:
        soft = cv2.GaussianBlur(sprite.alpha, (0, 0), max(1.0, np.sqrt(h * w) / 25))[inner]
        canvas[outer] *= (1 - np.float32(light.shadow) * soft)[..., None]
    inner, outer = _windows((h, w), canvas.shape[:2], top, left)
    canvas[outer] += sprite.alpha[inner][..., None] * (sprite.color[inner] - canvas[outer])


def _palette(rng: np.random.Generator, objects: Sequence[SceneObject]) -> list[np.ndarray]:
    """Colors of the surroundings; often some of them are an object's own, as camouflage."""
    # Earth, sand, leaves, water and sky more often than other hues.
    anchors = (0.07, 0.11, 0.25, 0.33, 0.52, 0.59)
    natural, spread = rng.random() < 0.75, rng.choice([0.03, 0.08, 0.2])
    hues = rng.choice(anchors, 5) if natural else np.full(5, rng.uniform())
    vivid = rng.uniform(0.15, 0.65)
    colors = [
        _bgr(hue + rng.normal(0, spread), rng.uniform(0.05, vivid), rng.uniform(0.15, 0.95))
        for hue in hues
    ]
    if objects and rng.random() < 0.6:
        kind = category(objects[int(rng.integers(len(objects)))].category)
        for place, (h, s, v) in zip(rng.permutation(5), kind.colors[0]):
            colors[place] = _bgr(h + rng.normal(0, 0.03), s * rng.uniform(0.5, 1), v)
    return colors


def _background(rng, size, palette) -> np.ndarray:
    """Regions of the palette's colors, divided by fractal fields, with fractal light over them."""
    height, width = size
    exponent = rng.uniform(1.2, 1.9)
    canvas = np.empty((*size, 3), np.float32)
    canvas[:] = palette[0]
    ramp = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = np.linspace(-1, 1, width, dtype=np.float32)[None] * np.float32(rng.normal(0, 0.3))
    for layer, color in enumerate(palette[1:4]):
        field_ = fractal_noise(rng, size, exponent + 0.3, coarsest=2)
        if layer == 0:  # often a ground and a sky
            field_ = 0.45 * field_ + np.float32(rng.choice([0, 2.5])) * (ramp + slope)
        hardness = rng.uniform(0.6, 6)
        share = 1 / (1 + np.exp(-hardness * (field_ - np.float32(rng.normal(0.3, 0.5)))))
        canvas += share[..., None] * (color - canvas)
    detail = fractal_noise(rng, size, rng.uniform(0.9, 1.4), coarsest=4)
    canvas *= (1 + np.float32(rng.uniform(0.08, 0.22)) * detail)[..., None]
    return np.clip(canvas, 0.02, 1, out=canvas)


def _clutter(rng, canvas, palette, light, count) -> None:
    """Blobs, sticks and stones of the palette's colors and of any texture."""
    for _ in range(count):
        sprite = _rubbish(rng, canvas.shape[:2], palette, light)
        h, w = sprite.alpha.shape
        top = int(rng.uniform(-0.4 * h, canvas.shape[0] - 0.6 * h))
        left = int(rng.uniform(-0.4 * w, canvas.shape[1] - 0.6 * w))
        _blend(canvas, sprite, top, left, light)


def _rubbish(rng, size, palette, light) -> _Sprite:
    side = float(np.exp(rng.uniform(np.log(0.08), np.log(0.4)))) * min(size)
    if rng.random() < 0.35:  # a stick or a strip
        angle, long, thin = rng.uniform(0, np.pi), rng.uniform(0.8, 2.2), rng.uniform(0.04, 0.15)
        tip = -thin * rng.uniform(0.3, 1)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        outline = np.array([[-long, -thin], [long, tip], [long, thin], [-long, thin]]) @ turn.T
    else:
        t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        waves = (rng.normal(0, 0.35 / k) * np.cos(k * t + rng.uniform(0, 6)) for k in range(2, 6))
        radius = 1 + sum(waves)
        radius = np.clip(radius, 0.3, None) * rng.uniform(0.6, 1.4)
        outline = np.stack([radius * np.cos(t), np.exp(rng.normal(0, 0.3)) * radius * np.sin(t)], 1)
    first, second = rng.choice(len(palette), 2, replace=False)
    mix = rng.uniform(0.1, 1)
    pair = [palette[first], palette[first] + mix * (palette[second] - palette[first])]
    texture = str(rng.choice(list(TEXTURES))) if rng.random() < 0.5 else 'mottled'
    return _paint(rng, [Part(outline)], np.eye(2), max(side, 4.0), [pair], texture, rng, light)


def _occlude(rng, canvas, owner, palette, light) -> None:
    """Sometimes something in front; it leaves at least two thirds of every object to be seen."""
    before = np.bincount(owner.ravel())
    if len(before) < 2:
        return
    after = before.copy()
    for _ in range(int(rng.integers(0, 3))):
        sprite = _rubbish(rng, owner.shape, palette, light)
        ys, xs = np.nonzero(owner)
        pick = int(rng.integers(len(ys)))
        top, left = ys[pick] - sprite.alpha.shape[0] // 2, xs[pick] - sprite.alpha.shape[1] // 2
        inner, outer = _windows(sprite.alpha.shape, owner.shape, top, left)
        hidden = sprite.alpha[inner] > 0.5
        after -= np.bincount(owner[outer][hidden], minlength=len(before))
        if (after[1:] >= 0.67 * before[1:]).all():
            _blend(canvas, sprite, top, left, light)
            owner[outer][hidden] = 0
        else:
            after = np.bincount(owner.ravel(), minlength=len(before))


def _develop(rng, canvas) -> np.ndarray:
    """Light, lens and sensor: a gradient of light, a color cast, blur, noise, gamma."""
    height, width = canvas.shape[:2]
    dx, dy = rng.normal(0, 0.12, 2)
    glow = 1 + dx * np.linspace(-1, 1, width)[None] + dy * np.linspace(-1, 1, height)[:, None]
    cast = np.exp(rng.normal(0, 0.05, 3)) * np.exp(rng.normal(0, 0.12))
    canvas = canvas * (glow[..., None] * cast).astype(np.float32)
    blur = rng.uniform(0, 0.7)
    if blur > 0.3:
        canvas = cv2.GaussianBlur(canvas, (0, 0), blur)
    noise = rng.standard_normal((height, width, 1), np.float32)
    strength = np.float32(rng.uniform(0.005, 0.03))
    canvas = np.clip(canvas + noise * strength, 0, 1) ** np.float32(np.exp(rng.normal(-0.1, 0.12)))
    return np.rint(canvas * 255).astype(np.uint8)


def _bgr(hue: float, saturation: float, value: float) -> np.ndarray:
    """(3,) float32 in [0, 1]; the hue wraps around, the others are cut to their range."""
    rgb = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0.03), 0.97))
    return np.array(rgb[::-1], np.float32)
