"""Files of COCO instances, of whatever tool: the one place that decides what is sound in them."""

import json
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import MMCosegError
from ..structures.rle import as_rle, is_number

__all__ = [
    'CocoFile',
    'IdFinder',
    'area_of',
    'image_size',
    'listed_size',
    'parse_coco',
    'read_coco',
    'read_json',
    'refuse_moved_polygons',
    'rle_of',
    'strict_report',
]

#: Takes down what is wrong: ``'error'`` or ``'warning'``, and the message.
Report = Callable[[str, str], None]

#: Digits of ids that are compared as numbers.
_MAX_DIGITS = 30
#: In pixels, far beyond any image.
_MAX_AREA = 1e15


class CocoFile(NamedTuple):
    """What is sound in a file of COCO instances.

    Attributes:
        images: entries with an ``id`` of their own and a ``file_name``.
        annotations: entries with the ``image_id`` of an image and a ``category_id`` of ``names``.
            All have an ``id``, if only their place in the file, as ``[3]``. Their ``segmentation``
            is not checked; see :func:`mmcoseg.structures.rle.as_rle`.
        names: of the categories, by their ids; categories of one name are one.
    """

    images: list[dict]
    annotations: list[dict]
    names: dict[Any, str]

    def annotations_by_image(self) -> dict[Any, list[dict]]:
        """The annotations of each image, by its id; an empty list for an image without any."""
        found = defaultdict(list)
        for annotation in self.annotations:
            found[annotation['image_id']].append(annotation)
        return found


def read_coco(file: str | Path, hint: str = '', report: Report | None = None) -> CocoFile:
    """The content of a file of COCO instances.

    Args:
        hint: ends the message if it is not there.
        report: is told all that is wrong with single entries, which are left out then; by default
            the first error is raised, and warnings are given.
    """
    return parse_coco(read_json(file, hint), file, report)


