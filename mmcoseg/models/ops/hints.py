"""From what is known of some pixels to what that says of all locations of a group."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from .precision import without_autocast
from .spectral import CHUNK, row_chunks

__all__ = [
    'HintPosterior',
    'best_overlap',
    'expected_overlap',
    'match_best_overlap',
    'order_classes',
]

#: Landmarks of the kernel, and its width in units of the cosine.
NUM_LANDMARKS, WIDTH = 256, 0.3
#: How much the kernel's smallest directions count, against rounding.
JITTER = 1e-4
#: Variance of a hint's error, and how strongly the maps that came in are held, as the weight of
#: saying nothing against them at a random location: without examples, with a few, and with a few
#: of several classes.
WITHOUT_EXAMPLES, FEW_EXAMPLES, FEW_OF_CLASSES = (0.01, 1.0), (0.001, 0.3), (0.001, 0.1)
#: How much more maps are held by the weight in which hints of one kind outweigh so many times that
#: of the others.
ONE_KIND, TIMES = 10.0, 2.0
#: Among these, more examples choose; the last one trusts them least.
TRUST = tuple(product((0.001, 0.01, 0.1), (0.1, 0.3, 1.0, 3.0)))
#: So many examples are needed for a choice. More than so many are left out several at a time.
LEAST_EXAMPLES, MOST_FOLDS = 3, 10
#: Locations that stand for the group in this.
SAMPLE = 4096
#: Locations whose kernel is kept at most: 256 megabytes.
MOST_KEPT = 250_000
#: Probabilities stay within these.
LOW, HIGH = 0.02, 0.98


class HintPosterior:
    """Soft maps of a group, given what is known of some locations.

    A Gaussian process f over descriptors corrects the soft maps p: its mean is 0, and its
    covariance is ``k(x, y) = exp((cos(x, y) - 1) / 0.3)`` on m = 256 landmarks Z (Nystroem):
    ``f(x) = phi(x)^T v``, ``phi(x) = K_ZZ^-1/2 k_Z(x)``. A location known to be y, with a weight w,
    says that f is ``y - p`` there, with a variance of ``noise / w``. Where nothing is known the
    maps are held: f is 0 at a random location of the objects and one of the background, E being the
    mean over both, with a weight of ``pull``. So

        ``v = (noise I + pull E[phi phi^T] + sum w phi phi^T)^-1 sum w phi (y - p)``.

    Without examples they are held more where hints are of one kind, such as clicks on what is no
    object: these say where the maps are wrong, but not how much. It is ``pull (1 + 10 e)``; e is
    the weight of all hints on objects, less twice that of those on background, or the other way
    round, and at least 0.

    Where hints only say what the maps say, nothing changes.

    How far examples can be trusted depends on the group. Three or more of them choose ``noise`` and
    ``pull`` by how well each is predicted by the other hints: the mean gain of their Jaccard
    indices, less its standard error, is largest.

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
            # In order, so that the same ones are taken whatever the order of the images: by the
            # last value, and those that are equal by their sum, which is exact.
            sums = [rows.sum(dim=1, dtype=torch.float64) for rows in row_chunks(points)]
            order = torch.cat(sums).argsort(stable=True)
            order = order[points[order, -1].float().argsort(stable=True)]
            self.sample = order[:: -(-len(points) // SAMPLE)]
            sample = points[self.sample].float()
            self.landmarks = F.normalize(sample[:: -(-len(sample) // NUM_LANDMARKS)], dim=1)
            values, vectors = torch.linalg.eigh(self._kernel(self.landmarks).double())
            root = vectors * values.clamp(min=JITTER).rsqrt()
            self.root = (root @ vectors.t()).float()
            self.phi = self._features(sample)

    def _kernel(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """``k_Z(x)``, (n, m), of descriptors (n, d)."""
        cosines = torch.mm(F.normalize(x.float(), dim=1), self.landmarks.t(), out=out)
        return cosines.sub_(1).div_(WIDTH).exp_()

    def _features(self, x: Tensor) -> Tensor:
        return self._kernel(x) @ self.root

    def _kernel_rows(self) -> Iterator[Tensor]:
        """``k_Z`` of all locations in parts; kept for the next time where there is room.

        Otherwise each part is in the place of the one before.
        """
        if len(self.points) > MOST_KEPT:
            place = torch.empty(CHUNK, len(self.landmarks))
            for rows in row_chunks(self.points):
                yield self._kernel(rows, place[: len(rows)])
            return
        if self.kept is None:
            self.kept = torch.cat([self._kernel(rows) for rows in row_chunks(self.points)])
        yield self.kept

    @torch.no_grad()
    def maps(
        self, prob: Tensor, labels: Tensor, weights: Tensor, examples: Sequence[int] = ()
    ) -> Tensor:
        """The maps (N, C, h, w) that the hints make of the maps that came in.

        Args:
            prob: the maps p at the descriptors' resolution, (N, C, h, w).
            labels: what is known, (N, C, h, w), of any value where the weight is 0.
            weights: how much it counts, (N, h, w), from 0.
            examples: indices of the images whose whole masks are known.
        """
        before = _rows(prob)
        with without_autocast(self.points):
            parts = self._parts_by_image(before, _rows(labels), weights.flatten(1))
            all_parts = list(parts.values())
            held = self._held(before)
            noise, pull = self._trust(
                held, before, all_parts, [parts[number] for number in examples]
            )
            v = self._solve(noise, pull * held, all_parts)
            change = torch.cat([rows @ (self.root @ v) for rows in self._kernel_rows()])
        after = _bounded(before + change)
        return after.view(len(prob), *self.size, -1).permute(0, 3, 1, 2).contiguous()

    @torch.no_grad()
    def telling(self, unsure: Tensor) -> Tensor:
        """How much the answer for each image would tell about all others.

        It is the covariance of f between an image's locations x and those y of other images, as far
        as both are unsure: ``sum_x sum_y s(x) phi(x)^T phi(y) s(y)``.

        Args:
            unsure: how unsure each location is, s, (N, h, w), from 0.

        Returns:
            (N,), from 0.
        """
        shares = unsure.flatten()
        images = torch.arange(len(unsure)).repeat_interleave(self.size.numel())
        kernel = torch.zeros(len(unsure), len(self.landmarks))
        start = 0
        with without_autocast(self.points):
            for rows in self._kernel_rows():
                part = slice(start, start + len(rows))
                kernel.index_add_(0, images[part], shares[part, None] * rows)
                start += len(rows)
            phi = kernel @ self.root
        return (phi * (phi.sum(dim=0) - phi)).sum(dim=1).clamp(min=0)

    def _held(self, before: Tensor) -> Tensor:
        """``E[phi phi^T]``, (m, m), half of it over the objects and half over the background."""
        objects = _foreground(before[self.sample])[:, None]
        held = torch.zeros_like(self.root)
        for weight in (objects, 1 - objects):
            held += (weight * self.phi).t() @ self.phi / (2 * weight.sum().clamp(min=1e-6))
        return held

    def _solve(
        self, noise: float, held: Tensor, parts: list['_Part'], without: list['_Part'] = ()
    ) -> Tensor:
        """v, by what images with hints say, without some of them; ``held`` times ``pull``."""
        precision = noise * torch.eye(len(held)) + held
        said = torch.zeros_like(parts[0].said)
        for part in parts:
            precision += part.known
            said += part.said
        for part in without:
            precision -= part.known
            said -= part.said
        return torch.cholesky_solve(said, torch.linalg.cholesky(precision))

    def _parts_by_image(
        self, before: Tensor, labels: Tensor, weights: Tensor
    ) -> dict[int, '_Part']:
        """What each image with hints says."""
        parts = {}
        for number in weights.any(dim=1).nonzero()[:, 0].tolist():
            weight = weights[number]
            where = weight.nonzero()[:, 0]
            rows = where + number * len(weight)
            phi = self._features(self.points[rows])
            weighted = weight[where, None] * phi
            known = weighted.t() @ phi
            said = weighted.t() @ (labels[rows] - before[rows])
            objects = _foreground(labels[rows])
            on_objects = float((weight[where] * objects).sum())
            on_background = float((weight[where] * (1 - objects)).sum())
            parts[number] = _Part(
                phi, before[rows], labels[rows], known, said, on_objects, on_background
            )
        return parts

    def _trust(
        self, held: Tensor, before: Tensor, parts: list['_Part'], examples: list['_Part']
    ) -> tuple[float, float]:
        """``noise`` and ``pull``, chosen by examples that are left out in turn."""
        if not examples:
            noise, pull = WITHOUT_EXAMPLES
            on_objects = sum(part.on_objects for part in parts)
            on_background = sum(part.on_background for part in parts)
            less, more = sorted((on_objects, on_background))
            return noise, pull * (1 + ONE_KIND * max(0.0, more - TIMES * less))
        if len(examples) < LEAST_EXAMPLES:
            return FEW_EXAMPLES if before.shape[1] == 1 else FEW_OF_CLASSES
        # So that it does not matter in which order the images come.
        examples = sorted(examples, key=lambda part: float(part.phi.sum()))
        sample = before[self.sample]
        level = _levels(_bounded(sample))
        gains = []
        for noise, pull in TRUST:
            gains.append([])
            for start in range(min(len(examples), MOST_FOLDS)):
                left_out = examples[start::MOST_FOLDS]
                v = self._solve(noise, pull * held, parts, left_out)
                shift = _levels(_bounded(sample + self.phi @ v)) - level
                for part in left_out:
                    after = _shifted(_bounded(part.before + part.phi @ v), shift)
                    gain = _overlap(after, part.labels) - _overlap(part.before, part.labels)
                    gains[-1].append(gain)
        gains = torch.tensor(gains)
        sure_gain = gains.mean(dim=1) - gains.std(dim=1) / len(examples) ** 0.5
        best = int(sure_gain.argmax())
        return TRUST[best] if sure_gain[best] > 0 else TRUST[-1]


@dataclass
class _Part:
    """What one image with hints says, of its n known locations.

    Attributes:
        phi: (n, m).
        before, labels: the map that came in, and what is known, (n, C).
        known: ``sum w phi phi^T``, (m, m).
        said: ``sum w phi (y - p)``, (m, C).
        on_objects, on_background: weight of hints on these.
    """

    phi: Tensor
    before: Tensor
    labels: Tensor
    known: Tensor
    said: Tensor
    on_objects: float
    on_background: float


def _rows(maps: Tensor) -> Tensor:
    """Maps (N, C, h, w) as rows (N h w, C)."""
    return maps.float().permute(0, 2, 3, 1).flatten(0, 2)


def _foreground(rows: Tensor) -> Tensor:
    """The probability of any object, (n,), of rows (n, C)."""
    return rows[:, 0] if rows.shape[1] == 1 else 1 - rows[:, 0]


def _bounded(rows: Tensor) -> Tensor:
    """Rows (n, C) as probabilities; of several classes, with a sum of 1."""
    rows = rows.clamp(LOW, HIGH)
    return rows if rows.shape[1] == 1 else rows / rows.sum(dim=1, keepdim=True)


def _overlap(rows: Tensor, labels: Tensor) -> Tensor:
    """Jaccard index of the objects in rows (n, C) with what is known, (n, C) in [0, 1]."""
    first = 0 if rows.shape[1] == 1 else 1
    found, true = (rows[:, first:] >= 0.5).float(), labels[:, first:]
    shared = (found * true).sum()
    return shared / (found.sum() + true.sum() - shared).clamp(min=1e-6)


def _levels(rows: Tensor) -> Tensor:
    """Logits of the thresholds of the best masks of rows (n, C), (C,); 0 for a background."""
    first = 0 if rows.shape[1] == 1 else 1
    levels = torch.zeros(rows.shape[1])
    levels[first:] = torch.logit(best_overlap(rows.t())[0].clamp(LOW, HIGH))[first:]
    return levels


def _shifted(rows: Tensor, shift: Tensor) -> Tensor:
    """Rows (n, C) whose logits are lower by ``shift``, (C,); of several classes, their sum is 1."""
    rows = torch.sigmoid(torch.logit(rows.clamp(LOW, HIGH)) - shift)
    return rows if rows.shape[1] == 1 else rows / rows.sum(dim=1, keepdim=True)


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


def expected_overlap(prob: Tensor) -> float:
    """The Jaccard index to be expected of the best mask of an image's soft map.

    Of several classes, their union counts. The map is (C, h, w), as ``CoSegDataSample.pred_prob``.
    """
    foreground = prob[0] if len(prob) == 1 else 1 - prob[0]
    return best_overlap(foreground.float().reshape(1, -1))[1].item()


def order_classes(prob: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Maps of classes in the order that hints give them.

    Each class gets the channel that is the likeliest where the hints show it, by the assignment of
    highest sum.

    Args:
        prob: the maps, (N, K + 1, h, w), the background first.
        labels, weights: as of :meth:`HintPosterior.maps`.
    """
    shown = torch.einsum('nkhw,nhw->k', labels[:, 1:], weights)
    likely = torch.einsum('nkhw,nchw,nhw->kc', labels[:, 1:], prob[:, 1:], weights)
    likely = likely / shown.clamp(min=1e-6)[:, None]
    _, channels = linear_sum_assignment(likely.numpy(), maximize=True)
    return torch.cat([prob[:, :1], prob[:, 1 + torch.from_numpy(channels)]], dim=1)


def match_best_overlap(after: Tensor, before: Tensor) -> Tensor:
    """Shift the logits of maps so that one half stays the threshold of the best masks.

    Where little can be told apart, all probabilities of an object are low, and the best mask has a
    low threshold. The logits of each of a group's maps are shifted by how much that threshold has
    moved from ``before`` to ``after``, both (N, C, h, w).
    """
    rows = _rows(after)
    shift = _levels(rows) - _levels(_rows(before))
    shifted = _shifted(rows, shift)
    n, channels, height, width = after.shape
    return shifted.view(n, height, width, channels).permute(0, 3, 1, 2).contiguous()
