"""Two-way spectral clustering on a sparse graph, in time linear in the number of locations."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .clustering import COMPONENTS, FIT_LOCATIONS, fit_kmeans, principal_components
from .precision import without_autocast
from .spectral import row_chunks

__all__ = ['landmark_affinity', 'landmark_bipartition']

#: Part of the similarity that goes to all landmarks.
MIXTURE = 0.001


@torch.no_grad()
def landmark_bipartition(
    x: Tensor,
    num_landmarks: int = 300,
    num_neighbors: int = 30,
    normalize: bool = False,
) -> tuple[Tensor, Tensor]:
    """The relaxed normalized cut of descriptors in two (landmark-based spectral clustering).

    Chen, Cai: *Large scale spectral clustering with landmark-based representation*, AAAI 2011. Each
    descriptor is connected with its nearest landmarks, the rows of Z sum to 1, and two descriptors
    are as similar as ``W = Z L^-1 Z^T``, ``L = diag(Z^T 1)``, says. Rows of W sum to 1, so that the
    normalized cut is relaxed by the eigenvector of its second largest eigenvalue, found from the
    m x m matrix ``L^-1/2 Z^T Z L^-1/2``. Unlike the Gram matrix of all descriptors, W has no
    entries between those that have nothing to do with each other.

    Landmarks are the centers of a k-means clustering of up to 12,000 descriptors, taken evenly
    along their first principal component, as are its first centers, so that nothing depends on
    their order or on chance.

    Args:
        x: descriptors as rows, (n, d), of any floating type.
        num_landmarks: m; at most n are used.
        num_neighbors: landmarks that a descriptor is connected with.
        normalize: l2-normalize the descriptors.

    Returns:
        - s: (n,), at least float32, ``|s| = 1``, its sign arbitrary; constant where the descriptors
          do not differ.
        - the second largest eigenvalue, at most 1; 0 where the descriptors do not differ.
    """
    points = principal_components(x, COMPONENTS, normalize)
    # In order, so that the same points are taken whatever the order of the images.
    order = points[:, 0].argsort(stable=True)
    sample = points[order[:: -(-len(points) // FIT_LOCATIONS)]]
    deviation = sample.std(dim=0, correction=0).max()
    if deviation <= 1e-4 * x.abs().max() or len(points) < 3:
        return points.new_full((len(points),), len(points) ** -0.5), points.new_zeros(())
    distinct = sample.unique(dim=0)  # sorted by the first component
    count = min(num_landmarks, len(distinct))
    start = distinct[torch.linspace(0, len(distinct) - 1, count).round().long()]
    model = fit_kmeans(sample.cpu().numpy(), count, init=start.cpu().numpy(), max_iter=5)
    landmarks = torch.from_numpy(model.cluster_centers_).to(points)
    neighbors = min(num_neighbors, count)
    farthest = [
        torch.cdist(rows, landmarks).kthvalue(neighbors, dim=1).values.square()
        for rows in row_chunks(sample)
    ]
    width = float(torch.cat(farthest).mean().clamp(min=1e-12))

    def affinities() -> Iterator[Tensor]:
        for rows in row_chunks(points):
            yield landmark_affinity(rows, landmarks, neighbors, width)

    gram = torch.zeros(count, count, dtype=torch.float64, device=points.device)
    degree = torch.zeros(count, dtype=torch.float64, device=points.device)
    with without_autocast(x):
        for z in affinities():
            gram += z.t() @ z
            degree += z.sum(dim=0, dtype=torch.float64)
    scale = degree.clamp(min=1e-12).rsqrt()
    values, vectors = torch.linalg.eigh(scale[:, None] * gram * scale)
    direction = (scale * vectors[:, -2]).to(points.dtype)
    with without_autocast(x):
        s = torch.cat([z @ direction for z in affinities()])
    return s / s.norm(), values[-2].to(points.dtype)


def landmark_affinity(x: Tensor, landmarks: Tensor, num_neighbors: int, width: float) -> Tensor:
    """How similar descriptors are to landmarks.

    ``exp(-|x - l|^2 / width)`` for the nearest landmarks, mixed with a thousandth of the same over
    all landmarks with their mean squared distance from each other as width: no part of the graph
    is without any connection to the rest, or which cut is best would be left to chance.

    Of descriptors (n, d) and landmarks (m, d) it gives Z, (n, m), whose rows sum to 1.
    """
    distances = torch.cdist(x, landmarks).square()
    near, indices = distances.topk(num_neighbors, dim=1, largest=False)
    wide = 2 * landmarks.var(dim=0, correction=0).sum().clamp(min=1e-12)
    z = MIXTURE * torch.softmax(-distances / wide, dim=1)
    return z.scatter_add_(1, indices, (1 - MIXTURE) * torch.softmax(-near / width, dim=1))
