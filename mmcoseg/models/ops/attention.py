"""Attention within an image and between the images of a group, block by block."""

from itertools import permutations
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .precision import at_least_float32, without_autocast

__all__ = ['mutual_attention', 'self_attention']


def self_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of each image's locations to all locations of the same image.

    ``SA_n = softmax(q_n k_n^T) v_n`` with M = h w rows (Zhang et al., "Self-Attention Generative
    Adversarial Networks", ICML 2019), exactly. Scores are computed in at least float32, half of the
    rows of one image at a time, and again for the derivative: at most M x M of them are alive,
    temporary results included, whatever the batch.

    Args:
        q, k: queries and keys, (N, c, h, w).
        v: values, (N, C, h, w).

    Returns:
        (N, C, h, w), of the type of ``v``. Differentiable once.

    Example:
        >>> v = torch.tensor([[[[1.0, 3.0]]]])
        >>> self_attention(torch.zeros(1, 4, 1, 2), torch.ones(1, 4, 1, 2), v)
        tensor([[[[2., 2.]]]])
    """
    with without_autocast(q):
        maps = (at_least_float32(x).flatten(2) for x in (q, k, v))
        return _SelfAttention.apply(*maps).view(v.shape).to(v.dtype)


def mutual_attention(q: Tensor, k: Tensor) -> Tensor:
    """How much of each image's locations is found in the other images of its group.

    For the anchor i and each reference j,

        v_ij = sum over the rows p of softmax(q_j k_i^T)_p,    a_ij = sigmoid(v_ij / sqrt(c)):

    each location of j is softly matched to those of i, and v_ij counts the matches. The result is
    the mean of a_ij over all j != i. Types and memory are as in :func:`self_attention`; beside the
    inputs, v is kept for the derivative, N numbers a location.

    Args:
        q, k: queries and keys of the images of one group, (N, c, h, w).

    Returns:
        (N, 1, h, w) in [0.5, 1], float32 or float64; for a single image, which has no reference,
        zeros. Differentiable once.

    Example:
        >>> x = torch.zeros(2, 1, 1, 2)  # both locations of the other image match each by half
        >>> mutual_attention(x, x)[0], mutual_attention(x[:1], x[:1])[0]  # sigmoid(1)
        (tensor([[[0.7311, 0.7311]]]), tensor([[[0., 0.]]]))
    """
    with without_autocast(q):
        q, k = at_least_float32(q), at_least_float32(k)
        return _MutualAttention.apply(q.flatten(2), k.flatten(2)).view(len(q), 1, *q.shape[2:])


class _SelfAttention(torch.autograd.Function):
    """Of queries and keys (N, c, M) and values (N, C, M)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(v, memory_format=torch.contiguous_format)
        for n in range(len(q)):
            for some in _halves(q):
                torch.mm(v[n], _softmax_block(q[n, :, some], k[n]).t(), out=out[n, :, some])
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out = ctx.saved_tensors
        grad_q, grad_k, grad_v = (torch.zeros_like(x) for x in (q, k, v))
        with without_autocast(q):
            # Sum over a row of probabilities times their derivatives.
            weighted = (grad * out).sum(dim=1)
            for n in range(len(q)):
                for some in _halves(q):
                    g = grad[n, :, some]
                    prob = _softmax_block(q[n, :, some], k[n])
                    grad_v[n].addmm_(g, prob)
                    grad_prob = g.t() @ v[n]
                    grad_scores = prob.mul_(grad_prob.sub_(weighted[n, some, None]))
                    del grad_prob
                    grad_q[n, :, some] = k[n] @ grad_scores.t()
                    grad_k[n].addmm_(q[n, :, some], grad_scores)
                    # Before the next block is made.
                    del prob, grad_scores
        return grad_q, grad_k, grad_v


class _MutualAttention(torch.autograd.Function):
    """Mean weights (N, M) of the locations of each image, of queries and keys (N, c, M)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor) -> Tensor:
        images, channels, locations = q.shape
        matches = q.new_zeros(images, images, locations)
        for i, j in permutations(range(images), 2):
            for some in _halves(q):
                matches[i, j] += _softmax_block(q[j, :, some], k[i]).sum(dim=0)
        ctx.save_for_backward(q, k, matches)
        others = torch.sigmoid(channels**-0.5 * matches)
        others.diagonal().zero_()
        return others.sum(dim=1) / max(1, images - 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        q, k, matches = ctx.saved_tensors
        scale = q.shape[1] ** -0.5
        grad_q, grad_k = torch.zeros_like(q), torch.zeros_like(k)
        with without_autocast(q):
            images = len(q)
            for i, j in permutations(range(images), 2):
                weights = torch.sigmoid(scale * matches[i, j])
                # Of each match, the same in all rows.
                g = grad[i] * weights * (1 - weights) * (scale / (images - 1))
                for some in _halves(q):
                    prob = _softmax_block(q[j, :, some], k[i])
                    grad_scores = prob.mul_(g - (prob @ g)[:, None])
                    grad_q[j, :, some] += k[i] @ grad_scores.t()
                    grad_k[i].addmm_(q[j, :, some], grad_scores)
                    del prob, grad_scores
        return grad_q, grad_k


def _softmax_block(q: Tensor, k: Tensor) -> Tensor:
    """Softmax of the rows of ``q^T k``, (r, M), of queries (c, r) and keys (c, M), in place."""
    scores = q.t() @ k
    return torch.softmax(scores, dim=1, out=scores)


def _halves(q: Tensor) -> list[slice]:
    """Blocks of at most half of the rows, since the derivatives need a second block."""
    rows = max(1, q.shape[-1] // 2)
    return [slice(start, start + rows) for start in range(0, q.shape[-1], rows)]
