"""Telling the classes that recur in a group apart, without labels."""

from itertools import combinations
from typing import Literal

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import squareform
from scipy.stats import rankdata
from torch import Tensor
from torch.nn import functional as F

from .clustering import COMPONENTS, FIT_LOCATIONS, border_ring, fit_kmeans, principal_components
from .masks import mask_iou
from .precision import without_autocast

__all__ = ['ClassMethod', 'class_discriminants', 'cluster_classes']

#: How :func:`cluster_classes` finds the classes.
ClassMethod = Literal['objects', 'foreground', 'all']
#: One minus the mean IoU up to which clusters of several clusterings are one class.
SAME_CLASS = 0.6
#: Share of the best candidate's score from which one is a part of some class.
PART_SCORE = 0.6
#: How often classes are made of half of the clusterings.
DRAWS = 15
#: Candidates that are looked at beyond the number of classes.
EXTRA_PARTS = 2
#: Share of the votes that the background has everywhere.
BACKGROUND_VOTES = 0.5
#: Locations that are multiplied at a time.
LOCATIONS_AT_ONCE = 1 << 14
#: Probability from which a location is foreground.
FOREGROUND = 0.5


@torch.no_grad()
def cluster_classes(
    features: Tensor,
    foreground: Tensor,
    num_classes: int,
    method: ClassMethod = 'objects',
    num_clusters: int = 8,
    num_seeds: int = 64,
) -> Tensor:
    """K classes of a group's locations and the rest, by k-means.

    - ``'objects'``: all locations are clustered finely and many times. In each clustering the
      K + 1 clusters are candidates that are most foreground and most unlike the images' borders
      (mean of both ranks over the group). Candidates of all clusterings that are much the same
      (average linkage of their IoUs) are one part; its score is how much its candidates are such
      on average, times the root of the share of clusterings that found it. The K best parts are
      kept and, of the next two, those not far behind the best; while there are more than K, the two
      are one class whose means lie in the same direction from the group's mean (cosine), as a face
      and a coat do. So a class may be found that ``foreground``, which knows but one object, has
      missed. As a part more or less may change everything, this is done for many random halves of
      the clusterings; the result is the mean of those that are like the most typical one.
    - ``'foreground'``: the locations of a foreground of at least one half are clustered into K.
    - ``'all'``: all locations are clustered into K + 1; the cluster that holds most of the images'
      borders for its size is background.

    Args:
        features: of the group's N images, (N, d, h, w); rows are reduced by PCA, not normalized.
        foreground: probability of being any object, (N, h, w) in [0, 1].
        num_classes: K, at least 1.
        method: see above.
        num_clusters: of a clustering of ``'objects'``, at least K + 1.
        num_seeds: clusterings of ``'objects'``.

    Returns:
        (N, K + 1, h, w) float32, each location's sum 1, background first.
    """
    n, d, height, width = features.shape
    x = principal_components(features.permute(0, 2, 3, 1).reshape(-1, d), COMPONENTS)
    # Sorted, so that the result does not depend on the order of the images.
    order = x[:, 0].argsort(stable=True)
    points = x[order].float().cpu()
    order = order.cpu()
    on_border = border_ring(height, width).repeat(n, 1, 1).reshape(-1)[order]
    probability = foreground.reshape(-1).float().cpu()[order]
    if method == 'objects':
        unlike_border = (points - points[on_border].mean(dim=0)).square().sum(dim=1)
        objectness = (_ranks(probability) + _ranks(unlike_border)) / 2
        shares = _agreed_classes(points, objectness, num_classes, num_clusters, num_seeds)
        shares = torch.cat([torch.full_like(shares[:, :1], BACKGROUND_VOTES), shares], dim=1)
        shares = shares / shares.sum(dim=1, keepdim=True)
    else:
        if method == 'foreground':
            inside = probability >= FOREGROUND
            labels = torch.zeros(len(points), dtype=torch.long)
            if inside.any():
                labels[inside] = 1 + _kmeans(points[inside], num_classes)
        else:
            labels = _kmeans(points, num_classes + 1)
            members = torch.bincount(labels, minlength=num_classes + 1).float()
            at_border = torch.bincount(labels[on_border], minlength=num_classes + 1)
            background = int((at_border / members.clamp(min=1)).argmax())
            # The background's number is now 0, and those below it move up.
            labels = torch.where(labels == background, 0, labels + (labels < background).long())
        shares = F.one_hot(labels, num_classes + 1).float()
    result = torch.empty_like(shares)
    result[order] = shares
    result = result.view(n, height, width, -1).permute(0, 3, 1, 2)
    return result.contiguous().to(features.device)


