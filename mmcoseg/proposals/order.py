"""Suppression of masks that are alike."""

from collections.abc import Sequence

import numpy as np

__all__ = ['diverse_order']

#: Masks whose overlaps with others are looked at in one go.
OVERLAP_BLOCK = 256


def diverse_order(
    membership: np.ndarray, sizes: np.ndarray, thresholds: Sequence[float], limit: int | None = None
) -> np.ndarray:
    """Greedy non-maximum suppression in rounds that get less strict.

    Each round goes through those left, from the best, and takes what overlaps with nothing taken
    by more than its threshold. So the first hundred differ from each other, and near doubles of the
    best follow behind. With one threshold it is the common suppression.

    Args:
        membership: (n, a) bool, masks as unions of superpixels, best first.
        sizes: (a,) pixels of the superpixels.
        thresholds: IoU of each round.
        limit: number to take at most.

    Returns:
        (m,) int64 indices in the order taken.
    """
    if not len(membership):
        return np.zeros(0, np.int64)
    first, second, overlaps = _overlaps(membership, sizes, min(thresholds))
    starts = np.searchsorted(first, np.arange(len(membership) + 1))
    taken: list[int] = []
    left = np.ones(len(membership), bool)
    for threshold in thresholds:
        near = overlaps > np.float32(threshold)
        neighbors = second[near]
        bounds = np.r_[0, np.cumsum(near)][starts]
        free = left.copy()
        for index in taken:
            free[neighbors[bounds[index] : bounds[index + 1]]] = False
        for index in range(len(membership)):
            if free[index]:
                taken.append(index)
                left[index] = False
                free[neighbors[bounds[index] : bounds[index + 1]]] = False
    return np.array(taken[:limit], np.int64)


def _overlaps(
    membership: np.ndarray, sizes: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which masks overlap by more than the threshold, by whom ascending, and their IoU.

    A mask's IoU is at most the smaller area by the larger one: only masks of about the same area
    are compared, which is a few of them.
    """
    areas = (membership @ np.asarray(sizes, np.float64)).astype(np.float32)
    order = np.argsort(areas, kind='stable')
    areas = areas[order]
    weighted = (membership * np.sqrt(sizes).astype(np.float32))[order]
    found = []
    for start in range(0, len(membership), OVERLAP_BLOCK):
        stop = min(start + OVERLAP_BLOCK, len(membership))
        # A little more than what follows from the threshold, for the rounding.
        largest = areas[stop - 1] / max(threshold, 1e-6) * 1.001
        end = np.searchsorted(areas, largest, side='right')
        both = weighted[start:stop] @ weighted[start:end].T
        union = areas[start:stop, None] + areas[start:end] - both
        # Written as a product: an empty mask overlaps with nothing.
        one, other = np.triu(both > np.float32(threshold) * union, 1).nonzero()
        found.append((one + start, other + start, both[one, other] / union[one, other]))
    one, other, overlaps = (np.concatenate(part) for part in zip(*found))
    first, second = np.r_[order[one], order[other]], np.r_[order[other], order[one]]
    rising = np.argsort(first, kind='stable')
    return first[rising], second[rising], np.r_[overlaps, overlaps][rising]
