"""What a user gives us to segment: folders, lists, arrays; and the groups that it means."""

import math
import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..datasets.image_io import (
    IMAGE_SUFFIXES,
    UNREAD_SUFFIXES,
    BadImageError,
    from_pil,
    open_image,
)
from ..errors import MMCosegError

__all__ = ['ImageItem', 'ImageLimits', 'InputGroup', 'read_inputs']

#: Files that lie beside images for good reason; nobody need be told that they are left out.
_COMPANIONS = frozenset(
    '.aae .csv .db .gz .htm .html .ini .json .jsonl .log .md .mat .npy .npz .pkl .pt .pth .py .pdf '
    '.rst .tar .toml .tsv .txt .url .xml .xmp .yaml .yml .zip'.split()
)
_VIDEOS = frozenset('.3gp .avi .lrv .m4v .mkv .mov .mp4 .mpg .mts .thm .webm .wmv'.split())
_ARCHIVES = frozenset({'.7z', '.gz', '.rar', '.tar', '.tgz', '.zip'})
#: How many names a note spells out.
_MAX_NAMED = 10
_UNNAMED = 'images'
#: Folders in a folder of results of ours.
_RESULTS = frozenset({'masks', 'instances', 'overlays', 'cutouts', 'labelme', 'yolo'})


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
        """Raises:
        BadImageError: if an image of this size is absurd.
        """
        if width < 1 or height < 1:
            raise BadImageError(f'{name} is {width} x {height}: it has no pixels')
        if width * height > self.max_pixels:
            raise BadImageError(
                f'{name} is {width} x {height}, more than {self.max_pixels / 1e6:.0f} million '
                'pixels (--max-pixels raises the limit)'
            )
        if max(width, height) > self.max_aspect * min(width, height):
            raise BadImageError(
                f'{name} is {width} x {height}, longer than {self.max_aspect:g} times its shorter '
                'side (--max-aspect raises the limit)'
            )


@dataclass(frozen=True)
class ImageItem:
    """One image of a group.

    Args:
        stem: its name within the group, from which names of results are made.
        file_name: the name of its file, or what stands for one.
        path: of the file, None for an image in memory.
        image: the image in memory: (H, W, 3) uint8 BGR, or a Pillow image.
    """

    stem: str
    file_name: str
    path: Path | None = None
    image: Any = field(default=None, compare=False, repr=False)

    def check(self, limits: ImageLimits) -> int:
        """Look at the file's head, without reading all of it.

        Returns:
            Its number of pixels.

        Raises:
            BadImageError: if it is not there, no image, or absurd.
        """
        if self.path is None:
            array = isinstance(self.image, np.ndarray)
            size = self.image.shape[1::-1] if array else self.image.size
            limits.check(*size, self.file_name)
            return math.prod(size)
        try:
            size = self._size()
        except FileNotFoundError as error:
            what = 'is a link to a file that is not there' if self.path.is_symlink() else 'is gone'
            raise FileNotFoundError(f'{self.path} {what}; remove it or mend it') from error
        except Image.DecompressionBombError as error:
            raise BadImageError(
                f'{self.path} is absurdly large (--max-pixels raises the limit): {error}'
            ) from error
        except OSError as error:  # such as a link to itself
            raise BadImageError(f'{self.path} cannot be read as an image: {error}') from error
        limits.check(*size, str(self.path))
        return math.prod(size)

    def _size(self) -> tuple[int, int]:
        """Width and height, from the file's head."""
        status = os.stat(self.path)
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for without end
            kind = 'a folder' if stat.S_ISDIR(status.st_mode) else 'not a regular file'
            raise BadImageError(f'{self.path} is {kind}')
        if status.st_size == 0:
            raise BadImageError(f'{self.path} is empty')
        with open_image(self.path) as image:
            return image.size

    def record(self) -> dict[str, Any]:
        """Where a pipeline starts, without the group.

        Raises:
            BadImageError: if a Pillow image cannot be read.
        """
        record = dict(img_path=None if self.path is None else str(self.path), stem=self.stem)
        if isinstance(self.image, Image.Image):
            try:
                record['ori_img'] = from_pil(self.image)
            except Exception as error:
                raise BadImageError(f'{self.file_name} cannot be read: {error}') from error
        elif self.image is not None:
            record['ori_img'] = self.image
        return record