def _kmeans(points: Tensor, k: int, seed: int = 0) -> Tensor:
    rows = points.numpy()
    step = -(-len(rows) // FIT_LOCATIONS)
    model = fit_kmeans(rows[::step], k, max_iter=50, random_state=seed)
    return torch.from_numpy(model.predict(rows)).long()


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 0 to 1; equal values have one rank, their mean."""
    ranks = rankdata(values.numpy()) - 1
    return torch.from_numpy(ranks / max(1, len(ranks) - 1)).float()


def _agreed_classes(
    points: Tensor, objectness: Tensor, num_classes: int, num_clusters: int, num_seeds: int
) -> Tensor:
    """How much each location belongs to each of K classes, (m, K); see :func:`cluster_classes`."""
    # Of 1,000 images a candidate is a million flags, so that they are never all copied.
    stack = torch.zeros(num_seeds * (num_classes + 1), len(points), dtype=torch.bool)
    scores, origins = [], []
    for origin in range(num_seeds):
        labels = _kmeans(points, num_clusters, origin)
        members = torch.bincount(labels, minlength=num_clusters)
        mean = torch.bincount(labels, objectness, minlength=num_clusters) / members.clamp(min=1)
        mean = torch.where(members > 0, mean, -torch.inf)
        for cluster in mean.argsort(descending=True, stable=True)[: num_classes + 1].tolist():
            if members[cluster]:
                stack[len(scores)] = labels == cluster
                scores.append(float(mean[cluster]))
                origins.append(origin)
    stack = stack[: len(scores)]
    distances = 1 - mask_iou(stack).numpy()
    np.fill_diagonal(distances, 0)
    rng = np.random.default_rng(0)
    half = -(-num_seeds // 2)
    found = []
    for _ in range(DRAWS):
        drawn = rng.permutation(num_seeds)[:half]
        chosen = np.flatnonzero(np.isin(origins, drawn))
        parts = _parts_of(chosen, np.array(scores), distances, half, num_classes)
        votes = [stack[torch.from_numpy(part)].sum(dim=0) / len(part) for part in parts]
        joined = _joined(points, votes, num_classes)
        # Where fewer were found, the last classes are empty.
        missing = [torch.zeros(len(points))] * (num_classes - len(joined))
        found.append(torch.stack([*joined, *missing], dim=1))
    return _most_agreed(found)


def _parts_of(
    chosen: np.ndarray,
    scores: np.ndarray,
    distances: np.ndarray,
    num_clusterings: int,
    num_classes: int,
) -> list[np.ndarray]:
    """The candidates of each part that may be of a class, the best part first."""
    names = np.ones(1, int)
    if len(chosen) > 1:
        among = squareform(distances[np.ix_(chosen, chosen)], checks=False)
        names = fcluster(linkage(among, 'average'), SAME_CLASS, 'distance')
    found = []
    for name in np.unique(names):
        part = chosen[names == name]
        support = min(1.0, len(part) / num_clusterings)
        found.append((-np.mean(scores[part]) * support**0.5, int(part[0]), part))
    found.sort(key=lambda one: one[:2])
    enough = PART_SCORE * found[0][0]
    extra = found[num_classes : num_classes + EXTRA_PARTS]
    # Scores are negative.
    found = found[:num_classes] + [one for one in extra if one[0] <= enough]
    return [part for _, _, part in found]


def _most_agreed(found: list[Tensor]) -> Tensor:
    """Of several sets of classes (m, K) the mean of those that are like the most typical one."""

    def ious(one: Tensor, other: Tensor) -> np.ndarray:
        one, other = (one > BACKGROUND_VOTES).float(), (other > BACKGROUND_VOTES).float()
        with without_autocast(one):
            common = one.t() @ other
        either = one.sum(dim=0)[:, None] + other.sum(dim=0) - common
        return (common / either.clamp(min=1)).numpy()

    agreement = np.ones((len(found), len(found)))
    for i, j in combinations(range(len(found)), 2):
        values = ious(found[i], found[j])
        agreement[i, j] = agreement[j, i] = values[linear_sum_assignment(-values)].mean()
    typical = int(agreement.sum(axis=1).argmax())
    alike = np.flatnonzero(agreement[typical] >= 1 - SAME_CLASS)
    total = torch.zeros_like(found[typical])
    for i in alike:
        _, columns = linear_sum_assignment(-ious(found[typical], found[i]))
        total += found[i][:, columns]
    return total / len(alike)


def _joined(points: Tensor, parts: list[Tensor], number: int) -> list[Tensor]:
    """Votes (m,) of at most so many classes, of their parts'."""
    center = points.mean(dim=0)
    while len(parts) > number:
        votes = torch.stack(parts)
        with without_autocast(points):
            means = votes @ points / votes.sum(dim=1, keepdim=True) - center
            alike = F.normalize(means, dim=1)
            alike = (alike @ alike.t()).fill_diagonal_(-torch.inf)
        first, second = sorted(divmod(int(alike.argmax()), len(parts)))
        parts[first] = torch.maximum(parts[first], parts.pop(second))
    return parts


@torch.no_grad()
def class_discriminants(features: Tensor, shares: Tensor, ridge: float = 0.1) -> Tensor:
    """Linear discriminant analysis of locations with soft labels, applied to the same locations.

    Classes are Gaussians with one covariance, ``S_w + ridge * mean(diag S_w) I`` of what is within
    the classes, and the shares' own frequencies as prior.

    Args:
        features: (N, d, h, w).
        shares: of K + 1 classes, (N, K + 1, h, w), from 0, each location's sum 1.
        ridge: see above.

    Returns:
        The posterior of the classes, (N, K + 1, h, w) float32, each location's sum 1.
    """
    n, d, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(-1, d)
    weights = shares.permute(0, 2, 3, 1).flatten(0, 2).float().to(rows.device)
    sums = scatter = 0.0
    parts = rows.split(LOCATIONS_AT_ONCE)
    with without_autocast(rows):
        for part, weight in zip(parts, weights.split(LOCATIONS_AT_ONCE)):
            part = part.float()
            weighted = part * weight.sum(dim=1, keepdim=True)
            sums = sums + (weight.t() @ part).double()
            scatter = scatter + (weighted.t() @ part).double()
        total = weights.sum(dim=0, dtype=torch.float64).clamp(min=1e-6)
        means = sums / total[:, None]
        within = (scatter - means.t() @ (means * total[:, None])) / total.sum()
        scale = ridge * within.diagonal().mean().clamp(min=1e-12)
        within = within + scale * torch.eye(d).to(within)
        directions = torch.linalg.solve(within, means.t())
        offsets = (total / total.sum()).log() - (means.t() * directions).sum(dim=0) / 2
        directions, offsets = directions.float(), offsets.float()
        logits = torch.cat([part.float() @ directions + offsets for part in parts])
    return logits.softmax(dim=1).view(n, height, width, -1).permute(0, 3, 1, 2).contiguous()
