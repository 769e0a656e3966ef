"""Data sets with one folder of images and one of masks for each group."""

import argparse
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
from rich.progress import track

from ...errors import MMCosegError
from ..base import image_files, visible_folders
from ..image_io import IMAGE_SUFFIXES, BadImageError, read_image, read_mask
from .common import converter_parser, print_counts, run_command, write_pair

__all__ = ['Layout', 'convert', 'run_folder_converter']

#: Names of folders of ground truth, in lower case.
_MASK_FOLDERS = ('groundtruth', 'ground_truth', 'gt', 'masks')
#: What may follow the stem of an image in the name of its mask.
_MASK_SUFFIXES = ('', '_GT', '_gt')
#: Folders that only say that images are in them.
_IMAGE_FOLDERS = ('image', 'images', 'jpegimages')


@dataclass
class Layout:
    """How a published data set lies on disk.

    Attributes:
        groups: canonical name -> names under which its folder is known, the best first. Case,
            leading digits, blanks, punctuation and what follows a hyphen do not matter
            (``041 Hot Balloons-Skybird`` is ``hotballoons``). Groups that share a name take the
            folders of that name in their order.
        images_per_group: number in publications, if it is the same for all groups.
        total: number of images of the whole set in publications.
    """

    groups: dict[str, Sequence[str]]
    images_per_group: int | None = None
    total: int | None = None


def convert(
    source: str | Path, target: str | Path, layout: Layout, rename: dict[str, str] | None = None
) -> dict[str, int]:
    """Write ``images/<group>/`` and ``masks/<group>/<stem>.png`` (0 / 255) below ``target``.

    Images of unusual formats are written as PNG, the others are copied. Existing files are written
    again: to continue an interrupted conversion, repeat it.

    Args:
        source: the unpacked download.
        target: where the canonical layout goes.
        layout: what to look for.
        rename: folder name in the download -> canonical name, for folders that are not recognized.

    Returns:
        Number of images of each group.
    """
    source, target = Path(source), Path(target)
    below = sorted(filter(Path.is_dir, source.rglob('*')))
    found = _find_groups(source, below, layout, rename or {})
    missing = sorted(set(layout.groups) - set(found))
    if missing:
        raise MMCosegError(
            f'{source} has no images for the groups {missing}; its folders are '
            f'{sorted({path.name for path in below})[:40]}. Say which is which with --rename '
            "'FOLDER=GROUP'"
        )
    counts = {}
    for group, folder in sorted(found.items()):
        pairs = _pairs(folder, _mask_folders(folder, source))
        for image, mask in track(pairs, group):
            write_pair(target, group, image, _binary(mask), mask)
        counts[group] = len(pairs)
    return counts


def _find_groups(
    source: Path, below: list[Path], layout: Layout, rename: dict[str, str]
) -> dict[str, Path]:
    """The folder of each group, where there is one."""
    folders = [folder for folder in below if _holds_images(folder, source)]
    found = _renamed(source, folders, rename)
    free = [folder for folder in folders if folder not in found.values()]
    wishes = []
    for group, names in layout.groups.items():
        wishes += [(rank, group, name) for rank, name in enumerate([*names, group])]
    # All groups look for their best name before any looks for its second.
    for _, group, name in sorted(wishes, key=itemgetter(0)):
        called = [folder for folder in free if _is_called(folder, name)]
        if called and group not in found:
            found[group] = called[0]
            free.remove(called[0])
    return found


def _holds_images(folder: Path, source: Path) -> bool:
    parts = Path(str(folder.relative_to(source)).lower()).parts
    if set(parts).intersection(_MASK_FOLDERS):
        return False
    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.iterdir())


def _renamed(source: Path, folders: list[Path], rename: dict[str, str]) -> dict[str, Path]:
    """The folders of the groups that the user named."""
    if len(set(rename.values())) < len(rename):
        raise MMCosegError(f'--rename makes one group of several folders: {rename}; name one')
    by_name = {folder.name: folder for folder in reversed(folders)}
    absent = sorted(set(rename) - set(by_name))
    if absent:
        has = f'it has {sorted(by_name)[:40]}'
        raise MMCosegError(f'--rename: {source} has no folder of images called {absent}; {has}')
    return {group: by_name[name] for name, group in rename.items()}


def _is_called(folder: Path, name: str) -> bool:
    return _plain(name) in (_plain(folder.name), _plain(folder.name.split('-')[0]))


def _plain(name: str) -> str:
    return re.sub(r'^[\d\W_]+|[\W_]+', '', name).lower()


def _pairs(folder: Path, mask_folders: list[Path]) -> list[tuple[Path, Path]]:
    """The images of a group with their masks."""
    pairs = [(image, _mask_of(image, mask_folders)) for image in image_files(folder)]
    without = [image.name for image, mask in pairs if mask is None]
    if without:
        raise MMCosegError(
            f'{folder}: {len(without)} images have no ground truth, the first are {without[:5]}; '
            f'looked for folders {list(_MASK_FOLDERS)}'
        )
    return pairs


def _mask_folders(folder: Path, source: Path) -> list[Path]:
    """Where the ground truth of a group's images may be, from its own folder up to the source."""
    places = []
    inner = Path()
    levels = [folder, *folder.parents]
    for above in levels[: levels.index(source) + 1]:
        for path in visible_folders(above):
            if path.name.lower() in _MASK_FOLDERS:
                places += [path / inner, path]
        if above.name.lower() not in _IMAGE_FOLDERS:
            inner = Path(above.name) / inner
    return places


def _mask_of(image: Path, mask_folders: list[Path]) -> Path | None:
    for folder, suffix, ending in itertools.product(mask_folders, _MASK_SUFFIXES, IMAGE_SUFFIXES):
        mask = folder / f'{image.stem}{suffix}{ending}'
        if mask.is_file():
            return mask
    return None


def _binary(mask: Path) -> np.ndarray:
    """0 / 255 from ground truth of any usual form: gray, palette, or colored objects."""
    try:
        values = read_mask(mask)
    except BadImageError:
        values = read_image(mask).max(axis=2)
    high = 128 if values.max(initial=0) > 20 else 1
    return (255 * (values >= high)).astype(np.uint8)


def run_folder_converter(
    layout: Layout, description: str, argv: Sequence[str] | None = None
) -> int:
    """The command line of a converter; prints the counts beside the published ones."""
    parser = converter_parser(description, 'the unpacked download')
    help = 'names of folders in the download that are not recognized'
    parser.add_argument('--rename', nargs='+', default=[], metavar='FOLDER=GROUP', help=help)
    arguments = parser.parse_args(argv)
    rename = {}
    for pair in arguments.rename:
        folder, _, group = pair.partition('=')
        if group not in layout.groups:
            parser.error(f'--rename takes FOLDER=GROUP with GROUP of {list(layout.groups)}: {pair}')
        rename[folder] = group

    def work(arguments: argparse.Namespace) -> None:
        counts = convert(arguments.source, arguments.target, layout, rename)
        lines = [(group, n, _unlike(n, layout.images_per_group)) for group, n in counts.items()]
        total = sum(counts.values())
        print_counts(lines, total, f'{arguments.target}{_unlike(total, layout.total)}')

    return run_command(parser, arguments, work)


def _unlike(count: int, published: int | None) -> str:
    return '' if published in (None, count) else f'  (published: {published})'