@dataclass
class InputGroup:
    """The images that are segmented together.

    Args:
        name: of the group.
        items: its images, in order.
    """

    name: str
    items: list[ImageItem]

    def __len__(self) -> int:
        return len(self.items)


def read_inputs(
    inputs: Any, channel_order: str = 'bgr', notes: list[str] | None = None
) -> list[InputGroup]:
    """The groups of images that an input stands for. Image files are not opened.

    - *A folder*: it and the folders directly in it are a group each, if they hold images.
    - *A text file*: one path a line, relative to the file, and optionally a tab and the name of
      the group. Blank lines and lines that begin with ``#`` do not count. Images without a group
      form one for each folder, or, if all lie in one folder, one named after the text file.
    - *An image file*: one group, named after its folder.
    - *A list* of image files, arrays and Pillow images: one group, named after the folder that all
      lie in, or else ``images``. A list of folders: each as above.
    - *A single array or Pillow image*: one group, ``images``.
    - *A dict*: name of the group -> any of these, as one group each.

    Arrays are (H, W, 3) or (H, W), uint8. Folders come in sorted order, lists as they are, each
    file and folder once. Photographs of kinds that cannot be read here (``UNREAD_SUFFIXES``) are
    taken, so that they are seen to be skipped, unless the same photograph is there to be read.
    Names that come twice in a group are made different; docs/segment.md says how, and what is left
    out.

    Args:
        inputs: as above; paths as str or ``Path``.
        channel_order: of the arrays, ``'bgr'`` (as OpenCV and mmcv read) or ``'rgb'``.
        notes: gets a sentence about everything left out that somebody might miss.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        MMCosegError: if there is no image in it, or none of a kind that can be read; for a group
            without a name, an array that is no image, or anything else than the above.

    Example:
        >>> white = np.full((4, 6, 3), 255, np.uint8)
        >>> [(group.name, len(group)) for group in read_inputs(dict(a=[white, white], b=white))]
        [('a', 2), ('b', 1)]
    """
    if channel_order not in ('bgr', 'rgb'):
        raise MMCosegError(f"channel_order must be 'bgr' or 'rgb', got {channel_order!r}")
    reader = _Reader(channel_order == 'rgb', [] if notes is None else notes)
    if isinstance(inputs, Mapping):
        found = [reader.named(name, value) for name, value in inputs.items()]
    else:
        found = reader.read(inputs)
    empty = [name for name, sources in found if not sources]
    if empty or not found:
        where = f'the groups {empty}' if empty else 'the input'
        raise MMCosegError(f'{where} without any image; give folders, files or arrays')
    _require_readable(found)
    names = _distinct([name for name, _ in found])
    return [InputGroup(n, reader.items(sources)) for n, (_, sources) in zip(names, found)]


@dataclass(frozen=True)
class _Source:
    """An image to be: its file, or an image in memory with a name."""

    name: str
    path: Path | None = None
    image: Any = None

    @classmethod
    def of_file(cls, path: Path) -> '_Source':
        return cls(path.name, path)

    @property
    def suffix(self) -> str:
        """Of the file, in lower case."""
        return '' if self.path is None else self.path.suffix.lower()

    @property
    def is_unread(self) -> bool:
        """Whether it is a photograph of a kind that is not read, such as a camera's raw file."""
        return self.suffix in UNREAD_SUFFIXES

    @property
    def place(self) -> tuple[Path | None, str]:
        """Folder and stem: the same for all that a camera makes of one photograph."""
        folder = None if self.path is None else _folder_of(self.path)
        return folder, Path(self.name).stem.casefold()


_Groups = list[tuple[str, list[_Source]]]


