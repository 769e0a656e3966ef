"""Statistics are taken in at least float32, whatever the precision of the network around them."""

import pytest
import torch
from torch.nn import functional as F

from mmcoseg.models.ops import (
    channel_covariance,
    class_discriminants,
    cluster_classes,
    consensus_foreground,
    count_classes,
    deep_descriptor_transform,
    deep_feature_factorization,
    group_discriminant,
    landmark_bipartition,
    mask_overlaps,
    principal_components,
    spatial_clustering_loss,
    spectral_bipartition,
)

HALF = [torch.bfloat16, torch.float16]


def features() -> torch.Tensor:
    """Of a group of 4 images, (4, 24, 6, 6), with an object in the middle and a common mean."""
    x = torch.rand(4, 24, 6, 6, generator=torch.Generator().manual_seed(0))
    x[:, :12, 2:4, 2:4] += 1.0
    return x + 2.0


def foreground() -> torch.Tensor:
    maps = torch.full((4, 6, 6), 0.1)
    maps[:, 2:4, 2:4] = 0.9
    return maps


def rows() -> torch.Tensor:
    return features().permute(0, 2, 3, 1).flatten(0, 2)


OPS = {
    'class_discriminants': lambda: class_discriminants(
        features(), torch.stack([1 - foreground(), foreground()], dim=1)
    ),
    'cluster_classes': lambda: cluster_classes(features(), foreground(), 2, num_seeds=8),
    'consensus_foreground': lambda: consensus_foreground(features(), num_seeds=1),
    'count_classes': lambda: torch.tensor(count_classes(features(), foreground()).shares),
    'ddt': lambda: deep_descriptor_transform(features()),
    'dff': lambda: deep_feature_factorization(features(), 3)[0],
    'group_discriminant': lambda: group_discriminant(features(), foreground())[0],
    'landmark_bipartition': lambda: landmark_bipartition(rows(), 20, 5)[0],
    # More than bfloat16 tells apart.
    'mask_overlaps': lambda: mask_overlaps(torch.ones(2, 1001, dtype=torch.bool)),
    'principal_components': lambda: principal_components(rows(), 4),
    'spatial_clustering_loss': lambda: spatial_clustering_loss(rows(), rows()[:, 0]),
    'spectral_bipartition': lambda: spectral_bipartition(rows())[0],
    'centered_bipartition': lambda: spectral_bipartition(rows(), center=True)[0],
    'channel_covariance': lambda: channel_covariance(features().flatten(2)),
}


@pytest.mark.parametrize('dtype', HALF)
@pytest.mark.parametrize('name', OPS)
def test_autocast_changes_nothing(name, dtype):
    expected = OPS[name]()
    with torch.autocast('cpu', dtype=dtype):
        found = OPS[name]()
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize('dtype', HALF)
def test_the_eigenvector_of_descriptors_with_a_large_common_mean(dtype):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(980, 256, generator=generator)
    noise[:300] += 0.15 * torch.randn(256, generator=generator)
    common = 10 * torch.randn(256, generator=generator).abs()
    x = F.normalize(noise + common, dim=1)
    assert (x @ x.t()).mean() > 0.98
    exact, _ = spectral_bipartition(x.double())
    with torch.autocast('cpu', dtype=dtype):
        s, _ = spectral_bipartition(x)
        loss = spatial_clustering_loss(x, s)
    assert (s.double() @ exact).abs() > 0.999
    assert loss.item() == pytest.approx(spatial_clustering_loss(x.double(), exact).item(), abs=1e-4)


@pytest.mark.parametrize('dtype', HALF)
def test_the_covariance_of_large_features_is_finite(dtype):
    x = 300 * torch.randn(64, 49, generator=torch.Generator().manual_seed(0))
    with torch.autocast('cpu', dtype=dtype):
        covariance = channel_covariance(x)
    assert covariance.dtype == torch.float32
    exact = channel_covariance(x.double())
    assert (covariance - exact).abs().max() < 1e-6 * exact.abs().max()
