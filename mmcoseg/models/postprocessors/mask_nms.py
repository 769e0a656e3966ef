"""Non-maximum suppression of masks."""

import torch
from torch import Tensor

from ...options import in_range
from ...registry import TASK_UTILS
from ..ops.masks import mask_overlaps

__all__ = ['MaskNMS']


@TASK_UTILS.register_module()
class MaskNMS:
    """Greedy suppression: a mask goes if it overlaps with a better one that stays.

    Args:
        iou: a mask goes if its IoU with a kept one is larger.
        containment: a mask also goes if a larger share of it lies in a kept one: a part of an
            object beside the object. Average precision gains by such parts, where objects were
            merged; who looks at pictures does not. None: parts stay.

    Raises:
        MMCosegError: if a limit is not in [0, 1].

    Example:
        >>> masks = torch.tensor([[[1, 1, 1, 0]], [[1, 1, 0, 0]], [[0, 0, 0, 1]]]).bool()
        >>> MaskNMS(iou=0.4)(masks, torch.tensor([0.2, 0.9, 0.1])).tolist()
        [1, 2]
    """

    def __init__(self, iou: float = 0.4, containment: float | None = None) -> None:
        in_range('iou', iou, 0, 1)
        # No share of a mask is above 1.
        self.containment = 1.0 if containment is None else containment
        in_range('containment', self.containment, 0, 1)
        self.iou = iou

    def __call__(self, masks: Tensor, scores: Tensor) -> Tensor:
        """Which of masks (k, H, W) bool stay: their indices, (m,) int64, the best first.

        Of equal scores (k,) the first counts as better.
        """
        order = scores.argsort(descending=True, stable=True)
        shared = mask_overlaps(masks)
        areas = shared.diagonal()
        overlaps = shared / (areas[:, None] + areas - shared).clamp(min=1) > self.iou
        overlaps |= shared / areas[:, None].clamp(min=1) > self.containment
        overlaps = overlaps[order][:, order].cpu().numpy()
        kept: list[int] = []
        for place, overlap in enumerate(overlaps):
            if not overlap[kept].any():
                kept.append(place)
        return order[torch.tensor(kept, dtype=torch.long, device=order.device)]
