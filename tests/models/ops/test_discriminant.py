import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mmcoseg.models.ops import group_discriminant


def two_classes(n=3, d=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    foreground = (torch.rand(n, 6, 5, generator=rng) < 0.4).float()
    x = torch.randn(n, d, 6, 5, generator=rng)
    return x + foreground[:, None] * torch.tensor([2.0, 0, -1, 0])[:d, None, None], foreground


def test_gamma_has_the_direction_of_scikit_learns():
    x, foreground = two_classes()
    _, gamma = group_discriminant(x, foreground, ridge=0.0)
    points = x.permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    reference = LinearDiscriminantAnalysis(solver='lsqr', priors=[0.5, 0.5])
    # The reference pools the classes' covariances by their priors, as we do.
    direction = reference.fit(points, foreground.flatten().numpy()).coef_[0]
    cosine = gamma.numpy() @ direction / np.linalg.norm(gamma) / np.linalg.norm(direction)
    assert cosine == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize('ridge', [0.0, 0.1, 1.0, 20.0])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_is_the_literal_one(ridge, dtype, monkeypatch):
    """With soft weights, in float64, all at once; ours in parts of 7 locations."""
    rng = torch.Generator().manual_seed(1)
    x, foreground = two_classes(n=2, seed=2)
    x = (x + 1).to(dtype)
    foreground = 0.15 + 0.6 * foreground + 0.2 * torch.rand(foreground.shape, generator=rng)
    points = x.double().permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    means, covariances = [], []
    for weights in (foreground.double().numpy().ravel(), 1 - foreground.double().numpy().ravel()):
        weights = weights / weights.sum()
        mean = weights @ points
        means.append(mean)
        covariances.append(
            sum(w * np.outer(row - mean, row - mean) for w, row in zip(weights, points))
        )
    within = (covariances[0] + covariances[1]) / 2
    within += ridge * np.diag(within).mean() * np.eye(4)
    expected = np.linalg.inv(within) @ (means[0] - means[1])
    expected *= 2 / (expected @ (means[0] - means[1]))
    mapped = (points - (means[0] + means[1]) / 2) @ expected

    whole = group_discriminant(x, foreground, ridge)
    monkeypatch.setattr('mmcoseg.models.ops.discriminant.CHUNK', 7)
    monkeypatch.setattr('mmcoseg.models.ops.spectral.CHUNK', 7)
    for values, gamma in (whole, group_discriminant(x, foreground, ridge)):
        assert values.dtype == gamma.dtype == torch.float32
        np.testing.assert_allclose(gamma, expected, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(values.flatten(), mapped, rtol=1e-3, atol=1e-3)


def test_much_ridge_leaves_the_difference_of_the_means():
    x, foreground = two_classes()
    _, gamma = group_discriminant(x, foreground, ridge=300)
    points = x.permute(1, 0, 2, 3)
    difference = points[:, foreground == 1].mean(dim=1) - points[:, foreground == 0].mean(dim=1)
    expected = 2 * difference / difference.square().sum()
    torch.testing.assert_close(gamma, expected, atol=1e-2, rtol=0)


def test_means_are_one_and_minus_one():
    x, foreground = two_classes()
    values, gamma = group_discriminant(x, foreground)
    assert values.shape == (3, 1, 6, 5) and gamma.shape == (4,)
    assert values[:, 0][foreground == 1].mean().item() == pytest.approx(1, abs=1e-4)
    assert values[:, 0][foreground == 0].mean().item() == pytest.approx(-1, abs=1e-4)


def test_is_the_scaled_sum_over_channels():
    x, foreground = two_classes()
    values, gamma = group_discriminant(x, foreground)
    plain = torch.einsum('d,ndhw->nhw', gamma, x)
    offset = plain - values[:, 0]
    assert offset.std() < 1e-4


def test_order_and_duplicates_of_images():
    x, foreground = two_classes()
    values, gamma = group_discriminant(x, foreground)
    order = [2, 0, 1]
    shuffled, same = group_discriminant(x[order], foreground[order])
    torch.testing.assert_close(shuffled, values[order], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(same, gamma, atol=1e-4, rtol=1e-4)
    _, doubled = group_discriminant(x.repeat(2, 1, 1, 1), foreground.repeat(2, 1, 1))
    torch.testing.assert_close(doubled, gamma, atol=1e-4, rtol=1e-4)


def test_gradient():
    x, foreground = two_classes(n=1, d=2)
    x = x[:, :, :2, :3].requires_grad_()
    foreground = foreground[:, :2, :3] * 0.8 + 0.1
    assert torch.autograd.gradcheck(
        lambda x: group_discriminant(x, foreground)[0], x, eps=1e-2, atol=2e-2, rtol=2e-2
    )


@pytest.mark.parametrize('level', [0.0, 0.5, 1.0])
def test_nothing_to_tell_apart(level):
    x = torch.randn(2, 3, 4, 4)
    values, gamma = group_discriminant(x, torch.full((2, 4, 4), level))
    assert values.isfinite().all() and gamma.isfinite().all()
    values, _ = group_discriminant(torch.zeros(2, 3, 4, 4), torch.rand(2, 4, 4))
    assert values.isfinite().all()
