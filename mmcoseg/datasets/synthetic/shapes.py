"""Parametric shape families: outlines and objects put together from parts.

A family is a function of two generators. ``c`` is the category's: it starts alike for every
instance, and fixes proportions and which parts there are. ``v`` is the instance's: it moves limbs
and wobbles outlines. The result is a list of parts, painted in order; x points right, y down, and
:func:`make_shape` normalizes the scale.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ['HOLE', 'SHAPES', 'UPRIGHT', 'Part', 'make_shape']

#: Color slot of a part that is cut out of those before it.
HOLE = -1


class Part(NamedTuple):
    """A filled polygon: ``points`` (n, 2) float64, ``slot`` 0..2 (colors) or ``HOLE``."""

    points: np.ndarray
    slot: int = 0


class _Parts(list[Part]):
    """The parts of an object, painted in the order in which they are added."""

    def polygon(self, points, slot=0):
        self.append(Part(np.array(points), slot))

    def ellipse(self, x, y, rx, ry, slot=0, angle=0.0, n=32):
        self.polygon(_ellipse(x, y, rx, ry, angle, n), slot)

    def rect(self, x0, y0, x1, y1, slot=0):
        self.polygon([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], slot)

    def limb(self, x, y, angle, length, w0, w1, slot=0):
        """A tapered bar from (x, y); angle 0 hangs down, positive swings to the right."""
        direction = np.array([np.sin(angle), np.cos(angle)])
        normal = np.array([direction[1], -direction[0]])
        start, end = np.array([x, y]), np.array([x, y]) + length * direction
        sides = start + w0 * normal, end + w1 * normal, end - w1 * normal, start - w0 * normal
        self.polygon(np.stack(sides), slot)


def _angles(n=120):
    return np.linspace(0, 2 * np.pi, n, endpoint=False)


def _ellipse(x, y, rx, ry, angle=0.0, n=32):
    t = _angles(n)
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = rx * np.cos(t), ry * np.sin(t)
    return np.stack([x + cos * a - sin * b, y + sin * a + cos * b], 1)


def _polar(radius, t):
    return np.stack([radius * np.cos(t), radius * np.sin(t)], 1)


def _smooth(points, rounds):
    """Chaikin's corner cutting."""
    for _ in range(rounds):
        following = np.roll(points, -1, 0)
        cuts = 0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following
        points = np.stack(cuts, 1).reshape(-1, 2)
    return points


def _with_core(c, outline):
    """Perhaps a hole or a second color in the middle of an outline."""
    kind, scale = c.integers(4), c.uniform(0.3, 0.55)
    parts = _Parts([Part(outline)])
    if kind == 1:
        parts.ellipse(0, 0, scale * 0.7, scale * 0.7, HOLE)
    elif kind > 1:
        parts.polygon(outline * scale, int(kind - 1))
    return parts


def _superformula(c, v):
    m, n1 = int(c.integers(2, 8)), c.uniform(0.5, 2.2)
    n2, n3 = c.uniform(0.6, 2.6, 2)
    t = _angles()
    with np.errstate(divide='ignore'):
        radius = (np.abs(np.cos(m * t / 4)) ** n2 + np.abs(np.sin(m * t / 4)) ** n3) ** (-1 / n1)
    radius = np.clip(radius, 0, 4 * np.median(radius))
    return _with_core(c, _polar(radius / radius.max(), t))


def _star(c, v):
    points, inner, rounds = int(c.integers(4, 10)), c.uniform(0.3, 0.65), int(c.integers(0, 3))
    radius = np.where(np.arange(2 * points) % 2, inner, 1.0) * v.normal(1, 0.04, 2 * points)
    return _with_core(c, _smooth(_polar(radius, _angles(2 * points)), rounds))


def _polygon(c, v):
    n, rounds = int(c.integers(3, 8)), int(c.integers(0, 2))
    t = np.sort(_angles(n) + c.uniform(-0.25, 0.25, n))
    radius = c.uniform(0.65, 1.0, n) * v.normal(1, 0.03, n)
    return _with_core(c, _smooth(_polar(radius, t), rounds))


