"""What is computed from an image's pixels, kept on disk so that it is computed once."""

import hashlib
import json
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .files import write_atomically
from .options import one_of

__all__ = ['VERSIONS', 'ImageCache']

Kind = Literal['proposals', 'saliency']

#: Of each kind; raised whenever its results change, so that old files are left alone.
VERSIONS = dict(proposals=2, saliency=1)

#: Arrays by name: what a file holds.
Arrays = dict[str, np.ndarray]


class ImageCache:
    """One kind of arrays with one choice of settings, in a folder.

    The key is the image's pixels, not its name: an edited picture is computed anew, one that was
    moved or is in several data sets is not. Files appear whole or not at all, so any number of
    processes may share the folder. A damaged file is computed again.

    Args:
        folder: made where needed; None keeps nothing.
        kind: what is kept.
        settings: all that the result depends on beside the image; what JSON can hold.

    Example:
        >>> import tempfile
        >>> image = np.zeros((2, 3, 3), np.uint8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = ImageCache(folder, 'saliency', dict(method='mean'))
        ...     first = cache.get(image, lambda: dict(value=np.array(image.mean())))
        ...     second = cache.get(image, lambda: 1 / 0)  # not called
        >>> float(second['value'])
        0.0
    """

    def __init__(self, folder: str | Path | None, kind: Kind, settings: Mapping[str, Any]) -> None:
        one_of('kind', kind, Kind)
        self.folder = None if folder is None else Path(folder) / kind
        head = dict(kind=kind, version=VERSIONS[kind], settings=dict(settings))
        self._head = json.dumps(head, sort_keys=True).encode()

    def path_of(self, image: np.ndarray) -> Path:
        """The file of an image, there or not."""
        digest = hashlib.sha256(self._head)
        digest.update(f'{image.dtype.str}{image.shape}'.encode())
        digest.update(np.ascontiguousarray(image))
        name = digest.hexdigest()
        return self.folder / name[:2] / f'{name[2:]}.npz'

    def get(self, image: np.ndarray, compute: Callable[[], Arrays]) -> Arrays:
        """The image's arrays, from its file if there is a sound one, else computed and kept."""
        if self.folder is None:
            return compute()
        path = self.path_of(image)
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except PermissionError:
            raise
        # Of a damaged archive numpy and zipfile raise ValueError, BadZipFile, zlib.error, ...
        except Exception:
            pass
        arrays = compute()
        buffer = BytesIO()
        np.savez_compressed(buffer, **arrays)
        with write_atomically(path) as file:
            file.write(buffer.getbuffer())
        return arrays
