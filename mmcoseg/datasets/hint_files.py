"""What a person said of images, in files: ``hints.json`` and folders of example masks."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from ..errors import MMCosegError, naming
from ..files import write_json
from ..options import known_keys, nearest
from ..structures import Absent, Box, Click, ExampleMask, Hint, Stroke
from ..structures.hints import UNKNOWN
from .coco_file import read_json
from .image_io import IMAGE_SUFFIXES, read_mask
from .multiclass import CLASSES_FILE, read_class_names
from .transforms import LoadCoSegMask
from .transforms.loading import mask_doubt

__all__ = [
    'HINTS_VERSION',
    'GivenHints',
    'check_class_names',
    'read_examples',
    'read_hint',
    'read_hints',
    'write_hints',
]

HINTS_VERSION = 1
_KINDS = ['click', 'stroke', 'box', 'absent']
_FORM = 'hints are {"version": 1, "images": {"<group>/<file>": [<hint>, ...]}}'
#: Far beyond any image, in pixels.
_MOST = 1e9


@dataclass
class GivenHints:
    """Hints on images that are known by their names.

    Args:
        by_image: ``<group>/<file name>``, ``<group>/<stem>``, ``<file name>`` or ``<stem>`` -> the
            image's hints.
        classes: group -> names of the classes 1..K; under ``''`` those of all other groups.
        sources: for messages, image -> the file or folder that its hints are from.
    """

    by_image: dict[str, list[Hint]] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def source_of(self, image: str) -> str:
        """Where an image's hints are from, for messages."""
        return self.sources.get(image, 'the hints')

    def classes_of(self, group: str) -> tuple[str, ...]:
        """Names of a group's classes 1..K; empty where they have none."""
        return self.classes.get(group, self.classes.get('', ()))

    def add(self, others: 'GivenHints') -> None:
        """Take more hints.

        Raises:
            MMCosegError: if both name classes, and not the same ones in the same order.
        """
        if self.classes and others.classes:
            for group in {*self.classes, *others.classes}:
                ours, theirs = self.classes_of(group), others.classes_of(group)
                if ours and theirs and ours != theirs:
                    raise MMCosegError(
                        f'the examples name the classes {list(ours)}, the hints {list(theirs)}; '
                        'name the same classes in the same order'
                    )
        self.classes |= others.classes
        self.sources |= others.sources
        for image, hints in others.by_image.items():
            self.by_image[image] = [*self.by_image.get(image, []), *hints]


def read_hints(file: str | Path) -> GivenHints:
    """The hints of a file.

    The file is ``{"version": 1, "classes": [<name>, ...], "images": {"<group>/<file>": [<hint>,
    ...]}}``. A hint is one of

    - ``{"click": [x, y]}``,
    - ``{"stroke": [[x, y], ...]}``,
    - ``{"box": [left, top, right, bottom]}``,
    - ``{"absent": true}``: the image shows no object,

    in pixels of the upright original. The first three may have an ``"object"``: true (default),
    false for what is no object, or the name of a class. ``"classes"`` may be left out.

    Raises:
        FileNotFoundError: if it is not there.
        MMCosegError: naming the file, the image and the entry that is wrong.
    """
    content = read_json(file, unique=True)
    with naming(str(file)):
        if not isinstance(content, dict):
            raise MMCosegError(_FORM)
        if content.get('version') != HINTS_VERSION:
            raise MMCosegError(
                f'its version is {short(content.get("version"))}; this version of mmcoseg reads '
                f'"version": {HINTS_VERSION}'
            )
        known_keys('the file', content, ('version', 'classes', 'images'))
        if not isinstance(content.get('images'), dict):
            raise MMCosegError(_FORM)
        classes = check_class_names(content.get('classes', []))
        hints = GivenHints(classes={'': classes} if classes else {})
        for image, entries in content['images'].items():
            with naming(image):
                hints.by_image[image] = _read_entries(entries, classes)
    return hints


def check_class_names(names: Any) -> tuple[str, ...]:
    """Names of classes, as a tuple; refuses what is no list of different names."""
    listed = isinstance(names, (list, tuple))
    if not listed or not all(isinstance(name, str) and name for name in names):
        raise MMCosegError(f'"classes" must be a list of names, got {short(names)}')
    if len(names) >= UNKNOWN:
        raise MMCosegError(f'"classes" has {len(names)} names; at most {UNKNOWN - 1} are possible')
    if len(set(names)) < len(names):
        raise MMCosegError(f'"classes" has a name twice: {short(names)}')
    return tuple(names)


def _read_entries(entries: Any, classes: tuple[str, ...]) -> list[Hint]:
    if not isinstance(entries, list):
        raise MMCosegError(f'the hints of an image are a list, got {type(entries).__name__}')
    hints = []
    for number, entry in enumerate(entries, 1):
        with naming(f'hint {number}'):
            hints.append(read_hint(entry, classes))
    return hints


def read_hint(entry: Any, classes: Sequence[str] = ()) -> Hint:
    """The hint of an entry, as :func:`read_hints` describes it; ``classes`` are the names.

    Raises:
        MMCosegError: saying what is wrong with it.
    """
    kinds = [kind for kind in _KINDS if isinstance(entry, dict) and kind in entry]
    if len(kinds) != 1:
        raise MMCosegError(f'a hint has exactly one of the keys {_KINDS}, got {short(entry)}')
    [kind] = kinds
    value = entry[kind]
    if kind == 'absent':
        known_keys('it', entry, (kind,))
        if value is not True:
            raise MMCosegError(f'"absent" can only be true, got {short(value)}')
        return Absent()
    known_keys('it', entry, (kind, 'object'))
    label = _read_label(entry.get('object', True), classes)
    return _PLACES[kind](value, label)


