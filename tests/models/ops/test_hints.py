"""Hints: the posterior against its formula, and what must not matter."""

import pytest
import torch
from torch.nn import functional as F

from mmcoseg.models.ops import hints as module
from mmcoseg.models.ops.hints import HintPosterior, best_overlap, match_best_overlap


def group(n=3, d=6, h=4, w=5, seed=0, channels=1):
    generator = torch.Generator().manual_seed(seed)
    descriptors = torch.randn(n, d, h, w, generator=generator)
    prob = torch.rand(n, channels, h, w, generator=generator) * 0.6 + 0.2
    if channels > 1:
        prob = prob / prob.sum(dim=1, keepdim=True)
    labels = (torch.rand(n, channels, h, w, generator=generator) > 0.5).float()
    weights = torch.rand(n, h, w, generator=generator)
    weights = torch.where(weights > 0.8, weights / 10, 0)
    return descriptors, prob, labels, weights


@pytest.mark.parametrize('hinted', ['both', 'only objects', 'only background'])
def test_the_posterior_is_the_formula(hinted):
    descriptors, prob, labels, weights = group()
    if hinted != 'both':
        labels = torch.full_like(labels, hinted == 'only objects')
    found = HintPosterior(descriptors).maps(prob, labels, weights)
    x = F.normalize(descriptors.double().permute(0, 2, 3, 1).flatten(0, 2), dim=1)
    # So few locations are all landmarks, where the kernel needs no approximation.
    kernel = ((x @ x.t() - 1) / 0.3).exp()
    values, vectors = torch.linalg.eigh(kernel)
    phi = kernel @ vectors @ torch.diag(values.clamp(min=1e-4) ** -0.5) @ vectors.t()
    w, p, y = (t.double().flatten() for t in (weights, prob, labels))
    noise, pull = module.WITHOUT_EXAMPLES
    excess = 0
    if hinted == 'only objects':
        excess = (w * y).sum()
    if hinted == 'only background':
        excess = (w * (1 - y)).sum()
    pull *= 1 + 10 * excess
    precision = noise * torch.eye(len(x), dtype=torch.float64)
    for i in range(len(x)):
        share = p[i] / p.sum() + (1 - p[i]) / (1 - p).sum()
        precision += pull * share / 2 * torch.outer(phi[i], phi[i])
    right = torch.zeros(len(x), dtype=torch.float64)
    for i in range(len(x)):
        precision += w[i] * torch.outer(phi[i], phi[i])
        right += w[i] * (y[i] - p[i]) * phi[i]
    expected = (p + phi @ torch.linalg.solve(precision, right)).clamp(0.02, 0.98)
    torch.testing.assert_close(found.flatten().double(), expected, atol=2e-4, rtol=0)


def test_hints_that_say_what_the_maps_say_change_nothing():
    descriptors, prob, _, weights = group()
    found = HintPosterior(descriptors).maps(prob, prob, weights)
    torch.testing.assert_close(found, prob)


def test_the_order_of_images_does_not_matter():
    descriptors, prob, labels, weights = group(n=5)
    order = torch.tensor([3, 0, 4, 1, 2])
    found = HintPosterior(descriptors).maps(prob, labels, weights)
    other = HintPosterior(descriptors[order]).maps(prob[order], labels[order], weights[order])
    torch.testing.assert_close(other, found[order], atol=1e-4, rtol=0)


def test_the_order_of_images_does_not_matter_where_values_are_equal():
    # In half precision many locations share a value.
    descriptors, prob, labels, weights = group(n=6, h=9, w=9)
    descriptors[:, -1] = (descriptors[:, -1] * 4).round() / 4
    order = torch.tensor([3, 0, 5, 4, 1, 2])
    found = HintPosterior(descriptors.half())
    other = HintPosterior(descriptors[order].half())
    assert torch.equal(found.landmarks, other.landmarks)
    torch.testing.assert_close(
        other.maps(prob[order], labels[order], weights[order]),
        found.maps(prob, labels, weights)[order],
        atol=1e-4,
        rtol=0,
    )


def test_what_is_alike_follows_a_hint_more_than_what_is_not():
    descriptors = torch.randn(3, 8, 1, 1, generator=torch.Generator().manual_seed(1))
    descriptors[1] = descriptors[0] + 0.1 * descriptors[2]
    descriptors[2] = -descriptors[0]
    prob = torch.full((3, 1, 1, 1), 0.5)
    weights = torch.tensor([0.1, 0, 0]).view(3, 1, 1)
    found = HintPosterior(descriptors).maps(prob, torch.ones_like(prob), weights).flatten()
    assert found[0] > found[1] > 0.5 + 1e-3
    assert abs(found[2] - 0.5) < abs(found[1] - 0.5) / 10


def test_maps_of_several_classes_sum_to_one():
    descriptors, prob, labels, weights = group(channels=3)
    labels = F.one_hot(labels.argmax(dim=1), 3).permute(0, 3, 1, 2).float()
    found = HintPosterior(descriptors).maps(prob, labels, weights)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3, 4, 5))
    shifted = match_best_overlap(found, prob)
    torch.testing.assert_close(shifted.sum(dim=1), torch.ones(3, 4, 5))


def test_large_groups_are_worked_on_in_pieces(monkeypatch):
    descriptors, prob, labels, weights = group()
    expected = HintPosterior(descriptors).maps(prob, labels, weights)
    monkeypatch.setattr(module, 'MOST_KEPT', 0)
    posterior = HintPosterior(descriptors)
    torch.testing.assert_close(posterior.maps(prob, labels, weights), expected)
    unsure = prob[:, 0] * (1 - prob[:, 0])
    torch.testing.assert_close(
        posterior.telling(unsure), HintPosterior(descriptors).telling(unsure)
    )
    assert posterior.kept is None


def test_what_an_answer_tells_is_the_formula():
    descriptors, prob, _, _ = group()
    unsure = prob[:, 0] * (1 - prob[:, 0])
    found = HintPosterior(descriptors).telling(unsure)
    x = F.normalize(descriptors.double().permute(0, 2, 3, 1).flatten(0, 2), dim=1)
    kernel = ((x @ x.t() - 1) / 0.3).exp()
    s = unsure.double().flatten()
    image = torch.arange(3).repeat_interleave(20)
    expected = torch.zeros(3, dtype=torch.float64)
    for i in range(60):
        for j in range(60):
            if image[i] != image[j]:
                expected[image[i]] += s[i] * kernel[i, j] * s[j]
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize('seed', range(5))
def test_the_best_overlap_is_that_of_the_best_mask(seed):
    prob = torch.rand(1, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    level, index = best_overlap(prob)
    found = []
    for threshold in prob[0]:
        mask = prob[0] >= threshold
        found.append((prob[0][mask].sum() / (mask.sum() + prob[0][~mask].sum()), threshold))
    assert (index.item(), level.item()) == pytest.approx([v.item() for v in max(found)])


def test_thresholds_stay_where_nothing_changed():
    prob = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).clamp(0.02, 0.98)
    torch.testing.assert_close(match_best_overlap(prob, prob), prob)
