"""A semantic modulator that is computed from the group instead of learned."""

import torch
from torch import Tensor

from ...errors import MMCosegError
from ...registry import MODELS
from ...structures import split_groups
from ..ops.discriminant import group_discriminant
from .modulator import Modulation, Modulator

__all__ = ['DiscriminantModulator']

#: Of :func:`group_discriminant`.
RIDGE = 0.1


@MODELS.register_module()
class DiscriminantModulator(Modulator):
    """A semantic modulator whose gamma is Fisher's discriminant of the group itself.

    What the modulators before it found (S, or in later rounds the last prediction) parts the
    group's locations into object and background; gamma are the channel factors that tell the two
    apart. Being computed from the group instead of learned from class labels, it serves classes
    that were never seen. The sum over the channels of ``gamma_c X_c`` is the map it passes on.

    Args:
        level: index of the level that is used.
    """

    def __init__(self, level: int = -1) -> None:
        super().__init__()
        self.level = level

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The chosen level, (n, d, h, w)."""
        return feats[self.level]

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: the discriminant's map, (sum N, 1, h, w); ``scale``: gamma (sum N, d)."""
        if previous.shift is None:
            raise MMCosegError(
                'DiscriminantModulator needs an estimate of the object to start from; put a '
                'spatial modulator before it'
            )
        foreground = previous.shift[:, 0].clamp(0.02, 0.98)
        maps, gammas = [], []
        for x, weight in zip(
            split_groups(descriptors, group_sizes), split_groups(foreground, group_sizes)
        ):
            values, gamma = group_discriminant(x, weight, RIDGE)
            maps.append(values)
            gammas.append(gamma.expand(len(x), -1))
        return Modulation(scale=torch.cat(gammas), shift=torch.cat(maps))
