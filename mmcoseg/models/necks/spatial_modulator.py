"""SSNM's spatial modulator: where the common object roughly is, without labels."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...options import one_of
from ...registry import MODELS
from ...structures import split_groups
from ..ops.precision import at_least_float32
from ..ops.resize import resize
from ..ops.spectral import orient_by_border, spatial_clustering_loss, spectral_bipartition
from .modulator import Modulation, Modulator

__all__ = ['SpatialModulator']

Scale = Literal['rms', 'unit']


@MODELS.register_module()
class SpatialModulator(Modulator):
    """Maps S of a group by spectral clustering of all its locations (SSNM, section 3.2).

    The levels are brought to one width by 1x1 convolutions, resized to the resolution of one of
    them and summed; every location of every image is one descriptor x_i, l2-normalized. S is the
    eigenvector of the largest eigenvalue of ``G = X^T X - 1 1^T`` (Eq. 10), its sign such that the
    positive side touches the image border less. The loss ``-s^T G s / n`` (Eq. 9) trains the
    features through G, not through the eigen-solver.

    Args:
        in_channels: channels of the levels, fine to coarse.
        channels: d, width of the descriptors.
        level: index of the level whose resolution the maps have; 2 is stride 16 for backbones of
            strides 4, 8, 16, 32.
        scale: ``'rms'`` multiplies the unit vector s by sqrt(n), so that S has entries around 1,
            the scale of an indicator, whatever the number of images; ``'unit'`` leaves |s| = 1.
        loss_weight: of ``loss_spa``.

    Example:
        >>> modulator = SpatialModulator([8, 16], channels=4, level=1)
        >>> feats = torch.rand(5, 8, 14, 14), torch.rand(5, 16, 7, 7)
        >>> modulator(feats, group_sizes=[3, 2]).shift.shape
        torch.Size([5, 1, 7, 7])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        level: int = 2,
        scale: Scale = 'rms',
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not -len(in_channels) <= level < len(in_channels):
            raise MMCosegError(f'level must index one of {len(in_channels)} levels, got {level}')
        one_of('scale', scale, Scale)
        self.level = level
        self.scale = scale
        self.loss_weight = loss_weight
        self.convs = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Descriptors, (n, channels, h, w), at least float32."""
        size = feats[self.level].shape[-2:]
        fused = 0
        for conv, x in zip(self.convs, feats, strict=True):
            # Convolve at the smaller of the two resolutions: 1x1 and averaging commute.
            if x.shape[-1] > size[-1]:
                fused = fused + conv(F.adaptive_avg_pool2d(x, size))
            else:
                fused = fused + resize(conv(x), size)
        return F.normalize(at_least_float32(fused), dim=1)

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: S of all images, (sum N, 1, h, w); each group is clustered on its own."""
        height, width = descriptors.shape[-2:]
        maps, losses = [], []
        for group in split_groups(descriptors, group_sizes):
            descriptors = group.permute(0, 2, 3, 1).flatten(0, 2)  # (N h w, d)
            s, _ = spectral_bipartition(descriptors.detach())
            losses.append(spatial_clustering_loss(descriptors, s))
            if self.scale == 'rms':
                s = s * len(s) ** 0.5
            maps.append(orient_by_border(s.view(-1, height, width)))
        return Modulation(
            shift=torch.cat(maps).unsqueeze(1).to(descriptors.dtype),
            state=dict(spatial_losses=torch.stack(losses)),
        )

    def loss(
        self, modulation: Modulation, group_sizes: list[int], labels: Tensor | None
    ) -> dict[str, Tensor]:
        """``loss_spa``: ``-s^T G s / n`` (Eq. 9), mean over the groups."""
        return dict(loss_spa=self.loss_weight * modulation.state['spatial_losses'].mean())
