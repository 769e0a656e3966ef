import numpy as np
import pytest
import torch

from mmcoseg.models.ops import border_ring, consensus_foreground, principal_components
from mmcoseg.models.ops.clustering import _least_at_border


def scene(num_images=4, size=13, dim=12, seed=0):
    """Features in which one object stands in the middle before two kinds of surroundings."""
    rng = torch.Generator().manual_seed(seed)
    centers = torch.randn(3, dim, generator=rng)
    truth = torch.zeros(num_images, size, size, dtype=torch.long)
    truth[:, size // 2 :] = 1
    for image in truth:
        top, left = torch.randint(3, 6, (2,), generator=rng).tolist()
        image[top : top + 5, left : left + 5] = 2
    noise = 0.2 * torch.randn(num_images, size, size, dim, generator=rng)
    return (centers[truth] + noise).permute(0, 3, 1, 2), truth == 2


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
    centered = x.numpy() - x.numpy().mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    ours = principal_components(x, 3).numpy()
    np.testing.assert_allclose(np.abs(ours), np.abs(centered @ axes[:3].T), atol=1e-9)
    shuffled = principal_components(x.flip(0), 3).flip(0)
    torch.testing.assert_close(shuffled, principal_components(x, 3))
    assert principal_components(x, 10).shape == (50, 6)


def test_principal_components_are_worked_out_in_parts(monkeypatch):
    x = torch.randn(50, 6).double() + 1
    whole = principal_components(x, 4, normalize=True)
    monkeypatch.setattr('mmcoseg.models.ops.spectral.CHUNK', 7)
    torch.testing.assert_close(principal_components(x, 4, normalize=True), whole)
    unit = x / x.norm(dim=1, keepdim=True)
    torch.testing.assert_close(principal_components(unit, 4), whole)
    half = principal_components(x.half(), 4, normalize=True)
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


def two_things(num_images=4, size=15, dim=8, width=9):
    """Features of two things off the border before one ground; where each of them is."""
    rng = torch.Generator().manual_seed(3)
    truth = torch.zeros(num_images, size, size, dtype=torch.long)
    truth[:, 3:7, 2 : 2 + width] = 1
    truth[:, 8:12, 3:12] = 2
    centers = 2 * torch.randn(3, dim, generator=rng)
    noise = 0.2 * torch.randn(num_images, size, size, dim, generator=rng)
    return (centers[truth] + noise).permute(0, 3, 1, 2), truth


@pytest.mark.parametrize(('width', 'chosen'), [(5, 2), (12, 1)])
def test_of_things_off_the_border_the_largest_is_chosen(width, chosen):
    features, truth = two_things(width=width)
    votes = consensus_foreground(features, num_clusters=(3,))
    assert torch.equal(votes > 0.5, truth == chosen)


@pytest.mark.parametrize('kind', [1, 2])
def test_a_prior_decides_between_things_off_the_border(kind):
    features, truth = two_things()
    saliency = torch.where(truth == kind, 0.5, 0.3)  # a slight favor
    votes = consensus_foreground(features, num_clusters=(3,), saliency=saliency)
    assert votes[truth == kind].mean() > 0.99 and votes[truth != kind].mean() < 0.01
    # One image's saliency can be wrong: it is that of the whole group that counts.
    saliency[0] = torch.where(truth[0] == kind, 0.3, 0.5)
    torch.testing.assert_close(
        consensus_foreground(features, num_clusters=(3,), saliency=saliency), votes
    )


def test_the_exponent_weighs_prior_against_border():
    features, truth = two_things()
    saliency = torch.where(truth == 0, 0.9, 0.4)  # of the ground, which is all of the border
    for exponent, share in [(0.5, 0.0), (1.0, 0.0), (20.0, 1.0)]:
        votes = consensus_foreground(
            features, (2, 3), saliency=saliency, saliency_exponent=exponent
        )
        assert float(votes[truth == 0].mean()) == pytest.approx(share, abs=0.01)
        assert bool(votes[truth > 0].mean() > 0.4) is (share == 0.0)


@pytest.mark.parametrize('level', [0.0, 0.3, 200.0])
def test_priors_that_say_nothing_change_nothing(level):
    features, truth = scene()
    votes = consensus_foreground(features)
    saliency = torch.full(truth.shape, level)
    assert torch.equal(consensus_foreground(features, saliency=saliency), votes)
    strange = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        consensus_foreground(features, saliency=strange, saliency_exponent=0.0), votes
    )


def test_the_level_and_type_of_a_prior_are_of_no_account():
    features, truth = two_things()
    saliency = torch.where(truth == 1, 0.5, 0.25)
    votes = consensus_foreground(features, saliency=saliency, saliency_exponent=2.0)
    for same in (saliency / 64, saliency.half(), saliency.double()):
        assert torch.equal(
            consensus_foreground(features, saliency=same, saliency_exponent=2.0), votes
        )


def test_a_prior_goes_with_its_image():
    features, truth = scene(num_images=5)
    rng = torch.Generator().manual_seed(0)
    saliency = torch.rand(truth.shape, generator=rng) + (
        truth & (torch.arange(5) % 2 == 0)[:, None, None]
    )
    votes = consensus_foreground(features, saliency=saliency)
    order = [3, 0, 4, 1, 2]
    shuffled = consensus_foreground(features[order], saliency=saliency[order])
    torch.testing.assert_close(shuffled, votes[order])
    twice = consensus_foreground(features.repeat(2, 1, 1, 1), saliency=saliency.repeat(2, 1, 1))
    torch.testing.assert_close(twice[:5], twice[5:])
    alone = consensus_foreground(features[:1], saliency=saliency[:1])
    assert alone[truth[:1]].mean() > alone[~truth[:1]].mean() + 0.5


@pytest.mark.parametrize('exponent', [None, 0.0, 1.0, 2.5])
@pytest.mark.parametrize('k', [4, 7])
@pytest.mark.parametrize('seed', range(6))
def test_choice_of_clusters_is_the_literal_one(exponent, k, seed):
    rng = np.random.default_rng(seed)
    # Clusters of very different area, the last one too small, another one empty.
    labels = rng.choice(k, 400, p=[0.01, *np.full(k - 2, 0.99 / (k - 2)), 0])
    on_border = rng.random(400) < 0.3
    if seed % 2:
        on_border &= labels < k // 2  # several clusters are off the border altogether
    saliency = rng.random(400) * rng.random(k)[labels] ** 3
    saliency /= saliency.mean()
    scores = {}
    for cluster in range(k):
        members = labels == cluster
        if members.sum() < 0.03 * 400:
            continue
        border_share = max((members & on_border).sum() / on_border.sum(), 1e-4)
        scores[cluster] = border_share / (members.sum() / 400)
        if exponent is not None:
            scores[cluster] /= max(saliency[members].mean(), 0.1) ** exponent
    best, second = sorted(scores, key=scores.get)[:2]
    expected = [0.0] * k
    expected[best] = 1.0
    expected[second] = float(k >= 6 and scores[second] < 0.8)
    weights = torch.from_numpy(saliency).float()
    labels, on_border = torch.from_numpy(labels), torch.from_numpy(on_border)
    if exponent is None:
        chosen = _least_at_border(labels, on_border, k, torch.ones(400), 1.0)
    else:
        chosen = _least_at_border(labels, on_border, k, weights, exponent)
    assert chosen.tolist() == expected
