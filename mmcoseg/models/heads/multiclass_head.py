"""The head of multi-class co-segmentation: K + 1 maps at the image's size."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...options import whole_number
from ...registry import MODELS
from ..ops.resize import resize
from .co_saliency_head import CoSaliencyHead

__all__ = ['MultiClassHead']


@MODELS.register_module()
class MultiClassHead(CoSaliencyHead):
    """Maps of the background and K classes, which share out each pixel (softmax).

    As :class:`CoSaliencyHead`, with K + 1 maps: a 1x1 convolution, and deconvolutions of each map
    that begin as bilinear interpolation. With ``lateral`` it is the fully convolutional network
    with skips of Long, Shelhamer, Darrell (CVPR 2015), of as many levels as there are. Until the
    softmax a map depends on no other's weights, so that fewer classes may be asked for.

    Args:
        in_channels, strides: of the levels, as of :class:`CoSaliencyHead`.
        num_classes: K, object classes, without the background.
        options: further arguments of :class:`CoSaliencyHead`.

    Example:
        >>> import torch
        >>> head = MultiClassHead([8], [16], num_classes=2)
        >>> logits = head((torch.rand(2, 8, 7, 7),))
        >>> head.predict_by_feat(logits, (112, 112)).shape
        torch.Size([2, 3, 112, 112])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        **options: Any,
    ) -> None:
        whole_number('num_classes', num_classes)
        self.num_maps = num_classes + 1
        super().__init__(in_channels, strides, **options)

    def forward(
        self,
        feats: tuple[Tensor, ...],
        coarse: Tensor | None = None,
        num_classes: int | None = None,
    ) -> Tensor:
        """Logits at about the image's size, (n, k + 1, H', W'), the background first.

        Args:
            feats: levels, fine to coarse.
            coarse: their ``coarse_logits``, if these are known.
            num_classes: k, at most K: only of the first classes; None for all.
        """
        coarse = self.coarse_logits(feats) if coarse is None else coarse
        if num_classes is not None:
            coarse = coarse[:, : num_classes + 1]
        return super().forward(feats, coarse)

    def predict_by_feat(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (n, k + 1, *size), float32, each pixel's sum 1, of logits of any resolution."""
        maps = resize(logits.float(), size, align_corners=self.align_corners)
        return maps.softmax(dim=1)
