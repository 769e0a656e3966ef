"""Hints in files: ``hints.json`` and folders of example masks."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import MMCosegError, naming
from ..options import known_keys, nearest
from ..structures.hints import Absent, Box, Click, ExampleMask, Hint, Stroke
from .coco_file import read_json
from .image_io import read_mask
from .multiclass import CLASSES_FILE, read_class_names
from .transforms import LoadCoSegMask

__all__ = ['HINTS_VERSION', 'read_examples', 'read_hints']

HINTS_VERSION = 1

#: Image, as ``<group>/<file name>`` or ``<file name>`` -> its hints.
Hints = dict[str, list[Hint]]


def read_hints(file: str | Path) -> tuple[Hints, tuple[str, ...]]:
    """The hints of a file, and the names of the classes that they tell apart.

    The file is ``{"version": 1, "classes": [<name>, ...], "images": {"<group>/<file>": [<hint>,
    ...]}}``. A hint is one of

    - ``{"click": [x, y]}``,
    - ``{"stroke": [[x, y], ...]}``,
    - ``{"box": [left, top, right, bottom]}``,
    - ``{"absent": true}``: the image shows no object,

    in pixels of the upright original. The first three may have an ``"object"``: true (default),
    false for what is no object, or the name of a class.

    Raises:
        FileNotFoundError: if it is not there.
        MMCosegError: naming the file, the image and the entry that is wrong.
    """
    content = read_json(file)
    with naming(str(file)):
        if not isinstance(content, dict) or 'images' not in content:
            raise MMCosegError('hints are a dict with "version" and "images"')
        known_keys('the file of hints', content, ('version', 'classes', 'images'))
        if content.get('version') != HINTS_VERSION:
            raise MMCosegError(
                f'the version is {content.get("version")!r}; this version of mmcoseg reads '
                f'{HINTS_VERSION}'
            )
        classes = _classes(content.get('classes', []))
        hints: Hints = {}
        for image, entries in content['images'].items():
            with naming(image):
                hints[image] = list(_read_entries(entries, classes))
    return hints, classes


def _classes(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise MMCosegError(f'"classes" must be a list of names, got {names!r}')
    if len(set(names)) < len(names):
        raise MMCosegError(f'"classes" has a name twice: {names}')
    return tuple(names)


def _read_entries(entries: Any, classes: tuple[str, ...]) -> Iterator[Hint]:
    if not isinstance(entries, list):
        raise MMCosegError(f'the hints of an image are a list, got {type(entries).__name__}')
    for number, entry in enumerate(entries):
        with naming(f'hint {number}'):
            yield _read_entry(entry, classes)


def _read_entry(entry: Any, classes: tuple[str, ...]) -> Hint:
    kinds = dict(click=_click, stroke=_stroke, box=_box, absent=_absent)
    if not isinstance(entry, dict) or len(entry.keys() & kinds.keys()) != 1:
        raise MMCosegError(f'a hint has exactly one of the keys {sorted(kinds)}, got {entry!r}')
    known_keys('the hint', entry, (*kinds, 'object'))
    (kind,) = entry.keys() & kinds.keys()
    return kinds[kind](entry[kind], _label(entry.get('object', True), classes))


def _label(value: Any, classes: tuple[str, ...]) -> int:
    if isinstance(value, bool):
        return int(value)
    if value in classes:
        return classes.index(value) + 1
    raise MMCosegError(
        f'"object" is {value!r}: it must be true, false, or one of the classes {list(classes)}'
        f'{nearest(str(value), classes)}'
    )


def _click(value: Any, label: int) -> Hint:
    x, y = _numbers(value, 2)
    return Click(label, x, y)


def _stroke(value: Any, label: int) -> Hint:
    if not isinstance(value, list) or not value:
        raise MMCosegError(f'a stroke is a list of points [x, y], got {value!r}')
    return Stroke(label, tuple(tuple(_numbers(point, 2)) for point in value))


def _box(value: Any, label: int) -> Hint:
    return Box(label, *_numbers(value, 4))


def _absent(value: Any, label: int) -> Hint:
    if value is not True:
        raise MMCosegError(f'"absent" can only be true, got {value!r}')
    return Absent()


def _numbers(value: Any, count: int) -> list[float]:
    sound = isinstance(value, list) and len(value) == count
    if not sound or not all(type(number) in (int, float) for number in value):
        raise MMCosegError(f'{count} numbers are needed, in pixels, got {value!r}')
    return [float(number) for number in value]


def read_examples(folder: str | Path) -> tuple[Hints, Mapping[str, tuple[str, ...]]]:
    """Example masks, ``<group>/<stem>.png`` or ``<stem>.png``, as hints by ``<group>/<stem>``.

    Masks hold 0 and 255, or 0 to K for K classes, whose names ``classes.json`` may give, as in
    ``MultiClassCoSegDataset``.

    Raises:
        FileNotFoundError: if there is no mask in the folder.
        MMCosegError: naming a mask that cannot be read.
    """
    folder = Path(folder)
    root = folder / 'masks' if (folder / 'masks').is_dir() else folder
    loader = LoadCoSegMask()
    hints: Hints = {}
    for file in sorted([*root.glob('*.png'), *root.glob('*/*.png')]):
        mask = loader.translate(read_mask(file), str(file))
        hints[str(file.relative_to(root).with_suffix(''))] = [ExampleMask(mask=mask)]
    if not hints:
        raise FileNotFoundError(f'{folder} holds no masks <group>/<stem>.png or <stem>.png')
    return hints, read_class_names(folder / CLASSES_FILE)