class _Reader:
    """Finds images. ``notes`` gets a sentence about everything left out."""

    def __init__(self, rgb: bool, notes: list[str]) -> None:
        self.rgb = rgb
        self.notes = notes

    def note(self, text: str, names: Iterable[str], more: str = '') -> None:
        """Add a note about these names, if there are any."""
        listed = _named(names)
        if listed:
            self.notes.append(f'{text}: {listed}{more}')

    def named(self, name: Any, value: Any) -> tuple[str, list[_Source]]:
        """All images of a value as one group."""
        if not isinstance(name, str) or not name.strip():
            raise MMCosegError(f'names of groups must be texts that are not empty, got {name!r}')
        sources: list[_Source] = []
        for _, some in self.read(value):
            sources += some
        return name, sources

    def read(self, value: Any) -> _Groups:
        if isinstance(value, (str, os.PathLike)):
            return self.path(Path(value).expanduser())
        if isinstance(value, (np.ndarray, Image.Image)):
            return [(_UNNAMED, [self.picture(value, 0, 1)])]
        if isinstance(value, Mapping) or not isinstance(value, Iterable):
            raise _unexpected(value)
        return self.several(list(value))

    def several(self, values: Sequence[Any]) -> _Groups:
        groups: _Groups = []
        sources: list[_Source] = []
        seen: set[str] = set()
        twice: list[str] = []
        for number, value in enumerate(values):
            if isinstance(value, (np.ndarray, Image.Image)):
                sources.append(self.picture(value, number, len(values)))
                continue
            if not isinstance(value, (str, os.PathLike)):
                raise _unexpected(value)
            path = Path(value).expanduser()
            key = os.path.realpath(path) if path.is_dir() else os.path.abspath(path)
            if key in seen:
                twice.append(str(path))
            elif path.is_dir():
                groups += self.folder(path)
            else:
                sources.append(_Source.of_file(path))
            seen.add(key)
        self.note('given more than once, taken once', twice)
        sources = self.without_strange(sources)
        if sources:
            folders = {source.place[0] for source in sources}
            folder = folders.pop() if len(folders) == 1 else None
            groups.append((_group_name(folder), sources))
        return groups

    def without_strange(self, sources: list[_Source]) -> list[_Source]:
        """What is left of a list without files that are certainly no images.

        All of it, where nothing would be left: then somebody means these files.
        """
        beside = _places_of_readable(sources)
        kept: list[_Source] = []
        missed: list[str] = []
        for source in sources:
            if source.path is None or _is_image(source.path) or not source.path.is_file():
                kept.append(source)
            elif source.place in beside:
                continue
            elif source.suffix in _COMPANIONS | _VIDEOS:
                missed.append(str(source.path))
            else:
                kept.append(source)
        if not kept:
            return sources
        self.note('left out, since they are no images', missed)
        return kept

    def picture(self, image: np.ndarray | Image.Image, number: int, count: int) -> _Source:
        """An image in memory, which has its number for a name where it knows none."""
        digits = max(4, len(str(count - 1)))
        name = Path(getattr(image, 'filename', '') or f'{number:0{digits}}.png').name
        if isinstance(image, Image.Image):
            return _Source(name, image=image)
        shape = image.shape if image.ndim == 3 else (*image.shape, 1)
        if image.dtype != np.uint8 or len(shape) != 3 or shape[2] not in (1, 3):
            raise MMCosegError(
                f'image {number} is an array {image.shape} of {image.dtype}; images must be '
                '(H, W, 3) or (H, W) of uint8, 0 to 255'
            )
        image = np.broadcast_to(image.reshape(shape), (*shape[:2], 3))
        if self.rgb:
            image = image[:, :, ::-1]
        return _Source(name, image=np.ascontiguousarray(image))

    def path(self, path: Path) -> _Groups:
        if path.is_dir():
            return self.folder(path)
        if not os.path.lexists(path):
            raise FileNotFoundError(f'there is no file or folder {path}')
        if _is_image(path):
            return [(_group_name(_folder_of(path)), [_Source.of_file(path)])]
        return self.text_file(path)

    def folder(self, root: Path) -> _Groups:
        """Groups of a folder: its own images, and those of each folder in it."""
        groups: _Groups = []
        deep: list[Path] = []
        top = self.images(root)
        if top:
            groups.append((_group_name(root.resolve()), top))
        seen = {os.path.realpath(root)}
        for folder in filter(Path.is_dir, _entries(root)):
            real = os.path.realpath(folder)
            if real in seen or os.path.realpath(root).startswith(os.path.join(real, '')):
                self.notes.append(f'{folder} links to a folder that is taken already; left out')
                continue
            seen.add(real)
            images = self.images(folder)
            if images:
                groups.append((folder.name, images))
            deep += _deeper(folder)
        if not groups:
            raise _no_image(root, deep)
        more = ' (images are taken from the folder itself and the folders directly in it)'
        self.note('not looked into', map(str, deep), more)
        return groups

    def images(self, folder: Path) -> list[_Source]:
        """Files of one folder that are images by their suffix, sorted."""
        images, strange = [], []
        for path in _entries(folder):
            if path.is_dir():
                continue
            if _is_image(path):
                images.append(_Source.of_file(path))
            elif path.suffix.lower() not in _COMPANIONS:
                strange.append(_Source.of_file(path))
        beside = _places_of_readable(images)
        missed = [source.name for source in strange if source.place not in beside]
        if images or len(missed) > 1:
            self.note(f'{folder}: no images by their suffix', missed)
        return images

    def text_file(self, file: Path) -> _Groups:
        listed = _lines_of(file)
        entries: dict[tuple[str, str], Path] = {}
        for group, path in listed:
            entries.setdefault((group, os.path.abspath(path)), path)
        if not any(map(os.path.lexists, entries.values())):
            raise MMCosegError(
                f'{file} is taken for a text file of paths, and none of the {len(entries)} that it '
                f'names is there (the first is {os.path.abspath(listed[0][1])}); write one path a '
                'line, relative to the file'
            )
        twice = len(listed) - len(entries)
        if twice:
            self.notes.append(f'{file} names {twice} images more than once; each is taken once')
        named: dict[str, list[_Source]] = {}
        by_folder: dict[Path, list[_Source]] = {}
        for (group, _), path in entries.items():
            place = named if group else by_folder
            place.setdefault(group or _folder_of(path), []).append(_Source.of_file(path))
        if len(by_folder) == 1 and not named:
            return [(file.stem, *by_folder.values())]
        groups = [(_group_name(folder), sources) for folder, sources in by_folder.items()]
        return [*groups, *named.items()]

    def items(self, sources: Sequence[_Source]) -> list[ImageItem]:
        """The images of a group, under names that are all different."""
        sources = self._without_companions(sources)
        names = _distinct([source.name for source in sources], with_suffix=True)
        renamed = []
        for source, name in zip(sources, names):
            if name != source.name:
                renamed.append(f'{source.path or source.name} is called {name}')
        self.note('of files of one name', renamed)
        stems = _distinct(self._stems(sources, names))
        items = []
        for source, name, stem in zip(sources, names, stems):
            items.append(ImageItem(stem, name, source.path, source.image))
        return items

    def _stems(self, sources: Sequence[_Source], names: Sequence[str]) -> list[str]:
        """Names without suffix; whole names of images that would be called the same."""
        stems, whole = [], []
        counts: Counter[str] = Counter()
        for source, name in zip(sources, names):
            # Files that are skipped for sure change no other file's name.
            counts[Path(name).stem] += not source.is_unread
        for source, name in zip(sources, names):
            stem = Path(name).stem
            if source.is_unread:
                stem = name
            elif counts[stem] > 1:
                stem = name
                whole.append(name)
            stems.append(stem)
        self.note('go by their whole names, since their stems are the same', sorted(whole))
        return stems

    def _without_companions(self, sources: Sequence[_Source]) -> list[_Source]:
        """Images without unreadable files (raw, HEIC) of a photograph that is there to be read."""
        readable = _places_of_readable(sources)
        kept: list[_Source] = []
        left_out: list[str] = []
        for source in sources:
            if source.is_unread and source.place in readable:
                left_out.append(source.name)
            else:
                kept.append(source)
        self.note('left out, since files of the same name are read', left_out)
        return kept


