import numpy as np
import torch

from mmcoseg.models.ops.pooling import channel_covariance


def test_equals_numpy():
    x = torch.randn(3, 5, 11, dtype=torch.float64)
    expected = np.stack([np.cov(image, bias=True) for image in x.numpy()])
    torch.testing.assert_close(channel_covariance(x), torch.from_numpy(expected))


def test_second_moment_is_the_mean_outer_product():
    x = torch.randn(4, 6, dtype=torch.float64)
    expected = sum(torch.outer(column, column) for column in x.t()) / 6
    torch.testing.assert_close(channel_covariance(x, centered=False), expected)


def test_one_position_and_repeated_positions():
    x = torch.randn(4, 1)
    assert (channel_covariance(x) == 0).all()
    x = torch.randn(4, 6)
    torch.testing.assert_close(channel_covariance(x), channel_covariance(x.repeat(1, 3)))


def test_half_precision_does_not_overflow():
    x = torch.full((2, 3), 1000.0, dtype=torch.float16)
    assert channel_covariance(x, centered=False).isfinite().all()
