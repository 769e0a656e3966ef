import numpy as np
import pytest
import torch

from mmcoseg.models.ops import deep_descriptor_transform, soften_by_otsu


def literal(features):
    """Wei et al., section 3.2, by numpy: mean, covariance, first eigenvector, projections."""
    n, d, height, width = features.shape
    x = features.permute(0, 2, 3, 1).reshape(-1, d).double().numpy()
    centered = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(centered.T @ centered / len(x))
    return torch.from_numpy(centered @ vectors[:, -1]).view(n, height, width)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16])
def test_is_the_projection_on_the_first_principal_component(dtype):
    torch.manual_seed(0)
    features = (torch.randn(3, 6, 7, 5) * torch.tensor([3.0, 2, 1, 1, 1, 1]).view(6, 1, 1)).to(
        dtype
    )
    ours, theirs = deep_descriptor_transform(features), literal(features)
    theirs = theirs * (ours.double() * theirs).sum().sign()
    tolerance = 1e-8 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(ours.double(), theirs, atol=tolerance, rtol=tolerance)
    inside = ours[:, 1:-1, 1:-1].sum()
    ring = ours.sum() - inside
    assert ring / (3 * (35 - 15)) <= inside / (3 * 15)


def test_order_and_rotation_change_nothing():
    features = torch.randn(5, 6, 7, 7).double()
    maps = deep_descriptor_transform(features)
    order = [3, 0, 4, 1, 2]
    torch.testing.assert_close(deep_descriptor_transform(features[order]), maps[order])
    rotation, _ = torch.linalg.qr(torch.randn(6, 6).double())
    turned = torch.einsum('ndhw,dk->nkhw', features, rotation)
    torch.testing.assert_close(deep_descriptor_transform(turned), maps)


def test_features_that_do_not_differ_have_no_object():
    for features in (torch.zeros(1, 4, 3, 3), torch.full((2, 4, 2, 2), 0.3)):
        maps = deep_descriptor_transform(features)
        assert torch.equal(maps, torch.zeros_like(maps))
        assert torch.equal(soften_by_otsu(maps), maps)


def test_otsu_parts_two_kinds_of_values_in_the_middle():
    torch.manual_seed(0)
    high = torch.rand(2, 9, 9) < 0.3
    maps = torch.where(high, 5.0, -1.0) + 0.2 * torch.randn(2, 9, 9)
    soft = soften_by_otsu(maps)
    assert torch.equal(soft > 0.5, high)
    # sigmoid(2 (x - t) / std): undone, it is linear in x with the slope that it should have.
    slope = torch.logit(soft.double()).flatten()
    x = maps.double().flatten()
    measured = (slope - slope.mean()) @ (x - x.mean()) / (x - x.mean()).square().sum()
    torch.testing.assert_close(measured, 2 / x.std(correction=0), rtol=1e-3, atol=0)
    threshold = x[soft.flatten() > 0.5].min() / 2 + x[soft.flatten() <= 0.5].max() / 2
    torch.testing.assert_close(
        torch.sigmoid(2 * (x - threshold) / x.std(correction=0)), soft.double().flatten(),
        rtol=1e-3, atol=1e-4,
    )  # fmt: skip


def test_otsu_is_that_of_all_images_together():
    maps = torch.stack([torch.full((4, 4), 0.0), torch.full((4, 4), 1.0)])
    soft = soften_by_otsu(maps)
    assert (soft[0] < 0.5).all() and (soft[1] > 0.5).all()
