"""From the layouts in which data sets are published to the canonical one."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from ..errors import MMCosegError
from .base import image_files
from .image_io import IMAGE_SUFFIXES, BadImageError, read_image, read_mask

__all__ = ['Layout', 'convert', 'run_converter']


@dataclass
class Layout:
    """How a published data set lies on disk.

    Attributes:
        groups: canonical name -> the names under which its folder is known, the best first. Case,
            a number in front, blanks, punctuation and what follows a hyphen do not matter
            (``041 Hot Balloons-Skybird`` is ``hotballoons``). Groups of one name take the folders
            of that name in their order.
        mask_folders: names of folders of ground truth, in lower case: either within a group's
            folder, or beside the folder of images with the groups' folders in it.
        mask_suffixes: what may follow the stem of an image in the name of its mask.
        published: number of images a group in publications, to compare with.
        total: number of images of the whole set in publications.
    """

    groups: dict[str, Sequence[str]]
    mask_folders: Sequence[str] = ('groundtruth', 'ground_truth', 'gt', 'masks')
    mask_suffixes: Sequence[str] = ('', '_GT', '_gt')
    published: dict[str, int] = field(default_factory=dict)
    total: int | None = None


#: Folders that only say that images are in them.
_IMAGE_FOLDERS = ('image', 'images', 'jpegimages')


def _plain(name: str) -> str:
    return re.sub(r'^[\d\W_]+|[\W_]+', '', name).lower()


def convert(
    source: str | Path, target: str | Path, layout: Layout, rename: dict[str, str] | None = None
) -> dict[str, int]:
    """Write ``images/<group>/`` and ``masks/<group>/<stem>.png`` (0 / 255) below ``target``.

    Images of odd formats are written as PNG, the others copied. What is there already is written
    again, so that an interrupted conversion is simply repeated.

    Args:
        source: the unpacked download.
        target: where the canonical layout goes.
        layout: what to look for.
        rename: folder name in the download -> canonical name, where the layout's table fails.

    Returns:
        Number of images of each group.

    Raises:
        FileNotFoundError: if the source is not there.
        MMCosegError: naming groups that were not found, images without a mask, or what of
            ``rename`` cannot be.
    """
    source, target = Path(source), Path(target)
    if not source.is_dir():
        raise FileNotFoundError(f'there is no folder {source} to convert')
    if rename and len(set(rename.values())) < len(rename):
        raise MMCosegError(
            f'--rename makes one group of several folders: {rename}; name one folder'
        )
    found = _find_groups(source, layout, rename or {})
    missing = sorted(set(layout.groups) - set(found))
    if missing:
        folders = sorted({p.name for p in source.rglob('*') if p.is_dir()})[:40]
        raise MMCosegError(
            f'{source} has no images for the groups {missing}; its folders are {folders}. Say '
            "which is which with --rename 'FOLDER=GROUP'"
        )
    counts = {}
    for group, folder in sorted(found.items()):
        counts[group] = _convert_group(group, folder, source, target, layout)
    return counts


def _find_groups(source: Path, layout: Layout, rename: dict[str, str]) -> dict[str, Path]:
    """The folder of each group, where there is one."""
    folders = []
    for folder in sorted(path for path in source.rglob('*') if path.is_dir()):
        parts = {part.lower() for part in folder.relative_to(source).parts}
        if not parts & set(layout.mask_folders) and any(
            file.suffix.lower() in IMAGE_SUFFIXES for file in folder.iterdir()
        ):
            folders.append(folder)
    absent = sorted(set(rename) - {folder.name for folder in folders})
    if absent:
        raise MMCosegError(
            f'--rename: {source} has no folder of images called {absent}; it has '
            f'{[folder.name for folder in folders[:40]]}'
        )
    found = {}
    for folder in folders:
        if folder.name in rename:
            found.setdefault(rename[folder.name], folder)
    names = {group: [*known, group] for group, known in layout.groups.items()}
    for rank in range(max(map(len, names.values()))):
        for group, known in names.items():
            if group in found or rank >= len(known):
                continue
            wanted = _plain(known[rank])
            for folder in folders:
                name = folder.name
                taken = folder in found.values()
                if not taken and wanted in (_plain(name), _plain(name.split('-')[0])):
                    found[group] = folder
                    break
    return found


def _convert_group(group: str, folder: Path, source: Path, target: Path, layout: Layout) -> int:
    pairs, without = [], []
    mask_folders = _mask_folders(folder, source, layout)
    for image in image_files(folder):
        mask = _mask_of(image, mask_folders, layout)
        if mask is None:
            without.append(image.name)
        else:
            pairs.append((image, mask))
    if without:
        raise MMCosegError(
            f'{folder}: {len(without)} images have no ground truth, the first are {without[:5]}; '
            f'looked for folders {list(layout.mask_folders)}'
        )
    for kind in ('images', 'masks'):
        (target / kind / group).mkdir(parents=True, exist_ok=True)
    for image, mask in track(pairs, group):
        pixels = read_image(image)
        values = _binary(mask)
        if values.shape != pixels.shape[:2]:
            raise BadImageError(
                f'{image} is {pixels.shape[:2]}, its ground truth {mask} {values.shape}'
            )
        copy = target / 'images' / group / image.name
        if image.suffix.lower() in ('.jpg', '.jpeg', '.png', '.bmp'):
            copy.write_bytes(image.read_bytes())
        else:
            Image.fromarray(pixels[:, :, ::-1]).save(copy.with_suffix('.png'))
        Image.fromarray(values).save(target / 'masks' / group / f'{image.stem}.png')
    return len(pairs)


def _binary(mask: Path) -> np.ndarray:
    """0 / 255 from ground truth of any of the usual forms: gray, palette, or colored objects."""
    try:
        values = read_mask(mask)
    except BadImageError:
        values = read_image(mask).max(axis=2)
    high = 128 if values.max(initial=0) > 20 else 1
    return (255 * (values >= high)).astype(np.uint8)


def _mask_folders(folder: Path, source: Path, layout: Layout) -> list[Path]:
    """Where the ground truth of a group's images may be, from its own folder up to the source."""
    places = []
    inner = Path()
    for above in (folder, *folder.parents):
        for path in sorted(above.iterdir()):
            if path.is_dir() and path.name.lower() in layout.mask_folders:
                places += [path / inner, path]
        if above == source:
            break
        if above.name.lower() not in _IMAGE_FOLDERS:
            inner = Path(above.name) / inner
    return places


