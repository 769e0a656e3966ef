"""Parametric shape families: outlines and objects put together from parts.

A family is a function of two generators. ``c`` is the category's: it is in the same state for
every instance, and fixes proportions and which parts there are. ``v`` is the instance's: it moves
limbs and wobbles outlines. The result is a list of parts, painted in order; x points right, y down,
and any scale will do, since :func:`make_shape` normalizes.
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


def _ellipse(x, y, rx, ry, angle=0.0, n=32):
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    a, b = rx * np.cos(t), ry * np.sin(t)
    return np.stack([x + cos * a - sin * b, y + sin * a + cos * b], 1)


def _rect(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def _limb(x, y, angle, length, w0, w1):
    """A tapered bar from (x, y); angle 0 hangs down, positive swings to the right."""
    direction = np.array([np.sin(angle), np.cos(angle)])
    normal = np.array([direction[1], -direction[0]])
    start, end = np.array([x, y]), np.array([x, y]) + length * direction
    return np.stack(
        [start + w0 * normal, end + w1 * normal, end - w1 * normal, start - w0 * normal]
    )


def _smooth(points, rounds=2):
    """Chaikin's corner cutting."""
    for _ in range(rounds):
        following = np.roll(points, -1, 0)
        points = np.stack(
            [0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1
        ).reshape(-1, 2)
    return points


def _polar(radius):
    t = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return np.stack([radius * np.cos(t), radius * np.sin(t)], 1)


def _angles(n=120):
    return np.linspace(0, 2 * np.pi, n, endpoint=False)


def _with_core(c, outline):
    """Perhaps a hole or a second color in the middle of an outline."""
    kind, scale = c.integers(4), c.uniform(0.3, 0.55)
    if kind == 0:
        return [Part(outline)]
    if kind == 1:
        return [Part(outline), Part(_ellipse(0, 0, scale * 0.7, scale * 0.7), HOLE)]
    return [Part(outline), Part(outline * scale, int(kind - 1))]


def _superformula(c, v):
    m, n1 = int(c.integers(2, 8)), c.uniform(0.5, 2.2)
    n2, n3 = c.uniform(0.6, 2.6, 2)
    t = _angles()
    with np.errstate(divide='ignore'):
        radius = (np.abs(np.cos(m * t / 4)) ** n2 + np.abs(np.sin(m * t / 4)) ** n3) ** (-1 / n1)
    radius = np.clip(radius, 0, 4 * np.median(radius))
    return _with_core(c, _polar(radius / radius.max()))


def _star(c, v):
    points, inner, rounds = int(c.integers(4, 10)), c.uniform(0.3, 0.65), int(c.integers(0, 3))
    t = _angles(2 * points)
    radius = np.where(np.arange(2 * points) % 2, inner, 1.0) * v.normal(1, 0.04, 2 * points)
    outline = np.stack([radius * np.cos(t), radius * np.sin(t)], 1)
    return _with_core(c, _smooth(outline, rounds) if rounds else outline)


def _polygon(c, v):
    n, rounds = int(c.integers(3, 8)), int(c.integers(0, 2))
    t = np.sort(_angles(n) + c.uniform(-0.25, 0.25, n))
    radius = c.uniform(0.65, 1.0, n) * v.normal(1, 0.03, n)
    outline = np.stack([radius * np.cos(t), radius * np.sin(t)], 1)
    return _with_core(c, _smooth(outline, rounds) if rounds else outline)


def _blob(c, v):
    t = _angles()
    radius = np.ones_like(t)
    for k in range(2, 7):
        amplitude, phase = c.normal(0, 0.5 / k), c.uniform(0, 2 * np.pi)
        radius += amplitude * (1 + v.normal(0, 0.15)) * np.cos(k * t + phase)
    return _with_core(c, _polar(np.clip(radius, 0.25, None)))


def _gear(c, v):
    teeth, depth, hole = int(c.integers(6, 13)), c.uniform(0.14, 0.3), c.uniform(0.2, 0.5)
    t = _angles(16 * teeth)
    radius = 1 - depth * 0.5 * (1 - np.tanh(4 * np.sin(teeth * t)))
    parts = [Part(_polar(radius))]
    spokes = int(c.integers(0, 6))
    if spokes >= 3:
        ring = 0.5 * (1 - depth + hole * 0.5)
        parts += [
            Part(_ellipse(ring * np.cos(a), ring * np.sin(a), 0.16, 0.16, n=16), HOLE)
            for a in _angles(spokes)
        ]
        hole *= 0.5
    return [*parts, Part(_ellipse(0, 0, hole, hole), HOLE if spokes % 2 else 1)]


def _quadruped(c, v):
    length, height = c.uniform(0.7, 1.05), c.uniform(0.28, 0.42)
    leg, width, neck = c.uniform(0.35, 0.95), c.uniform(0.07, 0.13), c.uniform(0.1, 0.85)
    neck_angle, head = c.uniform(0.5, 1.2), c.uniform(0.18, 0.3)
    snout, ears, tail = c.uniform(0.1, 0.35), int(c.integers(3)), c.uniform(0.2, 0.8)
    leg_slot, head_slot, horns = int(c.integers(2)), int(c.integers(2)), bool(c.integers(2))
    parts = []
    for x in (-0.8, -0.6, 0.55, 0.78):
        swing = v.normal(0, 0.16)
        parts.append(
            Part(
                _limb(x * length, height * 0.4, swing, leg + height * 0.4, width, width * 0.7),
                leg_slot,
            )
        )
    tail_angle = -2.0 + v.normal(0, 0.4)
    parts.append(Part(_limb(-0.9 * length, -0.2 * height, tail_angle, tail, 0.06, 0.02), 1))
    parts.append(Part(_ellipse(0, 0, length, height)))
    angle = np.pi - neck_angle + v.normal(0, 0.15)
    x0, y0 = 0.75 * length, -0.2 * height
    parts.append(Part(_limb(x0, y0, angle, neck + 0.1, height * 0.55, head * 0.6)))
    x, y = x0 + (neck + 0.1) * np.sin(angle), y0 + (neck + 0.1) * np.cos(angle)
    if ears == 1:
        parts.append(Part(_ellipse(x - 0.6 * head, y - 0.9 * head, 0.1, 0.2, -0.4, 16), 2))
    elif ears == 2:
        parts.append(Part(_ellipse(x - 0.5 * head, y, 0.75 * head, 0.9 * head, n=20), 1))
    if horns:
        parts.append(Part(_limb(x, y - 0.5 * head, 2.9, 2 * head, 0.05, 0.01), 2))
    parts.append(Part(_ellipse(x, y, head, head * 0.85), head_slot))
    parts.append(
        Part(_ellipse(x + head * 0.9, y + head * 0.2, snout, head * 0.45, 0.2, 20), head_slot)
    )
    parts.append(Part(_ellipse(x + 0.2 * head, y - 0.2 * head, 0.05, 0.05, n=10), 2))
    return parts


def _vehicle(c, v):
    height, nose, tail = c.uniform(0.28, 0.5), c.uniform(0.0, 0.25), c.uniform(0.0, 0.2)
    cabin, start, end = c.uniform(0.25, 0.5), c.uniform(-0.9, -0.4), c.uniform(0.1, 0.85)
    rake, wheel = c.uniform(0.02, 0.25), c.uniform(0.16, 0.3)
    wheels, panes = int(c.integers(2, 5)), int(c.integers(1, 4))
    body = np.array(
        [[-1, 0], [-1 + tail, -height], [1 - nose, -height], [1, -0.5 * height], [1, 0]]
    )
    roof = -height - cabin
    cab = np.array([[start, -height], [start + rake, roof], [end - rake, roof], [end, -height]])
    parts = [Part(cab, int(c.integers(2))), Part(_smooth(body, 1))]
    step = (end - start - 2 * rake - 0.08) / panes
    for k in range(panes):
        x = start + rake + 0.04 + k * step
        parts.append(Part(_rect(x + 0.03, roof + 0.07, x + step - 0.03, -height - 0.04), 2))
    for x in np.linspace(-0.68, 0.68, wheels) + v.normal(0, 0.02):
        parts.append(Part(_ellipse(x, 0, wheel, wheel, n=24), 2))
        parts.append(Part(_ellipse(x, 0, wheel * 0.5, wheel * 0.5, n=16), 1))
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

    def turned(part):
        return np.concatenate(
            [np.stack([radius, y], 1)[part], np.stack([-radius, y], 1)[part][::-1]]
        )

    parts = []
    for side in (1, -1)[: int(c.integers(0, 3))]:
        x = side * float(radius[18])
        parts += [Part(_ellipse(x, 0, 0.35, 0.5), 1), Part(_ellipse(x, 0, 0.2, 0.34), HOLE)]
    top = int(c.integers(12, 20))
    parts += [Part(turned(slice(None))), Part(turned(slice(top, top + int(c.integers(4, 14)))), 1)]
    if c.integers(2):
        parts.append(Part(turned(slice(0, 5)), 2))
    return parts


def _tree(c, v):
    trunk, lobes, tall = c.uniform(0.08, 0.18), int(c.integers(1, 6)), c.uniform(0.6, 1.1)
    conifer, spread = bool(c.integers(2)), c.uniform(0.4, 0.7)
    parts = [Part(_limb(0, -0.1, v.normal(0, 0.04), tall + 0.1, trunk * 0.7, trunk), 1)]
    if conifer:
        for k in range(lobes + 1):
            w, y = spread * (1 - 0.55 * k / (lobes + 1)), -0.5 * k
            parts.append(Part(np.array([[-w, y], [0, y - 0.85], [w, y]])))
        return parts
    centers = c.uniform(-1, 1, (lobes, 2)) * [0.6, 0.4] + v.normal(0, 0.04, (lobes, 2))
    parts += [Part(_ellipse(x, y - 0.5, spread * 0.7, spread * 0.6)) for x, y in centers]
    parts.append(Part(_ellipse(0, -0.5, spread, spread * 0.9)))
    fruits = c.uniform(-0.7, 0.7, (int(c.integers(0, 6)), 2)) * spread
    return parts + [Part(_ellipse(x, y - 0.5, 0.08, 0.08, n=12), 2) for x, y in fruits]


def _mushroom(c, v):
    width, height, stem = c.uniform(0.7, 1.1), c.uniform(0.45, 0.95), c.uniform(0.15, 0.35)
    tall, droop = c.uniform(0.5, 1.1), c.uniform(-0.1, 0.25)
    t = np.linspace(np.pi, 2 * np.pi, 30)
    cap = np.stack([width * np.cos(t), height * np.sin(t)], 1)
    brim = np.stack([width * np.linspace(1, -1, 12), droop * np.linspace(-1, 1, 12) ** 2], 1)
    parts = [Part(_limb(0, -0.1, v.normal(0, 0.1), tall, stem * 0.8, stem), 1)]
    parts.append(Part(np.concatenate([cap, brim])))
    for _ in range(int(c.integers(0, 6))):
        x, y, r = (
            c.uniform(-0.6, 0.6) * width,
            -c.uniform(0.2, 0.65) * height,
            c.uniform(0.06, 0.14),
        )
        parts.append(Part(_ellipse(x, y, r, r, n=14), 2))
    return parts


def _fish(c, v):
    length, height, tail = c.uniform(0.75, 1.0), c.uniform(0.28, 0.6), c.uniform(0.3, 0.6)
    fork, fin, back = c.uniform(0.0, 0.3), c.uniform(0.2, 0.5), c.uniform(-0.4, 0.2)
    flap = v.normal(0, 0.12)
    fan = [
        [-length * 0.8, 0],
        [-length - tail, -tail + flap],
        [-length - tail + fork, flap],
        [-length - tail, tail + flap],
    ]
    parts = [Part(np.array(fan), 1)]
    dorsal = [
        [back - 0.35, -height * 0.6],
        [back - 0.2, -height - fin],
        [back + 0.4, -height * 0.7],
    ]
    parts.append(Part(np.array(dorsal), 1))
    parts.append(
        Part(np.array([[0.1, height * 0.5], [-0.25, height + fin * 0.7], [0.35, height * 0.6]]), 1)
    )
    parts.append(Part(_ellipse(0, 0, length, height)))
    if c.integers(2):
        x = c.uniform(-0.3, 0.2)
        parts.append(Part(_rect(x, -height * 0.75, x + 0.16, height * 0.75), 2))
    eye = length * 0.65
    parts.append(Part(_ellipse(eye, -height * 0.2, 0.09, 0.09, n=14), 1))
    return [*parts, Part(_ellipse(eye, -height * 0.2, 0.05, 0.05, n=10), 2)]


def _bird(c, v):
    length, height, head = c.uniform(0.5, 0.75), c.uniform(0.3, 0.45), c.uniform(0.2, 0.3)
    beak, tail, wing = c.uniform(0.15, 0.5), c.uniform(0.3, 0.8), c.uniform(0.4, 0.8)
    leg, neck = c.uniform(0.1, 0.6), c.uniform(0.1, 0.6)
    crest = bool(c.integers(2))
    parts = [
        Part(_limb(x, height * 0.6, v.normal(0, 0.1), leg + height * 0.4, 0.04, 0.03), 2)
        for x in (-0.08, 0.15)
    ]
    fan = [
        [-0.3, 0],
        [-length - tail, -0.25 + v.normal(0, 0.08)],
        [-length - tail, 0.1],
        [-0.3, 0.2],
    ]
    parts += [Part(np.array(fan), 1), Part(_ellipse(0, 0, length, height, -0.25))]
    hx, hy = length * 0.75, -height * 0.6 - neck
    parts.append(Part(_limb(length * 0.55, 0, np.pi - 0.25, neck + height * 0.6, 0.2, 0.14)))
    bill = [
        [hx + head * 0.7, hy - 0.1],
        [hx + head + beak, hy + 0.05],
        [hx + head * 0.7, hy + 0.12],
    ]
    parts.append(Part(np.array(bill), 2))
    if crest:
        parts.append(
            Part(np.array([[hx - head, hy], [hx - head, hy - 0.45], [hx + 0.1, hy - 0.1]]), 1)
        )
    parts.append(Part(_ellipse(hx, hy, head, head, n=24)))
    parts.append(Part(_ellipse(hx + 0.08, hy - 0.05, 0.05, 0.05, n=10), 2))
    lift = v.uniform(-0.5, 0.9)
    return [
        *parts,
        Part(_ellipse(-0.1, -0.05 - 0.2 * lift, wing * 0.65, 0.2, 0.1 + 0.6 * lift, 24), 1),
    ]


def _flower(c, v):
    petals, inner, width = int(c.integers(5, 11)), c.uniform(0.25, 0.45), c.uniform(0.18, 0.3)
    stem, layers = bool(c.integers(2)), int(c.integers(1, 3))
    parts = []
    if stem:
        parts.append(Part(_limb(0, 0, v.normal(0, 0.12), 2.1, 0.06, 0.06), 1))
        for side in (1, -1):
            parts.append(Part(_ellipse(side * 0.35, 1.4, 0.38, 0.13, side * -0.5, 20), 1))
    for layer in range(layers):
        scale = 1 - 0.4 * layer
        for a in _angles(petals) + layer * np.pi / petals + v.normal(0, 0.04):
            x, y = 0.6 * scale * np.cos(a), 0.6 * scale * np.sin(a)
            parts.append(Part(_ellipse(x, y, 0.42 * scale, width, a, 20), 0 if layer == 0 else 1))
    return [*parts, Part(_ellipse(0, 0, inner * 0.8, inner * 0.8, n=24), 2)]


def _butterfly(c, v):
    parts, flap = [], v.uniform(0.75, 1.0)
    lobes = [(-0.55, 0.75, 0.5), (0.5, 0.6, 0.42)]
    spots = bool(c.integers(2))
    points = []
    for y, long, wide in lobes:
        long, wide, tilt = (
            long * c.uniform(0.7, 1.3),
            wide * c.uniform(0.7, 1.2),
            c.uniform(0.2, 0.9),
        )
        points.append((y, long, wide, tilt * (1 if y > 0 else -1)))
    tip = c.uniform(0, 0.4)
    for side in (1, -1):
        for y, long, wide, tilt in points:
            wing = _ellipse(0.7 * long, 0, long, wide)
            wing[:, 0] += tip * (wing[:, 0] / long) ** 2 * 0.3
            cos, sin = np.cos(tilt), np.sin(tilt)
            wing = wing @ np.array([[cos, sin], [-sin, cos]]) + [0, 0.3 * y]
            parts.append(Part(wing * [side * flap, 1]))
            if spots:
                center = np.array([cos, sin]) * long + [0, 0.3 * y]
                parts.append(
                    Part(_ellipse(side * flap * center[0], center[1], 0.18, 0.18, n=16), 1)
                )
    for side in (1, -1):
        parts.append(Part(_limb(0, -0.6, np.pi - side * 0.5, 0.7, 0.025, 0.025), 2))
    return [*parts, Part(_ellipse(0, 0.05, 0.12, 0.75), 2)]


def _aeroplane(c, v):
    fuselage, span, chord = c.uniform(0.1, 0.2), c.uniform(0.7, 1.3), c.uniform(0.2, 0.45)
    sweep, where, engines = c.uniform(-0.1, 0.6), c.uniform(-0.3, 0.2), int(c.integers(0, 3))
    tail = c.uniform(0.3, 0.5)
    parts = []
    for side in (1, -1):
        wing = [[where, 0], [where + chord, 0], [where + chord * 0.6 - sweep, side * span]]
        wing.append([where + chord * 0.2 - sweep, side * span])
        parts.append(Part(np.array(wing), 1 if engines else 0))
        parts.append(
            Part(np.array([[-1, 0], [-0.7, 0], [-0.9, side * tail], [-1.1, side * tail]]), 1)
        )
        for k in range(engines):
            y = side * span * (0.35 + 0.3 * k)
            parts.append(Part(_ellipse(where + chord * 0.9 - sweep * 0.4, y, 0.18, 0.08, n=18), 2))
    parts.append(Part(_ellipse(0, 0, 1.1, fuselage)))
    return [*parts, Part(_ellipse(0.8, 0, 0.13, fuselage * 0.6, n=16), 2)]


def _chair(c, v):
    wide, seat, leg = c.uniform(0.5, 0.85), c.uniform(0.1, 0.25), c.uniform(0.5, 1.0)
    back, bars, arms = c.uniform(0.4, 1.2), int(c.integers(0, 4)), bool(c.integers(2))
    thick, lean = c.uniform(0.06, 0.13), v.normal(0, 0.06)
    parts = [
        Part(_limb(x, seat, splay, leg, thick, thick * 0.7), 1)
        for x, splay in (
            (-wide * 0.85, -0.08),
            (wide * 0.85, 0.08),
            (-wide * 0.4, 0.0),
            (wide * 0.4, 0),
        )
    ]
    rest = np.array(
        [[-wide, 0], [-wide + lean, -back], [wide * 0.9 + lean, -back], [wide * 0.9, 0]]
    )
    parts.append(Part(rest))
    for x in np.linspace(-wide * 0.6, wide * 0.5, bars):
        parts.append(Part(_rect(x - 0.07, -back * 0.8, x + 0.07, -back * 0.1), HOLE))
    if arms:
        parts.append(Part(_rect(-wide * 1.15, -0.4, -wide * 0.95, seat), 2))
        parts.append(Part(_rect(wide * 0.95, -0.4, wide * 1.15, seat), 2))
    return [*parts, Part(_rect(-wide * 1.1, -0.02, wide * 1.1, seat), 1 if bars % 2 else 0)]


def _tool(c, v):
    kind, length, thick = int(c.integers(3)), c.uniform(1.0, 1.6), c.uniform(0.08, 0.16)
    head, size = int(c.integers(3)), c.uniform(0.35, 0.55)
    parts = [Part(_rect(-0.1, -thick, length, thick), 0 if kind == 0 else 1)]
    if kind == 0:  # a key: a ring, a shaft and teeth
        for x in np.linspace(length * 0.6, length - 0.06, int(c.integers(2, 5))):
            parts.append(Part(_rect(x - 0.06, 0, x + 0.06, thick + c.uniform(0.1, 0.35))))
        outline = _ellipse(-size, 0, size, size) if head else _rect(-2 * size, -size, 0.1, size)
        return [*parts, Part(outline), Part(_ellipse(-size, 0, size * 0.5, size * 0.5), HOLE)]
    if kind == 1:  # a hammer or an axe
        blade = np.array([[-0.2, -size], [0.2, -size * 0.8], [0.2, size * 0.8], [-0.3, size * 1.2]])
        claw = _limb(0, -size, np.pi + 0.5, 0.5, 0.15, 0.03)
        return [*parts, Part(blade), *([Part(claw)] if head else [])]
    bristles = _rect(-size * 2, -size * 0.7, 0, size * 0.7) + np.array([0, v.normal(0, 0.02)])
    if head == 0:  # a brush
        return [*parts, Part(bristles), Part(_rect(-0.15, -size * 0.75, 0.12, size * 0.75), 2)]
    outline = [Part(_ellipse(-size, 0, size * 1.1, size * 0.8))]
    if head == 1:  # a racket or a magnifying glass
        outline.append(Part(_ellipse(-size, 0, size * 0.8, size * 0.52), HOLE))
    return parts + outline


def _house(c, v):
    wide, tall, roof = c.uniform(0.5, 1.0), c.uniform(0.5, 1.2), c.uniform(0.3, 0.9)
    eaves, columns, rows = c.uniform(0, 0.2), int(c.integers(1, 4)), int(c.integers(1, 3))
    peak, tower = c.uniform(-0.4, 0.4) * wide, bool(c.integers(2))
    parts = []
    if tower:
        x = -wide * 0.6
        parts.append(Part(_rect(x - 0.12, -roof * 1.15, x + 0.12, 0.1), 2))
    parts.append(Part(_rect(-wide, 0, wide, tall)))
    parts.append(Part(np.array([[-wide - eaves, 0.03], [peak, -roof], [wide + eaves, 0.03]]), 1))
    for i, x in enumerate(np.linspace(-wide, wide, columns + 2)[1:-1]):
        for j in range(rows):
            y = tall * (j + 0.3) / (rows + 0.3)
            w, h = 0.4 * wide / columns, 0.45 * tall / rows
            door = j == rows - 1 and i == columns // 2
            parts.append(Part(_rect(x - w, y, x + w, tall if door else y + h), 2))
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
UPRIGHT = frozenset(
    {'quadruped', 'vehicle', 'vessel', 'bird', 'tree', 'house', 'mushroom', 'chair', 'fish'}
)


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
        bounding box is 1, the longer one at most 1.6. And the pose, a (2, 2) matrix, by whose
        inverse textures are looked up so that they turn with the object.
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
    moved = []
    for points, _ in parts:
        points = points + 0.05 * np.sin(points @ frequency + phase)
        moved.append(points @ matrix.T)
    everything = np.concatenate(moved)
    low, high = everything.min(0), everything.max(0)
    half = np.maximum((high - low) / 2, 1e-3)
    scale = min(1 / np.sqrt(half.prod()), 1.6 / half.max())
    center = (low + high) / 2
    # The scale stays out of the pose: patterns are as fine on all objects, relative to their size.
    return [Part((p - center) * scale, slot) for p, (_, slot) in zip(moved, parts)], matrix
