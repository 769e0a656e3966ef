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


@pytest.mark.parametrize('strides', [[16], [16, 8], [8, 12], [0, 8], [8, 16, 16]])
def test_wrong_strides(strides):
    with pytest.raises(ValueError, match='one stride a level, powers of 2, fine to coarse'):
        CoSaliencyHead([3, 4], strides)


def literal_logits(head, feats, chosen, normalize):
    """Location by location, in double precision."""
    weight, bias = head.conv.weight.double().flatten(), head.conv.bias.double()
    images, _, height, width = feats[chosen[0]].shape
    logits = torch.zeros(images, 1, height, width, dtype=torch.float64)
    for n in range(images):
        for y in range(height):
            for x in range(width):
                vectors = [feats[level][n, :, y, x].double() for level in chosen]
                if normalize:
                    vectors = [v / max(v.square().sum().sqrt(), 1e-6) for v in vectors]
                logits[n, 0, y, x] = torch.cat(vectors) @ weight + bias[0]
    return logits


@pytest.mark.parametrize('normalize', [False, True])
@pytest.mark.parametrize('chosen', [(-1,), (2,), (1, 2), (2, 1), (1,)])
def test_coarse_logits_are_of_the_chosen_levels(chosen, normalize):
    feats = levels([(3, 8, 10), (5, 4, 5), (7, 4, 5)])
    feats[1][0, :, 1, 2] = 0  # has no direction
    head = CoSaliencyHead([3, 5, 7], [8, 16, 16], coarse_levels=chosen, normalize=normalize)
    torch.nn.init.normal_(head.conv.weight)
    torch.nn.init.normal_(head.conv.bias)
    expected = literal_logits(head, feats, chosen, normalize)
    logits = head.coarse_logits(feats)
    torch.testing.assert_close(logits, expected.float(), rtol=1e-4, atol=1e-5)
    head, feats = head.double(), tuple(x.double() for x in feats)
    torch.testing.assert_close(head.coarse_logits(feats), expected)
    assert head(feats, head.coarse_logits(feats)).shape[-2:] == (64, 80)


def test_normalized_features_have_no_scale():
    feats = levels([(5, 4, 5), (7, 4, 5)])
    head = CoSaliencyHead([5, 7], [16, 16], coarse_levels=[0, 1], normalize=True)
    scale = torch.rand(2, 1, 4, 5) + 0.5
    torch.testing.assert_close(
        head.coarse_logits(feats), head.coarse_logits((3 * feats[0], scale * feats[1]))
    )
    plain = CoSaliencyHead([5, 7], [16, 16], coarse_levels=[0, 1])
    plain.load_state_dict(head.state_dict())
    assert not torch.allclose(plain.coarse_logits(feats), head.coarse_logits(feats))


def test_the_length_has_no_derivative():
    (feats,) = levels([(5, 2, 2)])
    feats.requires_grad_(True)
    head = CoSaliencyHead([5], [16], normalize=True)
    head.coarse_logits((feats,)).sum().backward()
    length = feats.detach().norm(dim=1, keepdim=True)
    torch.testing.assert_close(feats.grad, head.conv.weight.detach() / length)
    # Nor has a location without features one that is no number.
    feats = torch.zeros(1, 5, 2, 2, requires_grad=True)
    head.coarse_logits((feats,)).sum().backward()
    assert feats.grad.isfinite().all()


@pytest.mark.parametrize('chosen', [(0,), (0, 2), (), (3,), (-4,)])
def test_coarse_levels_have_the_last_levels_stride(chosen):
    with pytest.raises(ValueError, match=r'coarse_levels must be some of .* 16 \(.*\), got \('):
        CoSaliencyHead([3, 5, 7], [8, 16, 16], coarse_levels=chosen)


def test_lateral_levels_differ_in_stride():
    with pytest.raises(ValueError, match=r'one level of each finer stride, got strides \[8, 8'):
        CoSaliencyHead([3, 5, 7], [8, 8, 16], lateral=True)
    head = CoSaliencyHead([3, 5, 7], [8, 16, 16], lateral=True)
    assert list(head.lateral) == ['8']


def literal_deconvolution(maps, factor):
    """Every location spreads over 2 factor pixels a side, less with the distance; float64."""
    images, _, height, width = maps.shape
    result = torch.zeros(images, 1, factor * height, factor * width, dtype=torch.float64)
    for y in range(factor * height):
        for x in range(factor * width):
            for i in range(height):
                for j in range(width):
                    # Centers of the location, in pixels.
                    dy = abs(y - (factor * i + (factor - 1) / 2)) / factor
                    dx = abs(x - (factor * j + (factor - 1) / 2)) / factor
                    weight = max(0, 1 - dy) * max(0, 1 - dx)
                    result[:, 0, y, x] += weight * maps[:, 0, i, j].double()
    return result


def test_fixed_upsampling_is_one_bilinear_deconvolution():
    head = CoSaliencyHead([8], [4], upsampling='fixed')
    feats = levels([(8, 3, 4)])
    coarse = head.coarse_logits(feats)
    logits = head(feats, coarse)
    torch.testing.assert_close(logits.double(), literal_deconvolution(coarse, 4))
    # Away from the border it is bilinear interpolation.
    bilinear = F.interpolate(coarse, scale_factor=4, mode='bilinear')
    torch.testing.assert_close(logits[..., 2:-2, 2:-2], bilinear[..., 2:-2, 2:-2])
    assert [name for name, _ in head.named_parameters()] == ['conv.weight', 'conv.bias']
    assert head.double()(feats, coarse.double()).dtype == torch.float64


@pytest.mark.parametrize('option', [dict(lateral=True), dict(align_corners=True)])
def test_fixed_upsampling_has_no_other_options(option):
    with pytest.raises(ValueError, match="upsampling='fixed' is of one map, without lateral"):
        CoSaliencyHead([4, 8], [8, 16], upsampling='fixed', **option)


def test_unknown_upsampling():
    with pytest.raises(ValueError, match=r"one of \('learned', 'fixed'\), got 'bilinear'"):
        CoSaliencyHead([8], [16], upsampling='bilinear')
