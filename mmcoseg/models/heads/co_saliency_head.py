"""DeepCO3's head: a coarse co-saliency map, and the same at the image's size."""

from collections.abc import Sequence
from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...options import one_of
from ...registry import MODELS
from ..ops.resize import resize

__all__ = ['BilinearDeconvolution', 'CoSaliencyHead']

Upsampling = Literal['learned', 'fixed']


class BilinearDeconvolution(nn.ConvTranspose2d):
    """Learned upsampling by 2 that begins as bilinear interpolation, of each map by itself.

    With ``align_corners``, n locations become 2 n - 1 and the outermost stay where they are;
    otherwise 2 n.
    """

    def __init__(self, align_corners: bool = False, maps: int = 1) -> None:
        size, margin = (3, 1) if align_corners else (4, 3)
        super().__init__(maps, maps, size, stride=2, padding=margin, groups=maps, bias=False)
        self.align_corners = align_corners

    def reset_parameters(self) -> None:
        weights = (0.5, 1.0, 0.5) if self.kernel_size[0] == 3 else (0.25, 0.75, 0.75, 0.25)
        line = torch.tensor(weights)
        with torch.no_grad():
            self.weight.copy_(torch.outer(line, line).expand_as(self.weight))

    def forward(self, x: Tensor) -> Tensor:
        """(n, k, h, w) to (n, k, 2 h, 2 w), or (n, k, 2 h - 1, 2 w - 1) with aligned corners.

        Fewer maps than there are weights for are the first ones.
        """
        if not self.align_corners:
            # Beyond the border the map goes on, rather than being 0.
            x = F.pad(x, (1, 1, 1, 1), mode='replicate')
        maps = x.shape[1]
        return F.conv_transpose2d(
            x, self.weight[:maps], stride=self.stride, padding=self.padding, groups=maps
        )


