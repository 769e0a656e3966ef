"""The guided filter: edges for soft maps at a fraction of the cost of a dense CRF."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from ...errors import MMCosegError
from ...registry import TASK_UTILS
from .edge_refiner import EdgeRefiner, resize_image, resize_prob, working_size

__all__ = ['GuidedFilter', 'guided_filter']

#: Longer side, in pixels, of the images that radii are meant for.
REFERENCE_SIDE = 500


def guided_filter(image: np.ndarray, prob: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Filter a soft map so that it takes on the edges of an image.

    In every square window the map is fitted by a linear function of the colors, and each pixel
    gets the mean of the fits of all windows that it lies in (He, Sun and Tang, "Guided Image
    Filtering", ECCV 2010, eq. 14 to 16: the guide is a color image). At the border the windows
    are cut off.

    Args:
        image: (H, W, 3) uint8, the guide.
        prob: (C, H, W), float in [0, 1].
        radius: windows have ``2 radius + 1`` pixels a side.
        eps: variance of colors, in units of [0, 1], above which an edge is kept.

    Returns:
        (C, H, W) float32, in [0, 1]; of several channels every sum is 1, if it was before.

    Example:
        >>> image = np.zeros((20, 30, 3), np.uint8)
        >>> image[:, 15:] = 255
        >>> prob = np.full((1, 20, 30), 0.2, np.float32)
        >>> prob[:, :, 13:] = 0.9  # two pixels off the edge
        >>> int((guided_filter(image, prob, radius=6, eps=1e-4)[0, 10] < 0.6).sum())
        15
    """
    guide = np.stack(cv2.split(image.astype(np.float32) / 255))
    size = (2 * radius + 1, 2 * radius + 1)
    area = _sums(np.ones((1, *image.shape[:2]), np.float32), size)

    def mean(x: np.ndarray) -> np.ndarray:
        return _sums(x, size) / area

    means = mean(guide)
    # The six different entries of the windows' covariance, regularized.
    rows, columns = np.triu_indices(3)
    s = mean(guide[rows] * guide[columns]) - means[rows] * means[columns]
    s[rows == columns] += eps
    rr, rg, rb, gg, gb, bb = s
    # Its inverse by cofactors: solving a 3 x 3 system a pixel is ten times slower.
    first = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    second = first[1], rr * bb - rb * rb, rg * rb - rr * gb
    inverse = np.array([first, second, (first[2], second[2], rr * gg - rg * rg)])
    determinant = rr * first[0] + rg * first[1] + rb * first[2]
    result = []
    for p in prob.astype(np.float32):
        mean_p = mean(p[None])[0]
        covariance = mean(guide * p) - means * mean_p
        slopes = (inverse * covariance).sum(axis=1) / determinant
        offset = mean_p - (slopes * means).sum(axis=0)
        result.append((mean(slopes) * guide).sum(axis=0) + mean(offset[None])[0])
    # The fits may leave [0, 1] at strong edges.
    result = np.clip(result, 0, 1, dtype=np.float32)
    return result / result.sum(axis=0) if len(result) > 1 else result


def _sums(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Sums of maps (n, H, W) over windows."""
    options = dict(normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.stack([cv2.boxFilter(channel, -1, size, **options) for channel in x])


@TASK_UTILS.register_module()
class GuidedFilter(EdgeRefiner):
    """Post-processor: gives soft masks the edges of their images by a guided filter.

    Much faster than :class:`DenseCRF`, without any package of its own, and less accurate: it moves
    an edge by a few pixels, but does not complete objects. See :func:`guided_filter`, and
    :class:`EdgeRefiner` for what it changes.

    Args:
        radius: of the windows, in pixels of an image whose longer side is 500. It is scaled with
            the image, so that the result does not depend on its resolution.
        eps: variance of colors, in units of [0, 1], above which an edge is kept.
        max_side, threshold: as in :class:`EdgeRefiner`.

    Raises:
        MMCosegError: for options out of range.
    """

    def __init__(
        self,
        radius: float = 12,
        eps: float = 1e-4,
        max_side: int | None = 1024,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(max_side, threshold)
        for name, value in dict(radius=radius, eps=eps).items():
            if not value > 0:
                raise MMCosegError(f'{name} must be above 0, got {value!r}')
        self.radius = radius
        self.eps = eps

    def refine(
        self, images: Iterable[np.ndarray], probs: Iterable[np.ndarray]
    ) -> Iterator[np.ndarray]:
        for image, prob in zip(images, probs, strict=True):
            size = working_size(image.shape[:2], self.max_side)
            radius = max(1, round(self.radius * max(size) / REFERENCE_SIDE))
            yield guided_filter(
                resize_image(image, size), resize_prob(prob, size), radius, self.eps
            )
