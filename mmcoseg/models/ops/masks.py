"""From soft maps to masks."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ['mask_of_prob']


def mask_of_prob(prob: Tensor, size: Sequence[int], threshold: float = 0.5) -> Tensor:
    """The mask that a soft map stands for, at any size.

    Args:
        prob: (C, h, w); C = 1: probability of the object; C = K + 1: of each mask value.
        size: (H, W) of the mask.
        threshold: probability from which a pixel is object; of no account where C > 1.

    Returns:
        (1, H, W) uint8, 0 background, 1..K object classes.

    Example:
        >>> mask_of_prob(torch.tensor([[[0.2, 0.8]]]), size=(2, 4))
        tensor([[[0, 0, 1, 1],
                 [0, 0, 1, 1]]], dtype=torch.uint8)
    """
    prob = F.interpolate(
        prob[None].float(), size=tuple(size), mode='bilinear', align_corners=False
    )[0]
    if len(prob) == 1:
        return (prob >= threshold).to(torch.uint8)
    return prob.argmax(dim=0, keepdim=True).to(torch.uint8)
