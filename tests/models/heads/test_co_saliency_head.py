import pytest
import torch
from torch.nn import functional as F

from mmcoseg.models.heads import CoSaliencyHead


def levels(shapes, images=2):
    rng = torch.Generator().manual_seed(0)
    return tuple(torch.randn(images, *shape, generator=rng) for shape in shapes)


@pytest.mark.parametrize(
    ('aligned', 'shape', 'size'), [(False, (7, 5), (112, 80)), (True, (7, 5), (97, 65))]
)
def test_upsampling_begins_as_bilinear_interpolation(aligned, shape, size):
    head = CoSaliencyHead([8], [16], align_corners=aligned)
    feats = levels([(8, *shape)])
    coarse = head.coarse_logits(feats)
    torch.testing.assert_close(coarse, F.conv2d(feats[0], head.conv.weight, head.conv.bias))
    logits = head(feats, coarse)
    expected = coarse
    for _ in range(4):
        h, w = (2 * n - 1 if aligned else 2 * n for n in expected.shape[-2:])
        expected = F.interpolate(expected, (h, w), mode='bilinear', align_corners=aligned)
    assert logits.shape[-2:] == size
    torch.testing.assert_close(logits, expected)
    prob = head.predict_by_feat(logits, size)
    torch.testing.assert_close(prob, torch.sigmoid(expected))


def test_upsampling_is_learned():
    head = CoSaliencyHead([8], [4])
    feats = levels([(8, 6, 6)])
    head(feats, head.coarse_logits(feats)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_finer_levels_come_in_at_their_stride():
    feats = levels([(3, 24, 20), (4, 12, 10), (8, 6, 5)])
    plain = CoSaliencyHead([3, 4, 8], [4, 8, 16])
    torch.manual_seed(0)
    head = CoSaliencyHead([3, 4, 8], [4, 8, 16], lateral=True)
    head.load_state_dict(plain.state_dict(), strict=False)
    coarse = head.coarse_logits(feats)
    # They begin with nothing to say.
    torch.testing.assert_close(head(feats, coarse), plain(feats, coarse))
    torch.nn.init.ones_(head.lateral['4'].weight)
    with_finer = head(feats, coarse) - plain(feats, coarse)
    finer = feats[0].sum(1, keepdim=True)
    for _ in range(2):
        finer = F.interpolate(finer, scale_factor=2, mode='bilinear')
    torch.testing.assert_close(with_finer, finer, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('strides', [[16], [16, 8], [8, 12], [0, 8], [8, 8]])
def test_wrong_strides(strides):
    with pytest.raises(ValueError, match='one stride a level, powers of 2, fine to coarse'):
        CoSaliencyHead([3, 4], strides)
