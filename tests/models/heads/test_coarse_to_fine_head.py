import pytest
import torch
from torch.nn import functional as F

from mmcoseg.models.heads import CoarseToFineHead


@pytest.fixture
def head():
    torch.manual_seed(0)
    return CoarseToFineHead([4, 5, 6]).double()


def levels(n=2):
    shapes = [(4, 8, 12), (5, 4, 6), (6, 2, 3)]
    return tuple(torch.randn(n, *shape, dtype=torch.float64) for shape in shapes)


def test_is_the_top_down_pathway(head):
    fine, middle, coarse = levels()
    fused = middle + F.interpolate(
        F.conv2d(coarse, head.reduce[1].weight, head.reduce[1].bias),
        size=(4, 6),
        mode='bilinear',
        align_corners=False,
    )
    fused = fine + F.interpolate(
        F.conv2d(fused, head.reduce[0].weight, head.reduce[0].bias),
        size=(8, 12),
        mode='bilinear',
        align_corners=False,
    )
    hidden = F.conv2d(fused, head.conv.weight, head.conv.bias, padding=1).clamp(min=0)
    expected = F.conv2d(hidden, head.conv_seg.weight, head.conv_seg.bias)
    torch.testing.assert_close(head((fine, middle, coarse)), expected)


def test_images_do_not_see_each_other(head):
    feats = levels(3)
    alone = torch.cat([head(tuple(x[i : i + 1] for x in feats)) for i in range(3)])
    torch.testing.assert_close(head(feats), alone)


def test_loss_and_prediction_are_at_the_given_size(head):
    logits = head(levels())
    losses = head.loss_by_feat(logits, torch.randint(0, 2, (2, 32, 48)))
    assert list(losses) == ['loss_seg'] and losses['loss_seg'].isfinite()
    probs = head.predict_by_feat(logits, (32, 48))
    assert probs.shape == (2, 1, 32, 48) and 0 <= probs.min() and probs.max() <= 1


def test_several_losses_are_given_by_name():
    losses = [dict(type='BalancedBCELoss'), dict(type='MaskSmoothL1Loss', loss_weight=2.0)]
    head = CoarseToFineHead([4], loss_decode=losses)
    logits, target = torch.randn(2, 1, 4, 4), torch.randint(0, 2, (2, 4, 4))
    values = head.loss_by_feat(logits, target)
    assert list(values) == ['loss_seg', 'loss_l1']
    expected = (logits.sigmoid()[:, 0] - target).square().mean()  # twice half the square
    torch.testing.assert_close(values['loss_l1'], expected)
