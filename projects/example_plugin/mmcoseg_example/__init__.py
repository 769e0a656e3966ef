"""A modulator that registers itself when the module is imported."""

from torch import Tensor

from mmcoseg.models import Modulation, Modulator
from mmcoseg.registry import MODELS

__all__ = ['CenterBiasModulator']


@MODELS.register_module()
class CenterBiasModulator(Modulator):
    """Prefer what photographers prefer: add a bump in the middle of every image.

    Args:
        strength: height of the bump; at the corners it is 0.
    """

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Bumps, (n, 1, h, w), of the coarsest level's size."""
        n, _, h, w = feats[-1].shape
        y = feats[-1].new_tensor([1 - abs(2 * (i + 0.5) / h - 1) for i in range(h)])
        x = feats[-1].new_tensor([1 - abs(2 * (i + 0.5) / w - 1) for i in range(w)])
        return self.strength * (y[:, None] * x).expand(n, 1, h, w)

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: the bumps, whatever the group."""
        return Modulation(shift=descriptors)
