"""Masks in COCO's run-length form, which takes a hundredth of the memory of bitmaps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

__all__ = ['areas_of', 'as_rle', 'decode_rles', 'encode_masks']

#: pycocotools 2.0.11 counts those of a call in 8 bits, where numpy is 2.
_AREAS_A_CALL = 255


def as_rle(shape: Any, height: int, width: int) -> dict:
    """The compressed RLE of a ``segmentation`` in any of COCO's forms.

    Args:
        shape: polygons, uncompressed or compressed RLE, the latter as bytes or text.
        height, width: of the image.

    Raises:
        ValueError: if it is none of these, or an RLE of another size.

    Example:
        >>> rle = as_rle(dict(size=[2, 3], counts=[2, 2, 2]), 2, 3)
        >>> decode_rles([rle], 2, 3)[0].astype(int)
        array([[0, 1, 0],
               [0, 1, 0]])
    """
    if isinstance(shape, (list, tuple)):
        if not shape:  # polygons of nothing
            return encode_masks(np.zeros((1, height, width), bool))[0]
        try:
            return coco_mask.merge(coco_mask.frPyObjects(list(shape), height, width))
        except Exception as error:  # pycocotools raises plain ones
            raise ValueError(f'polygons cannot be read: {error}') from error
    if not isinstance(shape, dict) or not {'size', 'counts'} <= set(shape):
        raise ValueError(
            f'a segmentation must be a list of polygons or an RLE with size and counts, got '
            f'{str(shape)[:80]}'
        )
    if [int(side) for side in shape['size']] != [height, width]:
        raise ValueError(
            f'an RLE is {shape["size"][0]} x {shape["size"][1]}, its image {height} x {width} '
            '(height x width)'
        )
    if isinstance(shape['counts'], list):
        return coco_mask.frPyObjects(shape, height, width)
    return shape


def encode_masks(masks: np.ndarray) -> list[dict]:
    """Compressed RLEs of masks (n, H, W), bool or 0 and not 0; ``counts`` are bytes."""
    masks = np.asarray(masks)
    if masks.ndim != 3:
        raise ValueError(f'masks must be (n, H, W), got {masks.shape}')
    if not len(masks):
        return []
    return coco_mask.encode(np.asfortranarray((masks != 0).transpose(1, 2, 0), dtype=np.uint8))


def areas_of(rles: Sequence[dict]) -> np.ndarray:
    """Pixels of each of any number of compressed RLEs, (n,) float64."""
    parts = [
        coco_mask.area(list(rles[start : start + _AREAS_A_CALL]))
        for start in range(0, len(rles), _AREAS_A_CALL)
    ]
    return np.concatenate(parts or [[]]).astype(np.float64)


def decode_rles(rles: Sequence[dict], height: int, width: int) -> np.ndarray:
    """The masks (n, H, W) bool of compressed RLEs."""
    masks = np.zeros((len(rles), height, width), bool)
    for mask, rle in zip(masks, rles):
        mask[:] = coco_mask.decode(rle)
    return masks
