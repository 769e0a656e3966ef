"""Clustering of a group's locations into object and surroundings, without labels."""

import warnings
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from .precision import without_autocast
from .spectral import CHUNK, row_chunks, second_moments

__all__ = ['border_ring', 'consensus_foreground', 'principal_components']

#: Dimensions kept by PCA.
COMPONENTS = 64
#: Locations on which k-means is fitted; the others are assigned afterwards.
FIT_LOCATIONS = 12_000
#: Clusters that cover less of the group than this are no objects.
LEAST_SHARE = 0.03
#: All shares of the border up to this count the same: of clusters off the border altogether, the
#: saliency and the area decide which one is object, and not their number.
LEAST_BORDER = 1e-4
#: A second cluster counts as object if its share of the border is below this part of its area.
SECOND_BORDER = 0.8


def border_ring(height: int, width: int) -> Tensor:
    """The locations at the border of a map, about 1/17 of its height thick: (h, w) bool."""
    ring = torch.ones(height, width, dtype=torch.bool)
    thickness = max(1, round(height / 17))
    ring[thickness : height - thickness, thickness : width - thickness] = False
    return ring


def principal_components(x: Tensor, count: int, normalize: bool = False) -> Tensor:
    """Coordinates of rows along their directions of largest variance, the largest first.

    Args:
        x: (n, d), of any floating type; worked on in parts, so that no copy of all is made.
        count: number of components; at most d are given.
        normalize: l2-normalize the rows before.

    Returns:
        (n, min(count, d)), at least float32, of the rows minus their mean. Signs are such that
        the sum of cubes is not negative, so that they do not depend on the order of the rows.
    """
    gram, total = second_moments(x, normalize)
    mean = total / len(x)
    _, vectors = torch.linalg.eigh(gram - len(x) * torch.outer(mean, mean))
    axes = vectors[:, -count:].flip(-1)
    dtype = torch.promote_types(x.dtype, torch.float32)
    coordinates = x.new_empty(len(x), axes.shape[1], dtype=dtype)
    start = 0
    with without_autocast(x):
        for rows in row_chunks(x, normalize):
            torch.matmul(rows, axes.to(dtype), out=coordinates[start : start + len(rows)])
            start += len(rows)
    coordinates -= (mean @ axes).to(dtype)
    skew = sum(part.pow(3).sum(dim=0, dtype=torch.float64) for part in coordinates.split(CHUNK))
    return coordinates.mul_(torch.where(skew < 0, -1, 1).to(coordinates.dtype))


@torch.no_grad()
def consensus_foreground(
    features: Tensor,
    num_clusters: Sequence[int] = (4, 5, 6, 8),
    num_seeds: int = 4,
    saliency: Tensor | None = None,
    saliency_exponent: float = 1.0,
) -> Tensor:
    """Where the common object of one group is, by agreement of many k-means clusterings.

    All locations of all images, l2-normalized and reduced by PCA, are clustered with several K
    and several seeds. In each clustering the cluster that lies least at the image borders (share
    of the border / share of the area) is object; with K of 6 and more a second one too, if it
    avoids the border. The result is the share of the clusterings that call a location object.

    With saliency, a cluster's share of the border is divided by how much more of it there is on the
    cluster than on average, to the power of ``saliency_exponent``.

    Locations are sorted along the first principal component before clustering, so that the
    result does not depend on the order of the images.

    Args:
        features: of the group's N images, (N, d, h, w).
        num_clusters: the values of K.
        num_seeds: clusterings for each K.
        saliency: where objects may be, (N, h, w) of values from 0, or None.
        saliency_exponent: how much the saliency counts in the choice of clusters; 0 for not at all.

    Returns:
        (N, h, w), float32 in [0, 1].
    """
    n, d, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).reshape(-1, d)
    x = principal_components(rows, COMPONENTS, normalize=True)
    order = x[:, 0].argsort(stable=True)
    for column in x.unbind(dim=1):  # by columns, since a second copy of all may be too much
        column.copy_(column[order])
    points = x.float().cpu().numpy()
    del rows, x
    order = order.cpu()
    on_border = border_ring(height, width).repeat(n, 1, 1).reshape(-1)[order]
    if saliency is None or saliency.mean() <= 1e-6:
        saliency = torch.ones(n, height, width)  # favors no cluster
    saliency = saliency.reshape(-1).float().cpu()[order]
    saliency = saliency / saliency.mean()
    # A fixed stride through the sorted points takes all of the distribution.
    step = -(-len(points) // FIT_LOCATIONS)

    votes = torch.zeros(len(points))
    clusterings = list(product(num_clusters, range(num_seeds)))
    for k, number in clusterings:
        model = fit_kmeans(points[::step], k, max_iter=15, random_state=number)
        labels = torch.from_numpy(model.predict(points)).long()
        votes += _least_at_border(labels, on_border, k, saliency, saliency_exponent)[labels]
    result = torch.empty_like(votes)
    result[order] = votes / len(clusterings)
    return result.view(n, height, width).to(features.device)


def fit_kmeans(points: np.ndarray, k: int, **options) -> KMeans:
    """scikit-learn's k-means, fitted once, with as many clusters as there are points at most."""
    model = KMeans(min(k, len(points)), n_init=1, **options)
    with warnings.catch_warnings():
        # Of fewer different points than clusters; some clusters then are empty, as they may be.
        warnings.simplefilter('ignore', ConvergenceWarning)
        return model.fit(points)


def _least_at_border(
    labels: Tensor, on_border: Tensor, k: int, saliency: Tensor, exponent: float
) -> Tensor:
    """1 for the clusters that are object, 0 for the others, (k,) float; saliency of mean 1."""
    members = torch.bincount(labels, minlength=k).float()
    at_border = torch.bincount(labels[on_border], minlength=k).float()
    border_share = (at_border / on_border.sum()).clamp(min=LEAST_BORDER)
    score = border_share / (members / len(labels)).clamp(min=1e-6)
    on_cluster = torch.bincount(labels, saliency, minlength=k) / members.clamp(min=1)
    score = score / on_cluster.clamp(min=0.1) ** exponent
    score[members < LEAST_SHARE * len(labels)] = float('inf')
    ranked = score.argsort()
    chosen = torch.zeros(k)
    chosen[ranked[0]] = 1
    if k >= 6 and score[ranked[1]] < SECOND_BORDER:
        chosen[ranked[1]] = 1
    return chosen
