import math

import pytest
import torch

from mmcoseg.models.losses import BalancedBCELoss, balanced_bce_with_logits


def literal(logits, target, balance):
    """Eq. 13 pixel by pixel, in float64, void left out."""
    results = []
    for z, t in zip(logits.double(), target):
        pixels = [(a, b) for a, b in zip(z.flatten().tolist(), t.flatten().tolist()) if b != 255]
        share = sum(b != 0 for _, b in pixels) / max(len(pixels), 1)
        delta = {'inverse': 1 - share, 'literal': share}[balance]
        total = 0.0
        for a, b in pixels:
            p = 1 / (1 + math.exp(-a))
            total -= delta * math.log(p) if b else (1 - delta) * math.log(1 - p)
        results.append(total / max(len(pixels), 1))
    return torch.tensor(results, dtype=torch.float64)


@pytest.mark.parametrize('balance', ['inverse', 'literal'])
def test_equals_the_literal_sum(balance):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, 7, generator=rng)
    target = torch.tensor([0, 1, 2, 255])[torch.randint(4, (6, 5, 7), generator=rng)]
    target[0] = 0
    target[1] = 1
    target[2] = 255
    result = balanced_bce_with_logits(logits, target, balance)
    torch.testing.assert_close(result.double(), literal(logits, target, balance))
    assert result[2] == 0


def test_inverse_weighs_both_classes_alike_whatever_the_size():
    target = torch.zeros(1, 10, 10, dtype=torch.long)
    target[0, 0, :5] = 1
    gradient = torch.zeros(1, 10, 10, requires_grad=True)
    balanced_bce_with_logits(gradient, target).sum().backward()
    of_object = gradient.grad[target == 1].sum()
    of_background = gradient.grad[target == 0].sum()
    assert of_object == pytest.approx(-of_background.item())


def test_literal_weighs_the_rarer_class_less():
    target = torch.zeros(1, 10, 10, dtype=torch.long)
    target[0, 0, :5] = 1
    gradient = torch.zeros(1, 10, 10, requires_grad=True)
    balanced_bce_with_logits(gradient, target, 'literal').sum().backward()
    assert gradient.grad[target == 1].abs().mean() < gradient.grad[target == 0].abs().mean()


def test_an_empty_mask_teaches_nothing_when_classes_are_balanced():
    target, logits = torch.zeros(1, 4, 4, dtype=torch.long), torch.ones(1, 4, 4)
    assert balanced_bce_with_logits(logits, target).item() == 0


def test_gradient():
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 2, (2, 3, 4))
    # The loss works in float32, hence the coarse step and tolerance.
    assert torch.autograd.gradcheck(
        lambda z: balanced_bce_with_logits(z, target), logits, eps=1e-2, atol=1e-3, rtol=1e-2
    )


def test_module_and_errors():
    logits, target = torch.randn(2, 4, 4), torch.randint(0, 2, (2, 4, 4))
    loss = BalancedBCELoss(loss_weight=2.0)
    assert loss(logits, target) == 2 * balanced_bce_with_logits(logits, target).mean()
    with pytest.raises(ValueError, match=r"balance must be one of .*'sideways'"):
        BalancedBCELoss('sideways')
    with pytest.raises(ValueError, match='same as input size'):
        balanced_bce_with_logits(logits, target[:1])
