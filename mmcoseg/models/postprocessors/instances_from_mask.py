"""Instances of methods that find a mask of the image as a whole."""

from typing import Literal

import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import masks_to_boxes

from ...errors import MMCosegError
from ...options import one_of
from ...registry import TASK_UTILS
from ...structures import CoSegDataSample, GroupDataSample
from ..ops.resize import resize
from .salient_regions import SalientRegions

__all__ = ['InstancesFromMask']

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
        masks = self.regions.regions_of(mask).to(mask.device)
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