class FixedBilinearDeconvolution(nn.Module):
    """Bilinear upsampling of one map by an even factor, with zeros beyond its border.

    It is in DeepCO3's published code: a transposed convolution that is not trained.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        distance = torch.arange(2 * factor) - (2 * factor - 1) / 2
        line = 1 - distance.abs() / factor
        self.register_buffer('kernel', torch.outer(line, line)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1, h, w) to (n, 1, factor h, factor w)."""
        kernel = self.kernel.to(x.dtype)
        return F.conv_transpose2d(x, kernel, stride=self.factor, padding=self.factor // 2)


def _check_strides(head: str, channels: Sequence[int], strides: list[int], lateral: bool) -> None:
    powers_of_2 = {1 << exponent for exponent in range(16)}
    fitting = len(strides) == len(channels) and set(strides) <= powers_of_2
    if not fitting or strides != sorted(strides):
        raise MMCosegError(
            f'{head} needs one stride a level, powers of 2, fine to coarse; got '
            f'in_channels={list(channels)}, strides={strides}'
        )
    finer = strides[: strides.index(strides[-1])]
    if lateral and len(set(finer)) < len(finer):
        raise MMCosegError(
            f'lateral=True takes one level of each finer stride, got strides {strides}'
        )


@MODELS.register_module()
class CoSaliencyHead(BaseModule):
    """Coarse map and learned upsampling (DeepCO3, section 3.2).

    A 1x1 convolution on the features gives the coarse logits, whose sigmoid is the map that the
    co-peak and affinity losses look at. Deconvolutions, which begin as bilinear interpolation,
    double their size until one location is one pixel.

    Args:
        in_channels: channels of the levels, fine to coarse; the last are the features.
        strides: of the levels, in pixels, powers of 2.
        lateral: also take logits from the finer levels, where the upsampling passes their stride,
            by 1x1 convolutions that begin with zeros; not in the paper, for sharper edges.
        coarse_levels: indices of the levels that the coarse logits are made of, all of the
            resolution of the last one.
        normalize: divide the features of each level by their length, location by location, so that
            all locations and levels count alike. The length has no derivative. Not in the paper.
        align_corners: the outermost locations are on the image's outermost pixels, as those of
            EfficientNet-Lite are for images of 32 k + 1 pixels; see ``ops.corners_aligned``.
        upsampling: ``'learned'``: the deconvolutions are trained; ``'fixed'``: one bilinear
            deconvolution by the whole stride that is not, as in the authors' code. Only for one
            map, without ``lateral`` and ``align_corners``.

    Attributes:
        num_maps: k, 1 here; subclasses make several, each by itself.

    Example:
        >>> head = CoSaliencyHead([8], [16])
        >>> coarse = head.coarse_logits((torch.rand(2, 8, 7, 7),))
        >>> head((torch.rand(2, 8, 7, 7),), coarse).shape
        torch.Size([2, 1, 112, 112])
    """

    num_maps = 1

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        lateral: bool = False,
        coarse_levels: Sequence[int] = (-1,),
        normalize: bool = False,
        align_corners: bool = False,
        upsampling: Upsampling = 'learned',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        strides, coarse_levels = list(strides), tuple(coarse_levels)
        _check_strides(type(self).__name__, in_channels, strides, lateral)
        known = range(-len(strides), len(strides))
        fitting = [level for level in known if strides[level] == strides[-1]]
        if not coarse_levels or not set(coarse_levels) <= set(fitting):
            raise MMCosegError(
                f'coarse_levels must be some of the levels with the stride of the last one, '
                f'{strides[-1]} (numbers {fitting}), got {coarse_levels} with strides {strides}'
            )
        self.strides = strides
        self.coarse_levels = coarse_levels
        self.normalize = normalize
        self.align_corners = align_corners
        self.conv = nn.Conv2d(sum(in_channels[level] for level in coarse_levels), self.num_maps, 1)
        nn.init.normal_(self.conv.weight, std=0.01)
        nn.init.zeros_(self.conv.bias)
        self.upsample = self._upsampling(upsampling, lateral)
        self.lateral = nn.ModuleDict()
        for stride, channels in zip(strides[:-1], in_channels[:-1]):
            if lateral and stride < strides[-1]:
                self.lateral[str(stride)] = conv = nn.Conv2d(channels, self.num_maps, 1)
                nn.init.zeros_(conv.weight)
                nn.init.zeros_(conv.bias)

    def _upsampling(self, kind: Upsampling, lateral: bool) -> nn.ModuleList:
        """What raises the coarse logits to the image's size, step by step."""
        one_of('upsampling', kind, Upsampling)
        stride = self.strides[-1]
        if kind == 'learned':
            steps = stride.bit_length() - 1
            return nn.ModuleList(
                BilinearDeconvolution(self.align_corners, self.num_maps) for _ in range(steps)
            )
        if lateral or self.align_corners or self.num_maps > 1:
            raise MMCosegError(
                "upsampling='fixed' is of one map, without lateral and align_corners; take "
                "'learned' for these"
            )
        return nn.ModuleList([FixedBilinearDeconvolution(stride)])

    def coarse_features(self, feats: tuple[Tensor, ...]) -> Tensor:
        """What the coarse logits are linear in, (n, d, h, w), of levels fine to coarse."""
        chosen = [feats[level] for level in self.coarse_levels]
        if self.normalize:
            chosen = [x / x.detach().norm(dim=1, keepdim=True).clamp(min=1e-6) for x in chosen]
        return torch.cat(chosen, dim=1) if len(chosen) > 1 else chosen[0]

    def coarse_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits (n, k, h, w) at the features' resolution, of levels fine to coarse."""
        return self.conv(self.coarse_features(feats))

    def forward(self, feats: tuple[Tensor, ...], coarse: Tensor) -> Tensor:
        """Logits at about the image's size, (n, k, H', W'), of levels and their coarse logits."""
        logits, stride = coarse, self.strides[-1]
        for upsample in self.upsample:
            logits, stride = upsample(logits), stride // 2
            if str(stride) in self.lateral:
                finer = self.lateral[str(stride)](feats[self.strides.index(stride)])
                finer = finer[:, : logits.shape[1]]
                logits = logits + resize(finer, logits.shape[-2:], align_corners=self.align_corners)
        return logits

    def predict_by_feat(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Co-saliency in [0, 1], (n, 1, *size), float32, of logits of any resolution."""
        return torch.sigmoid(resize(logits.float(), size, align_corners=self.align_corners))
