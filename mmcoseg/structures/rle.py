"""Masks in COCO's run-length form, which takes a hundredth of the memory of bitmaps.

pycocotools trusts the runs that it is given: where they do not fill the image it reads memory that
was never written, or loops for ever. So :func:`as_rle` decides, in Python, what is an RLE, and
nothing else is ever handed on.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ..errors import MMCosegError

__all__ = ['areas_of', 'as_rle', 'decode_rles', 'encode_masks', 'is_number', 'polygons_with_area']

#: Of an image: more than of any that Pillow reads, less than would fill the memory.
_MAX_PIXELS = 2**28

#: In compressed counts a character is six bits, from this one on; five of them are of the number.
_FIRST_CHARACTER, _NUM_CHARACTERS = 48, 64
_MORE, _SIGN, _VALUE = 0x20, 0x10, 0x1F

#: Seven characters hold the 33 bits of any difference between two runs.
_MAX_CHARACTERS = 7

#: Times the longer side of the image that a polygon may reach beyond it: pycocotools walks along
#: its outline pixel by pixel.
_MAX_REACH = 10


def as_rle(shape: Any, height: int, width: int) -> dict:
    """The compressed RLE of a ``segmentation`` in any of COCO's forms.

    Args:
        shape: polygons, uncompressed or compressed RLE, the latter as bytes or text. Parts of
            polygons that have no area, see :func:`polygons_with_area`, count for nothing.
        height, width: of the image.

    Returns:
        ``size`` and ``counts``, the latter bytes; the runs fill the image, and none but the first
        is empty.

    Raises:
        MMCosegError: if it is none of these, an RLE of another size, or one whose runs are not
            height x width pixels.

    Example:
        >>> rle = as_rle(dict(size=[2, 3], counts=[2, 2, 2]), 2, 3)
        >>> decode_rles([rle], 2, 3)[0].astype(int)
        array([[0, 1, 0],
               [0, 1, 0]])
    """
    if not 0 < height * width <= _MAX_PIXELS:
        raise MMCosegError(
            f'an image of {height} x {width} pixels (height x width) has no RLE: there is none '
            'without a pixel, or of more than can be read'
        )
    if shape is None:
        raise MMCosegError('there is no segmentation')
    if isinstance(shape, (list, tuple)):
        return _draw(polygons_with_area(shape)[0], height, width)
    if not isinstance(shape, dict) or not {'size', 'counts'} <= set(shape):
        kinds = 'a list of polygons or an RLE with size and counts'
        raise MMCosegError(f'a segmentation must be {kinds}, got {repr(shape)[:80]}')
    if not np.array_equal(shape['size'], (height, width)):
        raise MMCosegError(
            f'an RLE is of the size {repr(shape["size"])[:40]}, its image [{height}, {width}]'
        )
    counts = shape['counts']
    runs = _decompress(counts) if isinstance(counts, (str, bytes)) else _plain_runs(counts)
    # Python's numbers: those of numpy, and of pycocotools, overflow.
    if min(runs, default=0) < 0:
        raise MMCosegError(f'its RLE has a negative run, {min(runs)}')
    total, pixels = sum(runs), height * width
    if total != pixels:
        # Others may have too many digits to print.
        found = f'{total:,}' if total <= _MAX_PIXELS else f'more than {_MAX_PIXELS:,}'
        raise MMCosegError(f'its RLE has {found} of {pixels:,} pixels')
    return _compress(runs, height, width)


def polygons_with_area(parts: Sequence[Any]) -> tuple[list[list[float]], int]:
    """The polygons that have an area, and how many parts have none.

    Without one are parts of fewer than three points, whose points lie on one line, or with a
    coordinate that is no finite number or lacks its partner. Annotation tools leave such parts
    behind; pycocotools takes four numbers for a box.

    Args:
        parts: lists x, y, x, y, ... of coordinates in pixels.

    Raises: MMCosegError: if a part is something else than a list of numbers.

    Example:
        >>> polygons_with_area([[1, 1, 5, 5], [0, 0, 4, 0, 4, 4]])
        ([[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]], 1)
    """
    polygons = []
    for number, part in enumerate(parts, 1):
        try:
            values = np.array(part)
        except ValueError:  # lists of different lengths
            values = np.array(None)
        if values.ndim != 1 or values.dtype.kind not in 'iuf':
            raise MMCosegError(
                f'polygons cannot be read: part {number} is {str(part)[:40]}, not a list of the '
                'numbers x, y, x, y, ...'
            )
        if _has_area(values.astype(np.float64)):
            polygons.append(values.astype(np.float64).tolist())
    return polygons, len(parts) - len(polygons)


def _has_area(values: np.ndarray) -> bool:
    if len(values) < 6 or len(values) % 2 or not np.isfinite(values).all():
        return False
    # Within -1 and 1, since squares of large numbers overflow.
    points = values.reshape(-1, 2) / max(1, np.abs(values).max())
    arms = points - points[0]
    longest = arms[np.abs(arms).max(axis=1).argmax()]
    # Twice the areas of the triangles that the first point, the farthest and each other make.
    areas = np.abs(arms[:, 0] * longest[1] - arms[:, 1] * longest[0])
    return bool(areas.max() > 1e-9 * np.abs(longest).max() ** 2)


def _draw(polygons: list[list[float]], height: int, width: int) -> dict:
    if not polygons:
        return _compress([height * width], height, width)
    farthest = max(map(abs, chain.from_iterable(polygons)))
    if farthest > _MAX_REACH * max(height, width):
        size = f'{height} x {width} (height x width)'
        raise MMCosegError(
            f'polygons cannot be read: a coordinate is {farthest:g}, its image {size}'
        )
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


def is_number(value: Any) -> bool:
    """Whether a value is a number, of Python or numpy; true and false are none."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _plain_runs(counts: Sequence[Any]) -> list[int]:
    """The runs that uncompressed counts are."""
    if not isinstance(counts, (list, tuple, np.ndarray)):
        raise MMCosegError(f'the counts of its RLE are {repr(counts)[:40]}, neither list nor text')
    for count in counts:
        if not is_number(count) or count != count // 1:
            raise MMCosegError(f'its RLE has a run of {repr(count)[:40]}, which is no whole number')
    return [int(count) for count in counts]