def _is_image(path: Path) -> bool:
    """Whether a file is an image by its suffix, of a kind that can be read or not."""
    suffix = path.suffix.lower()
    return suffix in IMAGE_SUFFIXES or suffix in UNREAD_SUFFIXES


def _places_of_readable(sources: Sequence[_Source]) -> set[tuple[Path | None, str]]:
    return {source.place for source in sources if source.suffix in IMAGE_SUFFIXES}


def _require_readable(groups: _Groups) -> None:
    """Raises:
    MMCosegError: if all images are of kinds that cannot be read, with what helps.
    """
    examples: dict[str, str] = {}
    count = 0
    for _, sources in groups:
        for source in sources:
            if not source.is_unread:
                return
            examples.setdefault(UNREAD_SUFFIXES[source.suffix], source.name)
            count += 1
    kinds = '; '.join(f'{name} {cure}' for cure, name in examples.items())
    raise MMCosegError(f'no image of the input can be read ({count} files): {kinds}')


def _lines_of(file: Path) -> list[tuple[str, Path]]:
    """Group, which may be empty, and path of each line of a text file."""
    if file.suffix.lower() in _ARCHIVES:
        raise MMCosegError(f'{file} is an archive; unpack it and give the folder')
    content = file.read_bytes()
    if b'\0' in content[:4096]:
        raise MMCosegError(
            f'{file} is neither an image ({", ".join(IMAGE_SUFFIXES)}) nor a text file of paths'
        )
    listed = []
    # Bytes, since names of files need not be UTF-8.
    for line in content.removeprefix(b'\xef\xbb\xbf').splitlines():
        text, _, group = (os.fsdecode(part) for part in line.partition(b'\t'))
        if not text.strip() or text.startswith('#'):
            continue
        path = file.parent / Path(text).expanduser()
        if not os.path.lexists(path):  # spaces may belong to a name, but seldom do
            path = file.parent / Path(text.strip()).expanduser()
        listed.append((group.strip(), path))
    if not listed:
        raise MMCosegError(f'{file} names no image; write one path a line')
    return listed


