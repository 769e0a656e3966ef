"""What a user gives us to segment: folders, lists, arrays; and the groups that it means."""

import itertools
import math
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image

from ..datasets.image_io import IMAGE_SUFFIXES, UNREAD_SUFFIXES, BadImageError, from_pil, open_image
from ..errors import MMCosegError
from ..files import named
from ..options import one_of
from ..structures import Hint

__all__ = ['Frame', 'ImageItem', 'ImageLimits', 'InputGroup', 'distinct_names', 'read_inputs']

#: Suffixes of files that lie beside images for good reason: left out of folders without a note.
_COMPANIONS = frozenset(
    '.aae .csv .db .gz .htm .html .ini .json .jsonl .log .md .mat .npy .npz .pkl .pt .pth .py .pdf '
    '.rst .tar .toml .tsv .txt .url .xml .xmp .yaml .yml .zip'.split()
)
_VIDEOS = frozenset('.3gp .avi .lrv .m4v .mkv .mov .mp4 .mpg .mts .thm .webm .wmv'.split())
#: Of these, what can be given as a sequence; the others are previews.
_READ_VIDEOS = _VIDEOS - {'.lrv', '.thm'}
#: How many names a note spells out.
_MAX_NAMED = 10
_UNNAMED = 'images'
#: Images in memory.
_PICTURE = np.ndarray, Image.Image


@dataclass(frozen=True)
class ImageLimits:
    """Which images are absurd: left out and listed, rather than computed on.

    Args:
        max_pixels: width times height; by default 179 million, from which Pillow, too, refuses to
            read a file.
        max_aspect: longer side over shorter side.
    """

    max_pixels: int = 178_956_970
    max_aspect: float = 60

    def check(self, width: int, height: int, name: str) -> None:
        """Raises: BadImageError: if an image of this size is absurd."""
        short, long = sorted((width, height))
        problems = {
            'so that it has no pixels': short < 1,
            f'more than {self.max_pixels / 1e6:.0f} million pixels (--max-pixels raises the '
            'limit)': short * long > self.max_pixels,
            f'longer than {self.max_aspect:g} times its shorter side (--max-aspect raises the '
            'limit)': long > self.max_aspect * short,
        }
        for problem, holds in problems.items():
            if holds:
                raise BadImageError(f'{name} is {width} x {height}, {problem}')


@dataclass(frozen=True)
class Frame:
    """Where in a sequence an image is.

    Args:
        number: of the frame in the video, or of the image in its folder, from 0.
        video: name of the video's file; None for a folder of images.
        seconds: from the start of the video.
    """

    number: int
    video: str | None = None
    seconds: float | None = None

    @property
    def metainfo(self) -> dict[str, Any]:
        """What a sample and its record say of it."""
        return dict(frame=self.number, video=self.video, time=self.seconds)


