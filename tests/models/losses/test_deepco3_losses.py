import math
from itertools import permutations, product

import numpy as np
import pytest
import torch

from mmcoseg.models.losses import AffinityLoss, CoPeakLoss, CoSaliencyLoss
from mmcoseg.models.losses.deepco3_losses import balanced_square_error


def inputs(images=5, size=(4, 5)):
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(images, 6, *size, generator=rng, dtype=torch.float64)
    maps = torch.rand(images, 1, *size, generator=rng, dtype=torch.float64)
    return features, maps


def scores_between(features, maps, n, m):
    """Cosine similarity T (h w, h w) of two images and both maps, flat."""
    x = torch.nn.functional.normalize(features, dim=1).flatten(2)
    s = maps.flatten(1)
    return x[n].t() @ x[m], s[n], s[m]


def is_local_maximum(scores, place):
    window = scores[tuple(slice(max(i - 1, 0), i + 2) for i in place)]
    return scores[place] >= window.max()


def mean_at_co_peaks(features, maps, n, m, counts):
    t, s_n, s_m = scores_between(features, maps, n, m)
    size = features.shape[-2:]
    scores = (s_n[:, None] * s_m[None] * t).view(*size, *size)
    values = []
    for place in product(*map(range, scores.shape)):
        if is_local_maximum(scores, place) and counts(scores[place], scores):
            values.append(scores[place])
    return sum(values) / len(values)


def literal_affinities(features, maps, n, m, alpha=4):
    """The summands of Eq. 4, one a pair of locations."""
    t, s_n, s_m = scores_between(features, maps, n, m)
    p, q = s_n[:, None], s_m[None]
    return p * q * (1 - t) + alpha * (p - q) ** 2 * t


def released_co_peak(features, maps):
    """Image i with image i + N/2, softplus of minus the mean, mean over the pairs."""

    def counts(value, scores):
        return value >= np.median(scores.numpy())

    half = len(features) // 2
    pairs = [(i, i + half) for i in range(half)]
    if len(features) % 2:
        pairs.append((len(features) - 1, 0))
    costs = [
        math.log(1 + math.exp(-mean_at_co_peaks(features, maps, n, m, counts))) for n, m in pairs
    ]
    return sum(costs) / len(costs)


def paper_co_peak(features, maps):
    """Eq. 3 over all ordered pairs, as Eq. 1 sums them up."""

    def counts(value, scores):
        return value > 0

    pairs = permutations(range(len(features)), 2)
    return sum(-math.log(mean_at_co_peaks(features, maps, n, m, counts)) for n, m in pairs)


def released_affinity(features, maps):
    """All locations of all images are compared with all."""
    pairs = product(range(len(features)), repeat=2)
    return torch.stack([literal_affinities(features, maps, n, m) for n, m in pairs]).mean()


def paper_affinity(features, maps):
    total = 0
    for n, m in permutations(range(len(features)), 2):
        for pair in ((n, m), (n, n), (m, m)):
            total = total + literal_affinities(features, maps, *pair).sum()
    return total


@pytest.mark.parametrize(
    'loss, literal',
    [
        (CoPeakLoss(loss_weight=0.5), released_co_peak),
        (CoPeakLoss('paper', loss_weight=0.5), paper_co_peak),
        (AffinityLoss(loss_weight=0.5), released_affinity),
        (AffinityLoss(form='paper', loss_weight=0.5), paper_affinity),
    ],
)
def test_equals_the_literal_form_of_each_group(loss, literal):
    features, maps = inputs(images=7, size=(3, 4))
    expected = sum(literal(features[part], maps[part]) for part in (slice(4), slice(4, 7))) / 2
    assert loss(features, maps, [4, 3]).item() == pytest.approx(0.5 * float(expected))


@pytest.mark.parametrize('form', ['released', 'paper'])
def test_a_group_of_one_has_no_co_peaks_and_a_graph(form):
    features, maps = (value.requires_grad_() for value in inputs(images=1))
    value = CoPeakLoss(form)(features, maps, [1])
    assert value.item() == 0
    value.backward()
    assert (features.grad == 0).all()


def test_a_group_of_one_is_compared_with_itself():
    features, maps = inputs(images=1)
    expected = literal_affinities(features, maps, 0, 0).mean()
    torch.testing.assert_close(AffinityLoss(loss_weight=1.0)(features, maps, [1]), expected)
    assert AffinityLoss(form='paper')(features, maps, [1]) == 0