def _mask_of(image: Path, mask_folders: list[Path], layout: Layout) -> Path | None:
    for folder in mask_folders:
        for suffix in layout.mask_suffixes:
            for ending in IMAGE_SUFFIXES:
                mask = folder / f'{image.stem}{suffix}{ending}'
                if mask.is_file():
                    return mask
    return None


def run_converter(layout: Layout, description: str, argv: Sequence[str] | None = None) -> int:
    """The command line of all converters; prints the counts beside the published ones."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('source', help='the unpacked download')
    parser.add_argument('target', help='where images/ and masks/ are written')
    parser.add_argument(
        '--rename',
        nargs='+',
        default=[],
        metavar='FOLDER=GROUP',
        help='names of folders in the download that are not recognized',
    )
    arguments = parser.parse_args(argv)
    rename = {}
    for pair in arguments.rename:
        folder, equals, group = pair.partition('=')
        if not equals or group not in layout.groups:
            parser.error(f'--rename takes FOLDER=GROUP with GROUP of {list(layout.groups)}: {pair}')
        rename[folder] = group
    try:
        counts = convert(arguments.source, arguments.target, layout, rename)
    except (ValueError, OSError) as error:
        parser.exit(1, f'{parser.prog}: error: {error}\n')
    for group, count in counts.items():
        published = layout.published.get(group)
        note = f'  (published: {published})' if published not in (None, count) else ''
        print(f'{group:>12} {count:5d} images{note}')
    total = sum(counts.values())
    note = f'  (published: {layout.total})' if layout.total not in (None, total) else ''
    print(f'{"total":>12} {total:5d} images in {arguments.target}{note}')
    return 0
