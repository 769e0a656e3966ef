"""Shape families: objects put together from filled polygons.

A family is a function of two generators. ``c`` starts alike for all instances of a category and
fixes proportions and parts; ``v`` differs by instance and moves limbs. x points right, y down.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ['SHAPES', 'UPRIGHT', 'Part', 'make_shape']


class Part(NamedTuple):
    """A filled polygon: ``points`` (n, 2) float64; ``slot`` 0 textured, 1 plain."""

    points: np.ndarray
    slot: int = 0


def _ellipse(x, y, rx, ry, slot=0):
    return Part(_outline(np.ones(32)) * [rx, ry] + [x, y], slot)


def _rect(x0, y0, x1, y1, slot=0):
    return Part(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), slot)


def _limb(x, y, angle, length, width, slot=0):
    """A bar from (x, y); angle 0 hangs down, positive swings to the right."""
    along = np.array([np.sin(angle), np.cos(angle)])
    side = width * along[::-1] * [1, -1]
    end = length * along
    return Part(np.array([x, y]) + [side, end + side, end - side, -side], slot)


def _outline(radius):
    """The polygon with these radii (n,) at even angles around the origin."""
    t = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return np.stack([radius * np.cos(t), radius * np.sin(t)], axis=1)


def _quadruped(c, v):
    length, height, leg = c.uniform(0.7, 1.05), c.uniform(0.28, 0.42), c.uniform(0.4, 0.95)
    width, neck, tail, head = c.uniform((0.07, 0.1, 0.2, 0.18), (0.13, 0.7, 0.8, 0.3))
    leg_slot, head_slot = c.integers(2, size=2)
    parts = [_limb(x * length, 0, v.normal(0, 0.16), leg, width, leg_slot) for x in (-0.8, 0.55)]
    parts += [_limb(x * length, 0, v.normal(0, 0.16), leg, width, leg_slot) for x in (-0.6, 0.8)]
    parts.append(_limb(-0.9 * length, -0.2 * height, v.normal(-2, 0.4), tail, 0.05, 1))
    angle = v.normal(2.3, 0.15)
    x, y = 0.75 * length + neck * np.sin(angle), neck * np.cos(angle)
    parts += [_ellipse(0, 0, length, height), _limb(0.75 * length, 0, angle, neck, 1.5 * width)]
    return [*parts, _ellipse(x, y, 1.4 * head, head, head_slot)]


def _star(c, v):
    points, inner = int(c.integers(4, 10)), c.uniform(0.3, 0.6)
    radius = np.where(np.arange(2 * points) % 2, inner, 1) * v.normal(1, 0.04, 2 * points)
    return [Part(_outline(radius)), Part(_outline(radius) * c.uniform(0.3, 0.55), 1)]


def _vehicle(c, v):
    height, cabin, roof = c.uniform(0.2, 0.4), c.uniform(0.3, 0.8), c.uniform(0.25, 0.6)
    wheels, size, place = int(c.integers(2, 5)), c.uniform(0.14, 0.26), c.uniform(-0.2, 0.2)
    top = -height - roof * v.normal(1, 0.06)
    glass = [[-cabin, -height], [-0.7 * cabin, top], [0.7 * cabin, top], [cabin, -height]]
    parts = [_rect(-1, -height, 1, height), Part(np.array(glass) + [place, 0])]
    parts.append(Part(np.array(glass) * [0.75, 1] + [place, 0.15 * roof], 1))
    return parts + [_ellipse(x, height, size, size, 1) for x in np.linspace(-0.65, 0.65, wheels)]


def _flower(c, v):
    petals, length, width = int(c.integers(4, 9)), c.uniform(0.4, 0.6), c.uniform(0.14, 0.28)
    stem, core = c.uniform(0.6, 1.6), c.uniform(0.2, 0.35)
    parts = [_limb(0, 0, v.normal(0, 0.15), stem, 0.06, 1)]
    for angle in 2 * np.pi * np.arange(petals) / petals + v.uniform(0, 1):
        cos, sin = np.cos(angle), np.sin(angle)
        petal = _ellipse(length, 0, length, width).points
        parts.append(Part(petal @ np.array([[cos, sin], [-sin, cos]])))
    return [*parts, _ellipse(0, 0, core, core, 1)]


def _vessel(c, v):
    widths = c.uniform((0.35, 0.4, 0.15, 0.2), (0.7, 0.9, 0.4, 0.7)) * v.normal(1, 0.03, 4)
    heights = np.array([1, 0.3, -0.5, -1.0])
    side = np.stack([widths, heights], axis=1)
    parts = []
    if c.integers(2):
        parts = [_limb(0, 0, 1.8, 1.2, 0.1, 1), _limb(0, -0.7, 1.3, 1.2, 0.1, 1)]
    parts.append(Part(np.concatenate([side, side[::-1] * [-1, 1]])))
    band = c.uniform(-0.1, 0.4)
    return [*parts, _rect(-widths[2], band, widths[2], band + 0.2, 1)]


def _gear(c, v):
    teeth, depth, hub = int(c.integers(6, 13)), c.uniform(0.14, 0.3), c.uniform(0.2, 0.5)
    wave = np.sin(np.linspace(0, 2 * np.pi * teeth, 16 * teeth, endpoint=False))
    return [Part(_outline(1 + depth * np.tanh(4 * wave))), _ellipse(0, 0, hub, hub, 1)]


def _tree(c, v):
    trunk, tiers, wide = c.uniform(0.08, 0.16), int(c.integers(1, 5)), c.uniform(0.5, 0.9)
    conifer, lean = c.integers(2), v.normal(0, 0.08)
    parts = [_rect(-trunk, 0, trunk, 1, 1)]
    for tier in range(tiers):
        half, y = wide * (1 - 0.6 * tier / tiers), -0.45 * tier
        if conifer:
            tip = [lean * (tier + 1), y - 0.7]
            parts.append(Part(np.array([[-half, y + 0.2], tip, [half, y + 0.2]])))
        else:
            parts.append(_ellipse(v.normal(lean * tier, 0.1), y, half, 0.45))
    return parts


def _fish(c, v):
    height, tail, fork, fin = c.uniform((0.25, 0.35, 0.1, 0.2), (0.55, 0.6, 0.4, 0.5))
    swing = v.normal(0, 0.1)
    ends = [[-0.8, 0], [-1.5, swing - tail], [-1.5 + fork, swing], [-1.5, swing + tail]]
    back = [[-0.4, -0.8 * height], [0, -height - fin], [0.4, -0.8 * height]]
    parts = [Part(np.array(ends), int(c.integers(2))), Part(np.array(back), 1)]
    return [*parts, _ellipse(0, 0, 1, height), _ellipse(0.65, -0.3 * height, 0.08, 0.08, 1)]


#: Shape families by name, in the order in which categories take them.
SHAPES: dict[str, Callable] = dict(
    quadruped=_quadruped,
    star=_star,
    vehicle=_vehicle,
    flower=_flower,
    vessel=_vessel,
    gear=_gear,
    tree=_tree,
    fish=_fish,
)

#: Families that stand on the ground; the others lie at any angle.
UPRIGHT = frozenset(('quadruped', 'vehicle', 'vessel', 'tree'))


def make_shape(
    family: str, category_rng: np.random.Generator, instance_rng: np.random.Generator
) -> tuple[list[Part], np.ndarray]:
    """The parts of one instance of a family of ``SHAPES``, in its pose.

    Returns:
        The parts in the order of painting, centered; the geometric mean of the half sides of their
        bounding box is 1, the longer one at most 1.6. And the pose, a (2, 2) matrix; its inverse
        turns textures with the object.
    """
    parts = SHAPES[family](category_rng, instance_rng)
    rng = instance_rng
    turn = rng.normal(0, 0.15) if family in UPRIGHT else rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    stretch = np.exp(rng.normal(0, 0.1))
    pose = np.array([[cos, sin], [-sin, cos]]) @ np.array([[1, 0], [rng.normal(0, 0.12), 1]])
    pose = pose @ np.diag([rng.choice([-1, 1]) * stretch, 1 / stretch])
    moved = [points @ pose.T for points, _ in parts]
    together = np.concatenate(moved)
    low, high = together.min(0), together.max(0)
    half = (high - low) / 2
    scale = min(1 / np.sqrt(half.prod()), 1.6 / half.max())
    return [Part((m - (low + high) / 2) * scale, p.slot) for m, p in zip(moved, parts)], pose
