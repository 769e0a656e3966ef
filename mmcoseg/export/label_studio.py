"""Label Studio's tasks with brush masks, written and read.

A brush mask is an RGBA image whose alpha is the mask, run-length coded in bits: 32 of the number
of values, 5 of the bits a value minus 1, 4 times 4 of the lengths of counts minus 1; then blocks.
A block is one bit (1: one value repeated, 0: as many values as counted), 2 bits that choose a
length, a count minus 1 of that length, and the values. See ``label_studio_sdk.converter.brush``.
"""

import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np

from ..datasets.coco_file import image_size
from ..datasets.hint_files import GivenHints
from ..errors import MMCosegError, naming
from ..files import display_name
from ..structures.rle import decode_rles
from .label_masks import LabelMasks
from .records import GroupRecord, ImageRecord, exported_images

__all__ = ['decode_brush', 'encode_brush', 'label_studio_tasks', 'read_label_studio']

#: Names of the tags in the labeling interface (docs/formats.md).
_BRUSH, _IMAGE = 'tag', 'image'
#: Where Label Studio serves files of its own machine.
_LOCAL_FILES = '/data/local-files/?d='
#: Bits of a value, and of counts.
_WORD, _COUNTS = 8, (3, 4, 8, 16)
#: Values of a pixel; the last one is the mask.
_CHANNELS = 4
#: Values that are at least this one belong to the mask: strokes have soft edges.
_INSIDE = 128
#: Characters before the name of a file that was uploaded: a mark of eight and a dash.
_UPLOAD_MARK = 9
_MAX_PIXELS = 2**28


def encode_brush(mask: np.ndarray) -> list[int]:
    """The bytes of a brush mask.

    Args:
        mask: (H, W) bool.

    Example:
        >>> decode_brush(encode_brush(np.eye(2, 3, dtype=bool)), 2, 3).astype(int)
        array([[1, 0, 0],
               [0, 1, 0]])
    """
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    runs = np.diff(starts, append=flat.size) * _CHANNELS
    values = flat[starts].astype(np.int64) * 255
    # A run that is too long for one block becomes several.
    longest = 1 << _COUNTS[-1]
    pieces = -(-runs // longest)
    counts = np.full(pieces.sum(), longest)
    counts[np.cumsum(pieces) - 1] = runs - (pieces - 1) * longest
    values = values.repeat(pieces)
    choice = np.searchsorted([1 << bits for bits in _COUNTS], counts)
    count_bits = np.take(_COUNTS, choice)
    blocks = (((0b100 | choice) << count_bits | (counts - 1)) << _WORD) | values
    # The bits of each block, the highest first, without those that it does not have.
    place = np.arange(3 + _COUNTS[-1] + _WORD)[::-1]
    bits = (blocks[:, None] >> place & 1)[place < 3 + count_bits[:, None] + _WORD]
    head = f'{flat.size * _CHANNELS:032b}{_WORD - 1:05b}'
    head += ''.join(f'{length - 1:04b}' for length in _COUNTS)
    return np.packbits(np.r_[np.array(list(head), np.uint8), bits.astype(np.uint8)]).tolist()


def decode_brush(data: Sequence[int], height: int, width: int) -> np.ndarray:
    """The mask (H, W) bool in the bytes of a brush mask.

    Raises:
        MMCosegError: if these are no bytes, cut off, or of an image of another size.
    """
    try:
        content = bytes(data)
    except (TypeError, ValueError) as error:
        raise MMCosegError(f'its rle is not a list of numbers from 0 to 255 ({error})') from error
    bits = _Bits(content)
    number = bits.read(32)
    word = bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in _COUNTS]
    if number != height * width * _CHANNELS or height * width > _MAX_PIXELS or word != _WORD:
        raise MMCosegError(
            f'its rle has {number:,} values of {word} bits, not four of {_WORD} bits for each '
            f'pixel of an image of {width} x {height} (width x height)'
        )
    values = np.empty(number, np.uint8)
    place = 0
    while place < number:
        repeated = bits.read(1)
        end = place + 1 + bits.read(lengths[bits.read(2)])
        block = values[place:end]
        block[:] = bits.read(_WORD) if repeated else bits.read_bytes(len(block))
        place = end
    return values.reshape(height, width, _CHANNELS)[:, :, -1] >= _INSIDE


