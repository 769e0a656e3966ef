"""SSNM's semantic modulator: which channels matter to the group."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...registry import MODELS
from ...structures import split_groups
from ..ops.pooling import channel_covariance
from ..ops.precision import without_autocast
from .modulator import Modulation, Modulator

__all__ = ['SecondOrderPooling', 'SemanticModulator']


class SecondOrderPooling(BaseModule):
    """SP: 1x1 convolution, covariance over the positions, one fully connected layer (SSNM, Fig. 4).

    Args:
        in_channels: d, channels of the input.
        reduced_channels: c, channels of which the covariance is taken.
        out_channels: length of the result.
        centered: take the covariance of the positions; False takes their second moment, to which
            what all positions share belongs.
    """

    def __init__(
        self, in_channels: int, reduced_channels: int, out_channels: int, centered: bool = True
    ) -> None:
        super().__init__()
        self.centered = centered
        # A covariance does not see a constant, so a bias would never learn.
        self.reduce = nn.Conv1d(in_channels, reduced_channels, 1, bias=not centered)
        self.fc = nn.Linear(reduced_channels**2, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Args: x: (b, d, n), n positions. Returns: (b, out_channels)."""
        # Squares of features, which float16 may not hold.
        with without_autocast(x):
            reduced = self.reduce(x.to(self.reduce.weight.dtype))
            covariance = channel_covariance(reduced, self.centered)
            return self.fc(covariance.flatten(1).to(self.fc.weight.dtype))


@MODELS.register_module()
class SemanticModulator(Modulator):
    """Channel factors gamma of a group, learned from its co-category label (SSNM, section 3.3).

    Hierarchical second-order pooling (HSP): SP on every image's coarsest features gives N channel
    indicators; SP over those, whose positions are the images, gives the group's gamma. Gamma does
    not depend on the order of the images, and any N >= 1 works. Over the positions of an image SP
    takes the covariance. Over the images it takes the second moment, as the authors' code does: a
    covariance would remove what the images have in common, which is what gamma is about.

    With ``num_classes`` a linear classifier on gamma (Eq. 11) is trained by binary cross-entropy
    (Eq. 12) against the group's co-categories.

    Args:
        in_channels: channels of the coarsest level.
        channels: d, length of gamma; the channels of the levels that it scales.
        reduced_channels: c of both second-order poolings.
        num_classes: L, number of co-categories in training; None for no classifier.
        loss_weight: of ``loss_sem``.

    Example:
        >>> modulator = SemanticModulator(8, channels=16, reduced_channels=4, num_classes=3)
        >>> modulator((torch.rand(5, 8, 7, 7),), group_sizes=[3, 2]).scale.shape
        torch.Size([5, 16])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 512,
        reduced_channels: int = 64,
        num_classes: int | None = None,
        loss_weight: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.loss_weight = loss_weight
        self.image_pooling = SecondOrderPooling(in_channels, reduced_channels, channels)
        self.group_pooling = SecondOrderPooling(
            channels, reduced_channels, channels, centered=False
        )
        # The scale starts near 1, where the modulated network is the plain one.
        nn.init.ones_(self.group_pooling.fc.bias)
        self.num_classes = num_classes or 0
        self.classifier = nn.Linear(channels, num_classes) if num_classes else None

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Channel indicators of single images, (n, channels)."""
        return self.image_pooling(feats[-1].flatten(2))

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """Gamma of each group, repeated for its images: ``scale`` (sum N, channels)."""
        stacks = split_groups(descriptors, group_sizes)
        gamma = torch.cat([self.group_pooling(stack.t().unsqueeze(0)) for stack in stacks])
        repeats = torch.tensor(group_sizes, device=gamma.device)
        return Modulation(scale=gamma.repeat_interleave(repeats, dim=0), state=dict(gamma=gamma))

    def loss(
        self, modulation: Modulation, group_sizes: list[int], labels: Tensor | None
    ) -> dict[str, Tensor]:
        """``loss_sem``: binary cross-entropy over L categories, mean over groups (Eq. 12)."""
        if self.classifier is None or labels is None:
            return {}
        if labels.shape[1] != self.classifier.out_features:
            raise MMCosegError(
                f'labels have {labels.shape[1]} categories, the semantic modulator was built for '
                f'num_classes={self.classifier.out_features}; set '
                f'model.modulators.semantic.num_classes={labels.shape[1]}'
            )
        gamma = modulation.state['gamma']
        with without_autocast(gamma):
            logits = self.classifier(gamma).float()
        known = ~labels.isnan().any(dim=1)
        losses = F.binary_cross_entropy_with_logits(
            logits, labels.nan_to_num(0.0), reduction='none'
        ).mean(dim=1)
        return dict(loss_sem=self.loss_weight * (losses * known).sum() / known.sum().clamp(min=1))
