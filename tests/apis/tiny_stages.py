"""A backbone and a cue that take no time, for groups whose objects have a color of their own."""

import torch
from torch import nn
from torch.nn import functional as F

from mmcoseg.models.stages import Descriptors, GroupCue
from mmcoseg.registry import MODELS


@MODELS.register_module()
class TinyColors(nn.Module):
    """Mean colors of squares of 4 x 4 pixels, times ``weight``, as one level of 6 channels.

    ``seen`` counts the images that went through any such backbone.
    """

    seen = 0

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(float(weight)))

    def forward(self, x):
        TinyColors.seen += len(x)
        colors = self.weight * F.avg_pool2d(x, 4)
        return (torch.cat([colors.clamp(min=0), (-colors).clamp(min=0)], dim=1),)


@MODELS.register_module()
class TinyBright(GroupCue):
    """What is brighter than the group's mean."""

    def __init__(self):
        super().__init__()
        self.descriptors = Descriptors((0,))

    def group_maps(self, descriptors, saliency):
        brightness = (descriptors[:, :3] - descriptors[:, 3:]).float().sum(dim=1)
        return torch.sigmoid(4 * (brightness - brightness.mean()))