@dataclass(frozen=True)
class ImageItem:
    """One image of a group.

    Args:
        stem: its name within the group, from which names of results are made.
        file_name: the name of its file, or what stands for one.
        path: of the file, None for an image in memory.
        image: the image in memory: (H, W, 3) uint8 BGR, or a Pillow image.
        hints: what a person said of its pixels.
        frame: where it is in a sequence, if it is a frame of one.
        problem: why it cannot be read, where that is known already.
    """

    stem: str
    file_name: str
    path: Path | None = None
    image: Any = field(default=None, compare=False, repr=False)
    hints: tuple[Hint, ...] = ()
    frame: Frame | None = None
    problem: str = ''

    @classmethod
    def of_file(cls, path: Path) -> 'ImageItem':
        return cls('', path.name, path)

    @property
    def suffix(self) -> str:
        return '' if self.path is None else self.path.suffix.lower()

    @property
    def folder(self) -> Path | None:
        """Where its file is; not where the file is that it may be a link to."""
        return self.path and Path(os.path.abspath(self.path)).parent

    @property
    def place(self) -> tuple[Path | None, str]:
        """What files of one photograph have in common: the folder, and the name without suffix."""
        return self.folder, Path(self.file_name).stem.casefold()

    def check(self, limits: ImageLimits) -> int:
        """Its number of pixels, from the file's head.

        Raises:
            FileNotFoundError, BadImageError: if it is not there, no image, or absurd.
        """
        if self.problem:
            raise BadImageError(self.problem)
        if self.path is not None:
            size = self._size_in_file()
        elif isinstance(self.image, np.ndarray):
            size = self.image.shape[1::-1]
        else:
            size = self.image.size
        limits.check(*size, str(self.path or self.file_name))
        return math.prod(size)

    def _size_in_file(self) -> tuple[int, int]:
        try:
            status = os.stat(self.path)
            if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
                raise BadImageError(f'{self.path} is a folder, or not a regular file')
            if status.st_size == 0:
                raise BadImageError(f'{self.path} is empty')
            with open_image(self.path) as image:
                return image.size
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{self.path} is gone, or is a link to a file that is not there; remove it or '
                'mend it'
            ) from error
        except Image.DecompressionBombError as error:
            raise BadImageError(
                f'{self.path} is absurdly large (--max-pixels raises the limit): {error}'
            ) from error
        except OSError as error:  # such as a link to itself
            raise BadImageError(f'{self.path} cannot be read as an image: {error}') from error

    def upright_size(self) -> tuple[int, int]:
        """Height and width, turned as the file says.

        Raises:
            FileNotFoundError, BadImageError: if it is not there, or no image.
        """
        if self.path is None and isinstance(self.image, np.ndarray):
            return self.image.shape[:2]
        with nullcontext(self.image) if self.path is None else open_image(self.path) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return (width, height) if turned else (height, width)

    def record(self) -> dict[str, Any]:
        """Where a pipeline starts, without the group and the hints.

        Raises:
            BadImageError: if a Pillow image cannot be read.
        """
        if self.path is not None:
            return dict(img_path=str(self.path), stem=self.stem)
        image = self.image
        if isinstance(image, Image.Image):
            try:
                image = from_pil(image)
            except Exception as error:
                raise BadImageError(f'{self.file_name} cannot be read: {error}') from error
        return dict(img_path=None, stem=self.stem, ori_img=image)


@dataclass
class InputGroup:
    """The images that are segmented together.

    Args:
        name: of the group.
        items: its images, in order.
        classes: names of the classes that hints tell apart; may be empty.
        sequence: whether the images are frames of one scene, in order.
    """

    name: str
    items: list[ImageItem]
    classes: tuple[str, ...] = ()
    sequence: bool = False

    def __len__(self) -> int:
        return len(self.items)


def read_inputs(
    inputs: Any,
    channel_order: str = 'bgr',
    notes: list[str] | None = None,
    videos: list[Path] | None = None,
) -> list[InputGroup]:
    """The groups of images that an input stands for. Image files are not opened.

    docs/segment.md says how folders, text files and image files make groups, and what is left out.
    Moreover, *a list* of image files, arrays and Pillow images is one group, named after the folder
    that all lie in, or else ``images``; *a dict* is name of the group -> any of these, as one
    group each. Arrays are (H, W, 3) or (H, W), uint8.

    Args:
        inputs: as above; paths as str or ``Path``.
        channel_order: of the arrays, ``'bgr'`` (as OpenCV and mmcv read) or ``'rgb'``.
        notes: gets a sentence about everything left out that somebody might miss.
        videos: gets the videos that are given themselves, not in a folder; None: they are left out.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        MMCosegError: if there is no image in it, or none of a kind that can be read; for a group
            without a name, an array that is no image, or anything else than the above.

    Example:
        >>> white = np.full((4, 6, 3), 255, np.uint8)
        >>> [(group.name, len(group)) for group in read_inputs(dict(a=[white, white], b=white))]
        [('a', 2), ('b', 1)]
    """
    one_of('channel_order', channel_order, Literal['bgr', 'rgb'])
    reader = _Reader(channel_order == 'rgb', [] if notes is None else notes, videos)
    found = reader.named(inputs) if isinstance(inputs, Mapping) else reader.read(inputs)
    if not found and not videos:
        raise MMCosegError('the input is without any image; give folders, files or arrays')
    if not videos:
        _require_readable(found)
    names = distinct_names([name for name, _ in found])
    return [InputGroup(name, reader.finish(items)) for name, (_, items) in zip(names, found)]


