"""Necks that let the images of a group look at each other, for any segmentor."""

from collections.abc import Mapping

from mmengine.model import BaseModule
from torch import Tensor

from ...registry import MODELS
from ..calling import build_parts
from .modulator import Modulation, modulate

__all__ = ['AttentionNeck', 'ModulationNeck']


@MODELS.register_module()
class AttentionNeck(BaseModule):
    """Attention on the last of the backbone's levels.

    Args:
        attention: config of what is called with (features (sum N, C, h, w), group sizes) and gives
            features alike, such as ``GatedAttention``.
    """

    def __init__(self, attention: dict, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.attention = MODELS.build(attention)

    def forward(self, feats: tuple[Tensor, ...], group_sizes: list[int]) -> tuple[Tensor, ...]:
        """The levels, the last one with attention."""
        return (*feats[:-1], self.attention(feats[-1], group_sizes))


@MODELS.register_module()
class ModulationNeck(BaseModule):
    """Modulators on all levels (SSNM, Eq. 5), which must have one number of channels.

    Args:
        modulators: name -> config of a :class:`Modulator`, in the order in which they act. Their
            losses are not trained.
    """

    def __init__(self, modulators: Mapping[str, dict], init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.modulators = build_parts('modulators', modulators)

    def forward(self, feats: tuple[Tensor, ...], group_sizes: list[int]) -> tuple[Tensor, ...]:
        """The levels, each ``scale * X + shift``."""
        total = Modulation()
        for modulator in self.modulators.values():
            total = total.followed_by(modulator(feats, group_sizes, total))
        return tuple(modulate(level, total) for level in feats)
