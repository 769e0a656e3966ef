from itertools import permutations

import pytest
import torch

from mmcoseg.models.losses import AffinityLoss, CoPeakLoss, CoSaliencyLoss
from mmcoseg.models.losses.co_saliency_loss import balanced_square_error
from mmcoseg.models.ops import co_peak_losses, pairwise_affinity


def inputs(images=5, size=(4, 5)):
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(images, 6, *size, generator=rng, dtype=torch.float64)
    maps = torch.rand(images, 1, *size, generator=rng, dtype=torch.float64)
    return features, maps


def pair_loss(name, features, maps, n, m):
    """The summand of (n, m) in Eq. 1, with its weight."""
    pair = features[[n, m]], maps[[n, m], 0]
    if name == 'co_peak':
        return 0.5 * co_peak_losses(*pair)[0]
    affinity = pairwise_affinity(*pair)
    return 0.1 * (affinity[0, 1] + affinity[0, 0] + affinity[1, 1])


@pytest.mark.parametrize('name', ['co_peak', 'affinity'])
@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_equals_the_sum_over_ordered_pairs_of_each_group(name, reduction):
    features, maps = inputs()
    groups = [range(0, 3), range(3, 5)]
    expected = 0
    for group in groups:
        pairs = [pair_loss(name, features, maps, n, m) for n, m in permutations(group, 2)]
        expected += sum(pairs) / (len(pairs) if reduction == 'mean' else 1) / len(groups)
    loss = dict(co_peak=CoPeakLoss, affinity=AffinityLoss)[name](reduction=reduction)
    torch.testing.assert_close(loss(features, maps, [3, 2]), expected)


@pytest.mark.parametrize('loss', [CoPeakLoss(), AffinityLoss(reduction='mean')])
def test_a_group_of_one_costs_nothing_and_has_a_graph(loss):
    features, maps = (value.requires_grad_() for value in inputs(images=1))
    value = loss(features, maps, [1])
    assert value.item() == 0
    value.backward()
    assert (features.grad == 0).all()


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
    expected = (losses[:3].mean() + losses[3:].mean()) / 2
    torch.testing.assert_close(CoSaliencyLoss(reduction='mean')(maps, saliency, [3, 2]), expected)


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
def test_unknown_reduction(loss):
    with pytest.raises(ValueError, match=r"one of \('sum', 'mean'\), got 'max'"):
        loss(reduction='max')