_Groups = list[tuple[str, list[ImageItem]]]


class _Reader:
    """Finds images. ``notes`` gets a sentence about everything left out."""

    def __init__(self, rgb: bool, notes: list[str], videos: list[Path] | None) -> None:
        self.rgb = rgb
        self.notes = notes
        self.videos = videos

    def note(self, text: str, names: Sequence[str], more: str = '') -> None:
        """Add a note about these names, if there are any."""
        if names:
            self.notes.append(f'{text}: {named(names, _MAX_NAMED)}{more}')

    def named(self, values: Mapping[Any, Any]) -> _Groups:
        """All images of each value as one group."""
        groups = []
        for name, value in values.items():
            if not isinstance(name, str) or not name.strip():
                raise MMCosegError(f'names of groups must be texts, not empty, got {name!r}')
            items = _all_items(self.read(value))
            if not items:
                raise MMCosegError(
                    f'the group {name!r} is without any image; give folders, files or arrays'
                )
            groups.append((name, items))
        return groups

    def read(self, value: Any) -> _Groups:
        if isinstance(value, (str, os.PathLike)):
            return self.path(Path(value).expanduser())
        if isinstance(value, (*_PICTURE, Mapping)) or not isinstance(value, Iterable):
            value = [value]
        return self.several(list(value))

    def several(self, values: Sequence[Any]) -> _Groups:
        groups: _Groups = []
        items, seen, twice = [], set(), []
        for number, value in enumerate(values):
            if isinstance(value, _PICTURE):
                items.append(self.picture(value, number))
                continue
            if not isinstance(value, (str, os.PathLike)):
                raise MMCosegError(
                    'images are given as the path of a folder, image or text file, as an array, a '
                    'Pillow image, a list of these or a dict of groups; got '
                    f'{type(value).__name__}'
                )
            path = Path(value).expanduser()
            key = os.path.realpath(path) if path.is_dir() else os.path.abspath(path)
            if key in seen:
                twice.append(str(path))
            elif path.is_dir():
                groups += self.folder(path)
            else:
                items.append(ImageItem.of_file(path))
            seen.add(key)
        self.note('given more than once, taken once', twice)
        items = self._without_videos(items)
        if items:
            folders = {item.folder for item in items}
            groups.append((_group_name(*folders) if len(folders) == 1 else _UNNAMED, items))
        return groups

    def _without_videos(self, items: Sequence[ImageItem]) -> Sequence[ImageItem]:
        """The other items; videos are sequences by themselves, unless a photograph is beside."""
        if self.videos is None:
            return items
        beside = _places_of_readable(items)
        others = []
        for item in items:
            if item.suffix in _READ_VIDEOS and item.place not in beside:
                self.videos.append(item.path)
            else:
                others.append(item)
        return others

    def picture(self, image: np.ndarray | Image.Image, number: int) -> ImageItem:
        """An image in memory, which has its number for a name where it knows none."""
        name = Path(getattr(image, 'filename', '') or f'{number:04}.png').name
        if isinstance(image, np.ndarray):
            pixels = np.atleast_3d(image)
            if image.ndim < 2 or pixels.dtype != np.uint8 or pixels.shape[2:] not in ((1,), (3,)):
                raise MMCosegError(
                    f'image {number} is an array {image.shape} of {image.dtype}; images must be '
                    '(H, W, 3) or (H, W) of uint8, 0 to 255'
                )
            pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
            image = np.ascontiguousarray(pixels[:, :, ::-1] if self.rgb else pixels)
        return ImageItem('', name, image=image)

    def path(self, path: Path) -> _Groups:
        if path.is_dir():
            return self.folder(path)
        if not os.path.lexists(path):
            raise FileNotFoundError(f'there is no file or folder {path}')
        if path.suffix.lower() in _READ_VIDEOS and self.videos is None:
            raise MMCosegError(
                f'{path} is a video, whose frames must be written somewhere: give it to `mmcoseg '
                'segment` or segment_to_folder'
            )
        single = _is_image(path) or path.suffix.lower() in _READ_VIDEOS
        return self.several([path]) if single else self.text_file(path)

    def folder(self, root: Path) -> _Groups:
        """Groups of a folder: its own images, and those of each folder in it."""
        groups = [(_group_name(root.resolve()), self.images(root))]
        deep: list[Path] = []
        seen: set[Path] = set()
        for folder in filter(Path.is_dir, _entries(root)):
            real = folder.resolve()
            if real in seen or root.resolve().is_relative_to(real):
                self.notes.append(f'{folder} links to a folder that is taken already; left out')
                continue
            seen.add(real)
            groups.append((folder.name, self.images(folder)))
            deep += _deeper(folder)
        groups = [(name, items) for name, items in groups if items]
        if not groups:
            raise _no_image(root, deep)
        more = ' (images are taken from the folder itself and the folders directly in it)'
        self.note('not looked into', list(map(str, deep)), more)
        return groups

    def images(self, folder: Path) -> list[ImageItem]:
        """Files of one folder that are images by their suffix, sorted."""
        images, others = [], []
        for path in itertools.filterfalse(Path.is_dir, _entries(folder)):
            (images if _is_image(path) else others).append(ImageItem.of_file(path))
        beside = _places_of_readable(images)
        missed = []
        for item in others:
            if item.suffix not in _COMPANIONS and item.place not in beside:
                missed.append(item.file_name)
        self.note(f'{folder}: no images by their suffix', missed)
        return images

    def text_file(self, file: Path) -> _Groups:
        listed = _lines_of(file)
        entries: dict[tuple[str, str], ImageItem] = {}
        for group, path in listed:
            entries.setdefault((group, os.path.abspath(path)), ImageItem.of_file(path))
        if not any(os.path.lexists(path) for _, path in entries):
            raise MMCosegError(
                f'{file} is taken for a text file of paths, and none of the {len(entries)} that it '
                f'names is there (the first is {os.path.abspath(listed[0][1])}); write one path a '
                'line, relative to the file'
            )
        twice = len(listed) - len(entries)
        if twice:
            self.notes.append(f'{file} names {twice} images more than once; each is taken once')
        groups = defaultdict(list)
        for (group, _), item in entries.items():
            groups[group or item.folder].append(item)
        if groups.keys() == {item.folder}:
            return [(file.stem, groups[item.folder])]
        found = []
        for group, items in groups.items():
            found.append((group if isinstance(group, str) else _group_name(group), items))
        return found

    def finish(self, items: Sequence[ImageItem]) -> list[ImageItem]:
        """The images of a group, under names that are all different."""
        items = self._images_among(items)
        names = distinct_names([item.file_name for item in items], with_suffix=True)
        renamed, stems = [], []
        for item, name in zip(items, names):
            if name != item.file_name:
                renamed.append(f'{item.path or item.file_name} is called {name}')
            stems.append(name if item.suffix in UNREAD_SUFFIXES else Path(name).stem)
        self.note('of files of one name', renamed)
        counts, whole = Counter(stems), []
        for number, stem in enumerate(stems):
            if counts[stem] > 1:
                stems[number] = names[number]
                whole.append(names[number])
        self.note('go by their whole names, since their stems are the same', sorted(whole))
        named = zip(items, names, distinct_names(stems))
        return [replace(item, file_name=name, stem=stem) for item, name, stem in named]

    def _images_among(self, items: Sequence[ImageItem]) -> Sequence[ImageItem]:
        """Without files that are certainly no images, and raw ones of photographs that are read.

        All of it, where nothing would be left: then somebody means these files.
        """
        beside = _places_of_readable(items)
        kept, others, raw = [], [], []
        for item in items:
            if item.place in beside and item.suffix not in IMAGE_SUFFIXES:
                if item.suffix in UNREAD_SUFFIXES:
                    raw.append(item.file_name)
            elif item.suffix in _COMPANIONS | _VIDEOS:
                others.append(str(item.path))
            else:
                kept.append(item)
        if kept:
            self.note('left out, since they are no images', others)
            self.note('left out, since files of the same name are read', raw)
        return kept or items


