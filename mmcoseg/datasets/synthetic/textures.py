"""Procedural textures: fractal noise, and families of patterns."""

from collections.abc import Callable

import numpy as np

__all__ = ['TEXTURES', 'fractal_noise', 'make_pattern']


def fractal_noise(
    rng: np.random.Generator, size: tuple[int, int], exponent: float = 1.0, coarsest: int = 2
) -> np.ndarray:
    """Noise (H, W) float32 of mean 0 and deviation 1, with an amplitude spectrum of 1 / f^exponent.

    Photographs have exponents near 1. The spectrum is flat below ``coarsest`` periods along the
    longer side.
    """
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1]))
    spectrum = np.fft.rfft2(rng.standard_normal(size, np.float32))
    spectrum /= np.maximum(frequency, coarsest / max(size)) ** exponent
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, size)
    return (field / field.std()).astype(np.float32)


# A family takes the category's generator `c`, an instance's generator `v`, and object coordinates
# x, y (float32 arrays, about -1 to 1 over the object), and gives values in [0, 1].


def _stripes(c, v, x, y):
    angle, frequency, hardness = c.uniform(0, np.pi), c.uniform(1.6, 4.5), c.uniform(1, 6)
    _, across = _rotate(x, y, angle + v.normal(0, 0.08))
    return 0.5 + 0.5 * np.tanh(hardness * np.sin(2 * np.pi * (frequency * across + v.uniform())))


def _spots(c, v, x, y):
    frequency, radius = c.uniform(1.8, 3.6), c.uniform(0.22, 0.4)
    a, b = (frequency * x + v.uniform()) % 1, (frequency * y + v.uniform()) % 1
    return 1 / (1 + np.exp(30 * (np.hypot(a - 0.5, b - 0.5) - radius)))


def _mottled(c, v, x, y):
    exponent, hardness, coarsest = c.uniform(1.0, 1.8), c.uniform(0.7, 4), int(c.integers(6, 14))
    return 0.5 + 0.5 * np.tanh(hardness * fractal_noise(v, x.shape, exponent, coarsest))


def _checks(c, v, x, y):
    angle, frequency, ratio = c.uniform(0, np.pi / 2), c.uniform(1.5, 3.2), c.uniform(0.6, 1.6)
    a, b = _rotate(2 * np.pi * x, 2 * np.pi * y, angle + v.normal(0, 0.06))
    waves = np.sin(frequency * a + v.uniform(0, 6)) * np.sin(
        frequency * ratio * b + v.uniform(0, 6)
    )
    return 0.5 + 0.5 * np.tanh(8 * waves)


def _rings(c, v, x, y):
    frequency, hardness = c.uniform(1.5, 3.5), c.uniform(1, 5)
    left, top = c.uniform(-0.4, 0.4, 2) + v.normal(0, 0.05, 2)
    distance = np.hypot(x - left, y - top)
    return 0.5 + 0.5 * np.tanh(
        hardness * np.sin(2 * np.pi * (frequency * distance + v.normal(0, 0.1)))
    )


def _rotate(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


#: Pattern families by name, in the order in which categories take them.
TEXTURES: dict[str, Callable] = dict(
    stripes=_stripes, spots=_spots, mottled=_mottled, checks=_checks, rings=_rings
)


def make_pattern(
    family: str,
    category_rng: np.random.Generator,
    instance_rng: np.random.Generator,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """A pattern of a family of ``TEXTURES``, (h, w) float32 in [0, 1].

    ``category_rng`` fixes what all instances share, ``instance_rng`` phase, small turns and noise.
    ``x`` and ``y``, (h, w) float32, are about -1 to 1 over the object.
    """
    return TEXTURES[family](category_rng, instance_rng, x, y).astype(np.float32)
