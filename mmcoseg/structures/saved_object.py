"""What tells objects from everything else, in a file that can be kept and given away."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from ..errors import MMCosegError, naming
from ..files import display_name, write_atomically
from ..options import known_keys, whole_number

__all__ = ['LONGEST_NAME', 'OBJECT_SUFFIX', 'SavedObject', 'read_object', 'read_objects']

OBJECT_SUFFIX = '.coseg'
#: Version of the format, and the name of its description among the file's metadata.
_VERSION, _KEY = 1, 'mmcoseg_object'
#: Bytes of a file, and of the head that describes it, at most.
_LARGEST_FILE, _LARGEST_HEAD = 64_000_000, 1_000_000
#: Classes of all objects that are applied together: as many as a mask has values for.
_MOST_CLASSES = 254
#: Far beyond what is learned from descriptors of unit length.
_LARGEST_VALUE = 1e6
#: Characters of a class' name at most.
LONGEST_NAME = 200
_TENSORS = ('backgrounds', 'directions', 'objects', 'offsets')


@dataclass
class SavedObject:
    """What tells K classes from everything else, in the d channels of a backbone's levels.

    The probability of class k at a location x is ``sigmoid(directions[k] x + offsets[k])``.

    Args:
        classes: names of the K classes.
        levels: indices of the backbone's levels; l2-normalized one by one, and joined.
        directions, offsets: (K, d) and (K,) float32.
        objects, backgrounds: (K, d') float32, of the last d' channels: the direction from the
            mean of the background to the mean of the object, of unit length; and the mean of the
            background.
        made_with: plain types: what an image must go through for x to mean the same.
        origin: plain types: where it comes from.
    """

    classes: tuple[str, ...]
    levels: tuple[int, ...]
    directions: Tensor
    offsets: Tensor
    objects: Tensor
    backgrounds: Tensor
    made_with: dict[str, Any]
    origin: dict[str, Any]

    def write(self, file: str | Path) -> None:
        """Write it to a file of the format safetensors."""
        description = dict(
            version=_VERSION,
            classes=list(self.classes),
            levels=list(self.levels),
            made_with=self.made_with,
            origin=self.origin,
        )
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        content = save(tensors, {_KEY: json.dumps(description, allow_nan=False)})
        with write_atomically(file) as target:
            target.write(content)

    def __str__(self) -> str:
        """What it is and where it comes from, in lines for a terminal."""
        lines = [f'classes: {", ".join(self.classes)}']
        for key, value in {**self.origin, **self.made_with, 'levels': list(self.levels)}.items():
            text = value if isinstance(value, str) else json.dumps(value)
            lines.append(display_name(f'{key}: {text}'))
        lines.append(f'channels: {self.directions.shape[1]}')
        return '\n'.join(lines)

    def require_made_with(self, own: dict[str, Any]) -> None:
        """Refuse to be applied to images that go through something else.

        Args:
            own: ``made_with`` of the model that would apply it.
        """
        for key, value in own.items():
            theirs = self.made_with.get(key)
            if theirs != value:
                raise MMCosegError(
                    f'it was learned with another {key}: {_short(theirs)}; the model has '
                    f'{_short(value)}. Choose by --config or --cfg-options what it was learned '
                    'with, or learn it anew'
                )


def read_object(file: str | Path) -> SavedObject:
    """The object in a file. Nothing in it is executed, whoever wrote it.

    Raises:
        FileNotFoundError: if it is not there.
        MMCosegError: naming the file and what is wrong with it.
    """
    path = Path(file).expanduser()
    with naming(display_name(str(file))):
        content = _content_of(path)
        try:
            tensors = load(content)
        except Exception as error:  # of the reader in Rust, and of torch
            raise MMCosegError(
                f'it is no file of the format safetensors, or damaged: {_short(str(error))}'
            ) from error
        description = _description_of(content)
        _check_tensors(tensors, len(description['classes']))
        return SavedObject(
            classes=tuple(description['classes']),
            levels=tuple(description['levels']),
            **{name: tensors[name].float() for name in _TENSORS},
            made_with=description['made_with'],
            origin=description['origin'],
        )


def read_objects(files: Sequence[str | Path]) -> list[SavedObject]:
    """The objects in several files, to be applied together.

    Raises:
        MMCosegError: also if two have a class of the same name, or there are too many.
    """
    objects = []
    where: dict[str, str] = {}
    for file in files:
        found = read_object(file)
        for name in found.classes:
            if name in where:
                raise MMCosegError(
                    f'{file} and {where[name]} both have a class {name!r}; apply one of them, or '
                    'learn one of them anew from a group of another name'
                )
            where[name] = str(file)
        objects.append(found)
    if len(where) > _MOST_CLASSES:
        raise MMCosegError(
            f'{len(where)} classes are too many; apply at most {_MOST_CLASSES} together'
        )
    return objects


def _content_of(path: Path) -> bytes:
    """The bytes of a file that is as small as those of objects are."""
    size = path.stat().st_size
    if not path.is_file():  # a pipe would be waited for without end
        raise MMCosegError('it is a folder, or not a regular file')
    if size > _LARGEST_FILE:
        raise MMCosegError(
            f'it has {size / 1e6:.0f} MB; an object has {_LARGEST_FILE / 1e6:.0f} MB at most'
        )
    content = path.read_bytes()
    if len(content) < 8 or _head_length(content) > min(_LARGEST_HEAD, len(content) - 8):
        raise MMCosegError('it is no file of the format safetensors, or its head is damaged')
    return content


def _head_length(content: bytes) -> int:
    [length] = struct.unpack('<Q', content[:8])
    return length


def _description_of(content: bytes) -> dict[str, Any]:
    head = json.loads(content[8 : 8 + _head_length(content)])
    text = head.get('__metadata__', {}).get(_KEY)
    if text is None:
        raise MMCosegError('it holds no object: it was not written by `mmcoseg segment`')
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MMCosegError(f'its description is not json: {_short(str(error))}') from error
    if not isinstance(description, dict):
        raise MMCosegError('its description is not a json object')
    if description.get('version') != _VERSION:
        raise MMCosegError(
            f'its version is {_short(description.get("version"))}; this version of mmcoseg reads '
            f'version {_VERSION}: use the mmcoseg that wrote it, or learn it anew'
        )
    kinds = dict(version=int, classes=list, levels=list, made_with=dict, origin=dict)
    known_keys('its description', description, kinds)
    for key, kind in kinds.items():
        if not isinstance(description.get(key), kind):
            raise MMCosegError(f'{key} of its description must be a {kind.__name__}')
    _check_classes(description['classes'])
    levels = description['levels']
    for level in levels:
        whole_number('a level', level, 0)
    if not levels or len(set(levels)) < len(levels):
        raise MMCosegError('its levels must be different ones, at least one')
    return description


def _check_classes(names: list[Any]) -> None:
    for name in names:
        fits = isinstance(name, str) and 0 < len(name) <= LONGEST_NAME
        if not fits or display_name(name) != name:
            raise MMCosegError(f'a name of a class must be a short text, got {_short(name)}')
    if not names or len(set(names)) < len(names):
        raise MMCosegError('its classes must have different names, and be one at least')


def _check_tensors(tensors: dict[str, Tensor], num_classes: int) -> None:
    """Refuse tensors of other names, shapes or kinds than those of so many classes."""
    if sorted(tensors) != list(_TENSORS):
        raise MMCosegError(f'its tensors must be {list(_TENSORS)}, got {_short(sorted(tensors))}')
    for name in _TENSORS:
        tensor = tensors[name]
        dimensions = 1 if name == 'offsets' else 2
        if tensor.dim() != dimensions or len(tensor) != num_classes or not tensor.numel():
            raise MMCosegError(
                f'its tensor {name} is {tuple(tensor.shape)}; of {num_classes} classes it must be '
                f'(classes, channels), and offsets (classes,)'
            )
        if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32):
            raise MMCosegError(f'its tensor {name} has values of the kind {tensor.dtype}')
        if not (tensor.float().abs() <= _LARGEST_VALUE).all():  # not NaN, either
            raise MMCosegError(f'its tensor {name} has values beyond {_LARGEST_VALUE:g}')
    _check_channels(tensors)


def _check_channels(tensors: dict[str, Tensor]) -> None:
    widths = [tensors[name].shape[1] for name in ('objects', 'backgrounds', 'directions')]
    if widths[0] != widths[1] or widths[0] > widths[2]:
        raise MMCosegError(
            f'its tensors objects, backgrounds and directions have {widths} channels; the first '
            'two must have as many as each other, and no more than the last'
        )


def _short(value: Any) -> str:
    """A value from a file as text for a message."""
    text = display_name(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= 300 else f'{text[:300]} ...'
