import sys

import numpy as np
import pytest

from mmcoseg.mean_field import dense_crf, import_pydensecrf

RNG = np.random.default_rng(0)


def two_colors(seed=0):
    """A noisy image of 10 x 12 pixels with a rectangle, and a soft map that knows nothing."""
    rng = np.random.default_rng(seed)
    image = np.full((10, 12, 3), 60.0)
    image[3:8, 4:10] = 150
    image += rng.normal(0, 6, image.shape)
    return image.clip(0, 255).astype(np.uint8), rng.random((1, 10, 12))


def mean_field(image, prob, iterations, bilateral, gaussian, clip=(0.03, 0.97), normalized=True):
    """The definition, with all kernels written out, in float64."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    places = np.stack([x, y], axis=-1).reshape(-1, 2).astype(float)
    colors = image.reshape(-1, 3).astype(float)
    distance = ((places[:, None] - places) ** 2).sum(-1)
    contrast = ((colors[:, None] - colors) ** 2).sum(-1)
    kernels = []
    if gaussian:
        kernels.append((gaussian[1], np.exp(-distance / (2 * gaussian[0] ** 2))))
    if bilateral:
        sxy, srgb, weight = bilateral
        exponent = -distance / (2 * sxy**2) - contrast / (2 * srgb**2)
        kernels.append((weight, np.exp(exponent)))
    if normalized:
        kernels = [(w, k / np.sqrt(np.outer(k.sum(axis=0), k.sum(axis=0)))) for w, k in kernels]
    labels = (np.concatenate([1 - prob, prob]) if len(prob) == 1 else prob).clip(*clip)
    unary = -np.log(labels.reshape(len(labels), -1))
    q = np.exp(-unary) / np.exp(-unary).sum(axis=0)
    for _ in range(iterations):
        q = np.exp(-unary + sum(w * q @ k for w, k in kernels))
        q /= q.sum(axis=0)
    q = q.reshape(len(labels), *image.shape[:2])
    return q[1:] if len(prob) == 1 else q


def scaled(kernel, width, weight):
    return kernel and (width * kernel[0], *kernel[1:-1], weight * kernel[-1])


def in_pixels(image, **options):
    """Options with kernels whose widths are in pixels of this image."""
    factor = 500 / max(image.shape[:2])
    for name in ('bilateral', 'gaussian'):
        options[name] = scaled(options[name], factor, 1)
    return options


@pytest.mark.parametrize('iterations', [1, 5])
@pytest.mark.parametrize(
    ('bilateral', 'gaussian'), [(None, (2, 3)), ((5, 20, 3), None), ((5, 20, 3), (2, 2))]
)
@pytest.mark.parametrize('seed', range(3))
def test_agrees_with_the_definition(seed, iterations, bilateral, gaussian):
    image, prob = two_colors(seed)
    options = in_pixels(image, bilateral=bilateral, gaussian=gaussian)
    found = dense_crf(image, prob, iterations, **options)
    assert found.dtype == np.float32 and found.shape == prob.shape

    def error(steps=0, width=1, weight=1, **kwargs):
        kernels = (scaled(kernel, width, weight) for kernel in (bilateral, gaussian))
        return found - mean_field(image, prob, iterations + steps, *kernels, **kwargs)

    # pydensecrf's lattice approximates the kernels, hence the wide tolerance; but the result
    # is nearer to the definition than to any other that it could be mistaken for.
    assert np.abs(error()).max() < 0.1
    others = [
        error(steps=1),
        error(steps=-1),
        error(width=2),
        error(width=0.5),
        error(weight=2),
        error(weight=0.5),
        error(normalized=False),
    ]
    assert np.square(error()).mean() < 0.8 * min(np.square(o).mean() for o in others)


def test_agrees_with_the_definition_for_several_labels():
    image, _ = two_colors()
    prob = RNG.dirichlet(np.ones(4), (10, 12)).transpose(2, 0, 1)
    options = dict(iterations=5, bilateral=(5, 20, 3), gaussian=(2, 2))
    # Within the clip's limits.
    prob = 0.8 * prob + 0.05
    found = dense_crf(image, prob, **in_pixels(image, **options))
    expected = mean_field(image, prob, **options)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    assert np.abs(found - expected).max() < 0.15
    assert np.abs(expected - prob).mean() > 8 * np.abs(found - expected).mean()


def test_one_object_is_two_labels():
    image, prob = two_colors()
    both = dense_crf(image, np.concatenate([1 - prob, prob]))
    np.testing.assert_allclose(both[1:], dense_crf(image, prob), atol=1e-5)
    np.testing.assert_allclose(both.sum(axis=0), 1, atol=1e-5)
    # The labels have no order.
    np.testing.assert_allclose(
        dense_crf(image, np.concatenate([prob, 1 - prob])), both[::-1], atol=1e-5
    )


@pytest.mark.parametrize('axis', [0, 1])
def test_follows_a_mirrored_image(axis):
    image, prob = two_colors()
    options = in_pixels(image, bilateral=(5, 20, 3), gaussian=(2, 2))
    mirrored = dense_crf(np.flip(image, axis), np.flip(prob, axis + 1), **options)
    straight = dense_crf(image, prob, **options)
    assert np.abs(np.flip(mirrored, axis + 1) - straight).mean() < 0.02


def test_order_of_colors_does_not_matter():
    image, prob = two_colors()
    options = in_pixels(image, bilateral=(5, 20, 3), gaussian=(2, 2))
    swapped = dense_crf(image[:, :, ::-1], prob, **options)
    # Up to where the lattice's cells happen to lie.
    assert np.abs(swapped - dense_crf(image, prob, **options)).mean() < 0.02


def test_result_does_not_depend_on_the_resolution():
    image = np.full((120, 160, 3), 40, np.uint8)
    image[30:90, 50:110] = 160
    prob = np.full((1, 120, 160), 0.3, np.float32)
    prob[:, 40:95, 45:100] = 0.8
    noise = RNG.normal(0, 0.05, prob.shape)
    small, large = (
        dense_crf(
            image.repeat(n, axis=0).repeat(n, axis=1),
            (prob + noise).clip(0, 1).repeat(n, axis=1).repeat(n, axis=2),
            bilateral=(62.5, 20, 3),
            gaussian=(6.25, 3),
        )
        for n in (1, 3)
    )
    assert np.abs(small.repeat(3, axis=1).repeat(3, axis=2) - large).mean() < 0.02


def test_flat_maps_stay_flat():
    flat = np.full((10, 12, 3), 99, np.uint8)
    for value in (0.2, 0.5, 0.8):
        options = in_pixels(flat, bilateral=(60, 8, 5), gaussian=(2, 3))
        found = dense_crf(flat, np.full((1, 10, 12), value), **options)
        if value == 0.5:
            np.testing.assert_allclose(found, 0.5, atol=1e-4)
        else:
            assert ((found > 0.5) == (value > 0.5)).all()
    # Of three labels none is better, nor where a map of zeros says nothing.
    for value in (1 / 3, 0):
        found = dense_crf(flat, np.full((3, 10, 12), value))
        np.testing.assert_allclose(found, 1 / 3, atol=1e-4)


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (7, 1), (2, 2)])
def test_tiny_images(size):
    image = RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
    for labels in (1, 3):
        prob = RNG.dirichlet(np.ones(3), size).transpose(2, 0, 1)[:labels]
        found = dense_crf(image, prob)
        assert found.shape == prob.shape and np.isfinite(found).all()
        assert found.min() >= 0 and found.max() <= 1


def test_no_kernels_and_no_iterations_leave_what_the_crf_starts_from():
    image, prob = two_colors()
    for options in (dict(iterations=0), dict(bilateral=None, gaussian=None)):
        found = dense_crf(image, prob, **options)
        np.testing.assert_allclose(found, prob.clip(0.03, 0.97), atol=1e-5)


def test_logit_shift_is_added_to_the_objects():
    image, prob = two_colors()
    shifted = 1 / (1 + np.exp(-(np.log(prob) - np.log(1 - prob) + 0.7)))
    np.testing.assert_allclose(
        dense_crf(image, prob, logit_shift=0.7), dense_crf(image, shifted), atol=1e-5
    )
    three = RNG.dirichlet(np.ones(3), (10, 12)).transpose(2, 0, 1)
    moved = three * np.exp([0, 0.7, 0.7])[:, None, None]
    np.testing.assert_allclose(
        dense_crf(image, three, logit_shift=0.7),
        dense_crf(image, moved / moved.sum(axis=0)),
        atol=1e-5,
    )
    # Certainty has no finite logit.
    assert dense_crf(image, np.zeros((1, 10, 12)), logit_shift=2).max() < 0.5


def test_inputs_stay_as_they_are_and_may_be_read_only():
    image, prob = two_colors()
    image.setflags(write=False)
    prob.setflags(write=False)
    before = dense_crf(image, prob)
    # Every second pixel of a larger array: no contiguous memory.
    np.testing.assert_array_equal(
        dense_crf(
            image.repeat(2, axis=0).repeat(2, axis=1)[::2, ::2],
            prob.repeat(2, axis=1).repeat(2, axis=2)[:, ::2, ::2],
        ),
        before,
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(iterations=-1), 'iterations must be a whole number, at least 0, got -1'),
        (dict(bilateral=(60, 8)), r'bilateral must be \(sxy, srgb, weight\)'),
        (dict(gaussian=(0, 3)), r'gaussian must be \(sxy, weight\) above 0'),
        (dict(logit_shift=float('nan')), 'logit_shift must be'),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dense_crf(*two_colors(), **options)


def test_arrays_of_other_kinds_are_refused():
    image, prob = two_colors()
    with pytest.raises(ValueError, match=r'\(H, W, 3\) uint8.* got float64'):
        dense_crf(image / 255, prob)
    with pytest.raises(ValueError, match=r'of its size, got .*\(10, 12, 3\) and \(1, 5, 6\)'):
        dense_crf(image, prob[:, ::2, ::2])
    for wrong in (-1, 2, np.nan):
        with pytest.raises(ValueError, match=r'lie in \[0, 1\]'):
            dense_crf(image, np.where(prob == prob.max(), wrong, prob))


def test_a_missing_package_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    with pytest.raises(ImportError, match='(?s)pydensecrf2.*3.13.*--no-crf.*crf=False'):
        import_pydensecrf()