def _decompress(counts: str | bytes) -> list[int]:
    """The runs in compressed counts.

    A number is written in characters of five bits each, the lowest first; from the fourth run on
    it is the difference from the run before the last.
    """
    text = counts.decode('latin-1') if isinstance(counts, bytes) else counts
    if text[:2] in ("b'", 'b"'):
        raise MMCosegError(
            f'the counts of its RLE are the text of a Python object, {text[:20]}...: write '
            'counts.decode(), not str(counts)'
        )
    codes = np.frombuffer(text.encode('utf-8', 'surrogatepass'), np.uint8).astype(np.int64)
    codes -= _FIRST_CHARACTER
    if ((codes < 0) | (codes >= _NUM_CHARACTERS)).any():
        known = range(_FIRST_CHARACTER, _FIRST_CHARACTER + _NUM_CHARACTERS)
        strange = next(character for character in text if ord(character) not in known)
        raise MMCosegError(f'the counts of its RLE have the character {strange!r}, which none has')
    if not len(codes):
        return []
    ends = np.flatnonzero((codes & _MORE) == 0)
    if codes[-1] & _MORE:
        raise MMCosegError(f'the counts of its RLE are cut off after {len(codes)} characters')
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends + 1 - starts
    if lengths.max() > _MAX_CHARACTERS:
        raise MMCosegError(f'the counts of its RLE have a number of {lengths.max()} characters')
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((codes & _VALUE) << (5 * places), starts)
    runs -= np.where(codes[ends] & _SIGN, 1 << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs.tolist()


def _compress(runs: list[int], height: int, width: int) -> dict:
    """The RLE of runs that fill the image; of its own, only the first, of background, is empty."""
    # Where two RLEs have an empty run at one place, pycocotools' walk along both ends.
    filled = np.flatnonzero(runs)
    starts = np.flatnonzero(np.diff(filled % 2, prepend=-1))
    merged = np.add.reduceat(np.take(runs, filled), starts).tolist()
    counts = [0] * int(filled[0] % 2) + merged
    return coco_mask.frPyObjects(dict(size=[height, width], counts=counts), height, width)


def encode_masks(masks: np.ndarray) -> list[dict]:
    """RLEs, as those of :func:`as_rle`, of masks (n, H, W), bool or 0 and not 0."""
    masks = np.asarray(masks)
    if masks.ndim != 3:
        raise MMCosegError(f'masks must be (n, H, W), got {masks.shape}')
    return coco_mask.encode(np.asfortranarray((masks != 0).transpose(1, 2, 0), dtype=np.uint8))


def areas_of(rles: Sequence[dict]) -> np.ndarray:
    """Pixels of each of any number of RLEs of :func:`as_rle`, (n,) float64."""
    return np.array(list(map(coco_mask.area, rles)), np.float64)


def decode_rles(rles: Sequence[dict], height: int, width: int) -> np.ndarray:
    """The masks (n, H, W) bool of RLEs."""
    masks = np.zeros((len(rles), height, width), bool)
    for mask, rle in zip(masks, rles):
        mask[:] = coco_mask.decode(as_rle(rle, height, width))
    return masks
