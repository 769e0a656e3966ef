"""Attention within images and between the images of a group (multi-class co-segmentation, 3.2)."""

from collections.abc import Mapping

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...options import whole_number
from ...registry import MODELS
from ...structures import split_groups
from ..calling import build_parts
from ..ops import mutual_attention, self_attention

__all__ = ['GatedAttention', 'MutualAttention', 'SelfAttention']


@MODELS.register_module()
class SelfAttention(BaseModule):
    """``SA(F) = softmax(U(F) K(F)^T) V(F)``, image by image (Eq. 2).

    U, K and V are 1x1 convolutions; see :func:`~mmcoseg.models.ops.self_attention`.

    Args:
        in_channels: C, channels of the features, and of U and K.

    Example:
        >>> SelfAttention(8)(torch.rand(3, 8, 5, 4), [2, 1]).shape
        torch.Size([3, 8, 5, 4])
    """

    def __init__(self, in_channels: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.query = nn.Conv2d(in_channels, in_channels, 1)
        self.key = nn.Conv2d(in_channels, in_channels, 1)
        self.value = nn.Conv2d(in_channels, in_channels, 1)

    def forward(self, features: Tensor, group_sizes: list[int]) -> Tensor:
        """(sum N, C, h, w), of features (sum N, C, h, w); groups make no difference."""
        return self_attention(self.query(features), self.key(features), self.value(features))


@MODELS.register_module()
class MutualAttention(BaseModule):
    """What in each image is found in the others of its group (section 3.2, 2).

    Of anchor i and reference j, ``v_ij`` is the sum over the rows of
    ``softmax(U(F_j) K(F_i)^T)`` and ``a_ij = sigmoid(v_ij / sqrt(C / 2))``. The output for i is the
    mean over all j != i of a 1x1 convolution of ``[a_ij V(F_i), (1 - a_ij) V(F_i)]``. As that is
    linear in ``a_ij``, it is computed once an image, with the mean of ``a_ij``: memory grows
    linearly with the images. See :func:`~mmcoseg.models.ops.mutual_attention`.

    Args:
        in_channels: C, channels of the features; U, K and V have half as many.

    Example:
        >>> MutualAttention(8)(torch.rand(3, 8, 5, 4), [2, 1])[2].abs().sum().item()
        0.0
    """

    def __init__(self, in_channels: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        whole_number('in_channels of MutualAttention', in_channels, 2)
        key_channels = in_channels // 2
        self.query = nn.Conv2d(in_channels, key_channels, 1)
        self.key = nn.Conv2d(in_channels, key_channels, 1)
        self.value = nn.Conv2d(in_channels, key_channels, 1)
        self.out = nn.Conv2d(2 * key_channels, in_channels, 1)

    def forward(self, features: Tensor, group_sizes: list[int]) -> Tensor:
        """(sum N, C, h, w), of features (sum N, C, h, w); zeros for a group of one image."""
        groups = zip(
            split_groups(self.query(features), group_sizes),
            split_groups(self.key(features), group_sizes),
        )
        value = self.value(features)
        found = torch.cat([mutual_attention(q, k) for q, k in groups]).to(value.dtype)
        out = self.out(torch.cat([found * value, (1 - found) * value], dim=1))
        alone = [size == 1 for size in group_sizes for _ in range(size)]
        # Not by a product, which would keep what is not finite.
        return out.masked_fill(torch.tensor(alone, device=out.device)[:, None, None, None], 0)


@MODELS.register_module()
class GatedAttention(BaseModule):
    """``F' = F + gamma (SA(F) + MA(F))``, gamma learned and 0 at first (Eq. 3).

    Args:
        in_channels: C, channels of the features.
        self_attention, mutual_attention: configs of modules that get ``in_channels``, are called
            with (features, group sizes) and give as many channels. None removes one (the
            ablations).

    Example:
        >>> attention = GatedAttention(8, mutual_attention=None)
        >>> x = torch.rand(2, 8, 5, 4)
        >>> bool((attention(x, [2]) == x).all())
        True
    """

    def __init__(
        self,
        in_channels: int,
        self_attention: Mapping | None = dict(type='SelfAttention'),
        mutual_attention: Mapping | None = dict(type='MutualAttention'),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        parts = dict(self=self_attention, mutual=mutual_attention)
        self.parts = build_parts('attention', parts, in_channels=in_channels)
        if self.parts:
            self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor, group_sizes: list[int]) -> Tensor:
        """(sum N, C, h, w), of features (sum N, C, h, w)."""
        if not self.parts:
            return features
        found = sum(part(features, group_sizes) for part in self.parts.values())
        return features + self.gamma * found