def _is_image(path: Path) -> bool:
    """Whether a file is an image by its suffix, of a kind that can be read or not."""
    return path.suffix.lower() in (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES)


def _places_of_readable(items: Sequence[ImageItem]) -> set[tuple[Path | None, str]]:
    return {item.place for item in items if item.suffix in IMAGE_SUFFIXES}


def _require_readable(groups: _Groups) -> None:
    """Refuse an input whose images are all of kinds that cannot be read, with what helps."""
    items = _all_items(groups)
    examples: dict[str | None, str] = {}
    for item in items:
        examples.setdefault(UNREAD_SUFFIXES.get(item.suffix), item.file_name)
    if None not in examples:
        kinds = '; '.join(f'{name} {cure}' for cure, name in examples.items())
        raise MMCosegError(f'no image of the input can be read ({len(items)} files): {kinds}')


def _lines_of(file: Path) -> list[tuple[str, Path]]:
    """Group, which may be empty, and path of each line of a text file."""
    content = file.read_bytes()
    if b'\0' in content[:4096]:
        raise MMCosegError(
            f'{file} is neither an image ({", ".join(IMAGE_SUFFIXES)}) nor a text file of paths; '
            'unpack archives, and give the folder'
        )
    listed = []
    # Bytes, since names of files need not be UTF-8.
    for line in content.removeprefix(b'\xef\xbb\xbf').splitlines():
        text, _, group = map(os.fsdecode, line.partition(b'\t'))
        if not text.strip() or text.startswith('#'):
            continue
        path = file.parent / Path(text).expanduser()
        if not os.path.lexists(path):  # spaces may belong to a name, but seldom do
            path = file.parent / Path(text.strip()).expanduser()
        listed.append((group.strip(), path))
    if not listed:
        raise MMCosegError(f'{file} names no image; write one path a line')
    return listed


