"""How sure one can be that the common object is in an image at all."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...registry import MODELS
from .group_stage import Descriptors, GroupContext, GroupStage

__all__ = ['PrototypePresence']

#: Cosine that gives a presence of 0.5, and how fast presence changes with it.
MIDDLE, SCALE = 0.45, 8.0


@MODELS.register_module()
class PrototypePresence(GroupStage):
    """Presence by how like the others' objects an image's own object is.

    Compare the mean of the l2-normalized descriptors that the soft map covers in an image (minus
    the group's mean background) with the mean of those of the other images, by the cosine. The
    score is a logistic function of it. The maps stay as they are.

    Args:
        level: index of the backbone's level.
    """

    def __init__(self, level: int = -1) -> None:
        super().__init__()
        self.descriptors = Descriptors((level,))

    def forward(self, context: GroupContext) -> Tensor:
        """Set ``presence`` of each image, and give the maps of the stage before."""
        prob = self.maps_before(context)
        foreground = prob if prob.shape[1] == 1 else 1 - prob[:, :1]
        scores = self.presence(foreground, context.descriptors[self.descriptors])
        for sample, score in zip(context.group, scores.tolist()):
            sample.presence = score
        return prob

    def presence(self, prob: Tensor, descriptors: Tensor) -> Tensor:
        """Presence (N,) in [0, 1] of soft maps (N, 1, h', w') and descriptors (N, d, h, w).

        It is 1 for a group of one image.
        """
        if len(descriptors) == 1:
            return torch.ones(1)
        maps = F.adaptive_avg_pool2d(prob.float(), descriptors.shape[-2:]).to(descriptors.device)
        objects, backgrounds = [], []
        for descriptor, weight in zip(descriptors, maps):
            unit = F.normalize(descriptor.float(), dim=0)
            objects.append((unit * weight).sum(dim=(1, 2)) / weight.sum().clamp(min=1e-3))
            outside = 1 - weight
            backgrounds.append((unit * outside).sum(dim=(1, 2)) / outside.sum().clamp(min=1e-3))
        objects = torch.stack(objects) - torch.stack(backgrounds).mean(dim=0)
        # An image in which next to nothing was found says little about what the object is.
        weights = maps.mean(dim=(1, 2, 3)).sqrt()[:, None]
        directions = weights * F.normalize(objects, dim=1)
        others = directions.sum(dim=0, keepdim=True) - directions
        cosine = F.cosine_similarity(objects, others, dim=1)
        return torch.sigmoid(SCALE * (cosine - MIDDLE)).cpu()