def _blob(c, v):
    t = _angles()
    radius = np.ones_like(t)
    for k in range(2, 7):
        amplitude, phase = c.normal(0, 0.5 / k), c.uniform(0, 2 * np.pi)
        radius += amplitude * (1 + v.normal(0, 0.15)) * np.cos(k * t + phase)
    return _with_core(c, _polar(np.clip(radius, 0.25, None), t))


def _gear(c, v):
    teeth, depth, hole = int(c.integers(6, 13)), c.uniform(0.14, 0.3), c.uniform(0.2, 0.5)
    t = _angles(16 * teeth)
    parts = _Parts()
    parts.polygon(_polar(1 - depth * 0.5 * (1 - np.tanh(4 * np.sin(teeth * t))), t))
    spokes = int(c.integers(0, 6))
    if spokes >= 3:
        ring = 0.5 * (1 - depth + hole * 0.5)
        for a in _angles(spokes):
            parts.ellipse(ring * np.cos(a), ring * np.sin(a), 0.16, 0.16, HOLE, n=16)
        hole *= 0.5
    parts.ellipse(0, 0, hole, hole, HOLE if spokes % 2 else 1)
    return parts


def _quadruped(c, v):
    length, height = c.uniform(0.7, 1.05), c.uniform(0.28, 0.42)
    leg, width, neck = c.uniform(0.35, 0.95), c.uniform(0.07, 0.13), c.uniform(0.1, 0.85)
    neck_angle, head = c.uniform(0.5, 1.2), c.uniform(0.18, 0.3)
    snout, ears, tail = c.uniform(0.1, 0.35), int(c.integers(3)), c.uniform(0.2, 0.8)
    leg_slot, head_slot, horns = int(c.integers(2)), int(c.integers(2)), bool(c.integers(2))
    parts, hip = _Parts(), height * 0.4
    for x in (-0.8, -0.6, 0.55, 0.78):
        parts.limb(x * length, hip, v.normal(0, 0.16), leg + hip, width, width * 0.7, leg_slot)
    parts.limb(-0.9 * length, -0.2 * height, -2.0 + v.normal(0, 0.4), tail, 0.06, 0.02, 1)
    parts.ellipse(0, 0, length, height)
    angle = np.pi - neck_angle + v.normal(0, 0.15)
    x0, y0 = 0.75 * length, -0.2 * height
    parts.limb(x0, y0, angle, neck + 0.1, height * 0.55, head * 0.6)
    x, y = x0 + (neck + 0.1) * np.sin(angle), y0 + (neck + 0.1) * np.cos(angle)
    if ears == 1:
        parts.ellipse(x - 0.6 * head, y - 0.9 * head, 0.1, 0.2, 2, -0.4, 16)
    elif ears == 2:
        parts.ellipse(x - 0.5 * head, y, 0.75 * head, 0.9 * head, 1, n=20)
    if horns:
        parts.limb(x, y - 0.5 * head, 2.9, 2 * head, 0.05, 0.01, 2)
    parts.ellipse(x, y, head, head * 0.85, head_slot)
    parts.ellipse(x + head * 0.9, y + head * 0.2, snout, head * 0.45, head_slot, 0.2, 20)
    parts.ellipse(x + 0.2 * head, y - 0.2 * head, 0.05, 0.05, 2, n=10)
    return parts


def _vehicle(c, v):
    height, nose, tail = c.uniform(0.28, 0.5), c.uniform(0.0, 0.25), c.uniform(0.0, 0.2)
    cabin, start, end = c.uniform(0.25, 0.5), c.uniform(-0.9, -0.4), c.uniform(0.1, 0.85)
    rake, wheel = c.uniform(0.02, 0.25), c.uniform(0.16, 0.3)
    wheels, panes = int(c.integers(2, 5)), int(c.integers(1, 4))
    body = [[-1, 0], [-1 + tail, -height], [1 - nose, -height], [1, -0.5 * height], [1, 0]]
    roof = -height - cabin
    cab = [[start, -height], [start + rake, roof], [end - rake, roof], [end, -height]]
    parts = _Parts()
    parts.polygon(cab, int(c.integers(2)))
    parts.polygon(_smooth(np.array(body), 1))
    step = (end - start - 2 * rake - 0.08) / panes
    for k in range(panes):
        x = start + rake + 0.04 + k * step
        parts.rect(x + 0.03, roof + 0.07, x + step - 0.03, -height - 0.04, 2)
    for x in np.linspace(-0.68, 0.68, wheels) + v.normal(0, 0.02):
        parts.ellipse(x, 0, wheel, wheel, 2, n=24)
        parts.ellipse(x, 0, wheel * 0.5, wheel * 0.5, 1, n=16)
    return parts