def read_json(file: str | Path, hint: str = '', unique: bool = False) -> Any:
    """The content of a json file; ``hint`` ends the message if it is not there.

    ``unique`` refuses an object that has a key twice; else the last one counts.
    """
    try:
        content = Path(file).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f'there is no file {file}.{hint}') from None
    try:
        # Of bytes, json finds out the encoding, and passes over a mark of byte order.
        return json.loads(content, object_pairs_hook=_unique if unique else None)
    except (ValueError, RecursionError) as error:
        raise MMCosegError(
            f'{file} is not valid json ({error}); mend it, or unpack or download it once more'
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = {}
    for key, value in pairs:
        if key in found:
            raise MMCosegError(f'it has {key!r} twice')
        found[key] = value
    return found


def parse_coco(
    content: Any, file: str | Path, report: Report | None = None, with_categories: bool = True
) -> CocoFile:
    """What is sound in the content of a file; see :func:`read_coco`.

    Without categories, as for predictions, ``names`` is empty and no ``category_id`` is looked at.
    """
    report = report or strict_report(file)
    if not isinstance(content, dict):
        raise MMCosegError(f'{file} is {_KINDS[type(content)]}: not a file of COCO instances')
    missing = {'images', 'annotations', 'categories'}.difference(content)
    if missing:
        raise MMCosegError(f'{file} has no {sorted(missing)}: it is not a file of COCO instances')
    entries = dict(image=_entries(content, 'images', report))
    sound: dict[str, dict] = dict(image=_images(entries['image'], report))
    if with_categories:
        entries['category'] = _entries(content, 'categories', report)
        sound['category'] = _names(entries['category'], report)
    finders = {}
    for what, listed in entries.items():
        finders[what] = IdFinder(what, (entry['id'] for entry in listed), report)
    annotations = []
    for annotation in _entries(content, 'annotations', report):
        # Nothing more is said about an image or a category that is wrong itself.
        if _is_sound(annotation, finders, report) and all(
            annotation[f'{what}_id'] in entries for what, entries in sound.items()
        ):
            annotations.append(annotation)
    boxes = [annotation['id'] for annotation in annotations if annotation.get('segmentation') == []]
    if boxes:
        found = (
            f'{len(boxes)} of {len(annotations)} annotations, the first is annotation {boxes[0]}'
        )
        report('warning', f'{found}, have an empty segmentation: no pixel is theirs')
    return CocoFile(list(sound['image'].values()), annotations, sound.get('category', {}))


class IdFinder:
    """Finds ids, also where they are text in one place and numbers in another.

    Args:
        what: ``'image'`` or ``'category'``.
        ids: those that there are.
        report: is told, once, if some are only the same as numbers.

    Example:
        >>> finder = IdFinder('image', ['7', 'b'], lambda severity, message: None)
        >>> finder.find(7), finder.find('b'), finder.find(8)
        ('7', 'b', None)
    """

    def __init__(self, what: str, ids: Iterable[Any], report: Report) -> None:
        self.what = what
        self.ids = set(ids)
        counts = Counter(map(_number, self.ids))
        self.by_number = {_number(key): key for key in self.ids if counts[_number(key)] == 1}
        self.by_number.pop(None, None)
        self.report = report
        self.said = False

    def find(self, key: Any) -> Any:
        """The id that a key is, or is as a number; None where there is none."""
        if not _is_id(key):
            return None
        if key in self.ids:
            return key
        found = self.by_number.get(_number(key))
        if found is not None and not self.said:
            self.said = True
            kinds = f'{self.what} ids are of two kinds, such as {found!r} and {key!r}'
            self.report(
                'warning', f'{kinds}; those that are the same numbers are taken as the same'
            )
        return found


def image_size(image: dict) -> tuple[int, int]:
    """Height and width of an image entry, in pixels; an error if they are no such numbers."""
    for key in ('height', 'width'):
        side = image.get(key)
        if not is_number(side) or side != side // 1 or side < 1:
            raise MMCosegError(f'its {key} is {repr(side)[:40]}, not a positive whole number')
    return int(image['height']), int(image['width'])


def listed_size(image: dict) -> tuple[int, int] | None:
    """Height and width of an image entry, in pixels; None where it has none that are sizes."""
    try:
        return image_size(image)
    except ValueError:
        return None


def refuse_moved_polygons(
    shapes: Iterable[Any], listed: tuple[int, int] | None, size: tuple[int, int]
) -> None:
    """Refuse polygons of an image that was scaled or turned after they were drawn.

    Args:
        shapes: any ``segmentation``.
        listed: height and width of the image that they are of; None where they are not known.
        size: height and width of the image that they are to be drawn on.
    """
    if listed not in (None, size) and list in map(type, shapes):
        raise MMCosegError(
            f'its polygons are of an image of {listed[0]} x {listed[1]}, it is {size[0]} x '
            f'{size[1]} (height x width, upright)'
        )


def area_of(annotation: dict) -> float:
    """The ``area`` of an annotation, in pixels; an error if it has none that is a number."""
    area = annotation.get('area')
    if is_number(area) and abs(area) <= _MAX_AREA:  # not NaN
        return float(area)
    found = f'its area is {repr(area)[:40]}, not a number of pixels'
    raise MMCosegError(f'annotation {annotation.get("id")}: {found}')


def rle_of(annotation: dict, size: tuple[int, int]) -> dict:
    """The mask of an annotation, as :func:`mmcoseg.structures.rle.as_rle` gives it."""
    try:
        return as_rle(annotation.get('segmentation'), *size)
    except ValueError as error:
        raise MMCosegError(f'annotation {annotation["id"]}: {error}') from error


def strict_report(file: str | Path, warn: Callable[[str], Any] = warnings.warn) -> Report:
    """A report that raises the first error; ``warn`` is given the warnings."""

    def report(severity: str, message: str) -> None:
        if severity == 'error':
            raise MMCosegError(
                f'{file}: {message}; correct or remove it (`mmcoseg check-data` lists all that is '
                'wrong with a data set)'
            )
        warn(f'{file}: {message}')

    return report


def _entries(content: dict, key: str, report: Report) -> list[dict]:
    """The entries of a list that are objects; each has an ``id``, if only its place."""
    entries = content[key]
    if not isinstance(entries, list):
        report('error', f'{key} is {_KINDS[type(entries)]}, not a list')
        entries = []
    sound = []
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            report('error', f'{key}[{place}] is {_KINDS[type(entry)]}, not an object')
            continue
        if key == 'annotations' and entry.get('id') is None:
            entry['id'] = f'[{place}]'
        elif not _is_id(entry.get('id')):
            report('error', f'{key}[{place}] has no id that is a number or text')
            continue
        sound.append(entry)
    return sound


def _names(categories: list[dict], report: Report) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for category in categories:
        key, name = category['id'], category.get('name')
        if not isinstance(name, str) or not name:
            report('error', f'category {key} has no name')
        elif names.setdefault(key, name) != name:
            report('error', f'category {key} is called {names[key]!r} and {name!r}')
    for name, count in Counter(names.values()).items():
        if count > 1:
            keys = ' and '.join(str(key) for key in names if names[key] == name)
            report('warning', f'the categories {keys} are called {name!r}, and taken as one')
    return names


def _images(images: list[dict], report: Report) -> dict[Any, dict]:
    by_id: dict[Any, dict] = {}
    for image in images:
        key, file = image['id'], image.get('file_name')
        if not _can_be_path(file):
            report('error', f'image {key}: no file can have the file_name {file!r}')
        elif key in by_id:
            report('error', f'image id {key!r} stands there twice')
        else:
            by_id[key] = image
    return by_id


def _can_be_path(name: Any) -> bool:
    try:
        return bool(name) and b'\0' not in os.fsencode(name)
    except (TypeError, UnicodeEncodeError):  # no text, or half of a pair of surrogates
        return False


def _is_sound(annotation: dict, finders: dict[str, IdFinder], report: Report) -> bool:
    """Whether an annotation is of an image and a category; it gets the very ids of these."""
    name = f'annotation {annotation["id"]}'
    for what, finder in finders.items():
        key = f'{what}_id'
        if annotation.get(key) is None:
            report('error', f'{name} has no {key}')
            return False
        found = finder.find(annotation[key])
        if found is None:
            report('error', f'{name}: there is no {what} {annotation[key]!r}')
            return False
        annotation[key] = found
    crowd = annotation.get('iscrowd')
    if crowd not in (None, 0, 1):
        report('error', f'{name}: its iscrowd is {crowd!r}, neither 0 nor 1')
        return False
    return True


def _is_id(key: Any) -> bool:
    return isinstance(key, str) or (is_number(key) and isfinite(key))


def _number(key: Any) -> int | None:
    """The whole number that an id is, as a number or as text."""
    if isinstance(key, str):
        return int(key) if key.strip().isdecimal() and len(key) < _MAX_DIGITS else None
    return int(key) if key == key // 1 else None


#: What json calls the values of each type.
_KINDS = {dict: 'an object', list: 'a list', str: 'text', bool: 'true or false'}
_KINDS |= {int: 'a number', float: 'a number', type(None): 'null'}
