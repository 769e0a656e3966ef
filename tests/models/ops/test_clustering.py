import numpy as np
import pytest
import torch

from mmcoseg.models.ops import border_ring, consensus_foreground, principal_components


def scene(num_images=4, size=13, dim=12, seed=0):
    """Features in which one object stands in the middle before two kinds of surroundings."""
    rng = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, dim, generator=rng)
    truth = torch.zeros(num_images, size, size, dtype=torch.long)
    truth[:, size // 2 :] = 1
    for image in truth:
        top, left = torch.randint(3, 6, (2,), generator=rng).tolist()
        image[top : top + 5, left : left + 5] = 2
    noise = 0.2 * torch.randn(num_images, size, size, dim, generator=rng)
    return (centres[truth] + noise).permute(0, 3, 1, 2), truth == 2


def test_border_ring():
    ring = border_ring(5, 4)
    assert ring.tolist() == [
        [True] * 4,
        *[[True, False, False, True]] * 3,
        [True] * 4,
    ]
    assert border_ring(40, 40)[:, :2].all() and not border_ring(40, 40)[2:38, 2:38].any()


def test_principal_components_are_those_of_numpy():
    x = torch.randn(50, 6, dtype=torch.float64)
    centred = x.numpy() - x.numpy().mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    ours = principal_components(x, 3).numpy()
    np.testing.assert_allclose(np.abs(ours), np.abs(centred @ axes[:3].T), atol=1e-9)
    shuffled = principal_components(x.flip(0), 3).flip(0)
    torch.testing.assert_close(shuffled, principal_components(x, 3))
    assert principal_components(x, 10).shape == (50, 6)


def test_principal_components_are_worked_out_in_parts(monkeypatch):
    x = torch.randn(50, 6).double() + 1
    whole = principal_components(x, 4, normalise=True)
    monkeypatch.setattr('mmcoseg.models.ops.spectral.CHUNK', 7)
    torch.testing.assert_close(principal_components(x, 4, normalise=True), whole)
    unit = x / x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(principal_components(unit, 4), whole)
    half = principal_components(x.half(), 4, normalise=True)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), whole, atol=5e-3, rtol=0)


def test_the_object_in_the_middle_is_found():
    features, truth = scene()
    votes = consensus_foreground(features)
    assert votes.shape == truth.shape and votes.min() >= 0 and votes.max() <= 1
    assert votes[truth].mean() > 0.8
    assert votes[~truth].mean() < 0.1


def test_same_input_same_result_in_any_order():
    features, _ = scene(num_images=5)
    votes = consensus_foreground(features)
    torch.testing.assert_close(consensus_foreground(features), votes)
    order = [3, 0, 4, 1, 2]
    torch.testing.assert_close(consensus_foreground(features[order]), votes[order])


def test_duplicates_and_a_group_of_one():
    features, truth = scene(num_images=1)
    alone = consensus_foreground(features)
    assert alone[truth].mean() > alone[~truth].mean()
    twice = consensus_foreground(features.repeat(2, 1, 1, 1))
    torch.testing.assert_close(twice[0], twice[1])


@pytest.mark.parametrize('features', [torch.zeros(1, 4, 3, 3), torch.ones(2, 4, 2, 2)])
@pytest.mark.filterwarnings('error::sklearn.exceptions.ConvergenceWarning')
def test_features_that_do_not_differ(features):
    assert consensus_foreground(features).isfinite().all()