def _vessel(c, v):
    """Vases, bottles, lamps: a profile turned around an axis."""
    knots = c.uniform(0.15, 0.6, 7)
    knots[int(c.integers(1, 6))] = 0.7
    if c.integers(2):
        knots[:2] = c.uniform(0.1, 0.2)  # a bottle's neck
    tall = c.uniform(0.9, 1.5)
    y = np.linspace(-tall, tall, 40)
    radius = np.interp(y, np.linspace(-tall, tall, 7), knots)
    radius = np.convolve(np.pad(radius, 3, mode='edge'), np.ones(7) / 7, 'valid')
    radius = radius * v.normal(1, 0.04)
    right, left = np.stack([radius, y], 1), np.stack([-radius, y], 1)
    parts = _Parts()
    for side in (1, -1)[: int(c.integers(0, 3))]:
        x = side * float(radius[18])
        parts.ellipse(x, 0, 0.35, 0.5, 1)
        parts.ellipse(x, 0, 0.2, 0.34, HOLE)
    top = int(c.integers(12, 20))
    bands = [(0, 40, 0), (top, top + int(c.integers(4, 14)), 1)]
    if c.integers(2):
        bands.append((0, 5, 2))
    for start, end, slot in bands:
        parts.polygon(np.concatenate([right[start:end], left[start:end][::-1]]), slot)
    return parts


def _tree(c, v):
    trunk, lobes, tall = c.uniform(0.08, 0.18), int(c.integers(1, 6)), c.uniform(0.6, 1.1)
    conifer, spread = bool(c.integers(2)), c.uniform(0.4, 0.7)
    parts = _Parts()
    parts.limb(0, -0.1, v.normal(0, 0.04), tall + 0.1, trunk * 0.7, trunk, 1)
    if conifer:
        for k in range(lobes + 1):
            w, y = spread * (1 - 0.55 * k / (lobes + 1)), -0.5 * k
            parts.polygon([[-w, y], [0, y - 0.85], [w, y]])
        return parts
    centers = c.uniform(-1, 1, (lobes, 2)) * [0.6, 0.4] + v.normal(0, 0.04, (lobes, 2))
    for x, y in centers:
        parts.ellipse(x, y - 0.5, spread * 0.7, spread * 0.6)
    parts.ellipse(0, -0.5, spread, spread * 0.9)
    fruits = c.uniform(-0.7, 0.7, (int(c.integers(0, 6)), 2)) * spread
    for x, y in fruits:
        parts.ellipse(x, y - 0.5, 0.08, 0.08, 2, n=12)
    return parts


def _mushroom(c, v):
    width, height, stem = c.uniform(0.7, 1.1), c.uniform(0.45, 0.95), c.uniform(0.15, 0.35)
    tall, droop = c.uniform(0.5, 1.1), c.uniform(-0.1, 0.25)
    t = np.linspace(np.pi, 2 * np.pi, 30)
    cap = np.stack([width * np.cos(t), height * np.sin(t)], 1)
    brim = np.stack([width * np.linspace(1, -1, 12), droop * np.linspace(-1, 1, 12) ** 2], 1)
    parts = _Parts()
    parts.limb(0, -0.1, v.normal(0, 0.1), tall, stem * 0.8, stem, 1)
    parts.polygon(np.concatenate([cap, brim]))
    for _ in range(int(c.integers(0, 6))):
        x, y = c.uniform(-0.6, 0.6) * width, -c.uniform(0.2, 0.65) * height
        radius = c.uniform(0.06, 0.14)
        parts.ellipse(x, y, radius, radius, 2, n=14)
    return parts


