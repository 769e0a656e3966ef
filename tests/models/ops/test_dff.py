import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from mmcoseg.models.ops.dff import (
    deep_feature_factorization,
    factor_off_border,
    nonnegative_coefficients,
)


def scene(num_images=3, size=11, dim=8, seed=0):
    """Non-negative features: a part in the middle, and two kinds of surroundings."""
    rng = torch.Generator().manual_seed(seed)
    kinds = torch.zeros(3, dim)
    kinds[0, :3], kinds[1, 3:5], kinds[2, 5:] = 1, 1, 1
    truth = torch.zeros(num_images, size, size, dtype=torch.long)
    truth[:, size // 2 :] = 1
    truth[:, 3:8, 3:8] = 2
    noise = 0.05 * torch.rand(num_images, size, size, dim, generator=rng)
    strength = 1 + torch.rand(num_images, size, size, 1, generator=rng)
    return (strength * kinds[truth] + noise).permute(0, 3, 1, 2), truth == 2


def test_coefficients_are_the_best_non_negative_ones():
    torch.manual_seed(0)
    factors = torch.nn.functional.normalize(torch.rand(4, 7).double(), dim=1)
    x = torch.randn(20, 7).double()
    expected = np.stack([nnls(factors.t().numpy(), row)[0] for row in x.numpy()])
    found = nonnegative_coefficients(x, factors, num_sweeps=2000)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    # A factor that is not used stays without coefficients.
    found = nonnegative_coefficients(x, torch.cat([factors, torch.zeros(1, 7).double()]), 2000)
    np.testing.assert_allclose(found.numpy()[:, :4], expected, atol=1e-5)
    assert (found[:, 4] == 0).all()


def test_product_approximates_the_features_as_well_as_literal_updates_do():
    features, _ = scene()
    rows = features.permute(0, 2, 3, 1).flatten(0, 2).double()
    maps, factors = deep_feature_factorization(features.double(), num_factors=3)
    assert maps.min() >= 0 and factors.min() >= 0
    torch.testing.assert_close(factors.norm(dim=1), torch.ones(3).double())
    ours = (rows - maps.permute(0, 2, 3, 1).flatten(0, 2) @ factors).square().sum()
    # Lee and Seung's multiplicative updates, the best of a few random starts.
    losses = []
    for seed in range(4):
        rng = torch.Generator().manual_seed(seed)
        h = torch.rand(len(rows), 3, generator=rng).double()
        w = torch.rand(3, rows.shape[1], generator=rng).double()
        for _ in range(500):
            h *= (rows @ w.t()) / (h @ w @ w.t() + 1e-12)
            w *= (h.t() @ rows) / (h.t() @ h @ w + 1e-12)
        losses.append((rows - h @ w).square().sum())
    assert ours <= 1.02 * min(losses)


def test_the_factor_in_the_middle_is_the_object():
    features, truth = scene()
    maps, _ = deep_feature_factorization(features, num_factors=3)
    chosen = maps[:, factor_off_border(maps)]
    assert chosen[truth].min() > 3 * chosen[~truth].max()


def test_factor_off_border_by_hand():
    maps = torch.zeros(2, 3, 5, 5)
    maps[:, 0] = 1  # everywhere: 1
    maps[:, 1, 2, 2] = 1  # off the border: 0
    assert factor_off_border(maps) == 1
    maps[0, 1, 0] = 1  # 5 at the border, 2 inside
    maps[:, 1, 4, 4] = 0
    assert factor_off_border(maps) == 0
    assert factor_off_border(torch.zeros(1, 2, 3, 3)) == 0


def test_order_of_images_changes_nothing():
    features, _ = scene(num_images=5)
    maps, factors = deep_feature_factorization(features)
    order = [3, 0, 4, 1, 2]
    other_maps, other_factors = deep_feature_factorization(features[order])
    torch.testing.assert_close(other_factors, factors)
    torch.testing.assert_close(other_maps, maps[order], atol=1e-4, rtol=1e-4)


def test_only_a_part_of_many_locations_decides(monkeypatch):
    features, truth = scene(num_images=6)
    monkeypatch.setattr('mmcoseg.models.ops.dff.FIT_LOCATIONS', 100)
    maps, _ = deep_feature_factorization(features, num_factors=3)
    chosen = maps[:, factor_off_border(maps)]
    assert maps.shape == (6, 3, 11, 11)
    assert chosen[truth].min() > chosen[~truth].max()


@pytest.mark.parametrize(
    'features',
    [
        torch.zeros(1, 4, 3, 3),
        torch.ones(2, 4, 2, 2),
        -torch.ones(1, 2, 3, 3),
        torch.ones(1, 1, 1, 1),
    ],
)
def test_features_that_do_not_differ(features):
    maps, factors = deep_feature_factorization(features, num_factors=3)
    assert maps.shape == (len(features), 3, *features.shape[2:])
    assert factors.shape == (3, features.shape[1])
    assert maps.isfinite().all() and factors.isfinite().all()
