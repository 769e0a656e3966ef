"""From a batch of groups to images that the network can be asked for."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.nn import functional as F

from ..errors import MMCosegError
from ..registry import MODELS
from ..structures import GroupImages

__all__ = ['GroupDataPreprocessor']


@MODELS.register_module()
class GroupDataPreprocessor(BaseDataPreprocessor):
    """Bring the images of B groups to the device, to be normalized some at a time.

    Images of different size are padded with the mean color, at the right and the bottom, to the
    largest height and width of the batch. ``img_shape`` of every sample keeps the size without
    padding; segmentors crop to it before they resize back.

    Args:
        size: height and width of the network's input, to which ``ResizeToInput`` in the pipelines
            resizes images while they are loaded; None for images as they are.
        interpolation: by which it resizes, one of mmcv's.
        mean: of the channels in the order fed to the network (RGB if ``bgr_to_rgb``), in units
            of 0..255. None: no normalization, floats 0..255 reach the network.
        std: as ``mean``.
        bgr_to_rgb: reverse the channels of the images, which are loaded as BGR (mmcv's order).
        size_divisor: padded height and width are multiples of this.
        channels_last: give the batch in ``torch.channels_last`` memory format, on which
            convolutions on CPUs and recent GPUs run faster.
    """

    def __init__(
        self,
        size: Sequence[int] | None = None,
        interpolation: str = 'area',
        mean: Sequence[float] | None = (123.675, 116.28, 103.53),
        std: Sequence[float] | None = (58.395, 57.12, 57.375),
        bgr_to_rgb: bool = True,
        size_divisor: int = 1,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.size = size
        self.interpolation = interpolation
        if (mean is None) != (std is None):
            raise MMCosegError(f'give both mean and std or neither, got mean={mean}, std={std}')
        if mean is None:
            mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        if not (len(mean) == len(std) == 3):
            raise MMCosegError(f'mean and std need 3 values each, got {mean} and {std}')
        self.bgr_to_rgb = bgr_to_rgb
        self.size_divisor = size_divisor
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.register_buffer('mean', torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Args: data as :func:`~mmcoseg.datasets.group_collate` makes it; images uint8 or float.

        Returns:
            ``dict(inputs=GroupImages, data_samples=list[GroupDataSample])`` on the device of the
            model; the images of all groups stand one after the other.
        """
        data = self.cast_data(data)
        images = [image for group in data['inputs'] for image in group]
        d = self.size_divisor
        height = -(-max(image.shape[-2] for image in images) // d) * d
        width = -(-max(image.shape[-1] for image in images) // d) * d
        inputs = GroupImages(images, (height, width), self.normalize)
        return dict(inputs=inputs, data_samples=data.get('data_samples'))

    @property
    def network_input(self) -> dict[str, Any]:
        """What image records carry for ``ResizeToInput``."""
        return dict(input_size=self.size, interpolation=self.interpolation)

    def normalize(self, images: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Images (3, h, w), uint8 or float, as the network takes them: (n, 3, *size) float32."""
        height, width = size
        padded = []
        for image in images:
            if self.bgr_to_rgb:
                image = image.flip(0)
            image = (image.float() - self.mean) / self.std
            padding = (0, width - image.shape[-1], 0, height - image.shape[-2])
            padded.append(F.pad(image, padding) if any(padding) else image)
        return torch.stack(padded).contiguous(memory_format=self.memory_format)