def _fish(c, v):
    length, height, tail = c.uniform(0.75, 1.0), c.uniform(0.28, 0.6), c.uniform(0.3, 0.6)
    fork, fin, back = c.uniform(0.0, 0.3), c.uniform(0.2, 0.5), c.uniform(-0.4, 0.2)
    flap = v.normal(0, 0.12)
    end, top, low = -length - tail, -height - fin, height + fin * 0.7
    parts = _Parts()
    fan = [[-length * 0.8, 0], [end, -tail + flap], [end + fork, flap], [end, tail + flap]]
    parts.polygon(fan, 1)
    parts.polygon([[back - 0.35, -height * 0.6], [back - 0.2, top], [back + 0.4, -height * 0.7]], 1)
    parts.polygon([[0.1, height * 0.5], [-0.25, low], [0.35, height * 0.6]], 1)
    parts.ellipse(0, 0, length, height)
    if c.integers(2):
        x = c.uniform(-0.3, 0.2)
        parts.rect(x, -height * 0.75, x + 0.16, height * 0.75, 2)
    eye = length * 0.65
    parts.ellipse(eye, -height * 0.2, 0.09, 0.09, 1, n=14)
    parts.ellipse(eye, -height * 0.2, 0.05, 0.05, 2, n=10)
    return parts


def _bird(c, v):
    length, height, head = c.uniform(0.5, 0.75), c.uniform(0.3, 0.45), c.uniform(0.2, 0.3)
    beak, tail, wing = c.uniform(0.15, 0.5), c.uniform(0.3, 0.8), c.uniform(0.4, 0.8)
    leg, neck = c.uniform(0.1, 0.6), c.uniform(0.1, 0.6)
    crest = bool(c.integers(2))
    parts = _Parts()
    for x in (-0.08, 0.15):
        parts.limb(x, height * 0.6, v.normal(0, 0.1), leg + height * 0.4, 0.04, 0.03, 2)
    end = -length - tail
    parts.polygon([[-0.3, 0], [end, -0.25 + v.normal(0, 0.08)], [end, 0.1], [-0.3, 0.2]], 1)
    parts.ellipse(0, 0, length, height, 0, -0.25)
    hx, hy = length * 0.75, -height * 0.6 - neck
    parts.limb(length * 0.55, 0, np.pi - 0.25, neck + height * 0.6, 0.2, 0.14)
    x = hx + head * 0.7
    parts.polygon([[x, hy - 0.1], [hx + head + beak, hy + 0.05], [x, hy + 0.12]], 2)
    if crest:
        parts.polygon([[hx - head, hy], [hx - head, hy - 0.45], [hx + 0.1, hy - 0.1]], 1)
    parts.ellipse(hx, hy, head, head, n=24)
    parts.ellipse(hx + 0.08, hy - 0.05, 0.05, 0.05, 2, n=10)
    lift = v.uniform(-0.5, 0.9)
    parts.ellipse(-0.1, -0.05 - 0.2 * lift, wing * 0.65, 0.2, 1, 0.1 + 0.6 * lift, 24)
    return parts


def _flower(c, v):
    petals, inner, width = int(c.integers(5, 11)), c.uniform(0.25, 0.45), c.uniform(0.18, 0.3)
    stem, layers = bool(c.integers(2)), int(c.integers(1, 3))
    parts = _Parts()
    if stem:
        parts.limb(0, 0, v.normal(0, 0.12), 2.1, 0.06, 0.06, 1)
        for side in (1, -1):
            parts.ellipse(side * 0.35, 1.4, 0.38, 0.13, 1, side * -0.5, 20)
    for layer in range(layers):
        scale = 1 - 0.4 * layer
        for a in _angles(petals) + layer * np.pi / petals + v.normal(0, 0.04):
            x, y = 0.6 * scale * np.cos(a), 0.6 * scale * np.sin(a)
            parts.ellipse(x, y, 0.42 * scale, width, layer, a, 20)
    parts.ellipse(0, 0, inner * 0.8, inner * 0.8, 2, n=24)
    return parts


