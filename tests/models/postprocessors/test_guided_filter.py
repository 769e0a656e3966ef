import numpy as np
import pytest

from mmcoseg.models.postprocessors.guided_filter import GuidedFilter, guided_filter

RNG = np.random.default_rng(0)


def literal(image, prob, radius, eps):
    """He et al. 2010, eq. 14 to 16, window by window in float64."""
    guide = image.astype(float) / 255
    height, width = prob.shape
    slopes, offsets = np.zeros((height, width, 3)), np.zeros((height, width))

    def window(y, x):
        return np.s_[
            max(0, y - radius) : y + radius + 1,
            max(0, x - radius) : x + radius + 1,
        ]

    for y in range(height):
        for x in range(width):
            colors = guide[window(y, x)].reshape(-1, 3)
            values = prob[window(y, x)].ravel()
            mean = colors.mean(axis=0)
            sigma = (colors - mean).T @ (colors - mean) / len(colors)
            covariance = (colors.T @ values) / len(values) - mean * values.mean()
            slopes[y, x] = np.linalg.solve(sigma + eps * np.eye(3), covariance)
            offsets[y, x] = values.mean() - slopes[y, x] @ mean
    result = np.zeros_like(prob)
    for y in range(height):
        for x in range(width):
            slope = slopes[window(y, x)].reshape(-1, 3).mean(axis=0)
            result[y, x] = slope @ guide[y, x] + offsets[window(y, x)].mean()
    return result.clip(0, 1)


@pytest.mark.parametrize(('radius', 'eps'), [(1, 1e-2), (2, 1e-3), (9, 0.1)])
def test_agrees_with_the_definition(radius, eps):
    image = RNG.integers(0, 256, (9, 11, 3), dtype=np.uint8)
    prob = RNG.random((9, 11))
    found = guided_filter(image, prob[None], radius, eps)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], literal(image, prob, radius, eps), atol=2e-4)


def test_mirrored_images_and_labels():
    image = RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    prob = RNG.dirichlet(np.ones(3), (30, 40)).transpose(2, 0, 1)
    found = guided_filter(image, prob, 4, 1e-3)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    mirrored = guided_filter(image[:, ::-1], prob[:, :, ::-1], 4, 1e-3)
    np.testing.assert_allclose(mirrored[:, :, ::-1], found, atol=1e-3)
    two = guided_filter(image, np.stack([1 - prob[0], prob[0]]), 4, 1e-3)
    np.testing.assert_allclose(two[1], guided_filter(image, prob[:1], 4, 1e-3)[0], atol=1e-3)


def test_flat_images_and_maps():
    flat = np.full((8, 9, 3), 77, np.uint8)
    np.testing.assert_allclose(guided_filter(flat, np.full((1, 8, 9), 0.3), 3, 1e-4), 0.3, 1e-4)
    image = RNG.integers(0, 256, (8, 9, 3), dtype=np.uint8)
    np.testing.assert_allclose(guided_filter(image, np.full((1, 8, 9), 0.3), 3, 1e-4), 0.3, 1e-3)
    one = guided_filter(image[:1, :1], np.full((1, 1, 1), 0.3), 3, 1e-4)
    np.testing.assert_allclose(one, 0.3, 1e-4)


@pytest.mark.parametrize('option', ['radius', 'eps'])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match=f'{option} must be above 0, got 0'):
        GuidedFilter(**{option: 0})
