"""A head that sees what is common to the group rather than what class it is."""

from collections.abc import Sequence
from functools import partial

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ...registry import MODELS
from ...structures.coseg_data_sample import VOID
from ..losses import build_loss
from ..ops.resize import resize

__all__ = ['CueHead']

#: Parts of the bottleneck input, and of channels of fine levels, that are dropped in training.
BOTTLENECK_DROPOUT, FINE_DROPOUT = 0.5, 0.3
#: Weight of the loss of the coarse logits.
COARSE_WEIGHT = 0.3


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.GroupNorm(8, out_channels),
        nn.ReLU(),
    )


# The backbone's maps of 32 k + 1 pixels have their outermost locations at the corners.
_upsample = partial(resize, align_corners=True)


@MODELS.register_module()
class CueHead(BaseModule):
    """Coarse-to-fine head on cue maps.

    A network that sees all channels of the backbone learns the training classes and finds nothing
    else. This one sees the modulators' maps, the distance to the border, its own last prediction,
    and fine levels for the edges; with ``bottleneck``, also a few channels of the whitened features
    under heavy dropout.

    Args:
        num_cues: number of cue maps.
        deep_channels: channels of the coarsest level.
        fine_channels: channels of the finer levels, fine to coarse.
        channels: width of the head; a multiple of 8.
        bottleneck: channels drawn from the coarsest level; 0 for none.
        loss_decode: config of the loss on (logits, target, valid), see ``BalancedJaccardLoss``.
    """

    def __init__(
        self,
        num_cues: int,
        deep_channels: int,
        fine_channels: Sequence[int],
        channels: int = 32,
        bottleneck: int = 0,
        loss_decode: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        width = num_cues + bottleneck
        self.bottleneck = nn.Conv2d(deep_channels, bottleneck, 1) if bottleneck else None
        self.bottleneck_dropout = nn.Dropout(BOTTLENECK_DROPOUT)
        self.coarse = nn.Sequential(_block(width, channels), _block(channels, channels))
        self.coarse_logits = nn.Conv2d(channels, 1, 1)
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in fine_channels)
        # The cues enter once more where the first fine level does.
        self.fuse = nn.ModuleList(_block(channels, channels) for _ in fine_channels)
        self.fuse[-1] = _block(channels + width, channels)
        self.refine = _block(channels, channels)
        self.logits = nn.Conv2d(channels, 1, 1)
        self.fine_dropout = nn.Dropout2d(FINE_DROPOUT)
        self.loss_decode = build_loss(
            loss_decode or dict(type='BalancedJaccardLoss'), 'model.decode_head.loss_decode'
        )

    def forward(self, levels: tuple[Tensor, ...], cues: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at the finest level, (n, 1, h_1, w_1), and at the coarsest, (n, 1, h, w).

        ``cues`` are maps at the coarsest level's size, (n, num_cues, h, w).
        """
        *fine, deep = levels
        if self.bottleneck is not None:
            cues = torch.cat([cues, self.bottleneck(self.bottleneck_dropout(deep))], dim=1)
        x = self.coarse(cues)
        coarse_logits = self.coarse_logits(x)
        for number in reversed(range(len(fine))):
            size = fine[number].shape[-2:]
            x = _upsample(x, size)
            if number == len(fine) - 1:
                x = torch.cat([x, _upsample(cues, size)], dim=1)
                x = self.fuse[number](x) + self.fine_dropout(self.lateral[number](fine[number]))
            else:
                x = self.fuse[number](x + self.fine_dropout(self.lateral[number](fine[number])))
        return self.logits(self.refine(x)), coarse_logits

    def loss_by_feat(self, logits: tuple[Tensor, Tensor], target: Tensor) -> dict[str, Tensor]:
        """Loss of both logits against masks (n, H, W) shrunk to their sizes; void is left out."""
        total = 0
        for weight, prediction in zip((1.0, COARSE_WEIGHT), logits):
            valid, shares = _shrink(target, prediction.shape[-2:])
            total = total + weight * self.loss_decode(prediction.squeeze(1), shares, valid)
        return {self.loss_decode.loss_name: total}

    def predict_by_feat(self, logits: tuple[Tensor, Tensor], size: tuple[int, int]) -> Tensor:
        """Probability of the object, (n, 1, *size), float32."""
        return torch.sigmoid(_upsample(logits[0].float(), size))


def _shrink(target: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Share of valid pixels, and of object among them, in each cell of a coarser grid."""
    known = (target != VOID).float()
    objects = ((target != 0) & (target != VOID)).float()
    both = F.adaptive_avg_pool2d(torch.stack([known, objects], dim=1), tuple(size))
    valid, shares = both.unbind(dim=1)
    return valid, shares / valid.clamp(min=1e-6)
