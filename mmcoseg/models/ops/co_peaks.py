"""Pairs of locations, one in each of two images, that are salient and alike (DeepCO3, 3.2.1)."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .affinity import inverse_norms, require_saliency_of
from .precision import at_least_float32, without_autocast

__all__ = ['co_peak_means', 'co_peaks', 'local_maximum_values']

Threshold = Literal['positive', 'median']


def local_maximum_values(scores: Tensor) -> Tensor:
    """Largest value in the window of 3 locations along each dimension, cut off at the border.

    Scores may have any number of dimensions. Separable, and with one buffer beside the result.
    """
    largest = scores.clone() if min(scores.shape, default=1) < 2 else torch.empty_like(scores)
    source = scores
    for dim, length in enumerate(scores.shape):
        if length < 2:
            continue
        # Of two neighbors each; once this is known, the result may replace its source.
        pairs = torch.maximum(source.narrow(dim, 0, length - 1), source.narrow(dim, 1, length - 1))
        inside = largest.narrow(dim, 1, length - 2)
        torch.maximum(
            pairs.narrow(dim, 0, length - 2), pairs.narrow(dim, 1, length - 2), out=inside
        )
        largest.narrow(dim, 0, 1).copy_(pairs.narrow(dim, 0, 1))
        largest.narrow(dim, length - 1, 1).copy_(pairs.narrow(dim, length - 2, 1))
        source = largest
        del pairs
    return largest


@torch.no_grad()
def co_peaks(scores: Tensor, threshold: Threshold = 'positive') -> Tensor:
    """Local maxima of the 4-D scores of two images in windows of 3 x 3 x 3 x 3.

    A pair counts if no other in its window has a larger score; so every pair of a plateau does.
    No more than 3 tensors of the scores' size are alive at once, the scores included.

    Args:
        scores: (h, w, h', w').
        threshold: which maxima count: ``'positive'``: those above 0, of locations that are salient
            and have something in common; ``'median'``: those that are at least the median of all
            scores, as in the authors' code.

    Returns:
        (2, K) int64: the locations p in the first image and q in the second, counted row by row,
        in ascending order. K = 0 is possible only with ``'positive'``.
    """
    columns = max(scores.shape[2] * scores.shape[3], 1)
    largest = local_maximum_values(scores)
    if scores.device.type == 'cpu':
        # Comparing and searching are 5 times faster in numpy.
        places = torch.from_numpy(np.flatnonzero(largest.numpy() == scores.numpy()))
    else:
        places = (largest == scores).flatten().nonzero()[:, 0]
    del largest
    values = scores.flatten()
    at_places = values[places]
    counts = at_places > 0 if threshold == 'positive' else at_places >= _median(values)
    places = places[counts]
    return torch.stack([places // columns, places % columns])


def _median(values: Tensor) -> Tensor:
    """The middle value, or the mean of the two in the middle, which torch's median is not."""
    half = len(values) // 2
    upper = values.kthvalue(half + 1).values
    if len(values) % 2:
        return upper
    return (values.kthvalue(half).values + upper) / 2


class _MeanAtCoPeaks(torch.autograd.Function):
    """Mean score of the co-peaks of two images; 1, with a derivative of 0, where there are none.

    The scores are not kept. The derivative is a product of the descriptors with a sparse matrix
    that has ones at the co-peaks.
    """

    @staticmethod
    def forward(
        ctx: Any, y_n: Tensor, y_m: Tensor, shape: tuple[int, int, int, int], threshold: Threshold
    ) -> Tensor:
        scores = y_n @ y_m.t()
        p, q = index = co_peaks(scores.view(shape), threshold)
        ctx.save_for_backward(y_n, y_m, index)
        # Locations that are not numbers are no co-peaks, but must not go unnoticed.
        unknown = 0 * scores.sum()
        return unknown + (scores[p, q].mean() if len(p) else 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        y_n, y_m, index = ctx.saved_tensors
        count = index.shape[1]
        values = (grad / max(count, 1)).expand(count)
        size = (len(y_n), len(y_m))
        # Ascending places are coalesced ones.
        at_peaks = torch.sparse_coo_tensor(
            index, values, size, is_coalesced=True, check_invariants=False
        )
        return at_peaks @ y_m, at_peaks.t() @ y_n, None, None


def co_peak_means(
    x: Tensor, s: Tensor, pairs: Sequence[tuple[int, int]], threshold: Threshold = 'positive'
) -> Tensor:
    """Mean score Ts over the co-peaks of pairs of images (DeepCO3, what Eq. 3 takes the log of).

    Scores are correlations of the images' features, guided by their saliency (Eq. 2):
    ``Ts(p, q) = S_n(p) S_m(q) <x_n(p), x_m(q)> / (|x_n(p)| |x_m(q)|)``.

    One pair after the other, so that memory does not grow with their number. Computed in at least
    float32. The mean of (n, m) is that of (m, n).

    Args:
        x: features, (N, d, h, w).
        s: saliency, (N, h, w), in [0, 1].
        pairs: indices of the images, P pairs.
        threshold: as in :func:`co_peaks`.

    Returns:
        (P,), in [-1, 1]; 1 for a pair without co-peaks. Differentiable to x and s, also where it
        is empty.

    Raises:
        MMCosegError: if the shapes do not fit.

    Example:
        >>> x = torch.ones(2, 4, 3, 3)
        >>> co_peak_means(x, torch.full((2, 3, 3), 0.5), [(0, 1)])
        tensor([0.2500])
    """
    require_saliency_of(x, s)
    with without_autocast(x):
        x, s = at_least_float32(x), at_least_float32(s)
        # Rows that lie together make products with sparse matrices several times faster.
        y = (x * (s * inverse_norms(x))[:, None]).flatten(2).transpose(1, 2).contiguous()
        shape = (*s.shape[1:], *s.shape[1:])
        if not pairs:
            return (y * 0).sum().expand(0)
        return torch.stack([_MeanAtCoPeaks.apply(y[n], y[m], shape, threshold) for n, m in pairs])
