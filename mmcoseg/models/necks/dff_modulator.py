"""Deep feature factorization as a cue."""

from typing import Literal

import torch
from torch import Tensor

from ...errors import MMCosegError
from ...options import one_of
from ...registry import MODELS
from ...structures import split_groups
from ..ops.contrast import soften_by_otsu
from ..ops.dff import deep_feature_factorization, factor_off_border
from .modulator import Modulation, Modulator

__all__ = ['DFFModulator']

Threshold = Literal['share', 'otsu']


@MODELS.register_module()
class DFFModulator(Modulator):
    """Where that factor of the group's features is which lies least at the image borders.

    See :func:`deep_feature_factorization`. The paper shows all factors; which of them is the
    common object is decided here by :func:`factor_off_border`.

    Args:
        level: index of the level that is used; its negative values count as 0.
        num_factors: k, at least 2.
        threshold: ``'share'``: the factor's share of all factors' coefficients at each location;
            ``'otsu'``: soft maps of its coefficients, see :func:`soften_by_otsu`.

    Raises:
        MMCosegError: for options out of range.
    """

    def __init__(
        self,
        level: int = -1,
        num_factors: int = 3,
        threshold: Threshold = 'share',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        one_of('threshold', threshold, Threshold)
        if num_factors < 2:
            raise MMCosegError(f'num_factors must be at least 2, got {num_factors}')
        self.level = level
        self.num_factors = num_factors
        self.threshold = threshold

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The chosen level without negative values, (n, d, h, w)."""
        return feats[self.level].detach().clamp(min=0)

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: (sum N, 1, h, w) in [0, 1]."""
        maps = []
        for group in split_groups(descriptors, group_sizes):
            coefficients, _ = deep_feature_factorization(group, self.num_factors)
            chosen = coefficients[:, factor_off_border(coefficients)]
            if self.threshold == 'otsu':
                maps.append(soften_by_otsu(chosen))
            else:
                total = coefficients.sum(dim=1)
                maps.append(torch.where(total > 0, chosen / total, 0))
        return Modulation(shift=torch.cat(maps).unsqueeze(1))
