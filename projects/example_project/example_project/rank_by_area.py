"""An instance-ranking post-processor of a third party."""

import torch

from mmcoseg.registry import TASK_UTILS
from mmcoseg.structures import GroupDataSample

__all__ = ['RankByArea']


@TASK_UTILS.register_module()
class RankByArea:
    """Score instances by how typical their size is of the group, and sort them anew.

    Args:
        weight: from 0 (scores stay) to 1 (scores are nothing but the size's).
    """

    def __init__(self, weight: float = 0.3) -> None:
        self.weight = weight

    def __call__(self, group: GroupDataSample) -> None:
        """Change ``pred_instances`` of all images in place."""
        areas = [self._areas(sample) for sample in group if 'pred_instances' in sample]
        if not areas or not sum(map(len, areas)):
            return
        typical = torch.cat(areas).median()
        for sample in group:
            instances = sample.pred_instances
            likeness = torch.exp(-torch.log(self._areas(sample) / typical).abs())
            scores = (1 - self.weight) * instances.scores + self.weight * likeness
            instances.scores = scores.float()
            sample.pred_instances = instances[scores.argsort(descending=True)]

    @staticmethod
    def _areas(sample) -> torch.Tensor:
        """Part of the image that each instance covers, above 0."""
        masks = sample.pred_instances.masks
        return torch.as_tensor(masks).float().mean(dim=(1, 2)).clamp(min=1e-6)
