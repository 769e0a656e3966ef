"""Soft maps, the masks that they stand for, and what masks have in common."""

from collections.abc import Sequence
from typing import Literal

import torch
from skimage.filters import threshold_otsu
from torch import Tensor

from .precision import at_least_float32, without_autocast
from .resize import resize

__all__ = ['mask_iou', 'mask_of_prob', 'mask_overlaps', 'min_max_maps', 'soften_by_otsu']

#: Pixels of all masks together that are looked at in one piece: 64 megabytes of float32.
_CHUNK = 1 << 24


def mask_of_prob(
    prob: Tensor, size: Sequence[int], threshold: float | Literal['adaptive'] = 0.5
) -> Tensor:
    """The mask that a soft map stands for, at any size.

    Args:
        prob: (C, h, w); C = 1: probability of the object; C = K + 1: of each mask value.
        size: (H, W) of the mask.
        threshold: probability from which a pixel is object; ``'adaptive'``: above the mean of the
            map plus its standard deviation, or above 0.8, as SSNM's published code makes masks. Of
            no account where C > 1.

    Returns:
        (1, H, W) uint8, 0 background, 1..K object classes.

    Example:
        >>> mask_of_prob(torch.tensor([[[0.2, 0.8]]]), size=(2, 4))
        tensor([[[0, 0, 1, 1],
                 [0, 0, 1, 1]]], dtype=torch.uint8)
    """
    prob = resize(prob[None].float(), size)[0]
    if len(prob) > 1:
        return prob.argmax(dim=0, keepdim=True).to(torch.uint8)
    if threshold == 'adaptive':
        # float64: of a map without contrast the mean is its value, and the mask empty.
        values = prob.double()
        level = values.mean() + values.std(correction=0)
        return (values > level.clamp(max=0.8)).to(torch.uint8)
    return (prob >= threshold).to(torch.uint8)


def min_max_maps(prob: Tensor) -> Tensor:
    """Soft maps of one image, each stretched to the whole of [0, 1] (multi-class paper, Eq. 8).

    Then each pixel is divided by its sum, which changes none of the argmax. A map without contrast
    says nothing and becomes 0; where nothing says anything, the pixel stays as it is. Maps are
    (C, h, w), each pixel's sum 1 before and after; the result is float32 or float64.

    Example:
        >>> min_max_maps(torch.tensor([[[0.9, 0.7]], [[0.1, 0.3]]]))  # the least likely class too
        tensor([[[1., 0.]],
        <BLANKLINE>
                [[0., 1.]]])
    """
    prob = at_least_float32(prob)
    low, high = prob.amin(dim=(1, 2), keepdim=True), prob.amax(dim=(1, 2), keepdim=True)
    contrast = high - low
    # Below this, differences are those of rounding.
    flat = contrast <= 8 * torch.finfo(prob.dtype).eps
    stretched = torch.where(flat, 0, (prob - low) / contrast.masked_fill(flat, 1))
    total = stretched.sum(dim=0, keepdim=True)
    return torch.where(total > 0, stretched / total.masked_fill(total == 0, 1), prob)


def soften_by_otsu(maps: Tensor) -> Tensor:
    """Soft maps of a whole group from one threshold: ``sigmoid(2 (x - otsu) / std)``.

    Otsu's threshold parts the values of all images (N, h, w), larger on objects, into two classes
    of least variance; values at it become 0.5. All become 0 where they do not differ.

    Example:
        >>> soften_by_otsu(torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])).round(decimals=2)
        tensor([[[0.1200, 0.1200, 0.8800, 0.8800]]])
    """
    deviation = maps.std(correction=0)
    if deviation <= 1e-6 * maps.abs().max():
        return torch.zeros_like(maps)
    values = maps.detach().double().flatten().cpu().numpy()
    threshold = threshold_otsu(values)
    # Between the two classes; skimage's threshold is the middle of the last bin of the lower one.
    middle = (values[values <= threshold].max() + values[values > threshold].min()) / 2
    return torch.sigmoid(2.0 * (maps - middle) / deviation)


def mask_iou(masks: Tensor) -> Tensor:
    """IoU of each mask (k, ...) with each, (k, k) float64; of an empty one with any, 0.

    Masks are bool, or 0 and not 0.

    Example:
        >>> mask_iou(torch.tensor([[[1, 1, 0]], [[0, 1, 1]]]))[0, 1].item()  # doctest: +ELLIPSIS
        0.333...
    """
    shared = mask_overlaps(masks)
    areas = shared.diagonal()
    return shared / (areas[:, None] + areas[None] - shared).clamp(min=1)


def mask_overlaps(masks: Tensor) -> Tensor:
    """How many pixels each mask (k, ...) has in common with each: (k, k) float64.

    Masks are bool, or 0 and not 0.
    """
    flat = (masks if masks.dtype == torch.bool else masks != 0).flatten(1)
    shared = torch.zeros(len(flat), len(flat), dtype=torch.float64, device=flat.device)
    # Each piece is counted exactly in float32, the pieces are added in float64.
    for piece in flat.split(max(1, min(_CHUNK, _CHUNK // max(1, len(flat)))), dim=1):
        piece = piece.float()
        with without_autocast(piece):
            shared += piece @ piece.t()
    return shared
