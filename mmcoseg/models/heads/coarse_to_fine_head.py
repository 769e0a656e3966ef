"""SSNM's segmentation sub-net."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ...registry import MODELS
from ..losses import build_loss
from ..ops.resize import resize

__all__ = ['CoarseToFineHead']


@MODELS.register_module()
class CoarseToFineHead(BaseModule):
    """FPN-like fusion of the modulated levels to one logit map an image (SSNM, section 3.4).

    From the coarsest level on: a 1x1 convolution to the next finer level's channels, bilinear
    upsampling to its size, addition. On the finest level a 3x3 convolution with ReLU and a 1x1
    convolution give the logits; ``loss_by_feat`` and ``predict_by_feat`` upsample them.

    Args:
        in_channels: channels of the levels, fine to coarse.
        loss_decode: config of the loss on (logits (n, H, W), target (n, H, W)), or a list of them;
            ``BalancedBCELoss`` by default.

    Example:
        >>> head = CoarseToFineHead([8, 8], loss_decode=dict(type='BalancedBCELoss'))
        >>> head((torch.rand(2, 8, 14, 14), torch.rand(2, 8, 7, 7))).shape
        torch.Size([2, 1, 14, 14])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        loss_decode: dict | Sequence[dict] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.reduce = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in zip(in_channels, in_channels[1:])
        )
        self.conv = nn.Conv2d(in_channels[0], in_channels[0], 3, padding=1)
        self.conv_seg = nn.Conv2d(in_channels[0], 1, 1)
        loss_decode = loss_decode or [dict(type='BalancedBCELoss')]
        if isinstance(loss_decode, dict):
            loss_decode = [loss_decode]
        self.loss_decode = nn.ModuleList(
            build_loss(loss, 'model.decode_head.loss_decode') for loss in loss_decode
        )

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Args: feats: levels, fine to coarse. Returns: logits (n, 1, h_1, w_1)."""
        fused = feats[-1]
        for reduce, finer in zip(reversed(self.reduce), reversed(feats[:-1])):
            # 1x1 convolution and bilinear interpolation commute; the cheaper order is this one.
            fused = finer + resize(reduce(fused), finer.shape[-2:])
        return self.conv_seg(F.relu(self.conv(fused)))

    def loss_by_feat(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Losses of logits (n, 1, h, w) against targets (n, H, W), at the targets' size."""
        logits = resize(logits.float(), target.shape[-2:]).squeeze(1)
        losses: dict[str, Tensor] = {}
        for loss in self.loss_decode:
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + loss(logits, target)
        return losses

    def predict_by_feat(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Probability of the object, (n, 1, *size), float32."""
        return torch.sigmoid(resize(logits.float(), size))
