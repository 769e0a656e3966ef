"""Instances of methods that find a mask of the image as a whole."""

from typing import Literal

import numpy as np
import torch
from mmengine.structures import InstanceData
from scipy import ndimage
from skimage.segmentation import watershed
from torch import Tensor
from torchvision.ops import masks_to_boxes

from ...errors import MMCosegError
from ...options import one_of
from ...registry import TASK_UTILS
from ...structures import CoSegDataSample, GroupDataSample, hint_map
from ..ops.resize import resize
from .salient_regions import SalientRegions

__all__ = ['InstancesFromMask', 'parts_around']

Shape = Literal['mask', 'box']


@TASK_UTILS.register_module()
class InstancesFromMask:
    """Post-processor: connected parts of ``pred_sem_seg`` become ``pred_instances``.

    With ``shape='box', min_share=0`` this is how DeepCO3 (section 4.3) compares DDT, DDT+ and DFF:
    every connected part of their binary mask gives a box, and the object proposal of highest IoU
    with the box is the instance. Scores are the mean of ``pred_prob`` over the part,
    times the part's share of the mask: in [0, 1], and the same for all images of a group.

    Put it behind the post-processors that draw the mask. Images in which proposals were looked for
    and none was found have no instance as a box.

    A person's hints that surely are the object's count one by one: what is connected, such as a
    stroke, points at one instance. A part with several of them is split between them; a part with
    one is kept however small it is.

    Args:
        shape: ``'mask'``, the part itself; ``'box'``, the proposal that stands for its box.
        min_share: parts smaller than this share of the mask are left out; of the others, the 32
            largest stay.

    Raises:
        MMCosegError: for options out of range; when called, naming an image without proposals where
            they are needed.
    """

    by_image = True

    def __init__(self, shape: Shape = 'mask', min_share: float = 0.1) -> None:
        one_of('shape', shape, Shape)
        self.regions = SalientRegions(min_share)
        self.shape = shape

    def __call__(self, group: GroupDataSample) -> None:
        """Set the instances of a group's images."""
        label = next(iter(group.metainfo.get('label_ids', ())), 0)
        for sample in group:
            sample.pred_instances = self._instances(sample, label)

    def _instances(self, sample: CoSegDataSample, label: int) -> InstanceData:
        mask = sample.pred_sem_seg.data[0] != 0
        pointed_at = self._pointed_at(sample, mask)
        others = self.regions.regions_of(mask & ~pointed_at.any(dim=0), mask)
        masks = torch.cat([pointed_at, others]).to(mask.device)
        prob = sample.pred_prob.data.float()
        prob = resize(prob[None], mask.shape)[0]
        flat = masks.flatten(1).float()
        area = flat.sum(dim=1)
        scores = flat @ prob[0].flatten() / area.clamp(min=1) * area / mask.sum().clamp(min=1)
        if self.shape == 'box' and len(masks):
            masks = self._proposals(sample, masks)
            scores = scores[: len(masks)]
        return InstanceData(
            masks=masks,
            labels=torch.full((len(masks),), label, device=mask.device),
            scores=scores,
        )

    @staticmethod
    def _pointed_at(sample: CoSegDataSample, mask: Tensor) -> Tensor:
        """The parts of a mask that each hint stands for, (p, H, W) bool."""
        if 'hints' not in sample:
            return mask[None][:0].cpu()
        objects = hint_map(sample.hints, tuple(mask.shape)).sure_objects
        seeds, count = ndimage.label(objects)
        parts = torch.from_numpy(parts_around(seeds, mask.cpu().numpy()))
        return parts[None] == torch.arange(1, count + 1)[:, None, None]

    @staticmethod
    def _proposals(sample: CoSegDataSample, parts: Tensor) -> Tensor:
        if 'proposals' not in sample:
            raise MMCosegError(
                f'{sample.identity} has no object proposals: put ComputeProposals or LoadProposals '
                "into the pipeline, or use InstancesFromMask(shape='mask')"
            )
        proposals = sample.proposals
        if not len(proposals):
            return parts[:0]
        boxes = masks_to_boxes(parts.cpu())
        boxes[:, 2:] += 1  # torchvision's boxes end on the last pixel
        chosen = proposals.box_ious(boxes.numpy()).argmax(axis=1)
        return torch.from_numpy(proposals[chosen].masks()).to(parts.device)


def parts_around(seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share the connected parts of a mask (H, W) out among the seeds in them.

    Seeds are (H, W) int, 0 for none. Each pixel gets the seed of the shortest way to it within the
    mask. What is connected with no seed is 0.

    Example:
        >>> parts_around(np.array([[1, 0, 0, 0, 2, 0, 0]]), np.array([[1, 1, 1, 1, 1, 0, 1]]) > 0)
        array([[1, 1, 1, 2, 2, 0, 0]])
    """
    return watershed(np.zeros(mask.shape), seeds, mask=mask)
