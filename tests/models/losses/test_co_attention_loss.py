"""The co-attention loss against its literal double loop, and the losses of maps."""

from math import exp, log

import pytest
import torch

from mmcoseg.models.losses import CoAttentionLoss, MapAreaLoss, MapEntropyLoss, PriorMapLoss
from mmcoseg.models.ops import co_attention_distances


def vectors(images=5, classes=2, length=7, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(images, classes + 1, length, generator=rng, dtype=torch.float64)


def literal_loss(x):
    """Eqs. 4 to 7 as they stand, of one group; the background is map 0."""
    images, maps, c = x.shape
    total, terms = 0.0, 0

    def square(a, b):
        return float(((a - b) ** 2).sum())

    for i in range(images):
        for j in range(images):
            if i == j:
                continue
            for k in range(1, maps):
                positive = square(x[i, k], x[j, k]) / c
                negative = 0.0
                for l in range(maps):  # noqa: E741
                    if l != k:
                        negative += square(x[i, k], x[i, l]) + square(x[j, k], x[j, l])
                negative /= 2 * (maps - 1) * c
                p = exp(-positive) / (exp(-positive) + exp(-negative))
                total -= log(p)
                terms += 1
    return total, terms


@pytest.mark.parametrize('classes', [1, 2, 3])
@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_equals_the_double_loop(classes, reduction):
    x = vectors(classes=classes)
    expected = 0.0
    for group in (x[:3], x[3:]):
        total, terms = literal_loss(group)
        expected += total / (terms if reduction == 'mean' else 1) / 2
    loss = CoAttentionLoss(reduction=reduction, loss_weight=3.0)
    assert loss(x, [3, 2]).item() == pytest.approx(3 * expected, rel=1e-12)


def test_one_class_is_the_loss_of_hsu_et_al():
    x = vectors(images=2, classes=1)
    (b_i, o_i), (b_j, o_j) = x
    c = x.shape[2]
    positive = (o_i - o_j).square().sum() / c
    negative = ((o_i - b_i).square().sum() + (o_j - b_j).square().sum()) / (2 * c)
    p = torch.exp(-positive) / (torch.exp(-positive) + torch.exp(-negative))
    torch.testing.assert_close(CoAttentionLoss()(x, [2]), -2 * torch.log(p))


def test_derivatives():
    x = vectors(images=4, classes=2, length=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: CoAttentionLoss()(x, [3, 1]), (x,))
    # Where images are the same, too.
    same = x.detach()[:1].repeat(3, 1, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: CoAttentionLoss()(x, [3]), (same,))


@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_a_group_of_one_costs_nothing_and_has_a_graph(reduction):
    x = vectors(images=1).requires_grad_()
    value = CoAttentionLoss(reduction=reduction)(x, [1])
    assert value.item() == 0
    value.backward()
    assert (x.grad == 0).all()


def test_alike_objects_and_unlike_maps_cost_little():
    classes = torch.eye(3)[None].repeat(4, 1, 1) * 10
    noise = 0.01 * vectors(4, 2, 3).float()
    good = CoAttentionLoss()(classes + noise, [4])
    # In two of the images the classes change places: alike in kind, not in number.
    mixed = classes.clone()
    mixed[:2, [1, 2]] = mixed[:2, [2, 1]]
    swallowed = classes.clone()
    swallowed[:, 2] = swallowed[:, 0]
    for bad in (mixed, swallowed):
        assert CoAttentionLoss()(bad + noise, [4]) > 2 * good


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    # Squares of these overflow float16, and exp(-d) underflows any type.
    x = (100 * vectors(length=400)).to(dtype).requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = CoAttentionLoss()(x, [5])
    assert value.dtype == torch.float32 and value.isfinite()
    expected = CoAttentionLoss()(x.detach().double(), [5]).float()
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    value.backward()
    assert x.grad.isfinite().all()


def test_what_vectors_have_in_common_does_not_cancel_the_rest():
    x = vectors(length=50)
    same, other = co_attention_distances(x)
    shifted = co_attention_distances((x + 1000).float())
    torch.testing.assert_close(shifted[0], same.float(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(shifted[1], other.float(), rtol=1e-3, atol=1e-3)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r'x must be \(N, K \+ 1, c\) with K at least 1'):
        co_attention_distances(vectors()[:, :1])
    with pytest.raises(ValueError, match=r"one of \('sum', 'mean'\), got 'max'"):
        CoAttentionLoss(reduction='max')
    with pytest.raises(ValueError, match='add up to 4'):
        CoAttentionLoss()(vectors(), [2, 2])


def soft_maps(images=3, maps=3, size=(4, 5), seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(images, maps, *size, generator=rng, dtype=torch.float64).softmax(dim=1)


def test_area_costs_only_shares_out_of_range():
    loss = MapAreaLoss(smallest=0.1, largest=0.7)
    maps = torch.tensor([[0.8, 0.15, 0.05]] * 2).double()[..., None, None].expand(2, 3, 4, 4)
    expected = log(0.1 / 0.05) + log(0.3 / 0.2)
    assert loss(maps, [2]).item() == pytest.approx(expected)
    # A class that one image lacks may be in another one.
    other = maps.roll(1, dims=1)
    both = torch.cat([maps, other, maps.roll(2, dims=1)])
    assert loss(both, [6]).item() == 0
    assert loss(both, [2, 4]).item() == pytest.approx((expected + loss(both[2:], [4]).item()) / 2)


@pytest.mark.parametrize('lost', [0, 2])
def test_area_brings_back_what_is_lost(lost):
    logits = torch.zeros(2, 3, 4, 4)
    logits[:, lost] = -30
    logits.requires_grad_()
    MapAreaLoss()(logits.softmax(dim=1), [2]).backward()
    gradient = logits.grad[:, lost].sum()
    # As strong as ever: the derivative of log(a) by the map's logit is 1.
    assert gradient.item() == pytest.approx(-1, abs=0.01)
    assert MapAreaLoss()(torch.zeros(1, 2, 2, 2), [1]).isfinite()


def test_entropy():
    maps = soft_maps()
    expected = 0.0
    for group in (maps[:2], maps[2:]):
        pixels = group.permute(0, 2, 3, 1).reshape(-1, 3).tolist()
        expected += sum(-p * log(p) for pixel in pixels for p in pixel) / len(pixels) / 2
    value = MapEntropyLoss(loss_weight=2.0)(maps, [2, 1])
    assert value.item() == pytest.approx(2 * expected / log(3))
    assert MapEntropyLoss()(torch.full((1, 4, 2, 2), 0.25), [1]).item() == pytest.approx(1)
    certain = torch.tensor([1.0, 0.0])[None, :, None, None].requires_grad_()
    value = MapEntropyLoss()(certain, [1])
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6) and certain.grad.isfinite().all()


def test_prior_is_a_cross_entropy():
    maps, labels = soft_maps(), soft_maps(seed=1)
    expected = -(labels * maps.log()).sum(dim=1)
    expected = (expected[:2].mean() + expected[2:].mean()) / 2
    torch.testing.assert_close(PriorMapLoss()(maps, labels, [2, 1]), expected)
    best = PriorMapLoss()(labels, labels, [2, 1])
    assert PriorMapLoss()(maps, labels, [2, 1]) > best
    coarse = torch.nn.functional.avg_pool2d(labels[..., :4], 2)
    upsampled = torch.nn.functional.interpolate(coarse, (4, 5), mode='bilinear')
    torch.testing.assert_close(
        PriorMapLoss()(maps, coarse, [3]), PriorMapLoss()(maps, upsampled, [3])
    )


def test_balanced_prior_counts_maps_alike():
    labels = torch.zeros(1, 3, 10, 10, dtype=torch.float64)
    labels[:, 0] = 1
    labels[:, 0, :2, :5] = 0
    labels[:, 1, :2, :5] = 1
    maps = torch.full_like(labels, 1 / 3).requires_grad_()
    PriorMapLoss(balanced=True)(maps, labels, [1]).backward()
    sums = maps.grad.sum(dim=(0, 2, 3))
    torch.testing.assert_close(sums[0], sums[1])
    assert sums[2] == 0
    # Labels that are in balance already weigh the same either way.
    even = torch.eye(2, dtype=torch.float64)[None, :, :, None]
    maps = soft_maps(1, 2, (2, 1))
    torch.testing.assert_close(
        PriorMapLoss(balanced=True)(maps, even, [1]), PriorMapLoss()(maps, even, [1])
    )


def test_losses_of_maps_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match='0 < smallest < largest < 1, got 0.5 and 0.2'):
        MapAreaLoss(0.5, 0.2)
    with pytest.raises(ValueError, match='same number of images and of maps'):
        PriorMapLoss()(soft_maps(), soft_maps(maps=4), [3])
