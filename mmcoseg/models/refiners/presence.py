"""How sure one can be that the common object is in an image at all."""

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from ...registry import MODELS
from .group_context import GroupContext

__all__ = ['PrototypePresence']


@MODELS.register_module()
class PrototypePresence(BaseModule):
    """Presence by how like the others' objects an image's own object is.

    The mean of the l2-normalized descriptors of what the soft map covers in an image is compared
    (cosine, after the group's mean background is taken off) with the mean of those of the other
    images. The score is a logistic function of it.

    Args:
        level: index of the backbone's level.
        middle: cosine that gives a presence of 0.5.
        scale: how fast presence changes with the cosine.
    """

    rotation_invariant = True

    def __init__(
        self,
        level: int = -1,
        middle: float = 0.45,
        scale: float = 8.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.level = level
        self.middle = middle
        self.scale = scale

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The chosen level as it is, (n, d, h, w): as cues have it, who then share its descriptors."""
        return feats[self.level]

    def forward(self, prob: Tensor, context: GroupContext) -> Tensor:
        """Presence of each image, (N,) in [0, 1]; 1 for a group of one image.

        Args:
            prob: soft maps (N, 1, h', w').
            context: with this module's descriptors.
        """
        descriptors = context.own
        if len(descriptors) == 1:
            return torch.ones(1)
        maps = F.adaptive_avg_pool2d(prob.float(), descriptors.shape[-2:]).to(descriptors.device)
        objects, backgrounds = [], []
        for code, weight in zip(descriptors, maps):
            code = F.normalize(code.float(), dim=0)
            objects.append((code * weight).sum(dim=(1, 2)) / weight.sum().clamp(min=1e-3))
            backgrounds.append(
                (code * (1 - weight)).sum(dim=(1, 2)) / (1 - weight).sum().clamp(min=1e-3)
            )
        objects = torch.stack(objects) - torch.stack(backgrounds).mean(dim=0)
        # An image in which next to nothing was found says little about what the object is.
        shares = maps.mean(dim=(1, 2, 3)).sqrt()[:, None]
        directions = shares * F.normalize(objects, dim=1)
        others = directions.sum(dim=0, keepdim=True) - directions
        cosine = F.cosine_similarity(objects, others, dim=1)
        return torch.sigmoid(self.scale * (cosine - self.middle)).cpu()
