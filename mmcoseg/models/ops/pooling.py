"""Second-order statistics of features."""

from torch import Tensor

from .precision import at_least_float32, without_autocast

__all__ = ['channel_covariance']


def channel_covariance(x: Tensor, centered: bool = True) -> Tensor:
    """Covariance of channels over positions (SSNM, section 3.3; Gao et al., CVPR 2019).

    Computed in at least float32, so that half precision inputs do not overflow, with the divisor
    n (not n - 1): one position gives zeros, and repeating all positions changes nothing. Of
    features (..., c, n), n >= 1 positions, it is (..., c, c), symmetric positive semi-definite; the
    second moment, where it is not ``centered``.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 3.0], [2.0, 2.0]])
        >>> channel_covariance(x)
        tensor([[1., 0.],
                [0., 0.]])
    """
    with without_autocast(x):
        x = at_least_float32(x)
        if centered:
            x = x - x.mean(dim=-1, keepdim=True)
        return x @ x.transpose(-1, -2) / x.shape[-1]
