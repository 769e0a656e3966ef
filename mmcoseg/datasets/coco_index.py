"""COCO's annotations as arrays in files, which any number of processes map into their memory."""

import glob
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout
from mmengine.logging import print_log

from ..compat import return_freed_memory
from ..errors import MMCosegError, naming
from .coco_file import area_of, listed_size, parse_coco, read_json, strict_report

__all__ = ['CocoIndex', 'IndexedAnnotation', 'open_index']

#: Raised whenever the form of the files changes, so that old ones are left alone.
_VERSION = 2
#: Folder of the indices, beside the annotations.
_FOLDER = '.mmcoseg_index'
#: Of the names of its indices' folders.
_DIGITS = 16
#: The arrays of an index, each a file, and which other one says where the pieces of one end.
_ENDS = dict(files='file_ends', shapes='shape_ends', categories='annotation_ends')
_ARRAYS = (*_ENDS, *_ENDS.values(), 'areas', 'crowds', 'sizes')


class IndexedAnnotation(NamedTuple):
    """One annotation; ``name`` is for messages, ``category`` an index into the categories' names.

    ``area`` (pixels) and ``segmentation`` are as they stand in the file.
    """

    name: str
    category: int
    area: float
    crowd: bool
    segmentation: Any


class CocoIndex:
    """The images of a file of COCO instances, by their ids, with their annotations.

    Args:
        folder: where :func:`open_index` has put it; only this is pickled.

    Attributes:
        names: of the categories, each once, in the order of the file.
        arrays: ``files`` and ``shapes``, uint8: names of the images' files, and name and
            segmentation of annotations as json, one after the other; ``file_ends`` and
            ``shape_ends``, int64: where they end. Of annotations, sorted by image, ``categories``
            int32, ``areas`` float64, ``crowds`` bool; ``annotation_ends`` int64: where those of an
            image end. ``sizes`` (n, 2) int64: height and width of images, 0 where unknown.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = json.loads((folder / 'about.json').read_text())
        self.names = about['names']
        self.arrays: dict[str, np.ndarray] = {}
        for name in _ARRAYS:
            # Plain arrays on the mapped memory: slices of numpy's memmap are slow.
            self.arrays[name] = np.load(folder / f'{name}.npy', mmap_mode='r').view(np.ndarray)
        for name, ends in _ENDS.items():
            if len(self.arrays[name]) != self.arrays[ends][-1:].sum():
                raise ValueError(f'{folder}: {name} is cut off')
        for note in about['notes']:
            warnings.warn(note, stacklevel=4)

    def __reduce__(self) -> tuple:
        return CocoIndex, (self.folder,)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.arrays['file_ends'])

    def file_name(self, position: int) -> str:
        """The ``file_name`` of an image."""
        return self._piece('files', position).decode('utf-8', 'surrogatepass')

    def size(self, position: int) -> tuple[int, int] | None:
        """Height and width of an image, in pixels; None where the file does not say."""
        height, width = self.arrays['sizes'][position].tolist()
        return (height, width) if height else None

    def annotations(self, position: int) -> Iterator[IndexedAnnotation]:
        """The annotations of an image."""
        for number in range(*self._bounds('annotation_ends', position)):
            name, segmentation = json.loads(self._piece('shapes', number))
            yield IndexedAnnotation(
                name,
                int(self.arrays['categories'][number]),
                float(self.arrays['areas'][number]),
                bool(self.arrays['crowds'][number]),
                segmentation,
            )

    def images_with(self, category: int, above: float) -> np.ndarray:
        """Positions, (n,) int32, of the images with an instance, not a crowd, above an area."""
        chosen = (self.arrays['categories'] == category) & (self.arrays['areas'] > above)
        numbers = np.flatnonzero(chosen & ~self.arrays['crowds'])
        images = np.searchsorted(self.arrays['annotation_ends'], numbers, side='right')
        return np.unique(images).astype(np.int32)

    def _piece(self, name: str, number: int) -> bytes:
        start, end = self._bounds(_ENDS[name], number)
        return self.arrays[name][start:end].tobytes()

    def _bounds(self, ends: str, number: int) -> tuple[int, int]:
        start = self.arrays[ends][number - 1] if number else 0
        return int(start), int(self.arrays[ends][number])


def open_index(file: str | Path, hint: str = '') -> CocoIndex:
    """The index of a file of COCO instances, made where there is none yet.

    It lies in a folder ``.mmcoseg_index`` beside the file or, where that cannot be written, in the
    user's folder of caches or that of temporary files, which a message says. It is valid as long
    as the file keeps its size and modification time. One process makes it, others wait. ``hint``
    ends the message if there is no such file.
    """
    file = Path(file)
    try:
        state = file.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f'there is no file {file}.{hint}') from None
    key = f'{_VERSION} {state.st_size} {state.st_mtime_ns}'
    name = f'{file.name}.{_digest(key)}'
    places = _places(file)
    for place in places:
        index = _load(place / name)
        if index is not None:
            return index
    refused = []
    for place in places:
        try:
            with _lock(place, file):
                # Another process may have made it while this one waited.
                index = _load(place / name)
                if index is None:
                    index = _write(place / name, file)
        except (OSError, NotImplementedError) as error:
            refused.append(f'{place} ({error})')
            continue
        return_freed_memory()
        if refused:
            elsewhere = ', '.join(refused)
            print_log(f'the index of {file} is in {place}, not in {elsewhere}', 'current')
        return index
    raise MMCosegError(
        f'the index of {file} can be written to none of {", ".join(refused)}; set XDG_CACHE_HOME '
        'to a folder that can be'
    )


def _places(file: Path) -> list[Path]:
    """Folders that the index may be in, the best first."""
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    user = getattr(os, 'getuid', lambda: 'user')()
    temporary = Path(tempfile.gettempdir()) / f'mmcoseg-{user}'
    # Files of one name lie there side by side.
    own = _digest(str(file.resolve()))
    return [
        file.parent / _FOLDER,
        cache / 'mmcoseg' / 'coco_index' / own,
        temporary / 'coco_index' / own,
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:_DIGITS]


def _lock(place: Path, file: Path) -> BaseFileLock:
    """The lock of a file's index, taken."""
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / f'{file.name}.lock')
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print_log(f'waiting for another process that makes the index of {file}', 'current')
        lock.acquire()
    return lock


