"""Features of a frozen backbone, computed once an image."""

from collections.abc import Callable
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
        capacity: number of images to keep; the others are computed every time.

    Example:
        >>> cache = FeatureCache(capacity=10)
        >>> images = torch.rand(2, 3, 8, 8)
        >>> _ = cache(images, lambda x: (x.mean(dim=1, keepdim=True),))
        >>> cache(images, lambda x: 1 / 0)[0].shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._levels: dict[bytes, list[Tensor]] = {}

    @classmethod
    def of_backbone(cls, backbone: nn.Module, capacity: int) -> 'FeatureCache | None':
        """A cache for a segmentor's backbone, which must be frozen; None for a capacity of 0."""
        if capacity and any(p.requires_grad for p in backbone.parameters()):
            raise MMCosegError(
                'features can be kept only of a frozen backbone: set model.feature_cache=0, or '
                'model.backbone.frozen_stages to all stages'
            )
        return cls(capacity) if capacity else None

    def clear(self) -> None:
        """Forget all images."""
        self._levels.clear()

    def __len__(self) -> int:
        return len(self._levels)

    @torch.no_grad()
    def __call__(
        self, images: Tensor, compute: Callable[[Tensor], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """Levels of images (n, 3, H, W), by ``compute`` where they are not known."""
        keys = [blake2b(image.contiguous().cpu().numpy().data).digest() for image in images]
        known = dict(self._levels)
        unknown = [i for i, key in enumerate(keys) if key not in known]
        if unknown:
            levels = [level.half().cpu() for level in compute(images[unknown])]
            for row, i in enumerate(unknown):
                known[keys[i]] = [level[row].clone() for level in levels]
        self._levels = dict(islice(known.items(), self.capacity))
        rows = [known[key] for key in keys]
        # Autocast to another half precision than float16 refuses to stack that one.
        with without_autocast(rows[0][0]):
            return tuple(torch.stack(level).to(images.device, images.dtype) for level in zip(*rows))