class _Bits:
    """Reads numbers of few bits from bytes, the highest bit first."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.place = 0

    def read(self, length: int) -> int:
        """A number of up to 32 bits."""
        first = self.place // 8
        window = int.from_bytes(self.content[first : first + 5].ljust(5, b'\0'), 'big')
        self._advance(length)
        return window >> (40 + 8 * first - self.place) & ((1 << length) - 1)

    def read_bytes(self, count: int) -> np.ndarray:
        """Numbers of 8 bits, (count,) uint8."""
        first, shift = divmod(self.place, 8)
        self._advance(8 * count)
        part = np.frombuffer(self.content[first : first + count + 1], np.uint8)
        return np.packbits(np.unpackbits(part)[shift : shift + 8 * count])

    def _advance(self, length: int) -> None:
        self.place += length
        if self.place > 8 * len(self.content):
            raise MMCosegError(f'its rle is cut off after {len(self.content)} bytes')


def label_studio_tasks(groups: Sequence[GroupRecord]) -> list[dict[str, Any]]:
    """A task per image, with its objects as a prediction.

    ``image`` is ``<group>/<file name>`` below the folder that Label Studio serves local files from.
    """
    return list(map(_task, exported_images(groups)))


def _task(record: ImageRecord) -> dict[str, Any]:
    result = []
    for number, found in enumerate(record.exported_annotations, 1):
        [mask] = decode_rles([found['segmentation']], record.height, record.width)
        label = display_name(found['category'])
        result.append(
            dict(
                id=f'object-{number}',
                type='brushlabels',
                from_name=_BRUSH,
                to_name=_IMAGE,
                original_width=record.width,
                original_height=record.height,
                image_rotation=0,
                value=dict(format='rle', rle=encode_brush(mask), brushlabels=[label]),
                score=found['score'],
            )
        )
    prediction = dict(model_version='mmcoseg', result=result)
    if record.sureness is not None:
        prediction['score'] = record.sureness
    data = dict(
        image=_LOCAL_FILES + quote(os.fsencode(record.file_name)),
        # Label Studio keeps what its interface does not show.
        file_name=record.file_name,
        categories=list(map(display_name, record.categories)),
        review=record.review,
    )
    return dict(data=data, predictions=[prediction])


def read_label_studio(tasks: list[Any]) -> GivenHints:
    """The masks in the tasks of Label Studio's JSON export.

    The last annotation of a task counts that was not canceled, and without any the last
    prediction. Of a task with neither nothing is known.

    Raises:
        MMCosegError: naming the task, the region, and what is wrong.
    """
    masks = LabelMasks()
    for number, task in enumerate(tasks, 1):
        with naming(f'task {number}'):
            try:
                _read_task(task, masks)
            except (AttributeError, KeyError, TypeError) as error:
                raise MMCosegError(
                    f'it does not have the form of a task ({error!r}); export it as JSON'
                ) from error
    return masks.hints()


def _read_task(task: dict[str, Any], masks: LabelMasks) -> None:
    # Exports may name predictions by their numbers alone.
    answers = [entry for entry in task.get('predictions', ()) if isinstance(entry, dict)]
    for annotation in task.get('annotations', ()):
        if not annotation.get('was_cancelled'):
            answers.append(annotation)
    if not answers:
        return
    # Other results, such as choices, have no size.
    regions = [region for region in answers[-1]['result'] if 'original_width' in region]
    size, objects = (1, 1), []  # that of an image without objects is not known
    if regions:
        sides = dict(height=regions[0]['original_height'], width=regions[0]['original_width'])
        size = image_size(sides)
    for number, region in enumerate(regions, 1):
        with naming(f'region {number}'):
            objects.append(_object_of(region, size))
    masks.add(_name_of(task['data']), size, objects, task['data'].get('categories', ()))


def _name_of(data: dict[str, Any]) -> str:
    """``<group>/<file name>`` or ``<file name>`` of the image of a task."""
    if 'file_name' in data:
        return data['file_name']
    parts = urlsplit(data[_IMAGE])
    if '/upload/' in parts.path:
        return unquote(PurePosixPath(parts.path).name)[_UPLOAD_MARK:]
    path = parse_qs(parts.query).get('d', [unquote(parts.path)])[0]
    return '/'.join(PurePosixPath(path).parts[-2:])


def _object_of(region: dict[str, Any], size: tuple[int, int]) -> tuple[str, np.ndarray]:
    """Label and mask of a region."""
    value = region['value']
    if 'rle' not in value:
        kind = region.get('type')
        raise MMCosegError(f'it is of the type {kind!r}; only masks of the brush can be read')
    labels = value.get('brushlabels', [])
    if len(labels) != 1:
        raise MMCosegError(f'it must have one label, got {labels!r}')
    return str(labels[0]), decode_brush(value['rle'], *size)