def _butterfly(c, v):
    flap, spots = v.uniform(0.75, 1.0), bool(c.integers(2))
    wings = []
    for y, long, wide in ((-0.55, 0.75, 0.5), (0.5, 0.6, 0.42)):
        long, wide = long * c.uniform(0.7, 1.3), wide * c.uniform(0.7, 1.2)
        wings.append((0.3 * y, long, wide, np.sign(y) * c.uniform(0.2, 0.9)))
    tip = c.uniform(0, 0.4)
    parts = _Parts()
    for side in (1, -1):
        for y, long, wide, tilt in wings:
            wing = _ellipse(0.7 * long, 0, long, wide)
            wing[:, 0] += tip * (wing[:, 0] / long) ** 2 * 0.3
            cos, sin = np.cos(tilt), np.sin(tilt)
            wing = wing @ np.array([[cos, sin], [-sin, cos]]) + [0, y]
            parts.polygon(wing * [side * flap, 1])
            if spots:
                parts.ellipse(side * flap * (cos * long), sin * long + y, 0.18, 0.18, 1, n=16)
    for side in (1, -1):
        parts.limb(0, -0.6, np.pi - side * 0.5, 0.7, 0.025, 0.025, 2)
    parts.ellipse(0, 0.05, 0.12, 0.75, 2)
    return parts


def _aeroplane(c, v):
    fuselage, span, chord = c.uniform(0.1, 0.2), c.uniform(0.7, 1.3), c.uniform(0.2, 0.45)
    sweep, where, engines = c.uniform(-0.1, 0.6), c.uniform(-0.3, 0.2), int(c.integers(0, 3))
    tail = c.uniform(0.3, 0.5)
    tip, back = where + chord * 0.6 - sweep, where + chord * 0.2 - sweep
    parts = _Parts()
    for side in (1, -1):
        wing = [[where, 0], [where + chord, 0], [tip, side * span], [back, side * span]]
        parts.polygon(wing, 1 if engines else 0)
        parts.polygon([[-1, 0], [-0.7, 0], [-0.9, side * tail], [-1.1, side * tail]], 1)
        for k in range(engines):
            y = side * span * (0.35 + 0.3 * k)
            parts.ellipse(where + chord * 0.9 - sweep * 0.4, y, 0.18, 0.08, 2, n=18)
    parts.ellipse(0, 0, 1.1, fuselage)
    parts.ellipse(0.8, 0, 0.13, fuselage * 0.6, 2, n=16)
    return parts


def _chair(c, v):
    wide, seat, leg = c.uniform(0.5, 0.85), c.uniform(0.1, 0.25), c.uniform(0.5, 1.0)
    back, bars, arms = c.uniform(0.4, 1.2), int(c.integers(0, 4)), bool(c.integers(2))
    thick, lean = c.uniform(0.06, 0.13), v.normal(0, 0.06)
    parts = _Parts()
    for x, splay in ((-0.85, -0.08), (0.85, 0.08), (-0.4, 0.0), (0.4, 0.0)):
        parts.limb(x * wide, seat, splay, leg, thick, thick * 0.7, 1)
    top = wide * 0.9
    parts.polygon([[-wide, 0], [-wide + lean, -back], [top + lean, -back], [top, 0]])
    for x in np.linspace(-wide * 0.6, wide * 0.5, bars):
        parts.rect(x - 0.07, -back * 0.8, x + 0.07, -back * 0.1, HOLE)
    if arms:
        parts.rect(-wide * 1.15, -0.4, -wide * 0.95, seat, 2)
        parts.rect(wide * 0.95, -0.4, wide * 1.15, seat, 2)
    parts.rect(-wide * 1.1, -0.02, wide * 1.1, seat, bars % 2)
    return parts


def _tool(c, v):
    kind, length, thick = int(c.integers(3)), c.uniform(1.0, 1.6), c.uniform(0.08, 0.16)
    head, size = int(c.integers(3)), c.uniform(0.35, 0.55)
    parts = _Parts()
    parts.rect(-0.1, -thick, length, thick, 0 if kind == 0 else 1)
    if kind == 0:  # a key: a ring, a shaft and teeth
        for x in np.linspace(length * 0.6, length - 0.06, int(c.integers(2, 5))):
            parts.rect(x - 0.06, 0, x + 0.06, thick + c.uniform(0.1, 0.35))
        if head:
            parts.ellipse(-size, 0, size, size)
        else:
            parts.rect(-2 * size, -size, 0.1, size)
        parts.ellipse(-size, 0, size * 0.5, size * 0.5, HOLE)
    elif kind == 1:  # a hammer or an axe
        parts.polygon([[-0.2, -size], [0.2, -size * 0.8], [0.2, size * 0.8], [-0.3, size * 1.2]])
        if head:
            parts.limb(0, -size, np.pi + 0.5, 0.5, 0.15, 0.03)
    else:  # a brush, a racket or magnifying glass, a paddle
        shift = v.normal(0, 0.02)
        if head == 0:
            parts.rect(-size * 2, -size * 0.7 + shift, 0, size * 0.7 + shift)
            parts.rect(-0.15, -size * 0.75, 0.12, size * 0.75, 2)
        else:
            parts.ellipse(-size, 0, size * 1.1, size * 0.8)
        if head == 1:
            parts.ellipse(-size, 0, size * 0.8, size * 0.52, HOLE)
    return parts


