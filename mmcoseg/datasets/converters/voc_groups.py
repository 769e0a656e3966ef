"""Groups of several classes from the class masks of PASCAL VOC."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from rich.progress import track

from ...errors import MMCosegError
from ...options import one_of
from ...structures.coseg_data_sample import VOID
from ..base import group_names
from ..image_io import BadImageError, read_mask
from ..multiclass import PUBLISHED_GROUPS, classes_in_name
from .common import (
    COCO_VOC_CLASSES,
    VOC_CLASSES,
    converter_parser,
    folder_with,
    print_counts,
    run_command,
    write_pair,
)

__all__ = ['OtherClasses', 'convert_voc_groups', 'run_voc_converter', 'voc_groups', 'voc_values']

#: What is done with images that also show other classes; see :func:`convert_voc_groups`.
OtherClasses = Literal['leave-out', 'background', 'void']

#: Values of VOC's class masks; names of COCO, as 'airplane', are understood, too.
_NUMBERS = range(1, len(VOC_CLASSES) + 1)
_VALUES = dict(zip(COCO_VOC_CLASSES + VOC_CLASSES, [*_NUMBERS, *_NUMBERS]))


def voc_values(group: str) -> tuple[int, ...]:
    """Values in VOC's class masks of the classes that a group's name ``a+b`` gives, in its order.

    Example:
        >>> voc_values('sofa+dog'), voc_values('airplane+person')
        ((18, 12), (1, 15))
    """
    names = classes_in_name(group)
    unknown = sorted(set(names).difference(_VALUES))
    if unknown:
        raise MMCosegError(
            f'VOC has no class {unknown} of the group {group!r}; it has {", ".join(VOC_CLASSES)}'
        )
    values = tuple(map(_VALUES.get, names))
    if len(set(values)) < len(values):
        raise MMCosegError(f'the group {group!r} names one class of VOC twice')
    return values


def voc_groups() -> tuple[str, ...]:
    """Those of the ten published groups whose classes VOC has: all but ball+dog."""
    return tuple(group for group in PUBLISHED_GROUPS if set(classes_in_name(group)) <= set(_VALUES))


def convert_voc_groups(
    source: str | Path,
    target: str | Path,
    groups: Sequence[str] | None = None,
    others: OtherClasses = 'leave-out',
    min_images: int = 2,
) -> dict[str, int]:
    """Write ``images/<a+b>/`` and ``masks/<a+b>/<stem>.png`` below ``target``.

    A group takes the images whose class mask shows all of its classes. In its masks ``a`` is 1,
    ``b`` is 2, and so on; VOC's void borders stay 255. Existing files are written again.

    Args:
        source: PASCAL VOC 2012, with ``JPEGImages`` and ``SegmentationClass`` at or below it.
        target: where the canonical layout goes.
        groups: their names, which name their classes; None for :func:`voc_groups`.
        others: ``'leave-out'`` skips images that show further classes; ``'background'`` and
            ``'void'`` take them, and say what the pixels of those classes become.
        min_images: groups with fewer images are not written.

    Returns:
        Number of images found for each group, those not written included.
    """
    one_of('others', others, OtherClasses)
    names = voc_groups() if groups is None else group_names('groups', groups)
    values = {name: voc_values(name) for name in names}
    voc = folder_with(Path(source), 'SegmentationClass', 'the folder that holds VOC2012')
    files = sorted((voc / 'SegmentationClass').glob('*.png'))
    members = _members(files, values, others)
    counts = {name: len(found) for name, found in members.items()}
    if max(counts.values()) < min_images:
        raise MMCosegError(
            f'{voc}: none of the groups {list(names)} has {min_images} images among the '
            f'{len(files)} masks of SegmentationClass'
        )
    for name, masks in members.items():
        if len(masks) < min_images:
            continue
        table = _table(values[name], others)
        for mask in track(masks, name):
            image = voc / 'JPEGImages' / f'{mask.stem}.jpg'
            write_pair(Path(target), name, image, table[read_mask(mask)], mask)
    return counts


def _members(
    files: list[Path], values: dict[str, tuple[int, ...]], others: OtherClasses
) -> dict[str, list[Path]]:
    """The masks that each group takes, by the values of its classes."""
    members: dict[str, list[Path]] = {name: [] for name in values}
    for file in track(files, 'reading masks'):
        shown = _classes_shown(file)
        for name, wanted in values.items():
            allowed = wanted if others == 'leave-out' else _NUMBERS
            if set(wanted) <= shown <= set(allowed):
                members[name].append(file)
    return members


def _classes_shown(file: Path) -> set[int]:
    shown = set(np.unique(read_mask(file)).tolist()) - {0, VOID}
    strange = sorted(shown - set(_NUMBERS))
    if strange:
        raise BadImageError(
            f'{file} has the values {strange[:5]}, which are no classes of VOC (1 to '
            f'{len(VOC_CLASSES)}); give masks of SegmentationClass as they were published'
        )
    return shown


def _table(wanted: Sequence[int], others: OtherClasses) -> np.ndarray:
    """The value (256,) uint8 that each value of VOC's masks becomes."""
    table = np.full(256, VOID if others == 'void' else 0, np.uint8)
    table[0], table[VOID] = 0, VOID
    table[list(wanted)] = np.arange(1, len(wanted) + 1)
    return table


def run_voc_converter(description: str, argv: Sequence[str] | None = None) -> int:
    """The command line of :func:`convert_voc_groups`; prints the counts."""
    parser = converter_parser(description, 'VOCdevkit/VOC2012, or a folder that holds it')
    parser.add_argument(
        '--groups',
        nargs='+',
        metavar='A+B',
        help='names of classes of VOC, joined (default: the nine of the ten published groups that '
        f'VOC can give: {" ".join(voc_groups())})',
    )
    parser.add_argument(
        '--others',
        choices=get_args(OtherClasses),
        default='leave-out',
        help='images that also show other classes are left out (the default), or taken, with these '
        'classes as background or void',
    )
    help = 'groups with fewer images are not written (default: 2)'
    parser.add_argument('--min-images', type=int, default=2, metavar='N', help=help)
    arguments = parser.parse_args(argv)

    def work(arguments: argparse.Namespace) -> None:
        lines, total = [], 0
        for name, count in convert_voc_groups(**vars(arguments)).items():
            written = count >= arguments.min_images
            lines.append((name, count, '' if written else '  (too few, not written)'))
            total += count * written
        print_counts(lines, total, arguments.target)

    return run_command(parser, arguments, work)
