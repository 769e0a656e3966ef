"""Object proposals of an image in little memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..errors import MMCosegError

__all__ = ['Proposals']


@dataclass(frozen=True, eq=False)
class Proposals:
    """Masks of one image as unions of superpixels, regions that no mask divides; best first.

    They take a few hundred kilobytes, a hundredth of their masks. Indexing by a number, slice,
    list or mask gives fewer of them.

    Args:
        superpixels: (h, w) int32, the superpixel of each pixel, 0 to a - 1. It covers the image at
            any resolution; sums are taken at this one.
        membership: (n, a) bool, which superpixels each mask is made of.
        scores: (n,) float32.
        size: height and width of the masks; None for those of ``superpixels``.

    Raises:
        MMCosegError: if the shapes do not fit, or ``membership`` has no column for a superpixel.

    Example:
        >>> superpixels = np.array([[0, 0, 1], [0, 2, 2]], np.int32)
        >>> membership = np.array([[True, False, False], [False, True, True]])
        >>> two = Proposals(superpixels, membership, np.array([2, 1], np.float32))
        >>> two[1].masks().astype(int)
        array([[[0, 0, 1],
                [0, 1, 1]]])
        >>> two.sums(np.array([[[1, 2, 3], [4, 5, 6]]]))
        array([[ 7., 14.]])
    """

    superpixels: np.ndarray
    membership: np.ndarray
    scores: np.ndarray
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        superpixels, membership, scores = self.superpixels, self.membership, self.scores
        if (superpixels.ndim, membership.ndim, len(scores)) != (2, 2, len(membership)):
            raise MMCosegError(
                'superpixels must be (h, w), membership (n, a) and scores (n,), got '
                f'{superpixels.shape}, {membership.shape} and {scores.shape}'
            )
        count = membership.shape[1]
        if superpixels.size and not 0 <= superpixels.min() <= superpixels.max() < count:
            raise MMCosegError(
                f'superpixels must be from 0 to {count - 1}, the columns of membership, got '
                f'{superpixels.min()} to {superpixels.max()}'
            )

    @classmethod
    def from_masks(cls, masks: np.ndarray, scores: Sequence[float] | None = None) -> 'Proposals':
        """Proposals of masks (n, H, W), bool or 0 and not 0; scores default to n, ..., 1."""
        masks = np.asarray(masks)
        if masks.ndim != 3:
            raise MMCosegError(f'masks must be (n, H, W), got {masks.shape}')
        flat = (masks != 0).reshape(len(masks), masks.shape[1] * masks.shape[2])
        # Pixels in the same masks have the same bits, and are one superpixel.
        bits = np.packbits(flat, axis=0)
        if len(bits):
            keys = np.ascontiguousarray(bits.T).view(np.dtype((np.void, len(bits))))[:, 0]
        else:
            keys = np.zeros(flat.shape[1], np.uint8)
        _, first, superpixels = np.unique(keys, return_index=True, return_inverse=True)
        if scores is None:
            scores = np.arange(len(masks), 0, -1)
        return cls(
            superpixels.reshape(masks.shape[1:]).astype(np.int32),
            np.ascontiguousarray(flat[:, first]),
            np.asarray(scores, np.float32).reshape(-1),
        )

    def __len__(self) -> int:
        return len(self.membership)

    def __getitem__(self, index) -> 'Proposals':
        index = np.atleast_1d(np.arange(len(self))[index])
        return replace(self, membership=self.membership[index], scores=self.scores[index])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, H, W), that of the masks."""
        return (len(self), *(self.size or self.superpixels.shape))

    def masks(self) -> np.ndarray:
        """(n, H, W) bool. Those of all proposals of a photograph take hundreds of megabytes."""
        superpixels, size = self.superpixels, self.shape[1:]
        if superpixels.shape != size:
            superpixels = cv2.resize(superpixels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return self.membership[:, superpixels]

    def areas(self) -> np.ndarray:
        """(n,) int64, in pixels of ``superpixels``."""
        count = np.bincount(self.superpixels.reshape(-1), minlength=self.membership.shape[1])
        # Products of integer matrices are slow; these are exact in double precision.
        return np.rint(self.membership @ count.astype(np.float64)).astype(np.int64)

    def sums(self, maps: np.ndarray) -> np.ndarray:
        """The sum of each map over each mask, in a time that hardly depends on the image's size.

        Args:
            maps: (k, h, w), what ``np.asarray`` takes.

        Returns:
            (k, n) float64.
        """
        return _totals(self._checked(maps), self.superpixels.reshape(-1), self.membership)

    def contour_sums(self, maps: np.ndarray) -> np.ndarray:
        """The sum of each map over the contour of each mask.

        A mask's contour are its pixels with one of their four neighbors outside of it; beyond the
        image's edge nothing is outside. So a pixel is on it if its own superpixel is in the mask
        and that of a neighbor is not. Pixels with the same superpixels around are on the same
        contours, and are summed up first.

        Args:
            maps: (k, h, w), what ``np.asarray`` takes.

        Returns:
            (k, n) float64.
        """
        maps = self._checked(maps)
        padded = np.pad(self.superpixels, 1, mode='edge')
        beside = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        around = np.stack([self.superpixels, *np.sort(beside, axis=0)], axis=-1).reshape(-1, 5)
        edge = (around[:, 1:] != around[:, :1]).any(axis=1)
        if not edge.any() or not len(self):
            return np.zeros((len(maps), len(self)))
        kinds, kind = np.unique(around[edge], axis=0, return_inverse=True)
        neighbors = self.membership[:, kinds[:, 1:].reshape(-1)].reshape(len(self), -1, 4)
        on_contour = self.membership[:, kinds[:, 0]] & ~neighbors.all(axis=2)
        return _totals(maps[:, edge], kind.reshape(-1), on_contour)

    def box_ious(self, boxes: np.ndarray) -> np.ndarray:
        """IoU of the area of each box with each mask.

        Args:
            boxes: (k, 4), left, top, right, bottom in pixels of the masks, the latter two
                exclusive.

        Returns:
            (k, n) float64.
        """
        (_, full_height, full_width), (height, width) = self.shape, self.superpixels.shape
        scale = np.array([width / full_width, height / full_height] * 2)
        insides = np.zeros((len(boxes), height, width))
        for inside, box in zip(insides, np.asarray(boxes) * scale):
            left, top, right, bottom = np.rint(box).astype(int).clip(0)
            inside[top:bottom, left:right] = 1
        common = self.sums(insides)
        union = self.areas() + insides.sum(axis=(1, 2))[:, None] - common
        return common / np.maximum(union, 1)

    def _checked(self, maps: np.ndarray) -> np.ndarray:
        """(k, h w), of maps at the superpixels' resolution."""
        maps = np.asarray(maps)
        if maps.shape[1:] != self.superpixels.shape:
            height, width = self.superpixels.shape
            raise MMCosegError(f'maps must be (k, {height}, {width}), got {maps.shape}')
        return maps.reshape(len(maps), self.superpixels.size)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What a file holds. The names are those of files written by earlier versions, too."""
        small = np.uint16 if self.membership.shape[1] <= 65536 else np.int32
        return dict(
            atoms=self.superpixels.astype(small),
            members=np.packbits(self.membership, axis=1),
            atom_count=np.array(self.membership.shape[1]),
            scores=self.scores,
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> 'Proposals':
        """What :meth:`to_arrays` was made of, but for ``size``."""
        count = int(arrays['atom_count'])
        membership = np.unpackbits(arrays['members'], axis=1, count=count).astype(bool)
        return cls(arrays['atoms'].astype(np.int32), membership, arrays['scores'])


def _totals(maps: np.ndarray, place: np.ndarray, membership: np.ndarray) -> np.ndarray:
    """Sums of maps (k, p) by the place of each pixel (p,), then over each mask's places."""
    count = membership.shape[1]
    totals = np.zeros((len(maps), count))
    for total, values in zip(totals, maps):
        total[:] = np.bincount(place, values, count)
    return totals @ membership.T.astype(np.float64)
