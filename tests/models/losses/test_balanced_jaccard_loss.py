import math

import pytest
import torch

from mmcoseg.models.losses import BalancedJaccardLoss


def literal(logits, target, valid):
    """The definition of one image, location by location."""
    cells = list(
        zip(logits.flatten().tolist(), target.flatten().tolist(), valid.flatten().tolist())
    )
    count = sum(v for _, _, v in cells)
    share = min(max(sum(t * v for _, t, v in cells) / count, 0.05), 0.95)
    entropy = overlap = union = 0.0
    for z, t, v in cells:
        p = 1 / (1 + math.exp(-z))
        weight = t * math.sqrt(0.5 / share) + (1 - t) * math.sqrt(0.5 / (1 - share))
        entropy -= v * weight * (t * math.log(p) + (1 - t) * math.log(1 - p))
        overlap += p * v * t * v
        union += p * v + t * v - p * v * t * v
    return entropy / count + 1 - (overlap + 1) / (union + 1)


def test_equals_the_literal_definition():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, generator=rng)
    target, valid = torch.rand(2, 3, 4, 5, generator=rng)
    valid = (valid > 0.3).float()
    expected = sum(literal(*image) for image in zip(logits, target, valid)) / 3
    loss = BalancedJaccardLoss(loss_weight=2.0)
    assert loss(logits, target, valid).item() == pytest.approx(2 * expected, rel=1e-5)


def test_what_is_not_valid_does_not_count():
    logits, target = torch.randn(1, 4, 4), torch.rand(1, 4, 4)
    valid = torch.ones(1, 4, 4)
    valid[0, 0] = 0
    changed = logits.clone()
    changed[0, 0] = 50.0
    loss = BalancedJaccardLoss()
    assert loss(logits, target, valid) == loss(changed, target, valid)
    assert loss(logits, target) == loss(logits, target, torch.ones(1, 4, 4))


def test_a_perfect_answer_costs_nothing():
    target = torch.zeros(1, 6, 6)
    target[0, 1:3, 2:5] = 1
    assert BalancedJaccardLoss()(200 * target - 100, target).item() == pytest.approx(0, abs=1e-6)


def test_gradient():
    target = torch.rand(2, 3, 3)
    logits = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda z: BalancedJaccardLoss()(z, target), logits, eps=1e-2, atol=1e-3, rtol=1e-2
    )
