"""How alike salient locations of two images are, in linear time (DeepCO3, section 3.2.2)."""

import torch
from torch import Tensor

from ...errors import MMCosegError
from .precision import at_least_float32, without_autocast

__all__ = ['inverse_norms', 'pairwise_affinity', 'require_saliency_of']


def require_saliency_of(x: Tensor, s: Tensor) -> None:
    """Refuse features and a saliency whose shapes do not fit."""
    if x.dim() != 4 or s.shape != (len(x), *x.shape[2:]):
        raise MMCosegError(
            f'x must be (N, d, h, w) and s (N, h, w), got {tuple(x.shape)} and {tuple(s.shape)}'
        )


def inverse_norms(x: Tensor) -> Tensor:
    """1 / |x(p)| of descriptors (N, d, h, w): (N, h, w), at most 1e12."""
    # Seven times faster than torch's norm along a dimension that is not the last.
    return x.square().sum(dim=1).clamp(min=1e-12**2).rsqrt()


def pairwise_affinity(x: Tensor, s: Tensor, alpha: float = 4.0) -> Tensor:
    """The affinity term of all pairs of a group's images (DeepCO3, Eq. 4), as a mean.

    With ``T(p, q) = <x_n(p), x_m(q)> / (|x_n(p)| |x_m(q)|)``,

        l(n, m) = mean over p, q of  S_n(p) S_m(q) (1 - T(p, q))
                                     + alpha (S_n(p) - S_m(q))^2 T(p, q).

    Both parts are bilinear in the features. So with the means over p of ``x_n``, ``S_n x_n`` and
    ``S_n^2 x_n`` (normalized; called v, u, w), and that of ``S_n`` (called a), exactly

        l(n, m) = a_n a_m - <u_n, u_m> + alpha (<w_n, v_m> + <v_n, w_m> - 2 <u_n, u_m>):

    O(N d h w + N^2 d) time and O(N d + N h w) memory beyond the features, where the definition
    has (h w)^2 products a pair. Computed in at least float32.

    Args:
        x: features, (N, d, h, w); normalized here. A vector of zeros is like nothing.
        s: saliency, (N, h, w), in [0, 1].
        alpha: weight of keeping salient and other locations apart.

    Returns:
        (N, N), symmetric; the diagonal compares each image with itself.

    Raises:
        MMCosegError: if the shapes do not fit.

    Example:
        >>> x = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # two locations, nothing in common
        >>> pairwise_affinity(x, torch.tensor([[[1.0, 0.0]]]))
        tensor([[0.]])
    """
    require_saliency_of(x, s)
    with without_autocast(x):
        x, s = at_least_float32(x), at_least_float32(s)
        # The norms go into the weights, which saves a normalized copy of the features.
        scale = inverse_norms(x) / s[0].numel()
        weights = torch.stack([scale, scale * s, scale * s.square()], dim=-1).flatten(1, 2)
        v, u, w = (x.flatten(2) @ weights).unbind(dim=-1)
        a = s.mean(dim=(1, 2))
        cross = w @ v.t()
        both = u @ u.t()
        return torch.outer(a, a) - both + alpha * (cross + cross.t() - 2 * both)
