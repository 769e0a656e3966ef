"""What all post-processors that follow the edges of the image share."""

from abc import ABCMeta, abstractmethod
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from mmengine.structures import PixelData

from ...datasets.image_io import image_of
from ...errors import MMCosegError
from ...options import in_range
from ...structures import CoSegDataSample, GroupDataSample
from ..ops import mask_of_prob

__all__ = ['EdgeRefiner']


class EdgeRefiner(metaclass=ABCMeta):
    """Base class: redraws the soft maps of a group so that they follow the edges of its images.

    Called with a ``GroupDataSample`` whose images have ``pred_prob``, at any resolution, it
    replaces in place

    - ``pred_prob``: (C, h, w) float32, at the resolution that it worked at;
    - ``pred_sem_seg``: (1, H, W) uint8, at the original size.

    Args:
        max_side: larger images are worked on with this longer side, in pixels; None for any size.
        threshold: probability from which a pixel is object (of no account for several labels).

    Raises:
        MMCosegError: for options out of range; when called, for an image of another size than its
            ``ori_shape``.
    """

    by_image = True

    def __init__(self, max_side: int | None = 1024, threshold: float = 0.5) -> None:
        if max_side is not None:
            in_range('max_side (or None)', max_side, 1)
        if not 0 < threshold < 1:
            raise MMCosegError(f'threshold must be between 0 and 1, got {threshold!r}')
        self.max_side = max_side
        self.threshold = threshold

    def __call__(self, group: GroupDataSample) -> None:
        probs = (sample.pred_prob.data.detach().float().cpu().numpy() for sample in group)
        refined = self.refine(map(_image, group), probs)
        for sample, prob in zip(group, refined, strict=True):
            device = sample.pred_prob.data.device
            prob = torch.from_numpy(prob)
            size = sample.metainfo.get('ori_shape', prob.shape[-2:])[:2]
            mask = mask_of_prob(prob, size, self.threshold)
            # Not by assigning .data: PixelData refuses to change its size.
            sample.pred_prob = PixelData(data=prob.to(device))
            sample.pred_sem_seg = PixelData(data=mask.to(device))

    @abstractmethod
    def refine(
        self, images: Iterable[np.ndarray], probs: Iterable[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """Refined soft maps, (C, h, w) float32 each, of images (H, W, 3) uint8.

        Those that come in are (C, h', w'), of any resolution.
        """


def _image(sample: CoSegDataSample) -> np.ndarray:
    image = image_of(sample)
    size = sample.metainfo.get('ori_shape', image.shape)[:2]
    if tuple(size) != image.shape[:2]:
        raise MMCosegError(
            f'the image of {sample.identity} is {image.shape[0]} x {image.shape[1]} (height x '
            f'width) now, its prediction was made for {size[0]} x {size[1]}; was the file replaced?'
        )
    return image