def _all_items(groups: _Groups) -> list[ImageItem]:
    return [item for _, items in groups for item in items]


def _group_name(folder: Path | None) -> str:
    """The name of a group of images that all lie in a folder, or in none."""
    return folder and folder.name or _UNNAMED


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, without hidden files, sorted by name."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith('.'))


def _deeper(folder: Path) -> list[Path]:
    """Folders in a folder that hold images, unless they are results of ours."""
    if (folder / '.mmcoseg').is_dir() or (folder.parent / '.mmcoseg').is_dir():
        return []
    # `glob` passes over folders that may not be read.
    folders = filter(Path.is_dir, _entries(folder))
    return [entry for entry in folders if any(map(_is_image, entry.glob('[!.]*')))]


def _no_image(root: Path, deep: Sequence[Path]) -> MMCosegError:
    """The error for a folder without images, with what helps."""
    message = f'{root} holds no image ({", ".join(IMAGE_SUFFIXES)}), nor does a folder in it'
    files = [file.name for file in itertools.filterfalse(Path.is_dir, _entries(root))]
    if files:
        message += f'; it holds {named(files, _MAX_NAMED)} (unpack archives first)'
    if deep:
        parents = {str(path.parent): None for path in deep}
        message += f'; there are some further down: give {" or ".join([*parents][:4])}'
    return MMCosegError(message)


def distinct_names(names: Sequence[str], with_suffix: bool = False) -> list[str]:
    """The names of groups or images; where one comes again, with ``~2``, ``~3``, ... behind it.

    ``with_suffix``: they are names of files, whose number comes before the suffix.
    """
    taken, seen, distinct = set(names), set(), []
    for name in names:
        root, suffix = os.path.splitext(name) if with_suffix else (name, '')
        number, new = 1, name
        while name in seen and new in taken:
            number += 1
            new = f'{root}~{number}{suffix}'
        seen.add(name)
        taken.add(new)
        distinct.append(new)
    return distinct
