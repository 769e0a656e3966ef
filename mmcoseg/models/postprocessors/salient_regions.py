"""Parts of the predicted mask as instances, beside object proposals."""

import torch
from scipy import ndimage
from torch import Tensor

from ...options import in_range
from ...registry import TASK_UTILS

__all__ = ['SalientRegions']

MAX_REGIONS = 32


@TASK_UTILS.register_module()
class SalientRegions:
    """Adds the connected parts of an image's mask to its instances, on one scale of scores.

    Not in DeepCO3, where an instance is always an object proposal: where no proposal fits, the mask
    that the post-processors have drawn may. The score of every candidate, proposal or part, is

    ``IoU of the candidate with the whole mask * mean co-saliency of the candidate``,

    in [0, 1] and the same for all images, as average precision presupposes. A part that is all of
    the mask is above any proposal, and proposals that cut a part in several follow.

    Args:
        min_share: parts smaller than this share of the mask are left out; of the others, the 32
            largest stay.

    Raises:
        MMCosegError: for a share out of range.

    Example:
        >>> mask = torch.tensor([[True, True, False, True]])
        >>> masks, scores = SalientRegions()(mask[None][:0], mask, torch.ones(1, 4))
        >>> masks.int().tolist(), [round(score, 3) for score in scores.tolist()]
        ([[[1, 1, 0, 0]], [[0, 0, 0, 1]]], [0.667, 0.333])
    """

    def __init__(self, min_share: float = 0.1) -> None:
        in_range('min_share', min_share, 0, 1)
        self.min_share = min_share

    def __call__(self, masks: Tensor, mask: Tensor, saliency: Tensor) -> tuple[Tensor, Tensor]:
        """Add the regions of an image's mask (H, W) bool to its instances (k, H, W) bool.

        With its co-saliency (H, W) in [0, 1] it gives masks (k + r, H, W) bool, the regions last,
        the largest first, and scores (k + r,) float32.
        """
        masks = torch.cat([masks.bool(), self.regions_of(mask).to(masks.device)])
        whole, saliency = mask.to(masks.device) != 0, saliency.to(masks.device)
        # Counted as they are: as floats, those of a large photograph would take gigabytes.
        area = masks.sum(dim=(1, 2))
        common = (masks & whole).sum(dim=(1, 2))
        overlap = common / (area + whole.sum() - common).clamp(min=1)
        inside = torch.tensor([float(saliency[one].sum()) for one in masks], device=masks.device)
        mean = inside / area.clamp(min=1)
        return masks, overlap * mean

    def regions_of(self, mask: Tensor, whole: Tensor | None = None) -> Tensor:
        """The connected parts of a mask (H, W) that are large enough, (r, H, W) bool.

        ``whole`` is the mask that ``min_share`` is a share of; None: the same.
        """
        labels, count = ndimage.label(mask.cpu().numpy())
        labels = torch.from_numpy(labels)
        areas = torch.bincount(labels.flatten(), minlength=count + 1)[1:]
        least = self.min_share * (mask if whole is None else whole).sum()
        order = areas.argsort(descending=True, stable=True)[:MAX_REGIONS]
        order = order[areas[order] >= least]
        return labels[None] == (order + 1)[:, None, None]