def _group_name(folder: Path | None) -> str:
    """The name of a group of images that all lie in a folder, or that have no common one."""
    return _UNNAMED if folder is None else folder.name or _UNNAMED


def _folder_of(path: Path) -> Path:
    """The folder in which a file is; not that of the file which it may be a link to."""
    return Path(os.path.abspath(path)).parent


def _entries(folder: Path, quiet: bool = False) -> list[Path]:
    """What is in a folder, without hidden files, sorted by name."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith('.'))
    except OSError:
        if quiet:
            return []
        raise


def _deeper(folder: Path) -> list[Path]:
    """Folders in a folder that hold images, unless they are results of ours."""
    outside = folder.parent / '.mmcoseg'
    if (folder / '.mmcoseg').is_dir() or (outside.is_dir() and folder.name in _RESULTS):
        return []
    folders = filter(Path.is_dir, _entries(folder, quiet=True))
    return [entry for entry in folders if any(map(_is_image, _entries(entry, quiet=True)))]


def _no_image(root: Path, deep: Sequence[Path]) -> MMCosegError:
    """The error for a folder without images, with what helps."""
    message = f'{root} holds no image ({", ".join(IMAGE_SUFFIXES)}), nor does a folder in it'
    files = [entry for entry in _entries(root) if not entry.is_dir()]
    if files:
        message += f'; it holds {_named([file.name for file in files])}'
    if any(file.suffix.lower() in _ARCHIVES for file in files):
        message += ' (unpack archives first)'
    if deep:
        parents = list(dict.fromkeys(str(path.parent) for path in deep))
        message += f'; there are some further down: give {" or ".join(parents[:4])}'
    return MMCosegError(message)


def _distinct(names: Sequence[str], with_suffix: bool = False) -> list[str]:
    """The names; where one comes again, with ``~2``, ``~3``, ... behind it.

    Args:
        names: of groups or images.
        with_suffix: they are names of files: the number comes before the suffix.
    """
    taken, distinct = set(names), []
    used: set[str] = set()
    for name in names:
        root, suffix = os.path.splitext(name) if with_suffix else (name, '')
        number, new = 1, name
        while new in used or (number > 1 and new in taken):
            number += 1
            new = f'{root}~{number}{suffix}'
        used.add(new)
        distinct.append(new)
    return distinct


def _named(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _MAX_NAMED
    return ', '.join(names[:_MAX_NAMED]) + (f' and {more} more' if more > 0 else '')


def _unexpected(value: Any) -> MMCosegError:
    return MMCosegError(
        'images are given as the path of a folder, image or text file, as an array, a Pillow '
        f'image, a list of these or a dict of groups; got {type(value).__name__}'
    )
