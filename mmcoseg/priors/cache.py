"""Priors on disk, so that they are computed once an image."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMCosegError

__all__ = ['VERSIONS', 'PriorCache']

#: Of each kind of prior; raised whenever its results change, so that old files are left alone.
VERSIONS = dict(proposals=2, saliency=1)

#: Arrays by name: what a file holds.
Arrays = dict[str, np.ndarray]


class PriorCache:
    """One kind of prior with one choice of settings, in a folder.

    What stands for an image is its pixels, not its name: a picture that was edited is computed
    anew, one that was moved or is in several data sets is not. Files appear whole or not at all, so
    any number of processes may share the folder. A file that is damaged is computed again.

    Args:
        folder: made where needed.
        kind: a key of ``VERSIONS``.
        settings: all that the result depends on beside the image; what JSON can hold.

    Raises:
        MMCosegError: for an unknown kind.

    Example:
        >>> import tempfile
        >>> image = np.zeros((2, 3, 3), np.uint8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = PriorCache(folder, 'saliency', dict(method='mean'))
        ...     first = cache.get(image, lambda: dict(value=np.array(image.mean())))
        ...     second = cache.get(image, lambda: 1 / 0)  # not called
        >>> float(second['value'])
        0.0
    """

    def __init__(self, folder: str | Path, kind: str, settings: Mapping[str, Any]) -> None:
        if kind not in VERSIONS:
            raise MMCosegError(f'kind must be one of {sorted(VERSIONS)}, got {kind!r}')
        self.folder = Path(folder) / kind
        head = dict(kind=kind, version=VERSIONS[kind], settings=dict(settings))
        self._head = json.dumps(head, sort_keys=True).encode()

    def path_of(self, image: np.ndarray) -> Path:
        """The file that an image's prior is in, there or not."""
        digest = hashlib.sha256(self._head)
        digest.update(f'{image.dtype.str}{image.shape}'.encode())
        digest.update(np.ascontiguousarray(image))
        name = digest.hexdigest()
        return self.folder / name[:2] / f'{name[2:]}.npz'

    def read(self, image: np.ndarray) -> Arrays | None:
        """The image's prior, or None where there is none or only a damaged file."""
        try:
            with np.load(self.path_of(image), allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError:
            return None
        except PermissionError:
            raise
        # Of a damaged archive numpy and zipfile raise ValueError, BadZipFile, zlib.error, ...
        except Exception:
            return None

    def write(self, image: np.ndarray, arrays: Arrays) -> None:
        """Keep an image's prior."""
        path = self.path_of(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = BytesIO()
        np.savez_compressed(buffer, **arrays)
        temporary = path.parent / f'.{uuid.uuid4().hex}.tmp'
        try:
            temporary.write_bytes(buffer.getbuffer())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def get(self, image: np.ndarray, compute: Callable[[], Arrays]) -> Arrays:
        """The image's prior, from its file if there is one, else computed and kept.

        Raises:
            OSError: if the folder cannot be written to.
        """
        arrays = self.read(image)
        if arrays is None:
            arrays = compute()
            self.write(image, arrays)
        return arrays
