"""Saliency without labels: every step against its literal definition, then maps of pictures."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from mmcoseg.errors import MMCosegError
from mmcoseg.evaluation.functional import image_scores
from mmcoseg.saliency import fused_saliency, minimum_barrier, robust_background_detection
from mmcoseg.saliency.minimum_barrier import border_dissimilarity, minimum_barrier_distance
from mmcoseg.saliency.robust_background import (
    background_weighted_contrast,
    boundary_connectivity,
    optimize_saliency,
    smoothness_weights,
    superpixel_labels,
)

METHODS = [robust_background_detection, minimum_barrier, fused_saliency]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def picture(height=90, width=120, seed=0):
    """A noisy blue-green ground with a red ellipse; the picture and the ellipse's mask."""
    noise = np.random.default_rng(seed).integers(-12, 13, (height, width, 3))
    image = np.full((height, width, 3), (150, 120, 60))
    mask = np.zeros((height, width), np.uint8)
    middle = (width * 9 // 20, height * 11 // 20)
    cv2.ellipse(mask, middle, (width // 5, height // 4), 20, 0, 360, 1, -1)
    image[mask > 0] = (40, 50, 190)
    return np.clip(image + noise, 0, 255).astype(np.uint8), mask > 0


def random_graph(rng, n=12):
    """Distances of random colors, adjacency along a ring with chords, and a border."""
    colors = rng.uniform(0, 12, (n, 3))
    adjacent = rng.random((n, n)) < 0.15
    adjacent[np.arange(n), (np.arange(n) + 1) % n] = True
    adjacent |= adjacent.T
    np.fill_diagonal(adjacent, False)
    border = np.arange(n) < n // 3
    return np.linalg.norm(colors[:, None] - colors, axis=2), adjacent, border


# --- minimum barrier distance


def exact_barrier(values, seeds):
    """The least barrier over all ways without a loop, by trying them."""
    height, width = values.shape
    found = np.full(values.shape, np.inf)

    def walk(y, x, high, low, visited):
        high, low = max(high, values[y, x]), min(low, values[y, x])
        found[y, x] = min(found[y, x], high - low)
        for there in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= there[0] < height and 0 <= there[1] < width and there not in visited:
                walk(*there, high, low, visited | {there})

    for y, x in np.argwhere(seeds):
        walk(y, x, -np.inf, np.inf, {(y, x)})
    return found


def scanned_barrier(values, seeds, passes):
    """Algorithm 1 of the paper, pixel by pixel."""
    height, width = values.shape
    cost = np.where(seeds, 0.0, np.inf)
    high = np.where(seeds, values, np.inf)
    low = np.where(seeds, values, -np.inf)
    for index in range(passes):
        step = 1 if index % 2 == 0 else -1
        for y in range(height)[::step]:
            for x in range(width)[::step]:
                for v, u in ((y - step, x), (y, x - step)):
                    if 0 <= v < height and 0 <= u < width:
                        up = max(high[v, u], values[y, x])
                        down = min(low[v, u], values[y, x])
                        if up - down < cost[y, x]:
                            cost[y, x], high[y, x], low[y, x] = up - down, up, down
    return cost


@pytest.mark.parametrize('shape', [(1, 1), (1, 7), (7, 1), (2, 9), (9, 2), (8, 5), (6, 11)])
@pytest.mark.parametrize('passes', [2, 3, 4])
def test_barrier_distance_is_that_of_the_scan_by_pixels(rng, shape, passes):
    values = rng.integers(0, 50, shape).astype(float)
    seeds = rng.random(shape) < 0.2
    seeds.flat[rng.integers(seeds.size)] = True
    result = minimum_barrier_distance(values, seeds, passes)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, scanned_barrier(values, seeds, passes))


def test_barrier_distance_is_that_of_a_way_and_mostly_the_least(rng):
    equal, total = 0, 0
    for _ in range(20):
        values = rng.integers(0, 20, (3, 4)).astype(float)
        seeds = np.zeros((3, 4), bool)
        seeds[rng.integers(3), rng.integers(4)] = True
        exact = exact_barrier(values, seeds)
        result = minimum_barrier_distance(values, seeds, passes=6)
        assert (result >= exact).all()
        equal += (result == exact).sum()
        total += exact.size
    # Only what the greedy choice of one way a pixel loses.
    assert equal / total > 0.9


def test_barrier_distance_on_steps_is_known():
    values = np.zeros((9, 9))
    values[2:7, 2:7] = 3
    values[4, 4] = 1  # a dip does not lower the barrier that stands around it
    seeds = np.zeros((9, 9), bool)
    seeds[0] = True
    assert (minimum_barrier_distance(values, seeds) == np.where(values > 0, 3, 0)).all()


def test_channels_of_a_barrier_distance_do_not_touch_each_other(rng):
    values = rng.random((7, 9, 3))
    seeds = np.zeros((7, 9), bool)
    seeds[:, 0] = True
    together = minimum_barrier_distance(values, seeds)
    for channel in range(3):
        alone = minimum_barrier_distance(values[..., channel], seeds)
        np.testing.assert_array_equal(together[..., channel], alone)


def test_border_dissimilarity_is_the_sum_without_the_largest(rng):
    lab = rng.normal(0, 10, (20, 30, 3)).astype(np.float32)
    expected = []
    for strip in (lab[:2], lab[18:], lab[:, :2], lab[:, 28:]):
        strip = strip.reshape(-1, 3).astype(float)
        mean = strip.mean(0)
        covariance = np.mean([np.outer(v - mean, v - mean) for v in strip], 0) + np.eye(3)
        inverse = np.linalg.inv(covariance)
        apart = np.array([[np.sqrt((v - mean) @ inverse @ (v - mean)) for v in row] for row in lab])
        expected.append(apart / apart.max())
    expected = sum(sorted(expected, key=np.sum)) - np.max(expected, axis=0)
    np.testing.assert_allclose(border_dissimilarity(lab), expected, rtol=1e-4)


def test_border_dissimilarity_of_a_turned_picture_is_turned(rng):
    lab = rng.normal(0, 10, (24, 36, 3)).astype(np.float32)
    np.testing.assert_allclose(
        border_dissimilarity(lab[::-1, ::-1]), border_dissimilarity(lab)[::-1, ::-1], atol=1e-5
    )
    turned = border_dissimilarity(lab.transpose(1, 0, 2))
    np.testing.assert_allclose(turned, border_dissimilarity(lab).T, atol=1e-5)


# --- robust background detection


def test_boundary_connectivity_follows_shortest_ways(rng):
    distance, adjacent, border = random_graph(rng)
    distance[0, 1] = distance[1, 0] = 0  # equal colors are joined, not parted
    n, sigma = len(distance), 6.0
    ways = np.where(adjacent | (border[:, None] & border), distance, np.inf)
    np.fill_diagonal(ways, 0)
    for k in range(n):  # Floyd and Warshall's shortest ways
        ways = np.minimum(ways, ways[:, k : k + 1] + ways[k : k + 1])
    expected = []
    for p in range(n):
        area = sum(np.exp(-(ways[p, i] ** 2) / (2 * sigma**2)) for i in range(n))
        length = sum(np.exp(-(ways[p, i] ** 2) / (2 * sigma**2)) for i in range(n) if border[i])
        expected.append(length / np.sqrt(area))
    np.testing.assert_allclose(
        boundary_connectivity(distance, adjacent, border, sigma), expected, rtol=1e-6
    )


def test_boundary_connectivity_of_separate_regions_is_length_by_root_of_area():
    labels = np.kron([[0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]], np.ones((1, 1), int)).ravel()
    n, width = 12, 3
    adjacent = np.zeros((n, n), bool)
    for p in range(n):
        for q in (p + 1, p + width):
            if q < n and (q == p + width or q % width):
                adjacent[p, q] = adjacent[q, p] = True
    border = labels == 0
    distance = np.where(labels[:, None] == labels, 0.0, 1e3)
    result = boundary_connectivity(distance, adjacent, border, 10.0)
    np.testing.assert_allclose(result[border], 10 / np.sqrt(10))
    np.testing.assert_allclose(result[~border], 0, atol=1e-12)


def test_contrast_is_the_weighted_sum(rng):
    distance, _, _ = random_graph(rng)
    n = len(distance)
    centers, background = rng.random((n, 2)), rng.random(n)
    expected = [
        sum(
            distance[p, i]
            * np.exp(-np.sum((centers[p] - centers[i]) ** 2) / (2 * 0.25**2))
            * background[i]
            for i in range(n)
        )
        for p in range(n)
    ]
    result = background_weighted_contrast(distance, centers, background, 0.25)
    np.testing.assert_allclose(result, expected)


def test_smoothness_links_two_steps_and_the_border(rng):
    distance, adjacent, border = random_graph(rng)
    n = len(distance)
    result = smoothness_weights(distance, adjacent, border, 10.0, 0.1)
    for i in range(n):
        for j in range(n):
            by_two = any(adjacent[i, k] and adjacent[k, j] for k in range(n))
            linked = i != j and (adjacent[i, j] or by_two or (border[i] and border[j]))
            expected = np.exp(-(distance[i, j] ** 2) / 200) * linked + 0.1 * adjacent[i, j]
            assert result[i, j] == pytest.approx(expected)


def test_optimum_solves_the_least_squares(rng):
    distance, adjacent, border = random_graph(rng)
    n = len(distance)
    weights = smoothness_weights(distance, adjacent, border, 5.0, 0.1)
    background, foreground = rng.random(n), rng.random(n)
    rows, right = [], []
    for i in range(n):
        for factor, target in ((background[i], 0), (foreground[i], 1)):
            rows.append(np.sqrt(factor) * np.eye(n)[i])
            right.append(np.sqrt(factor) * target)
        for j in range(i):
            rows.append(np.sqrt(weights[i, j]) * (np.eye(n)[i] - np.eye(n)[j]))
            right.append(0)
    expected = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    np.testing.assert_allclose(
        optimize_saliency(weights, background, foreground), expected, atol=1e-9
    )


def test_optimum_of_what_no_term_speaks_of_is_zero():
    assert (optimize_saliency(np.zeros((3, 3)), np.zeros(3), np.zeros(3)) == 0).all()
    alone = optimize_saliency(np.zeros((2, 2)), np.array([0.0, 1]), np.array([0.0, 3]))
    np.testing.assert_allclose(alone, [0, 0.75])


def test_superpixels_are_numbered_without_gaps_and_follow_edges(rng):
    lab = rng.normal(0, 1, (60, 80, 3)).astype(np.float32)
    lab[:, 33:] += 60
    labels = superpixel_labels(lab, 40)
    assert labels.shape == (60, 80)
    assert (np.unique(labels) == np.arange(labels.max() + 1)).all()
    assert 20 <= labels.max() + 1 <= 80
    assert not set(labels[:, :33].ravel()) & set(labels[:, 33:].ravel())
    with pytest.raises(ValueError, match='at least 1, got 0'):
        superpixel_labels(lab, 0)


# --- whole maps


@pytest.mark.parametrize('method', METHODS)
def test_object_stands_out(method):
    image, mask = picture()
    before = image.copy()
    saliency = method(image)
    assert saliency.shape == mask.shape
    assert saliency.dtype == np.float32
    assert 0 <= saliency.min() and saliency.max() <= 1
    assert saliency[mask].mean() > 0.7
    assert saliency[~mask].mean() < 0.2
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(saliency, method(image))


@pytest.mark.parametrize('method', METHODS)
def test_view_in_memory_does_not_matter(method):
    image, _ = picture()
    wide = np.asfortranarray(image)
    np.testing.assert_array_equal(method(wide), method(image))
    np.testing.assert_array_equal(method(image[:, ::-1]), method(image[:, ::-1].copy()))


@pytest.mark.parametrize('method', METHODS)
def test_mirrored_picture_has_a_mirrored_map(method):
    # Superpixels and scans start from one corner, so not to the last digit.
    image, _ = picture()
    mirrored = method(np.ascontiguousarray(image[:, ::-1]))[:, ::-1]
    assert np.abs(mirrored - method(image)).mean() < 0.05


@pytest.mark.parametrize('method', METHODS)
def test_large_picture_is_like_the_small_one(method):
    image, _ = picture(180, 240)
    large = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    saliency = method(large)
    assert saliency.shape == (540, 720)
    reduced = cv2.resize(saliency, (240, 180), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced - method(image)).mean() < 0.1


@pytest.mark.parametrize('method', METHODS)
def test_gray_picture_in_one_or_three_channels(method):
    image, mask = picture()
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    saliency = method(gray)
    np.testing.assert_array_equal(saliency, method(np.repeat(gray[..., None], 3, 2)))
    assert saliency[mask].mean() > 2 * saliency[~mask].mean()


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('level', [0, 119, 255])
@pytest.mark.parametrize('shape', [(1, 1), (40, 50)])
def test_one_color_is_not_salient(method, level, shape):
    assert (method(np.full((*shape, 3), level, np.uint8)) == 0).all()


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('shape', [(1, 2), (2, 2), (1, 400), (700, 1), (3, 5), (1000, 4)])
def test_slivers_have_a_map(method, shape, rng, recwarn):
    saliency = method(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    assert saliency.shape == shape
    assert np.isfinite(saliency).all()
    assert 0 <= saliency.min() and saliency.max() <= 1
    assert not recwarn.list


@pytest.mark.parametrize('method', METHODS)
def test_wrong_images_are_named(method):
    with pytest.raises(MMCosegError, match='uint8 and not empty, got float64'):
        method(np.zeros((4, 4, 3)))
    with pytest.raises(MMCosegError, match='uint8 and not empty, got int64'):
        method([[0]])
    with pytest.raises(ValueError, match=r'got uint8 \(4, 4, 4\)'):
        method(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r'got uint8 \(0, 4, 3\)'):
        method(np.zeros((0, 4, 3), np.uint8))


def test_settings_of_the_papers_work_too():
    image, mask = picture()
    published = robust_background_detection(
        image, superpixels=200, texture=0, sigma_geodesic=10, sigma_boundary=1
    )
    assert published[mask].mean() > published[~mask].mean() + 0.5
    plain = minimum_barrier(image, center=None)
    sharp = minimum_barrier(image, contrast=10)
    assert plain[mask].mean() > plain[~mask].mean() + 0.5
    # The sigmoid draws the values away from the middle.
    assert np.abs(sharp - 0.5).mean() > np.abs(minimum_barrier(image) - 0.5).mean()


def test_texture_alone_makes_an_object_stand_out():
    rng = np.random.default_rng(3)
    image = np.full((120, 160, 3), 128, np.int64)
    strong = np.zeros((120, 160), bool)
    strong[40:85, 55:105] = True
    image += (rng.normal(0, 1, (120, 160)) * np.where(strong, 45, 3))[..., None].astype(int)
    image = np.clip(image, 0, 255).astype(np.uint8)

    def margin(texture):
        saliency = robust_background_detection(image, texture=texture)
        return saliency[strong].mean() - saliency[~strong].mean()

    assert margin(5) > 0.6
    assert margin(5) > margin(0) + 0.1


@pytest.mark.slow
def test_maps_of_photographs_find_objects(coseg_data):
    """Measured on every 10th of 582: J at Otsu's threshold .41, of a centered Gaussian .25."""
    files = sorted((coseg_data / 'pascal_coseg' / 'images').glob('*/*.jpg'))[::24]
    overlaps = []
    for file in files:
        mask = file.parents[2] / 'masks' / file.parent.name / f'{file.stem}.png'
        truth = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) > 127
        saliency = np.rint(fused_saliency(cv2.imread(str(file))) * 255).astype(np.uint8)
        _, found = cv2.threshold(saliency, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        overlaps.append(image_scores(found, truth.astype(np.uint8))[1])
    assert np.mean(overlaps) > 0.33


def test_import_is_light(repo_env):
    code = (
        'import sys, mmcoseg.saliency\n'
        "print([m for m in ('torch', 'mmengine', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], env=repo_env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == '[]', done.stderr
