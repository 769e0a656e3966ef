"""Masks without specks."""

import cv2
import numpy as np
import torch
from torch import Tensor

from ...options import in_range
from ...registry import TASK_UTILS
from ...structures import GroupDataSample

__all__ = ['CleanMask', 'clean_labels']


@TASK_UTILS.register_module()
class CleanMask:
    """Post-processor: takes specks off masks and fills pinholes, by image and by class.

    Refiners that follow the edges of an image leave parts of a few pixels. Changes ``pred_sem_seg``
    and the masks of ``pred_instances``, and removes empty instances; ``pred_prob`` stays. Put it
    behind the post-processors that draw the mask.

    The defaults are chosen on the ten classes of photographs in docs/accuracy.md, where they leave
    no class worse. Larger holes are mostly true ones, such as those of bicycles.

    Args:
        min_share: parts smaller than this share of the class' largest part are removed; the
            largest part stays.
        hole_share: holes smaller than this share of the class' largest part are filled.
        min_area: parts and holes smaller than this are removed, the largest part, too: a share of
            the image below 1, a number of pixels from 1 on.
        largest: remove all parts but the largest of each class and instance.

    Raises:
        MMCosegError: for options out of range.

    Example:
        >>> mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0]])
        >>> clean_labels(mask, min_share=0.2, hole_share=0.2).tolist()
        [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    """

    by_image = True

    def __init__(
        self,
        min_share: float = 0.1,
        hole_share: float = 0.001,
        min_area: float = 0.0,
        largest: bool = False,
    ) -> None:
        in_range('min_share', min_share, 0, 1)
        in_range('hole_share', hole_share, 0, 1)
        in_range('min_area', min_area, 0)
        self.options = dict(
            min_share=min_share, hole_share=hole_share, min_area=min_area, largest=largest
        )

    def __call__(self, group: GroupDataSample) -> None:
        """Clean the masks of a group's images."""
        for sample in group:
            labels = sample.pred_sem_seg.data
            labels[0] = self._cleaned(labels[0])
            instances = sample.get('pred_instances')
            if instances is not None and 'masks' in instances and len(instances):
                instances.masks = torch.stack([self._cleaned(mask) for mask in instances.masks])
                sample.pred_instances = instances[instances.masks.flatten(1).any(dim=1)]

    def _cleaned(self, labels: Tensor) -> Tensor:
        cleaned = clean_labels(labels.cpu().numpy().astype(np.uint8), **self.options)
        return torch.from_numpy(cleaned).to(labels)


def clean_labels(
    labels: np.ndarray,
    min_share: float = 0.0,
    hole_share: float = 0.0,
    min_area: float = 0.0,
    largest: bool = False,
) -> np.ndarray:
    """Labels without small connected parts and small holes of each class.

    Parts are 8-connected, holes 4-connected. A hole is background that one class encloses: what
    reaches the edge of the image, or holds another class, is none.

    Labels (H, W) are 0 for the background and 1..K; the result is uint8. The rules are those of
    :class:`CleanMask`.
    """
    labels = np.array(labels, np.uint8)
    if 0 < min_area < 1:
        min_area = min_area * labels.size
    classes = range(1, int(labels.max(initial=0)) + 1)
    least_hole = dict.fromkeys(classes, min_area)
    # All specks first: those of one class may lie in another's holes.
    for label in classes:
        mask = (labels == label).astype(np.uint8)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        areas[0] = 0  # what is not of the class
        biggest = int(areas.argmax())
        kept = areas >= max(min_area, min_share * areas[biggest])
        least_hole[label] = max(min_area, hole_share * areas[biggest])
        if largest:
            kept &= np.arange(len(areas)) == biggest
        kept[0] = True
        if not kept.all():
            labels[~kept[parts]] = 0
    for label in classes:
        outside = (labels != label).astype(np.uint8)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
        left, top, width, height, areas = stats.T
        inside = (left > 0) & (top > 0)
        inside &= (left + width < labels.shape[1]) & (top + height < labels.shape[0])
        filled = inside & (areas < least_hole[label])
        filled[0] = False
        filled[np.unique(parts[(labels != 0) & (labels != label)])] = False
        if filled.any():
            labels[filled[parts]] = label
    return labels
