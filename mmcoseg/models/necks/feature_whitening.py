"""Features on one scale, with the channels that training images share taken apart."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from ...errors import MMCosegError
from ...registry import MODELS

__all__ = ['FeatureWhitening']

#: Part of the largest deviation that is added to every one before the division.
SOFTNESS = 0.1


@MODELS.register_module()
class FeatureWhitening(BaseModule):
    """Standardize levels; concatenate and whiten the deep ones.

    The statistics are those of the training images, taken once before training
    (``GroupMapHook``) and kept in the checkpoint; nothing else in it is learned. The deep
    levels are concatenated, standardized, l2-normalized at each location, and projected to their
    principal components, each divided by its deviation (softened for the weakest).

    Args:
        in_channels: channels of all levels of the backbone.
        fine: indices of the levels that are only standardized.
        deep: indices of the levels that are concatenated and whitened; they must have one size.
        channels: number of principal components.

    Example:
        >>> neck = FeatureWhitening([4, 6, 8], fine=[0], deep=[1, 2], channels=5)
        >>> feats = torch.rand(2, 4, 8, 8), torch.rand(2, 6, 4, 4), torch.rand(2, 8, 4, 4)
        >>> neck.fit([neck.sample(feats)])
        >>> [tuple(level.shape) for level in neck(feats)]
        [(2, 4, 8, 8), (2, 5, 4, 4)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        fine: Sequence[int],
        deep: Sequence[int],
        channels: int = 128,
    ) -> None:
        super().__init__()
        self.fine, self.deep = list(fine), list(deep)
        widths = [in_channels[i] for i in self.fine] + [sum(in_channels[i] for i in self.deep)]
        if channels > widths[-1]:
            raise MMCosegError(f'channels must be at most {widths[-1]}, got {channels}')
        for number, width in enumerate(widths):
            self.register_buffer(f'mean{number}', torch.zeros(width))
            self.register_buffer(f'std{number}', torch.ones(width))
        self.register_buffer('center', torch.zeros(widths[-1]))
        self.register_buffer('projection', torch.eye(widths[-1])[:, :channels].contiguous())
        self.register_buffer('fitted', torch.tensor(False))

    def _parts(self, feats: tuple[Tensor, ...]) -> list[Tensor]:
        deep = [feats[i] for i in self.deep]
        return [*(feats[i] for i in self.fine), torch.cat(deep, dim=1)]

    def _standardized(self, number: int, x: Tensor) -> Tensor:
        mean, std = getattr(self, f'mean{number}'), getattr(self, f'std{number}')
        return (x - mean[:, None, None]) / std[:, None, None]

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The standardized fine levels, and (n, channels, h, w) of the deep ones."""
        *fine, deep = (self._standardized(i, x) for i, x in enumerate(self._parts(feats)))
        deep = F.normalize(deep, dim=1) - self.center[:, None, None]
        whitened = torch.einsum('ndhw,dk->nkhw', deep, self.projection)
        return (*fine, whitened)

    def sample(self, feats: tuple[Tensor, ...], stride: int = 3) -> list[Tensor]:
        """What :meth:`fit` needs of some images.

        Returns:
            For every fine level its count, sum and sum of squares over all locations, (3, C)
            float64: filters that fire at the image border must be scaled by what they do there.
            Last, every third location of every third row of the deep levels, (m, d).
        """
        *fine, deep = self._parts(feats)
        moments = []
        for level in fine:
            points = level.double()
            sums = [x.sum(dim=(0, 2, 3)) for x in (torch.ones_like(points), points, points**2)]
            moments.append(torch.stack(sums))
        points = deep[:, :, 1::stride, 1::stride].permute(0, 2, 3, 1).flatten(0, 2)
        return [*moments, points.float()]

    @torch.no_grad()
    def fit(self, samples: Sequence[list[Tensor]]) -> None:
        """Take the statistics from what :meth:`sample` gave for some batches of images."""
        *fine, deep = zip(*samples)
        for number, moments in enumerate(fine):
            count, total, squares = torch.stack(moments).sum(dim=0)
            mean = total / count
            variance = (squares / count - mean.square()).clamp(min=0)
            self._set(number, mean, variance.sqrt())
        deep = torch.cat(deep)
        mean, std = deep.mean(dim=0), deep.std(dim=0)
        self._set(len(fine), mean, std)
        deep = F.normalize((deep - mean) / (std + 1e-3), dim=1)
        self.center.copy_(deep.mean(dim=0))
        deep = deep - self.center
        values, vectors = torch.linalg.eigh((deep.t() @ deep).double() / len(deep))
        count = self.projection.shape[1]
        deviation = values[-count:].clamp(min=0).sqrt()
        scale = deviation + SOFTNESS * deviation.max()
        self.projection.copy_(vectors[:, -count:] / scale)
        self.fitted.fill_(True)

    def _set(self, number: int, mean: Tensor, std: Tensor) -> None:
        getattr(self, f'mean{number}').copy_(mean)
        getattr(self, f'std{number}').copy_(std + 1e-3)
