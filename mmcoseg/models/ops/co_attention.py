"""How far the parts of images lie apart that masks cut out (co-attention loss)."""

from torch import Tensor

from .precision import at_least_float32, without_autocast

__all__ = ['co_attention_distances']


def co_attention_distances(x: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of the same class between images, and of different classes within them.

    With the vectors ``x_i^k`` of length c of image i masked by its map k (0: background, 1..K),

        d+(i, j, k) = (1/c) |x_i^k - x_j^k|^2,
        d-(i, j, k) = 1/(2 K c) sum over l != k of |x_i^k - x_i^l|^2 + |x_j^k - x_j^l|^2,

    where l runs over all K + 1 maps, the background included (Eqs. 6 and 7 of the multi-class
    method; with K = 1 those of Hsu et al., IJCAI 2018). The first come from one Gram matrix a
    class, of vectors from which the class's mean is taken so that nothing cancels; the second are
    sums of one term of each image: O(N^2 K c) products in K matrix products, O(N^2 K + N K^2 c)
    memory. Computed in at least float32.

    Args:
        x: (N, K + 1, c), background first.

    Returns:
        d+ and d-, (K, N, N) each, class k at k - 1; symmetric. On the diagonal d+ is 0.

    Example:
        >>> import torch
        >>> x = torch.tensor([[[0.0], [3.0]], [[0.0], [1.0]]])  # two images, K = 1, c = 1
        >>> same, other = co_attention_distances(x)
        >>> same[0, 0, 1], other[0, 0, 1]  # (3 - 1)^2 and (3^2 + 1^2) / 2
        (tensor(4.), tensor(5.))
    """
    with without_autocast(x):
        x = at_least_float32(x)
        num_classes, length = x.shape[1] - 1, x.shape[2]
        objects = x[:, 1:].transpose(0, 1)
        centered = objects - objects.mean(dim=1, keepdim=True).detach()
        norms = centered.square().sum(dim=-1)
        gram = centered @ centered.transpose(1, 2)
        same = (norms[:, :, None] + norms[:, None] - 2 * gram) / length
        # Of image n, (N, K); the term l = k is 0.
        within = (x[:, 1:, None] - x[:, None]).square().sum(dim=(2, 3))
        within = within.t() / (2 * num_classes * length)
        return same, within[:, :, None] + within[:, None]