def test_the_paper_needs_a_mean_that_has_a_logarithm():
    # Everything is the opposite of everything, so there is no score above 0.
    features = torch.stack([torch.ones(2, 3, 3), -torch.ones(2, 3, 3)]).requires_grad_()
    maps = torch.ones(2, 1, 3, 3)
    paper = CoPeakLoss('paper')(features, maps, [2])
    assert paper.item() == 0
    paper.backward()
    assert (features.grad == 0).all()
    released = CoPeakLoss(loss_weight=1.0)(features, maps, [2])
    assert released.item() == pytest.approx(math.log(1 + math.e))


def gradient_sizes(features, saliency, logits):
    """Sum of the absolute derivatives of each loss to the coarse logits."""
    maps = torch.sigmoid(logits)
    up = torch.nn.functional.interpolate(logits, saliency.shape[-2:], mode='bilinear')
    sizes = [len(features)]
    losses = dict(
        co_peak=CoPeakLoss()(features, maps, sizes),
        affinity=AffinityLoss()(features, maps, sizes),
        saliency=CoSaliencyLoss()(torch.sigmoid(up), saliency, sizes),
    )
    return {
        name: torch.autograd.grad(loss, logits, retain_graph=True)[0].abs().sum().item()
        for name, loss in losses.items()
    }


def test_no_loss_drowns_the_others_at_the_start():
    # Six images with a block in the middle that is alike in all, and saliency that says so.
    torch.manual_seed(0)
    block = torch.randn(64)
    features = 0.7 * torch.randn(6, 64, 14, 14)
    features[:, :, 4:10, 4:10] += block[:, None, None]
    saliency = torch.full((6, 1, 112, 112), 0.1)
    saliency[:, :, 32:80, 32:80] = 0.9
    logits = (0.01 * torch.randn(6, 1, 14, 14)).requires_grad_()
    sizes = gradient_sizes(features.relu(), saliency, logits)
    assert 0.05 < sizes['co_peak'] / sizes['saliency'] < 0.2
    assert 0.02 < sizes['affinity'] / sizes['saliency'] < 0.1


def test_saliency_loss_equals_the_literal_sum():
    _, maps = inputs()
    _, saliency = inputs(images=6)
    saliency = saliency[1:]
    losses = balanced_square_error(maps, saliency)
    for value, s, prior in zip(losses, maps, saliency, strict=True):
        s, prior = s.flatten().tolist(), prior.flatten().tolist()
        inside = [p > sum(prior) / len(prior) for p in prior]
        share = sum(inside) / len(prior)
        weights = [1 - share if i else share for i in inside]
        expected = sum(w * (a - b) ** 2 for w, a, b in zip(weights, s, prior)) / len(prior)
        assert value.item() == pytest.approx(expected)
    expected = (losses[:3].sum() + losses[3:].sum()) / 2
    torch.testing.assert_close(CoSaliencyLoss()(maps, saliency, [3, 2]), expected)
    paper = CoSaliencyLoss('paper')(maps, saliency, [3, 2])
    torch.testing.assert_close(paper, expected * maps[0].numel())


def test_both_sides_of_the_saliency_weigh_the_same():
    saliency = torch.zeros(1, 1, 10, 10)
    saliency[..., 0, :7] = 1
    maps = torch.full((1, 1, 10, 10), 0.5, requires_grad=True)
    balanced_square_error(maps, saliency).backward()
    inside = saliency == 1
    assert maps.grad[inside].sum().item() == pytest.approx(-maps.grad[~inside].sum().item())


def test_saliency_of_another_size_and_without_contrast():
    maps = torch.rand(2, 1, 8, 8)
    coarse = torch.rand(2, 1, 4, 4)
    full = torch.nn.functional.interpolate(coarse, size=(8, 8), mode='bilinear')
    same = balanced_square_error(maps, full)
    torch.testing.assert_close(balanced_square_error(maps, coarse), same)
    assert balanced_square_error(maps, torch.zeros(2, 1, 4, 4)).tolist() == [0, 0]
    assert balanced_square_error(maps.half(), coarse).dtype == torch.float32


@pytest.mark.parametrize('loss', [CoPeakLoss, AffinityLoss, CoSaliencyLoss])
def test_unknown_form(loss):
    with pytest.raises(ValueError, match=r"one of \('released', 'paper'\), got 'sum'"):
        loss(form='sum')
