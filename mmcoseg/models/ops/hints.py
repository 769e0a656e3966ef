"""From what is known of some pixels to what that says of all locations of a group."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from .precision import without_autocast
from .spectral import row_chunks

__all__ = ['HintPosterior', 'best_overlap', 'match_best_overlap']

#: Landmarks of the kernel, and its width in units of the cosine.
NUM_LANDMARKS, WIDTH = 256, 0.3
#: How much the kernel's smallest directions count, against rounding.
JITTER = 1e-4
#: Variance of a hint's error; and how strongly the maps that came in are held, as the weight of
#: saying nothing against them at a location that is drawn at random.
NOISE, PULL = 0.03, 3.0
#: Locations that stand for the group in this.
SAMPLE = 4096
#: Locations whose kernel is kept at most: 256 megabytes.
MOST_KEPT = 250_000
#: Probabilities stay within these.
LOW, HIGH = 0.02, 0.98


class HintPosterior:
    """Soft maps of a group, given what is known of some locations.

    A Gaussian process f over descriptors corrects the soft maps p: its mean is 0, and its
    covariance is ``k(x, y) = exp((cos(x, y) - 1) / 0.3)``, on m = 256 landmarks Z (Nystroem):
    ``f(x) = phi(x)^T v``, ``phi(x) = K_ZZ^-1/2 k_Z(x)``. A location known to be y, with weight w, says
    ``f(x) = y - p(x)`` with a variance of ``0.03 / w``; and the maps are held where nothing is known:
    f is 0 at a random location of the group with a weight of 3. So

        ``v = (0.03 I + 3 E[phi phi^T] + sum w phi phi^T)^-1 sum w phi (y - p)``.

    Where a hint only says what the maps say, nothing changes.

    Args:
        descriptors: of the group's images, (N, d, h, w).
    """

    @torch.no_grad()
    def __init__(self, descriptors: Tensor) -> None:
        self.size = descriptors.shape[-2:]
        points = descriptors.permute(0, 2, 3, 1).flatten(0, 2)
        self.points = points
        self.kept: Tensor | None = None
        with without_autocast(points):
            # In order, so that the same ones are taken whatever the order of the images.
            order = points[:, -1].float().argsort(stable=True)
            sample = points[order[:: -(-len(points) // SAMPLE)]].float()
            self.landmarks = F.normalize(sample[:: -(-len(sample) // NUM_LANDMARKS)], dim=1)
            values, vectors = torch.linalg.eigh(self._kernel(self.landmarks).double())
            root = vectors * values.clamp(min=JITTER).rsqrt()
            self.root = (root @ vectors.t()).float()
            phi = self._features(sample)
            self.held = PULL * phi.t() @ phi / len(phi)

    def _kernel(self, x: Tensor) -> Tensor:
        """``k_Z(x)``, (n, m), of descriptors (n, d)."""
        return (((F.normalize(x.float(), dim=1) @ self.landmarks.t()) - 1) / WIDTH).exp()

    def _features(self, x: Tensor) -> Tensor:
        return self._kernel(x) @ self.root

    def _kernel_rows(self) -> Iterator[Tensor]:
        """``k_Z`` of all locations, some at a time; kept where there is room, for the next update."""
        if len(self.points) > MOST_KEPT:
            yield from map(self._kernel, row_chunks(self.points))
            return
        if self.kept is None:
            self.kept = torch.cat([self._kernel(rows) for rows in row_chunks(self.points)])
        yield self.kept

    @torch.no_grad()
    def maps(self, prob: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """The maps (N, C, h, w) that the hints make of the maps that came in.

        Args:
            prob: the maps p at the descriptors' resolution, (N, C, h, w).
            labels: what is known, (N, C, h, w), of any value where the weight is 0.
            weights: how much it counts, (N, h, w), from 0.
        """
        where = weights.flatten().nonzero()[:, 0]
        channels = prob.shape[1]
        before = prob.float().permute(0, 2, 3, 1).reshape(-1, channels)
        known = labels.float().permute(0, 2, 3, 1).reshape(-1, channels)
        with without_autocast(self.points):
            phi = self._features(self.points[where])
            weighted = weights.flatten()[where, None] * phi
            precision = NOISE * torch.eye(phi.shape[1]) + self.held + weighted.t() @ phi
            v = torch.linalg.solve(precision, weighted.t() @ (known - before)[where])
            change = torch.cat([rows @ (self.root @ v) for rows in self._kernel_rows()])
        after = (before + change).clamp(LOW, HIGH)
        if channels > 1:
            after = after / after.sum(dim=1, keepdim=True)
        return after.view(len(prob), *self.size, channels).permute(0, 3, 1, 2).contiguous()


def best_overlap(prob: Tensor) -> tuple[Tensor, Tensor]:
    """The threshold whose mask has the largest expected Jaccard index, and that index.

    With p sorted from above and the first m locations as the mask, the index is about
    ``sum_{i <= m} p_i / (m + sum_{i > m} p_i)``.

    Args:
        prob: probabilities (n, L).

    Returns:
        The smallest probability within the best mask, (n,), and its index, (n,).

    Example:
        >>> best_overlap(torch.tensor([[0.9, 0.6, 0.1]]))
        (tensor([0.6000]), tensor([0.7143]))
    """
    values = prob.sort(dim=1, descending=True).values
    inside = values.cumsum(dim=1)
    count = torch.arange(1, prob.shape[1] + 1, device=prob.device)
    index = inside / (count + inside[:, -1:] - inside)
    best, place = index.max(dim=1)
    return values.gather(1, place[:, None])[:, 0], best


def match_best_overlap(after: Tensor, before: Tensor) -> Tensor:
    """Shift the logits of maps so that one half stays the threshold of the best masks.

    Where little can be told apart, all probabilities of an object are low, and the best mask has a
    low threshold. The logits of each of a group's maps are shifted by how much that threshold has
    moved from ``before`` to ``after``, both (N, C, h, w).
    """
    shifted = []
    first = 1 if after.shape[1] > 1 else 0  # the background is what is left
    for new, old in zip(after[:, first:].unbind(1), before[:, first:].unbind(1)):
        levels = [best_overlap(maps.reshape(1, -1).clamp(LOW, HIGH))[0] for maps in (new, old)]
        shift = torch.logit(levels[0]) - torch.logit(levels[1])
        shifted.append(torch.sigmoid(torch.logit(new.clamp(LOW, HIGH)) - shift))
    objects = torch.stack(shifted, dim=1)
    if not first:
        return objects
    maps = torch.cat([after[:, :1], objects], dim=1)
    return maps / maps.sum(dim=1, keepdim=True)
