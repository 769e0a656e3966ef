"""What all converters share: their command line, and writing images with masks."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ...files import copy_file, save_image
from ..image_io import read_image, require_one_size

__all__ = [
    'COCO_VOC_CLASSES',
    'VOC_CLASSES',
    'converter_parser',
    'folder_with',
    'print_counts',
    'run_command',
    'write_pair',
]

#: The classes of PASCAL VOC, in the order of their numbers from 1.
VOC_CLASSES = tuple(
    'aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike '
    'person pottedplant sheep sofa train tvmonitor'.split()
)

#: The same classes as COCO calls them.
COCO_VOC_CLASSES = tuple(
    'airplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,dining table,dog,horse,motorcycle,'
    'person,potted plant,sheep,couch,train,tv'.split(',')
)

#: Suffixes of images that are copied as they are; others become PNG.
_COPIED = ('.jpg', '.jpeg', '.png', '.bmp')


def converter_parser(
    description: str, source: str, target: str = 'where images/ and masks/ are written'
) -> argparse.ArgumentParser:
    """A parser with the arguments of every converter; ``source`` and ``target`` are help texts."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('source', help=source)
    parser.add_argument('target', help=target)
    return parser


def run_command(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    convert: Callable[[argparse.Namespace], None],
) -> int:
    """Run a command; it ends with status 1 and a message if the user must mend something."""
    try:
        if not Path(arguments.source).is_dir():
            raise FileNotFoundError(f'there is no folder {arguments.source} to convert')
        convert(arguments)
    except (ValueError, OSError) as error:
        parser.exit(1, f'{parser.prog}: error: {error}\n')
    return 0


def print_counts(lines: list[tuple[str, int, str]], total: int, where: str) -> None:
    """Print name, number of images and a note for each group, then the total."""
    width = max(len(name) for name, _, _ in [*lines, ('total', 0, '')])
    for name, count, note in [*lines, ('total', total, f' in {where}')]:
        print(f'{name:>{width}} {count:5d} images{note}')


def folder_with(root: Path, name: str, what: str) -> Path:
    """The folder at or below ``root`` that holds a folder ``name``; an error asks for ``what``."""
    found = sorted(path.parent for path in root.rglob(name) if path.is_dir())
    if not found:
        raise FileNotFoundError(f'there is no folder {name} in {root}; give {what}')
    return found[0]


def write_pair(target: Path, group: str, image: Path, mask: np.ndarray, mask_file: Path) -> None:
    """Write an image and its mask, (H, W) uint8 from ``mask_file``, in the canonical layout."""
    pixels = read_image(image)
    require_one_size(image, pixels.shape[:2], f'its mask {mask_file}', mask.shape)
    copy = target / 'images' / group / image.name
    if image.suffix.lower() in _COPIED:
        copy_file(image, copy)
    else:
        save_image(Image.fromarray(pixels[:, :, ::-1]), copy.with_suffix('.png'), 'PNG')
    save_image(Image.fromarray(mask), target / 'masks' / group / f'{image.stem}.png', 'PNG')
