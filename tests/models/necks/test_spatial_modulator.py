import pytest
import torch

from mmcoseg.models.necks import SpatialModulator


def feats(n=5):
    rng = torch.Generator().manual_seed(0)
    return (
        torch.randn(n, 6, 8, 8, dtype=torch.float64, generator=rng),
        torch.randn(n, 10, 4, 4, dtype=torch.float64, generator=rng),
    )


@pytest.fixture
def modulator():
    torch.manual_seed(0)
    return SpatialModulator([6, 10], channels=4, level=1).double()


def test_descriptors_are_the_fused_levels(modulator):
    fine, coarse = feats(1)
    fine = torch.nn.functional.avg_pool2d(fine, 2)
    fused = modulator.convs[0](fine) + modulator.convs[1](coarse)
    expected = fused / fused.norm(dim=1, keepdim=True)
    torch.testing.assert_close(modulator.encode(feats(1)), expected)


def test_maps_are_the_top_eigenvector_of_the_group(modulator):
    x = modulator.encode(feats()).permute(0, 2, 3, 1).reshape(-1, 4)
    _, vectors = torch.linalg.eigh(x @ x.t() - 1)
    modulation = modulator(feats(), [5])
    assert modulation.shift.shape == (5, 1, 4, 4) and modulation.scale is None
    s = modulation.shift.flatten() / modulation.shift.numel() ** 0.5
    assert (s @ vectors[:, -1]).abs().item() == pytest.approx(1)


def test_scale_of_the_maps_does_not_depend_on_the_group(modulator):
    for n in (1, 2, 5):
        assert modulator(feats(n), [n]).shift.square().mean().item() == pytest.approx(1)
    unit = SpatialModulator([6, 10], channels=4, level=1, scale='unit').double()
    assert unit(feats(), [5]).shift.norm().item() == pytest.approx(1)


def test_order_of_the_images_and_duplicates(modulator):
    fine, coarse = feats()
    order = [2, 4, 0, 3, 1]
    maps = modulator((fine, coarse), [5]).shift
    torch.testing.assert_close(modulator((fine[order], coarse[order]), [5]).shift, maps[order])
    doubled = modulator((fine.repeat(2, 1, 1, 1), coarse.repeat(2, 1, 1, 1)), [10]).shift
    torch.testing.assert_close(doubled[:5], maps)
    torch.testing.assert_close(doubled[5:], maps)


def test_groups_of_a_batch_are_clustered_apart(modulator):
    fine, coarse = feats()
    together = modulator((fine, coarse), [3, 2]).shift
    torch.testing.assert_close(together[:3], modulator((fine[:3], coarse[:3]), [3]).shift)
    torch.testing.assert_close(together[3:], modulator((fine[3:], coarse[3:]), [2]).shift)


def test_loss_trains_the_features_and_not_through_the_maps(modulator):
    modulation = modulator(feats(), [3, 2])
    assert not modulation.shift.requires_grad
    loss = modulator.loss(modulation, [3, 2], None)['loss_spa']
    assert -1 <= loss.item() < 0
    loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in modulator.parameters())


def test_training_on_the_loss_parts_the_descriptors(modulator):
    optimizer = torch.optim.Adam(modulator.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        losses.append(modulator.loss(modulator(feats(), [5]), [5], None)['loss_spa'])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] - 0.1


def test_options_are_checked():
    with pytest.raises(ValueError, match='level must index one of 2 levels, got 2'):
        SpatialModulator([6, 10], level=2)
    with pytest.raises(ValueError, match="scale must be one of .*'big'"):
        SpatialModulator([6, 10], level=0, scale='big')


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_descriptors_have_the_length_1_of_float32_under_autocast(modulator, dtype):
    modulator = modulator.float()
    levels = tuple(level.float() for level in feats())
    with torch.autocast('cpu', dtype=dtype):
        descriptors = modulator.encode(levels)
        maps = modulator(levels, [5]).shift
    assert descriptors.dtype == maps.dtype == torch.float32
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(5, 4, 4))