def _read_click(value: Any, label: int) -> Click:
    return Click(*_read_numbers(value, 2), label=label)


def _read_stroke(value: Any, label: int) -> Stroke:
    if not isinstance(value, list) or not value:
        raise MMCosegError(f'a stroke is a list of points [x, y], got {short(value)}')
    return Stroke([tuple(_read_numbers(point, 2)) for point in value], label=label)


def _read_box(value: Any, label: int) -> Box:
    return Box(*_read_numbers(value, 4), label=label)


_PLACES = dict(click=_read_click, stroke=_read_stroke, box=_read_box)


def _read_label(value: Any, classes: Sequence[str]) -> int:
    if isinstance(value, bool):
        return int(value)
    if value in classes:
        return list(classes).index(value) + 1
    named = f'which are {list(classes)}{nearest(str(value), classes)}'
    if not classes:
        named = 'a list at the top of the file, which is missing'
    raise MMCosegError(
        f'"object" is {short(value)}; it must be true, false, or a name in "classes", {named}'
    )


def _read_numbers(value: Any, count: int) -> list[float]:
    numbers = value if isinstance(value, list) and len(value) == count else [None]
    for number in numbers:
        if type(number) not in (int, float) or not abs(number) < _MOST:  # not NaN
            raise MMCosegError(f'it takes {count} numbers, in pixels, got {short(value)}')
    return [float(number) for number in numbers]


def write_hints(
    file: str | Path, by_image: Mapping[str, Sequence[Hint]], classes: Sequence[str] = ()
) -> None:
    """Write hints by image as :func:`read_hints` reads them.

    Raises:
        MMCosegError: for an example mask, which has no place there, or a class without a name.
    """
    images = {}
    for image, hints in by_image.items():
        with naming(image):
            images[image] = [_entry_of(hint, classes) for hint in hints]
    content = dict(version=HINTS_VERSION, images=images)
    if classes:
        content['classes'] = list(classes)
    write_json(file, content, indent=1)


def _entry_of(hint: Hint, classes: Sequence[str]) -> dict[str, Any]:
    if hint.label > max(1, len(classes)):
        raise MMCosegError(f'a hint is of class {hint.label}, but the classes are {list(classes)}')
    named = classes[hint.label - 1] if hint.label and classes else bool(hint.label)
    match hint:
        case Absent():
            return dict(absent=True)
        case Click():
            return dict(click=_plain([hint.x, hint.y]), object=named)
        case Stroke():
            return dict(stroke=_plain(hint.points), object=named)
        case Box():
            box = [hint.left, hint.top, hint.right, hint.bottom]
            return dict(box=_plain(box), object=named)
    raise MMCosegError('example masks are kept as files of masks, not in a file of hints')


def _plain(numbers: Any) -> list:
    """Numbers, or pairs of them, as json holds them."""
    return np.asarray(numbers).tolist()


def read_examples(folder: str | Path) -> GivenHints:
    """Example masks, ``<group>/<stem>.png`` or ``<stem>.png``, as hints.

    Masks hold 0 and 255, or 0 to K for K classes, whose names ``classes.json`` may give, as in
    ``MultiClassCoSegDataset``. A folder of results has them in ``masks``.

    Raises:
        FileNotFoundError: if there is no mask in the folder.
        MMCosegError: naming a mask that cannot be read, or an image that is no png.
    """
    folder = Path(folder).expanduser()
    root = folder / 'masks' if (folder / 'masks').is_dir() else folder
    loader = LoadCoSegMask(binary=False)
    hints = GivenHints(classes=read_class_names(folder / CLASSES_FILE))
    for file in sorted([*root.glob('[!.]*'), *root.glob('[!.]*/[!.]*')]):
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if file.suffix != '.png':
            raise MMCosegError(f'{file} is no example mask: they are png files, called <stem>.png')
        mask = read_mask(file)
        if mask_doubt(np.unique(mask).tolist()):
            raise MMCosegError(
                f'{file} holds values that are neither 0 and 255 nor few classes, such as those of '
                'smoothed edges; save it without smoothing, as png'
            )
        mask = loader.translate(mask, str(file))
        hints.by_image[file.relative_to(root).with_suffix('').as_posix()] = [ExampleMask(mask)]
    _require_classes_without_gaps(hints, folder)
    if not hints.by_image:
        raise FileNotFoundError(
            f'there are no example masks in {folder}: it must hold <stem>.png or <group>/<stem>.png'
        )
    return hints


def _require_classes_without_gaps(examples: GivenHints, folder: Path) -> None:
    """Refuse values that are probably not meant as classes, such as 128 alone."""
    shown: dict[str, set[int]] = defaultdict(set)
    for image, [mask] in examples.by_image.items():
        shown[image.rpartition('/')[0]] |= mask.classes
    for group, values in shown.items():
        names = examples.classes_of(group)
        most = len(names) or len(values)
        if max(values, default=0) > most:
            raise MMCosegError(
                f'{folder}: the masks{f" of {group!r}" if group else ""} hold the values '
                f'{sorted(values)}; they must be 0 and 255, or 0 to K for K classes: name the '
                f'classes in {CLASSES_FILE} if not all have examples'
            )
