"""Deep descriptor transforming."""

import torch
from torch import Tensor

from .spectral import orient_by_border, spectral_bipartition

__all__ = ['deep_descriptor_transform']


@torch.no_grad()
def deep_descriptor_transform(features: Tensor) -> Tensor:
    """How much each location has of what varies most over a group.

    Wei, Zhang, Wu, Shen, Zhou: *Unsupervised object discovery and co-localization by deep
    descriptor transforming*, Pattern Recognition 2019. With the mean of all locations of all
    images and the first principal component xi_1 of their covariance, ``P_x = xi_1^T (x - mean)``
    (Eq. 3 and 4). The paper calls the positive side common object; the component's sign, which is
    arbitrary, is chosen here such that this side touches the image borders less.

    Of features (N, d, h, w) of any floating type it gives (N, h, w), at least float32; zeros where
    the features do not differ.
    """
    n, _, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).flatten(0, 2)
    # Projections on the first component are, but for their scale, the first eigenvector of the
    # Gram matrix of the centered rows; its eigenvalue is their sum of squares.
    s, eigenvalue = spectral_bipartition(rows, center=True)
    return orient_by_border((s * eigenvalue.sqrt()).view(n, height, width))
