"""Deep descriptor transforming as a cue."""

from typing import Literal

import torch
from torch import Tensor

from ...options import one_of
from ...registry import MODELS
from ...structures import split_groups
from ..ops.contrast import soften_by_otsu
from ..ops.ddt import deep_descriptor_transform
from .modulator import Modulation, Modulator

__all__ = ['DDTModulator']

Threshold = Literal['zero', 'otsu']


@MODELS.register_module()
class DDTModulator(Modulator):
    """The first principal component of the group's locations; see
    :func:`deep_descriptor_transform`.

    Args:
        level: index of the level that is used; in the paper, the last convolution's.
        threshold: ``'zero'``: 1 where the component is positive, as in the paper; ``'otsu'``: soft
            maps, see :func:`soften_by_otsu`.

    Raises:
        MMCosegError: for another threshold.
    """

    rotation_invariant = True

    def __init__(
        self, level: int = -1, threshold: Threshold = 'zero', init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        one_of('threshold', threshold, Threshold)
        self.level = level
        self.threshold = threshold

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The chosen level, (n, d, h, w)."""
        return feats[self.level].detach()

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: (sum N, 1, h, w) in [0, 1]."""
        maps = []
        for group in split_groups(descriptors, group_sizes):
            values = deep_descriptor_transform(group)
            soft = self.threshold == 'otsu'
            maps.append(soften_by_otsu(values) if soft else (values > 0).to(values.dtype))
        return Modulation(shift=torch.cat(maps).unsqueeze(1))
