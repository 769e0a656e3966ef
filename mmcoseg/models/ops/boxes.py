"""From instances' masks to boxes and back."""

from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import box_iou

from ...errors import MMCosegError
from ...options import one_of

__all__ = ['boxes_of', 'proposals_of_boxes']

Compared = Literal['segments', 'boxes']


def boxes_of(masks: Tensor) -> Tensor:
    """The box around each mask.

    Args:
        masks: (n, H, W) bool.

    Returns:
        (n, 4) int64: left, top, right, bottom, the latter two exclusive, so that a box of one pixel
        has an area of one. A mask without a pixel has (0, 0, 0, 0).

    Example:
        >>> mask = torch.zeros(1, 4, 6, dtype=torch.bool)
        >>> mask[0, 1:3, 2:5] = True
        >>> boxes_of(mask)
        tensor([[2, 1, 5, 3]])
    """
    if not masks.numel():
        return torch.zeros(len(masks), 4, dtype=torch.int64, device=masks.device)
    sides = []
    for used in (masks.any(dim=1), masks.any(dim=2)):  # columns, rows
        first = used.to(torch.uint8).argmax(dim=1)
        last = used.shape[1] - used.flip(1).to(torch.uint8).argmax(dim=1)
        sides.append(torch.where(used.any(dim=1), torch.stack([first, last]), 0))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=1)


def proposals_of_boxes(
    boxes: Tensor, masks: Tensor, compared: Compared = 'segments'
) -> tuple[Tensor, Tensor]:
    """The object proposal that stands for each box: that of highest IoU (DeepCO3, section 4.3).

    So methods that find boxes, such as DDT and DFF as the paper compares them, give instances.

    Args:
        boxes: (k, 4), left, top, right, bottom as of :func:`boxes_of`; those with fractions are
            rounded to whole pixels.
        masks: (n, H, W) bool, the proposals of the image, n at least 1.
        compared: IoU of the box' area with the proposal's ``'segments'``, or with the ``'boxes'``
            around these.

    Returns:
        Index of a proposal for each box, (k,) int64, the first of equally good ones, and its IoU,
        (k,) float64.

    Raises:
        MMCosegError: without proposals, or for another value of ``compared``.

    Example:
        >>> masks = torch.ones(2, 4, 4, dtype=torch.bool)
        >>> masks[1, :, 2:] = False
        >>> proposals_of_boxes(torch.tensor([[0, 0, 2, 4]]), masks)
        (tensor([1]), tensor([1.], dtype=torch.float64))
    """
    one_of('compared', compared, Compared)
    if not len(masks):
        raise MMCosegError('there are no proposals to choose from: masks is empty')
    boxes = boxes.round().to(torch.int64) if boxes.is_floating_point() else boxes
    if compared == 'boxes':
        ious = box_iou(boxes.double(), boxes_of(masks).double()).nan_to_num(0)
    else:
        height, width = masks.shape[1:]
        limits = boxes.new_tensor([width, height, width, height])
        boxes = torch.minimum(boxes.clamp(min=0), limits)
        areas = masks.sum(dim=(1, 2))
        rows = []
        for left, top, right, bottom in boxes.tolist():
            common = masks[:, top:bottom, left:right].sum(dim=(1, 2)).double()
            inside = max(0, right - left) * max(0, bottom - top)
            rows.append(common / (areas + inside - common).clamp(min=1))
        ious = torch.stack(rows) if rows else masks.new_zeros(0, len(masks), dtype=torch.float64)
    best = ious.max(dim=1)
    return best.indices, best.values
