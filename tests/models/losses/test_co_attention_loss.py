"""The co-attention loss against its literal double loop."""

from math import exp, log

import pytest
import torch

from mmcoseg.models.losses import CoAttentionLoss
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
    with pytest.raises(ValueError, match=r"one of \('sum', 'mean'\), got 'max'"):
        CoAttentionLoss(reduction='max')
    with pytest.raises(ValueError, match='add up to 4'):
        CoAttentionLoss()(vectors(), [2, 2])
