import math

import pytest
import torch

from mmcoseg.models.losses import MaskSmoothL1Loss


def test_equals_the_literal_mean_over_valid_pixels():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, generator=rng, dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 255])[torch.randint(4, (3, 4, 5), generator=rng)]
    costs = []
    for logit, label in zip(logits.flatten().tolist(), target.flatten().tolist()):
        if label != 255:
            costs.append(0.5 * (1 / (1 + math.exp(-logit)) - (label != 0)) ** 2)
    expected = 3 * sum(costs) / len(costs)
    loss = MaskSmoothL1Loss(loss_weight=3.0)(logits, target)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_void_alone_costs_nothing():
    logits = torch.randn(1, 2, 2, requires_grad=True)
    loss = MaskSmoothL1Loss()(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()
