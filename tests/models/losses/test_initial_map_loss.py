import pytest
import torch

from mmcoseg.errors import MMCosegError
from mmcoseg.models.losses import InitialMapLoss


def soft_maps(images=3, maps=3, size=(4, 5), seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(images, maps, *size, generator=rng, dtype=torch.float64).softmax(dim=1)


def test_is_a_cross_entropy():
    maps, labels = soft_maps(), soft_maps(seed=1)
    expected = -(labels * maps.log()).sum(dim=1)
    expected = (expected[:2].mean() + expected[2:].mean()) / 2
    torch.testing.assert_close(InitialMapLoss()(maps, labels, [2, 1]), expected)
    weighted = InitialMapLoss(loss_weight=3.0)(maps, labels, [2, 1])
    torch.testing.assert_close(weighted, 3 * expected)
    best = InitialMapLoss()(labels, labels, [2, 1])
    assert InitialMapLoss()(maps, labels, [2, 1]) > best


def test_labels_of_another_resolution():
    maps, labels = soft_maps(), soft_maps(seed=1)
    coarse = torch.nn.functional.avg_pool2d(labels[..., :4], 2)
    upsampled = torch.nn.functional.interpolate(coarse, (4, 5), mode='bilinear')
    torch.testing.assert_close(
        InitialMapLoss()(maps, coarse, [3]), InitialMapLoss()(maps, upsampled, [3])
    )


def test_a_map_that_is_lost_has_a_finite_derivative():
    maps = torch.tensor([1.0, 0.0])[None, :, None, None].requires_grad_()
    labels = torch.tensor([0.5, 0.5])[None, :, None, None]
    value = InitialMapLoss()(maps, labels, [1])
    value.backward()
    assert value.isfinite() and maps.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    maps, labels = soft_maps().to(dtype), soft_maps(seed=1).to(dtype)
    value = InitialMapLoss()(maps, labels, [3])
    assert value.dtype == torch.float32
    expected = InitialMapLoss()(maps.double(), labels.double(), [3]).float()
    torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(MMCosegError, match='same number of images and of maps'):
        InitialMapLoss()(soft_maps(), soft_maps(maps=4), [3])
    with pytest.raises(MMCosegError, match='same number of images and of maps'):
        InitialMapLoss()(soft_maps(), soft_maps(images=2), [3])
