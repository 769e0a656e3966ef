"""Hints on one image: the spread against its formula, and what must hold for any hints."""

import cv2
import numpy as np
import pytest

from mmcoseg.models.ops import image_hints as module
from mmcoseg.models.ops.image_hints import fill_boxes, set_known, spread_hints
from mmcoseg.structures import Absent, Box, Click, ExampleMask, hint_map

SIZE = (9, 12)


def spread(image, prob, known):
    return spread_hints(image, prob, known.labels, known.sure)


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def maps(channels=1, seed=0):
    prob = np.random.default_rng(seed).uniform(0.2, 0.8, (channels, *SIZE)).astype(np.float32)
    return prob / prob.sum(axis=0) if channels > 1 else prob


def literal(image, prob, known):
    """The formula of the docstring, pixel by pixel, in float64."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1).astype(np.float32) / 255
    colors = cv2.cvtColor(smooth, cv2.COLOR_BGR2LAB).astype(np.float64)

    objects = prob[0] if len(prob) == 1 else prob[1:].sum(axis=0)
    reach = min(max(module.REACH * objects.sum() ** 0.5, module.PLACE[0]), module.PLACE[1])

    def k(a, b):
        place = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
        color = ((colors[a] - colors[b]) ** 2).sum()
        return np.exp(-place / (2 * reach**2) - color / (2 * module.COLOR**2))

    pixels = list(np.ndindex(SIZE))
    hinted = [pixel for pixel in pixels if known.sure[pixel]]
    among = np.array([[k(a, b) for b in hinted] for a in hinted])
    among += module.NOISE * np.eye(len(hinted))
    result = prob.astype(np.float64)
    for channel in range(len(prob)):
        said = [
            known.labels[p] != 0 if len(prob) == 1 else known.labels[p] == channel for p in hinted
        ]
        residual = np.array(said, float) - [prob[(channel, *p)] for p in hinted]
        weights = np.linalg.solve(among, residual)
        for pixel in pixels:
            result[(channel, *pixel)] += np.dot([k(pixel, b) for b in hinted], weights)
    result = result.clip(module.LOW, module.HIGH)
    return result / result.sum(axis=0) if len(prob) > 1 else result


@pytest.mark.parametrize('channels', [1, 3])
def test_the_spread_is_the_formula(channels):
    hints = [Click(1, 1), Click(8, 4, label=0), Click(5, 7, label=channels - 1 or 1), Click(9, 4)]
    known = hint_map(hints, SIZE)
    image, prob = picture(), maps(channels)
    found = spread(image, prob, known)
    assert found.dtype == np.float32 and found.shape == prob.shape
    np.testing.assert_allclose(found, literal(image, prob, known), atol=2e-4)


def test_boxes_count_only_where_they_are_sure():
    known = hint_map([Box(4, 3, 8, 6)], SIZE)
    image, prob = picture(), maps()
    np.testing.assert_allclose(spread(image, prob, known), literal(image, prob, known), atol=2e-4)


def test_without_hints_the_map_stays():
    prob = maps()
    assert spread(picture(), prob, hint_map([], SIZE)) is prob


def test_what_is_given_is_not_written_to():
    image, prob = picture(), maps(3)
    kept = image.copy(), prob.copy()
    spread(image, prob, hint_map([Click(1, 1)], SIZE))
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(prob, kept[1])


def test_hints_spread_where_colors_are_alike_and_places_near():
    image = np.zeros((40, 128, 3), np.uint8)
    image[:, 64:] = 255
    prob = np.full((1, 40, 128), 0.5, np.float32)
    [found] = spread(image, prob, hint_map([Click(60, 20)], (40, 128)))
    near, far, other = found[20, 56], found[20, 4], found[20, 68]
    assert near > 0.8 and near > far + 0.2
    assert abs(far - 0.5) < 0.01 and abs(other - 0.5) < 0.01


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(
    'hints',
    [
        [Absent()],
        [ExampleMask(np.full(SIZE, 1, np.uint8))],
        [Click(x, y, label=(x + y) % 2) for x in range(12) for y in range(9)],
        [Click(0, 0, label=254)],
    ],
)
def test_maps_stay_probabilities(channels, hints):
    found = spread(picture(), maps(channels), hint_map(hints, SIZE))
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
    if channels > 1:
        np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


def test_of_many_hinted_pixels_some_count(monkeypatch):
    solved = []

    def counted(among, residual):
        solved.append(among.shape)
        return solve(among, residual)

    solve = np.linalg.solve
    monkeypatch.setattr(module.np.linalg, 'solve', counted)
    image = np.zeros((100, 100, 3), np.uint8)
    known = hint_map([Absent()], (100, 100))
    found = spread(image, np.full((1, 100, 100), 0.9, np.float32), known)
    assert solved == [(module.MOST_HINTS, module.MOST_HINTS)]
    assert found.max() < 0.5


@pytest.mark.parametrize('channels', [1, 3])
def test_half_of_a_box_is_its_object(channels):
    label = channels - 1 or 1
    known = hint_map([Box(2, 1, 9, 8, label=label), Click(4, 4, label=0)], SIZE, None, label)
    inside = known.boxes
    prob = maps(channels) / 8
    prob[0] += 1 - prob.sum(axis=0) if channels > 1 else 0
    before = prob.copy()
    after = fill_boxes(prob, known.labels, known.boxes)
    np.testing.assert_array_equal(prob, before)
    own, earlier = after[channels - 1][inside], before[channels - 1][inside]
    assert own.mean() == pytest.approx(0.5, abs=0.01)
    ratio = (own / (1 - own)) / (earlier / (1 - earlier))
    np.testing.assert_allclose(ratio[earlier > 0.03], ratio.mean(), rtol=0.2)
    np.testing.assert_allclose(after[:, ~inside], before[:, ~inside], rtol=1e-5)
    if channels > 1:
        np.testing.assert_allclose(after.sum(axis=0), 1, rtol=1e-5)
    again = fill_boxes(after, known.labels, known.boxes)
    np.testing.assert_allclose(again, after, atol=0.01)


def test_a_box_around_what_was_missed_shows_something():
    prob = np.full((1, *SIZE), 0.03, np.float32)
    prob[0, 3:6, 4:7] = 0.2
    known = hint_map([Box(2, 1, 9, 8)], SIZE)
    found = fill_boxes(prob, known.labels, known.boxes)[0] > 0.5
    assert found[3:6, 4:7].all() and found.sum() == 9


def test_known_pixels_are_written_into_maps():
    known = hint_map([Click(1, 1, label=2), Click(3, 3, label=0), Box(0, 0, 12, 9)], SIZE)
    one, three = maps(), maps(3)
    expected = one.copy()
    set_known(one, known.labels, known.sure)
    set_known(three, known.labels, known.sure)
    assert one[0, 1, 1] == np.float32(module.HIGH) and one[0, 3, 3] == np.float32(module.LOW)
    expected[0, 1, 1], expected[0, 3, 3] = one[0, 1, 1], one[0, 3, 3]
    np.testing.assert_array_equal(one, expected)
    assert three[:, 1, 1].argmax() == 2 and three[:, 3, 3].argmax() == 0
    np.testing.assert_allclose(three.sum(axis=0), 1, atol=1e-6)
