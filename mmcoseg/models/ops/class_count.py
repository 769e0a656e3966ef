"""How many classes recur in a group: an estimate, and how sure it is."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import softmax
from sklearn.metrics import silhouette_samples
from torch import Tensor

from .clustering import COMPONENTS, fit_kmeans, principal_components
from .precision import without_autocast

__all__ = ['MOST_CLASSES', 'ClassCount', 'class_evidence', 'count_classes']

#: The largest number that is estimated. What has more classes looks as if it had so many.
MOST_CLASSES = 4
#: Share of an image's largest foreground from which a location tells what its object is.
CORE = 0.5
#: Foreground that is missed by less than this is missed by this, since logarithms have no end.
LEAST_MISSED = 0.02
#: Images whose objects are nearer than this, in root mean squares of all, are copies.
COPY = 1e-3
#: k-means of the images, the best of which counts.
RESTARTS = 5

# Of the logits of K, see :func:`count_classes`. docs/segment.md says what they were fitted to.
BIASES = (0.0, 3.24, 8.31, 12.47)
MISSED_WEIGHT = 1.72
SILHOUETTE_WEIGHT = 12.3


@dataclass(frozen=True)
class ClassCount:
    """An estimate of how many classes recur in a group, and how sure it is.

    Attributes:
        shares: of K = 1, 2, ..., from 0, sum 1: about how often groups that look like this one have
            so many classes.

    Example:
        >>> str(ClassCount((0.09, 0.71, 0.2)))
        '2 classes (sure: 0.71; next 3: 0.20)'
    """

    shares: tuple[float, ...]

    @property
    def num_classes(self) -> int:
        """The K of the largest share, the smallest of them where several are."""
        return self._ranked()[0]

    @property
    def is_sure(self) -> bool:
        """Whether K is more likely than all others together."""
        return self.shares[self.num_classes - 1] > 0.5

    def __str__(self) -> str:
        first, *others = self._ranked()
        text = f'{first} class{"" if first == 1 else "es"}'
        text += f' ({"sure" if self.is_sure else "unsure"}: {self.shares[first - 1]:.2f}'
        if others:
            text += f'; next {others[0]}: {self.shares[others[0] - 1]:.2f}'
        return text + ')'

    def _ranked(self) -> list[int]:
        return sorted(range(1, len(self.shares) + 1), key=lambda k: -self.shares[k - 1])


@torch.no_grad()
def count_classes(
    features: Tensor, foreground: Tensor, max_classes: int = MOST_CLASSES
) -> ClassCount:
    """Estimate how many classes recur in a group.

    The shares are the softmax over K of ``b_K + m (K - 2.5) M + s S_K`` with the evidence of
    :func:`class_evidence`: M, how much a foreground of one object misses, and S_K, how well the
    images fall into K kinds by what they show. b, m and s are a logistic regression on groups of
    photographs with one, two, three and four classes, each number of the same weight, with the
    foreground of ``ConsensusModulator`` and ``SelfTraining`` and features of ``EfficientNetLite``.
    So the shares hold for such groups; they know nothing of what a user is likely to have.

    Two classes that come together in every image are most often counted as one.

    Args:
        features: of the group's N images, N at least 1, (N, d, h, w); reduced by PCA, not
            normalized.
        foreground: probability of being the object that the images have in common, (N, h, w) in
            [0, 1], as something has found it that looks for one object.
        max_classes: the largest K, at least 1; beyond ``MOST_CLASSES`` nothing is estimated.

    Returns:
        Shares of K = 1 to ``min(max_classes, MOST_CLASSES)``; 0 for more classes than there are
        different images. Neither the order of the images nor copies of all of them matter.

    Example:
        >>> count_classes(torch.rand(1, 8, 5, 5), torch.rand(1, 5, 5)).shares
        (1.0, 0.0, 0.0, 0.0)
    """
    missed, silhouettes, different = class_evidence(features, foreground)
    k = np.arange(1, MOST_CLASSES + 1)
    logits = BIASES + MISSED_WEIGHT * (k - 2.5) * missed + SILHOUETTE_WEIGHT * np.array(silhouettes)
    logits = np.where(k <= different, logits, -np.inf)[:max_classes]
    return ClassCount(tuple(softmax(logits).tolist()))


@torch.no_grad()
def class_evidence(features: Tensor, foreground: Tensor) -> tuple[float, tuple[float, ...], int]:
    """What :func:`count_classes` judges by, of the same features and foreground.

    Returns:
        M, the mean over the images of ``log(1.02 - f)``, where f is the image's largest
        foreground: what looks for one object is not sure of any in images of other classes.

        S_K for K = 1 to ``MOST_CLASSES``, how well k-means parts the images into K kinds, each
        image represented by the mean features of its foreground: the mean silhouette of a kind's
        images, mean over the kinds; 0 for K = 1 and where there are no more than K different
        images. Kinds count alike, and one of a single image, whose silhouette is 0, as nothing.

        The number of different images.
    """
    n, d, height, width = features.shape
    probability = foreground.reshape(n, -1).float().cpu().clamp(0, 1)
    largest = probability.amax(dim=1, keepdim=True)
    missed = (1 + LEAST_MISSED - largest).log().mean().item()

    rows = principal_components(features.permute(0, 2, 3, 1).reshape(-1, d), COMPONENTS)
    rows = rows.reshape(n, height * width, -1).float().cpu()
    weights = probability * (probability >= CORE * largest)
    weights = torch.where(largest > 0, weights, 1.0)
    with without_autocast(rows):
        objects = torch.einsum('nl,nlc->nc', weights, rows) / weights.sum(dim=1, keepdim=True)
    objects = _distinct(objects[objects[:, 0].argsort(stable=True)]).numpy()
    silhouettes = tuple(_silhouette(objects, k) for k in range(1, MOST_CLASSES + 1))
    return missed, silhouettes, len(objects)


def _distinct(points: Tensor) -> Tensor:
    """The rows without later copies of any."""
    spread = (points - points.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    same = torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist') <= COPY * spread
    return points[~same.tril(diagonal=-1).any(dim=1)]


def _silhouette(points: np.ndarray, k: int) -> float:
    """Silhouette of the best of several k-means into k: its mean over each kind, then over all."""
    if not 1 < k < len(points):
        return 0.0
    models = [fit_kmeans(points, k, random_state=seed) for seed in range(RESTARTS)]
    labels = min(models, key=lambda model: model.inertia_).labels_
    kinds = np.unique(labels)
    if len(kinds) == 1:
        return 0.0
    values = silhouette_samples(points, labels)
    return float(np.mean([values[labels == kind].mean() for kind in kinds]))