def _read(file: Path) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """The arrays of an index, the names of its categories, and what is to be said of the file."""
    notes: list[str] = []
    coco = parse_coco(read_json(file), file, strict_report(file, notes.append))
    images = sorted(coco.images, key=lambda image: (isinstance(image['id'], str), image['id']))
    position_of = {image['id']: position for position, image in enumerate(images)}
    names = list(dict.fromkeys(coco.names.values()))
    number_of = {key: names.index(name) for key, name in coco.names.items()}
    annotations = sorted(coco.annotations, key=lambda a: position_of[a['image_id']])
    owners, categories, areas, crowds, shape_ends = [], [], [], [], []
    shapes = bytearray()
    for annotation in annotations:
        owners.append(position_of[annotation['image_id']])
        categories.append(number_of[annotation['category_id']])
        crowds.append(bool(annotation.get('iscrowd')))
        with naming(str(file)):
            areas.append(area_of(annotation))
        # Taken out of the annotation, which frees its memory.
        shape = [f'annotation {annotation["id"]}', annotation.pop('segmentation', None)]
        shapes += json.dumps(shape, separators=(',', ':')).encode()
        shape_ends.append(len(shapes))
    sizes = [listed_size(image) or (0, 0) for image in images]
    files = [image['file_name'].encode('utf-8', 'surrogatepass') for image in images]
    arrays = dict(
        files=np.frombuffer(b''.join(files), np.uint8),
        file_ends=np.cumsum(list(map(len, files)), dtype=np.int64),
        shapes=np.frombuffer(shapes, np.uint8),
        shape_ends=np.array(shape_ends, np.int64),
        categories=np.array(categories, np.int32),
        annotation_ends=np.searchsorted(owners, np.arange(len(images)), side='right'),
        areas=np.array(areas, np.float64),
        crowds=np.array(crowds, bool),
        sizes=np.array(sizes, np.int64).reshape(-1, 2),
    )
    return arrays, names, notes


def _write(folder: Path, file: Path) -> CocoIndex:
    """Make an index in a folder, whole or not at all, in place of older ones of the file."""
    arrays, names, notes = _read(file)
    unfinished = folder.with_name(f'{file.name}.unfinished')
    older = folder.parent.glob(f'{glob.escape(file.name)}.{"[0-9a-f]" * _DIGITS}')
    for path in (unfinished, *older):
        shutil.rmtree(path, ignore_errors=True)
    try:
        unfinished.mkdir()
        for name, array in arrays.items():
            np.save(unfinished / f'{name}.npy', array)
        about = json.dumps(dict(names=names, notes=notes))
        (unfinished / 'about.json').write_text(about)
        os.replace(unfinished, folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return CocoIndex(folder)


def _load(folder: Path) -> CocoIndex | None:
    """The index in a folder; None where there is none, or a file of it is missing or cut off."""
    try:
        return CocoIndex(folder)
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
