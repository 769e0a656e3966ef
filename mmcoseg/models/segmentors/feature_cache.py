"""Features of a frozen backbone, computed once an image."""

from hashlib import blake2b
from itertools import islice

import torch
from torch import Tensor, nn

from ...errors import MMCosegError
from ..ops.precision import without_autocast

__all__ = ['FeatureCache']


class FeatureCache:
    """Keeps the levels of images that come again, in half precision in main memory.

    The key is the content of the image, so any augmentation is safe. All features are rounded to
    half precision, kept or not, so results do not depend on what is in the cache.

    Args:
        backbone: gives levels; frozen, if any are kept.
        capacity: number of images to keep; the others are computed every time. With 0 the cache is
            nothing but the backbone, whose levels are not rounded.

    Raises:
        MMCosegError: if levels of a backbone that is trained were kept.
    """

    def __init__(self, backbone: nn.Module, capacity: int) -> None:
        if capacity and any(p.requires_grad for p in backbone.parameters()):
            raise MMCosegError(
                'features can be kept only of a frozen backbone: set model.feature_cache=0, or '
                'model.backbone.frozen_stages to all stages'
            )
        self.backbone = backbone
        self.capacity = capacity
        self._levels: dict[bytes, list[Tensor]] = {}

    def clear(self) -> None:
        """Forget all images."""
        self._levels.clear()

    def __len__(self) -> int:
        return len(self._levels)

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """The backbone's levels of images (n, 3, H, W)."""
        return self._kept(images) if self.capacity else tuple(self.backbone(images))

    @torch.no_grad()
    def _kept(self, images: Tensor) -> tuple[Tensor, ...]:
        keys = [blake2b(image.contiguous().cpu().numpy().data).digest() for image in images]
        known = dict(self._levels)
        unknown = [i for i, key in enumerate(keys) if key not in known]
        if unknown:
            levels = [level.half().cpu() for level in self.backbone(images[unknown])]
            for row, i in enumerate(unknown):
                known[keys[i]] = [level[row].clone() for level in levels]
        self._levels = dict(islice(known.items(), self.capacity))
        rows = [known[key] for key in keys]
        # Autocast to another half precision than float16 refuses to stack that one.
        with without_autocast(rows[0][0]):
            return tuple(torch.stack(level).to(images.device, images.dtype) for level in zip(*rows))
