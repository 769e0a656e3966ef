"""Two-way spectral clustering of descriptors, exact and in linear memory (SSNM, section 3.2)."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from .precision import at_least_float32, without_autocast

__all__ = [
    'deep_descriptor_transform',
    'orient_by_border',
    'row_chunks',
    'second_moments',
    'spatial_clustering_loss',
    'spectral_bipartition',
]

#: Rows of descriptors worked on at a time; bounds the copies made, changes no result.
CHUNK = 8192


@torch.no_grad()
def spectral_bipartition(x: Tensor, center: bool = False) -> tuple[Tensor, Tensor]:
    """The relaxed indicator of foreground and background (SSNM, Eq. 10).

    The eigenvector of the largest eigenvalue of the n x n matrix ``G = X^T X - 1 1^T``, whose
    columns of X are the descriptors, without ever building G: with ``A = [X; 1^T]`` and
    ``J = diag(1, ..., 1, -1)``, ``G = A^T J A`` has the non-zero spectrum of the symmetric
    (d+1) x (d+1) matrix ``L^1/2 Q^T J Q L^1/2``, where ``A A^T = Q L Q^T``. Time O(n d^2 + d^3);
    memory beyond ``x`` O(n + d^2).

    Args:
        x: descriptors as rows, (n, d), floating point, n >= 1. l2-normalized in the paper.
        center: take the Gram matrix of the descriptors minus their mean instead of G.

    Returns:
        - s: (n,), float32 (float64 for float64 input), ``|s| = 1``, its sign arbitrary. Where the
          descriptors do not differ no direction parts them; then s is constant by convention.
        - the largest eigenvalue, a scalar of the same type; 0 where the descriptors do not differ.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> s, eigenvalue = spectral_bipartition(x)
        >>> (s * s[0].sign()).round(decimals=4), eigenvalue.round(decimals=4)
        (tensor([ 0.5000,  0.5000, -0.5000, -0.5000]), tensor(2.))
    """
    n, d = x.shape
    dtype = torch.promote_types(x.dtype, torch.float32)
    gram, total = second_moments(x)
    # Eigenvalues below the noise of the products are no directions of the data.
    noise = 1e-12 if dtype == torch.float64 else 1e-6

    scale = gram.trace() if center else gram.trace() + n
    if center:
        gram = gram - torch.outer(total, total) / n
        values, vectors = torch.linalg.eigh(gram)
        eigenvalue, direction = values[-1], vectors[:, -1]
        offset = -(direction @ total) / n
    else:
        bordered = torch.cat([gram, total[:, None]], dim=1)
        last = torch.cat([total, total.new_tensor([n])])
        bordered = torch.cat([bordered, last[None]])
        values, q = torch.linalg.eigh(bordered)
        kept = values > noise * values[-1]
        root, q = values[kept].sqrt(), q[:, kept]
        sign = torch.ones(d + 1, dtype=q.dtype, device=q.device)
        sign[-1] = -1
        small = root[:, None] * (q.t() @ (sign[:, None] * q)) * root
        eigenvalues, eigenvectors = torch.linalg.eigh(small)
        eigenvalue = eigenvalues[-1]
        weights = q @ (eigenvectors[:, -1] / root)
        direction, offset = weights[:-1], weights[-1]

    if eigenvalue <= noise * scale:
        return x.new_full((n,), n**-0.5, dtype=dtype), x.new_zeros((), dtype=dtype)
    direction, offset = direction.to(dtype), offset.to(dtype)
    with without_autocast(x):
        s = torch.cat([rows @ direction for rows in row_chunks(x)]) + offset
    return s / s.norm(), eigenvalue.to(dtype)


def row_chunks(x: Tensor, normalize: bool = False) -> Iterator[Tensor]:
    """Rows (n, d) in parts (m, d) of at least float32, l2-normalized if wanted."""
    for rows in x.split(CHUNK):
        rows = at_least_float32(rows)
        yield F.normalize(rows, dim=1) if normalize else rows


def second_moments(x: Tensor, normalize: bool = False) -> tuple[Tensor, Tensor]:
    """``X X^T`` (d, d) and ``X 1`` (d,) of descriptors as rows (n, d), summed up in float64."""
    d = x.shape[1]
    gram = torch.zeros(d, d, dtype=torch.float64, device=x.device)
    total = torch.zeros(d, dtype=torch.float64, device=x.device)
    with without_autocast(x):
        for rows in row_chunks(x, normalize):
            gram += rows.t() @ rows
            total += rows.sum(dim=0, dtype=torch.float64)
    return gram, total


def spatial_clustering_loss(x: Tensor, s: Tensor) -> Tensor:
    """``l_spa = -s^T G s / n`` (SSNM, Eq. 9), in O(n d).

    At the optimal s the derivative of the loss through s vanishes (envelope theorem), so s is
    taken as a constant and the gradient reaches the descriptors through G alone.

    Of descriptors as rows (n, d) and the indicator (n,), ``|s| = 1``, it is a scalar, float32 or
    float64. For l2-normalized x, -1 is its least possible value.
    """
    with without_autocast(x):
        x = at_least_float32(x)
        s = s.detach().to(x.dtype)
        return (s.sum().square() - (s @ x).square().sum()) / len(x)


def orient_by_border(maps: Tensor) -> Tensor:
    """Choose the sign of a group's maps so that objects, not surroundings, are positive.

    The positive side touches the image border less: the mean over the outermost ring of all maps
    is at most the mean over their inside. Maps without an inside (a side of 1 or 2), and ties, have
    fewer positive than negative entries; where that is a tie too, the center of the negative part
    comes first in reading order. All maps get one sign, which depends neither on their order nor on
    the sign they came with. Maps (N, h, w) whose mean over the group is zero everywhere stay as
    they are.
    """
    inside = maps[:, 1:-1, 1:-1]
    # Below rounding, the order of summation would decide.
    tie = 1e-6 * maps.abs().mean(dtype=torch.float64)
    difference = maps.new_zeros((), dtype=torch.float64)
    if inside.numel():
        inside_sum = inside.sum(dtype=torch.float64)
        ring_sum = maps.sum(dtype=torch.float64) - inside_sum
        difference = ring_sum / (maps.numel() - inside.numel()) - inside_sum / inside.numel()
    if difference.abs() <= tie:
        difference = (maps > 0).sum() - (maps < 0).sum()
    if difference.abs() <= tie:
        mean = maps.mean(dim=0, dtype=torch.float64).flatten()
        place = torch.linspace(-1, 1, len(mean), dtype=torch.float64, device=maps.device)
        difference = -(mean @ place) if (mean @ place).abs() > tie else mean.new_zeros(())
    return -maps if difference > 0 else maps


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
