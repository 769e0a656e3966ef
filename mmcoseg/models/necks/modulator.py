"""What a modulator is, and how several act together."""

from abc import ABCMeta, abstractmethod
from dataclasses import dataclass, field

import torch
from mmengine.model import BaseModule
from torch import Tensor

from ...errors import MMCosegError
from ..ops.resize import resize

__all__ = ['Modulation', 'Modulator', 'modulate']


@dataclass
class Modulation:
    """What modulators ask for: ``Y = scale * X + shift`` (SSNM, Eq. 5).

    Attributes:
        scale: one factor an image and channel, shape (sum N, d), or None for 1. The images of a
            group usually share it.
        shift: maps to add, shape (sum N, 1, h, w) for the same map in all channels or
            (sum N, d, h, w); any h, w. None for 0.
        state: what the modulator needs again for its loss, by its own names.
    """

    scale: Tensor | None = None
    shift: Tensor | None = None
    state: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, rows: slice | Tensor) -> 'Modulation':
        """The scale and shift of some images of the batch."""
        return Modulation(
            scale=None if self.scale is None else self.scale[rows],
            shift=None if self.shift is None else self.shift[rows],
        )

    def followed_by(self, other: 'Modulation') -> 'Modulation':
        """Both at once: factors multiply, shifts add (resized to the larger of the two)."""
        return Modulation(
            scale=_combine(self.scale, other.scale, torch.mul),
            shift=_combine(self.shift, other.shift, _add_resized),
            state={**self.state, **other.state},
        )


def _combine(a: Tensor | None, b: Tensor | None, operation) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return operation(a, b)


def _add_resized(a: Tensor, b: Tensor) -> Tensor:
    size = max(a.shape[-2:], b.shape[-2:])
    return resize(a, size) + resize(b, size)


def modulate(x: Tensor, modulation: Modulation) -> Tensor:
    """Shift and scale one level (sum N, d, h, w): ``Y_c = scale_c X_c + shift`` (SSNM, Eq. 5).

    The shift is resized (bilinear) to (h, w).
    """
    if modulation.scale is not None:
        if modulation.scale.shape[1] != x.shape[1]:
            raise MMCosegError(
                f'a modulator gives {modulation.scale.shape[1]} channel factors, but the level '
                f'has {x.shape[1]} channels; set the same `channels` in both'
            )
        x = modulation.scale[:, :, None, None].to(x.dtype) * x
    if modulation.shift is not None:
        x = x + resize(modulation.shift, x.shape[-2:]).to(x.dtype)
    return x


class Modulator(BaseModule, metaclass=ABCMeta):
    """Base class of modulators: from the features of groups to a :class:`Modulation`.

    A modulator works in two steps, so that groups of any size fit into memory: :meth:`encode`
    looks at images (any number at a time, each on its own) and keeps what is small;
    :meth:`modulate_group` looks at all the descriptors of whole groups.

    A subclass is registered in ``MODELS`` and named in a config under ``model.modulators``;
    those act in the order of the config, and each sees what the ones before it decided.

    Attributes:
        num_classes: L, categories that its loss tells apart; 0 for none.
    """

    num_classes = 0

    @abstractmethod
    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Descriptors (n, ...) of images whose levels are (n, C_l, h_l, w_l), fine to coarse.

        Row i depends on image i alone.
        """

    @abstractmethod
    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """This modulator's own part of the modulation of whole groups.

        Args:
            descriptors: of all images of the batch, (sum N, ...), as :meth:`encode` gives them.
            group_sizes: number of images of each group.
            previous: what the modulators before this one decided together.
        """

    def forward(
        self,
        feats: tuple[Tensor, ...],
        group_sizes: list[int],
        previous: Modulation | None = None,
    ) -> Modulation:
        """Both steps at once; arguments as in :meth:`encode` and :meth:`modulate_group`."""
        return self.modulate_group(self.encode(feats), group_sizes, previous or Modulation())

    def loss(
        self, modulation: Modulation, group_sizes: list[int], labels: Tensor | None
    ) -> dict[str, Tensor]:
        """The losses of what :meth:`modulate_group` returned; none unless a subclass has some.

        Args:
            labels: multi-hot co-categories, (B, L) float, a row of NaN for a group whose
                categories are unknown; None if no group has any.

        Returns:
            Named scalars; names that start with ``loss`` are summed into the objective, those
            of several modulators that are alike are added up. Others are for the log, and must
            have no derivative.
        """
        return {}