def _house(c, v):
    wide, tall, roof = c.uniform(0.5, 1.0), c.uniform(0.5, 1.2), c.uniform(0.3, 0.9)
    eaves, columns, rows = c.uniform(0, 0.2), int(c.integers(1, 4)), int(c.integers(1, 3))
    peak, tower = c.uniform(-0.4, 0.4) * wide, bool(c.integers(2))
    parts = _Parts()
    if tower:
        x = -wide * 0.6
        parts.rect(x - 0.12, -roof * 1.15, x + 0.12, 0.1, 2)
    parts.rect(-wide, 0, wide, tall)
    parts.polygon([[-wide - eaves, 0.03], [peak, -roof], [wide + eaves, 0.03]], 1)
    w, h = 0.4 * wide / columns, 0.45 * tall / rows
    for i, x in enumerate(np.linspace(-wide, wide, columns + 2)[1:-1]):
        for j in range(rows):
            y = tall * (j + 0.3) / (rows + 0.3)
            door = j == rows - 1 and i == columns // 2
            parts.rect(x - w, y, x + w, tall if door else y + h, 2)
    return parts


#: Shape families by name, in the order in which categories take them.
SHAPES: dict[str, Callable] = dict(
    quadruped=_quadruped,
    star=_star,
    vehicle=_vehicle,
    flower=_flower,
    vessel=_vessel,
    blob=_blob,
    bird=_bird,
    gear=_gear,
    tree=_tree,
    aeroplane=_aeroplane,
    house=_house,
    superformula=_superformula,
    fish=_fish,
    tool=_tool,
    mushroom=_mushroom,
    polygon=_polygon,
    butterfly=_butterfly,
    chair=_chair,
)

#: Families that stand on the ground; the others lie at any angle.
UPRIGHT = frozenset('quadruped vehicle vessel bird tree house mushroom chair fish'.split())


def make_shape(
    family: str, category_rng: np.random.Generator, instance_rng: np.random.Generator
) -> tuple[list[Part], np.ndarray]:
    """The parts of one instance, in its pose.

    Args:
        family: a key of ``SHAPES``.
        category_rng: fixes what all instances share.
        instance_rng: fixes pose: direction, turn, shear, aspect, a smooth warp, limbs.

    Returns:
        The parts in the order of painting, centered; the geometric mean of the half sides of their
        bounding box is 1, the longer one at most 1.6. And the pose, a (2, 2) matrix; its inverse
        turns textures with the object.
    """
    parts = SHAPES[family](category_rng, instance_rng)
    turn = instance_rng.normal(0, 0.15) if family in UPRIGHT else instance_rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    mirror = 1 if instance_rng.random() < 0.5 else -1
    aspect = np.exp(instance_rng.normal(0, 0.1))
    shear = instance_rng.normal(0, 0.12)
    matrix = (
        np.array([[cos, sin], [-sin, cos]])
        @ np.array([[1, 0], [shear, 1]])
        @ np.diag([mirror * aspect, 1 / aspect])
    )
    frequency, phase = instance_rng.normal(0, 1.2, (2, 2)), instance_rng.uniform(0, 2 * np.pi, 2)
    moved = [(p + 0.05 * np.sin(p @ frequency + phase)) @ matrix.T for p, _ in parts]
    everything = np.concatenate(moved)
    low, high = everything.min(0), everything.max(0)
    half = np.maximum((high - low) / 2, 1e-3)
    scale = min(1 / np.sqrt(half.prod()), 1.6 / half.max())
    center = (low + high) / 2
    # The scale stays out of the pose: patterns are as fine on all objects, relative to their size.
    return [Part((p - center) * scale, slot) for p, (_, slot) in zip(moved, parts)], matrix
