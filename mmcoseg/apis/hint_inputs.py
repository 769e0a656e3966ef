"""What a user says of images, brought to the images of the input."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..datasets.hint_files import GivenHints, read_examples, read_hints
from ..errors import MMCosegError, naming
from ..files import named
from ..options import nearest
from ..structures import Hint, hint_map
from .inputs import ImageItem, InputGroup

__all__ = ['hints_from', 'image_called', 'images_by_name', 'remarks_on_hints', 'with_hints']

#: How many names a remark spells out.
_MAX_NAMED = 10

#: An image by the names of its group and itself.
_Image = tuple[str, str]


def hints_from(*given: Any) -> GivenHints:
    """Hints on images, from what a user gives; later ones are added to earlier ones.

    Args:
        given: each the path of a file of hints (docs/hints.md), the path of a folder of example
            masks, a dict ``<group>/<file name>`` or ``<file name>`` -> list of hints, or None.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        MMCosegError: if it holds something else, which is named.
    """
    hints = GivenHints()
    for value in given:
        if isinstance(value, (str, os.PathLike)):
            path = Path(value).expanduser()
            found = read_examples(path) if path.is_dir() else read_hints(path)
            found.sources = dict.fromkeys(found.by_image, str(value))
            hints.add(found)
        elif isinstance(value, Mapping):
            hints.add(GivenHints({name: _listed(name, found) for name, found in value.items()}))
        elif value is not None:
            raise MMCosegError(
                'hints are the path of a file of hints or of a folder of masks, or a dict of lists '
                f'of hints; got {type(value).__name__}'
            )
    return hints


def _listed(name: Any, hints: Any) -> list[Hint]:
    """The hints on an image of this name, checked."""
    if not isinstance(name, str):
        raise MMCosegError(f'hints are given by names of images, which are texts, got {name!r}')
    if not isinstance(hints, (list, tuple)):
        raise MMCosegError(f'the hints on {name!r} must be a list, got {type(hints).__name__}')
    for hint in hints:
        if not isinstance(hint, Hint):
            raise MMCosegError(
                f'the hints on {name!r} must be Click, Stroke, Box, Absent or ExampleMask, got '
                f'{type(hint).__name__}'
            )
    return list(hints)


def with_hints(groups: Sequence[InputGroup], given: GivenHints) -> list[InputGroup]:
    """Groups whose images have the hints that are given for their names.

    A group has the names of classes, too, if there are hints on an image of it.

    Raises:
        MMCosegError: for a name that no image has, with the nearest one, or that several have.
    """
    if not given.by_image:
        return list(groups)
    owners = images_by_name(groups)
    hints: dict[_Image, list[Hint]] = defaultdict(list)
    items = {(group.name, item.stem): item for group in groups for item in group.items}
    for name, found in given.by_image.items():
        with naming(given.source_of(name)):
            image = image_called(name, owners)
            with naming(name):
                _check_hints(items[image], found)
        hints[image] += found
    return [_hinted_group(group, hints, given) for group in groups]


def _check_hints(item: ImageItem, hints: Sequence[Hint]) -> None:
    """Refuse hints outside of their image, before anything is computed."""
    try:
        size = item.upright_size()
    except Exception:
        return  # what cannot be read will be skipped, with the reason
    for number, hint in enumerate(hints, 1):
        with naming(f'hint {number}'):
            hint_map([hint], size)


def remarks_on_hints(groups: Sequence[InputGroup]) -> list[str]:
    """A sentence about each group with hints in which a class has none."""
    remarks = []
    for group in groups:
        shown: set[int] = set()
        for item in group.items:
            for hint in item.hints:
                shown |= hint.classes
        names = [name for label, name in enumerate(group.classes, 1) if label not in shown]
        if names:
            remarks.append(
                f'{group.name}: no hint shows {named(names, _MAX_NAMED)}, which will not be found'
            )
    return remarks


def images_by_name(groups: Sequence[InputGroup]) -> dict[str, set[_Image]]:
    """What images may be called -> group and stem of those that are called so."""
    owners: dict[str, set[_Image]] = defaultdict(set)
    for group in groups:
        for item in group.items:
            for name in (item.file_name, item.stem, Path(item.file_name).stem):
                owners[name].add((group.name, item.stem))
                owners[f'{group.name}/{name}'].add((group.name, item.stem))
    return owners


def image_called(name: str, owners: Mapping[str, set[_Image]]) -> _Image:
    """Group and stem of the only image of a name.

    Raises:
        MMCosegError: if there are several, or none; then with the nearest name.
    """
    found = owners.get(name, ())
    if len(found) > 1:
        raise MMCosegError(
            f'several images are called {name!r}; call the one that you mean <group>/<file>'
        )
    if not found:
        raise MMCosegError(
            f'there is no image {name!r}{nearest(str(name), owners)}; images are called '
            '<group>/<file> or <file>'
        )
    [image] = found
    return image


def _hinted_group(
    group: InputGroup, hints: Mapping[_Image, list[Hint]], given: GivenHints
) -> InputGroup:
    items, follows = [], False
    for item in group.items:
        own = tuple(hints.get((group.name, item.stem), ()))
        items.append(replace(item, hints=own))
        follows = follows or bool(own)
    return replace(group, items=items, classes=given.classes_of(group.name) if follows else ())
