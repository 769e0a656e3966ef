"""Procedural textures: fractal noise, and families of patterns."""

from collections.abc import Callable

import cv2
import numpy as np

__all__ = ['TEXTURES', 'fractal_noise', 'make_pattern']


def fractal_noise(
    rng: np.random.Generator, size: tuple[int, int], exponent: float = 1.0, coarsest: int = 2
) -> np.ndarray:
    """Noise with an amplitude spectrum of 1 / f^exponent; photographs have exponents near 1.

    A sum of octaves of smoothly enlarged white noise, which is much cheaper than shaping a
    spectrum.

    Args:
        rng: source of randomness.
        size: height and width.
        exponent: 0 is white noise, 2 is smooth clouds.
        coarsest: number of cells of the coarsest octave along the longer side.

    Returns:
        (H, W) float32 of mean 0 and standard deviation 1.
    """
    height, width = size
    side = max(height, width)
    cells, field = coarsest, None
    while True:
        last = 2 * cells > side
        rows = height if last else max(2, -(-height * cells // side))
        columns = width if last else max(2, -(-width * cells // side))
        # An octave of 1 / f^a noise in the plane has the variance f^(2 - 2a).
        octave = cells ** (1 - exponent) * rng.standard_normal((rows, columns), np.float32)
        if field is not None:
            octave += cv2.resize(field, (columns, rows), interpolation=cv2.INTER_CUBIC)
        field, cells = octave, 2 * cells
        if last:
            break
    field -= field.mean()
    return field / max(float(field.std()), 1e-6)


# A pattern family takes the category's generator `c`, an instance's generator `v`, and object
# coordinates u, v (float32 arrays, about -1 to 1 over the object), and gives values in [0, 1].
# `c` is drawn from first and always alike, so that all instances of a category agree.


def _wave(x: np.ndarray, hardness: float) -> np.ndarray:
    """A sine wave of period 1 squeezed towards a square wave, in [0, 1]."""
    return 0.5 + 0.5 * np.tanh(hardness * np.sin(2 * np.pi * x))


def _stripes(c, v, x, y):
    angle, frequency, hardness = c.uniform(0, np.pi), c.uniform(1.6, 4.5), c.uniform(1, 6)
    bend, bend_frequency = c.uniform(0, 0.25), c.uniform(0.5, 1.2)
    along, across = _rotate(x, y, angle + v.normal(0, 0.08))
    phase = v.uniform()
    return _wave(
        frequency * across + phase + bend * np.sin(2 * np.pi * bend_frequency * along), hardness
    )


def _checks(c, v, x, y):
    angle, frequency, ratio = c.uniform(0, np.pi / 2), c.uniform(1.5, 3.2), c.uniform(0.6, 1.6)
    a, b = _rotate(x, y, angle + v.normal(0, 0.06))
    waves = np.sin(2 * np.pi * (frequency * a + v.uniform())) * np.sin(
        2 * np.pi * (frequency * ratio * b + v.uniform())
    )
    return 0.5 + 0.5 * np.tanh(8 * waves)


def _plaid(c, v, x, y):
    angle, f, g = c.uniform(0, 1.5), c.uniform(1.5, 3.5), c.uniform(1.5, 3.5)
    share = c.uniform(0.4, 0.7)
    a, b = _rotate(x, y, angle + v.normal(0, 0.06))
    return share * _wave(f * a + v.uniform(), 5) + (1 - share) * _wave(g * b + v.uniform(), 5)


def _spots(c, v, x, y):
    frequency, radius, skew = c.uniform(1.8, 3.6), c.uniform(0.22, 0.4), c.uniform(0, 0.5)
    a = frequency * x + v.uniform()
    b = frequency * y + v.uniform()
    a = a + skew * np.floor(b)
    distance = np.hypot(a - np.floor(a) - 0.5, b - np.floor(b) - 0.5)
    return 1 / (1 + np.exp(30 * (distance - radius)))


def _rings(c, v, x, y):
    frequency, hardness, spokes = c.uniform(1.5, 3.5), c.uniform(1, 5), int(c.integers(0, 4))
    center = c.uniform(-0.4, 0.4, 2) + v.normal(0, 0.05, 2)
    dx, dy = x - center[0], y - center[1]
    twist = spokes * np.arctan2(dy, dx) / (2 * np.pi)  # one arm or more makes a spiral
    return _wave(frequency * np.hypot(dx, dy) + twist + v.normal(0, 0.1), hardness)


def _cells(c, v, x, y):
    count, edges = int(c.integers(14, 30)), bool(c.integers(2))
    seeds = v.uniform(-1.5, 1.5, (count, 2)).astype(np.float32)
    shades = v.permutation(np.linspace(0, 1, count).astype(np.float32))
    first, second = np.full((2, *x.shape), np.inf, np.float32)
    shade = np.zeros_like(x)
    for (a, b), value in zip(seeds, shades):
        distance = (x - a) ** 2 + (y - b) ** 2
        shade[distance < first] = value
        second = np.minimum(second, np.maximum(distance, first))
        first = np.minimum(first, distance)
    if edges:
        return 1 / (1 + np.exp(40 * (np.sqrt(second) - np.sqrt(first) - 0.1)))
    return shade


def _mottled(c, v, x, y):
    exponent, hardness, coarsest = c.uniform(1.0, 1.8), c.uniform(0.7, 4), int(c.integers(3, 8))
    return 0.5 + 0.5 * np.tanh(hardness * fractal_noise(v, x.shape, exponent, coarsest))


def _grain(c, v, x, y):
    angle, stretch, frequency = c.uniform(0, np.pi), c.uniform(4, 9), c.uniform(3, 7)
    along, across = _rotate(x, y, angle)
    # Noise looked up at stretched coordinates: wood, fur, brushed metal.
    table = v.random((64, 64), np.float32)
    waves = cv2.remap(
        table,
        ((along * frequency / stretch * 4) % 1 * 63).astype(np.float32),
        ((across * frequency) / 8 % 1 * 63).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    return np.clip(1.4 * (waves - 0.5) + 0.5, 0, 1)


def _gradient(c, v, x, y):
    angle, radial = c.uniform(0, 2 * np.pi), bool(c.integers(2))
    if radial:
        return np.clip(np.hypot(x, y) * 0.9, 0, 1)
    return np.clip(0.5 + 0.6 * _rotate(x, y, angle + v.normal(0, 0.1))[1], 0, 1)


def _bricks(c, v, x, y):
    frequency, ratio, joint = c.uniform(1.6, 3), c.uniform(1.4, 2.4), c.uniform(0.07, 0.14)
    angle = c.choice([0, np.pi / 4, np.pi / 2])
    a, b = _rotate(x, y, angle)
    b = b * frequency * ratio + v.uniform()
    a = a * frequency + 0.5 * np.floor(b) + v.uniform()
    a, b = a - np.floor(a), b - np.floor(b)
    inside = np.minimum(np.minimum(a, 1 - a) * ratio, np.minimum(b, 1 - b))
    return 1 / (1 + np.exp(60 * (inside - joint)))


def _scales(c, v, x, y):
    frequency, sharp = c.uniform(2, 3.6), c.uniform(1, 2.5)
    b = y * frequency + v.uniform()
    row = np.floor(b)
    a = x * frequency + 0.5 * row + v.uniform()
    return np.clip(np.hypot(a - np.floor(a) - 0.5, b - row) / 1.12, 0, 1) ** sharp


def _zigzag(c, v, x, y):
    frequency, depth, hardness = c.uniform(1.8, 3.5), c.uniform(0.15, 0.4), c.uniform(2, 6)
    angle, teeth = c.uniform(0, np.pi), c.uniform(1.5, 3)
    a, b = _rotate(x, y, angle + v.normal(0, 0.06))
    saw = np.abs((teeth * a + v.uniform()) % 1 - 0.5) * 2
    return _wave(frequency * b + 2 * depth * saw, hardness)


def _rotate(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


#: Pattern families by name, in the order in which categories take them.
TEXTURES: dict[str, Callable] = dict(
    stripes=_stripes,
    spots=_spots,
    mottled=_mottled,
    checks=_checks,
    cells=_cells,
    gradient=_gradient,
    zigzag=_zigzag,
    grain=_grain,
    rings=_rings,
    bricks=_bricks,
    plaid=_plaid,
    scales=_scales,
)


def make_pattern(
    family: str,
    category_rng: np.random.Generator,
    instance_rng: np.random.Generator,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """A pattern of one category on one instance, (h, w) float32 in [0, 1].

    Args:
        family: a key of ``TEXTURES``.
        category_rng: fixes what all instances share: frequency, direction, hardness.
        instance_rng: fixes what differs: phase, small turns, the noise itself.
        x, y: object coordinates, (h, w) float32, about -1 to 1 over the object.
    """
    return TEXTURES[family](category_rng, instance_rng, x, y).astype(np.float32)
