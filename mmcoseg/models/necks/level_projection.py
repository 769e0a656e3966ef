"""Bring the levels of a backbone to one number of channels."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from ...registry import MODELS

__all__ = ['LevelProjection']


@MODELS.register_module()
class LevelProjection(BaseModule):
    """One 1x1 convolution a level, so that one channel vector gamma can scale all of them.

    The paper leaves open how a gamma of d entries meets levels of different width; its published
    code brings every level to 512 channels, as this does.

    Args:
        in_channels: channels of the levels.
        channels: d, channels of all levels afterwards.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 512,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.convs = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Args: feats: levels (n, C_l, h_l, w_l). Returns: levels (n, channels, h_l, w_l)."""
        return tuple(conv(x) for conv, x in zip(self.convs, feats, strict=True))
