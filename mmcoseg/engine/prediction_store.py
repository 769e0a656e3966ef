"""Predictions of finished groups as files, so that a killed run continues after them."""

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData

from ..errors import MMCosegError
from ..files import file_name_of, write_atomically
from ..structures import GroupDataSample, to_numpy

__all__ = ['PredictionStore']

#: Raised if a file is cut off or is something else.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class PredictionStore:
    """A folder with one file per group that holds the predictions of its images.

    A file is written whole or not at all. It counts only for the fingerprint of the settings that
    the predictions depend on; with another fingerprint it is ignored. Files hold plain arrays:
    reading one never runs code.

    Args:
        folder: created if needed.
        fingerprint: of the settings.
    """

    #: Fields of a sample that are predictions; those of single numbers.
    FIELDS = ('pred_sem_seg', 'pred_prob', 'pred_instances')
    NUMBERS = ('presence',)

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint

    def path(self, name: str) -> Path:
        """The file of a group."""
        return self.folder / file_name_of(name, '.npz')

    def forget(self, name: str) -> None:
        """Remove what is kept of a group."""
        self.path(name).unlink(missing_ok=True)

    def save(self, name: str, group: GroupDataSample, **notes: Any) -> None:
        """Keep the predictions of a group.

        Args:
            name: of the group, its key in the store.
            group: with predictions.
            notes: plain values to keep with them.
        """
        arrays: dict[str, np.ndarray] = {}
        images = []
        for number, sample in enumerate(group):
            image = dict(stem=sample.stem, fields={}, numbers={})
            for field in self.FIELDS:
                if field in sample:
                    form = _pack(sample.get(field), f'{number}.{field}', arrays)
                    image['fields'][field] = form
            for field in self.NUMBERS:
                if field in sample:
                    image['numbers'][field] = float(sample.get(field))
            images.append(image)
        header = dict(fingerprint=self.fingerprint, images=images, notes=notes)
        arrays['header'] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        with write_atomically(self.path(name)) as file:
            np.savez_compressed(file, **arrays)

    def notes(self, name: str) -> dict[str, Any] | None:
        """What was noted with the predictions of a group; None without valid ones."""
        try:
            with np.load(self.path(name), allow_pickle=False) as file:
                return self._header(file)['notes']
        except _DAMAGED:
            return None

    def load(self, name: str, group: GroupDataSample, device: Any = 'cpu') -> bool:
        """Put the kept predictions of a group into its samples.

        Returns:
            Whether there are such predictions, of exactly these images; otherwise the samples stay
            as they were.
        """
        found = []
        try:
            content = io.BytesIO(self.path(name).read_bytes())
            with np.load(content, allow_pickle=False) as file:
                images = self._header(file)['images']
                for image in images:
                    values = dict(image['numbers'])
                    for field, form in image['fields'].items():
                        values[field] = _unpack(form, file, device)
                    found.append(values)
        except _DAMAGED:
            return False
        if [image['stem'] for image in images] != [sample.stem for sample in group]:
            return False
        for sample, values in zip(group, found):
            for field, value in values.items():
                setattr(sample, field, value)
        return True

    def _header(self, file: Any) -> dict:
        header = json.loads(file['header'].tobytes())
        if header['fingerprint'] != self.fingerprint:
            raise MMCosegError('predictions by other settings')
        return header


def _pack(value: PixelData | InstanceData, key: str, arrays: dict[str, np.ndarray]) -> dict:
    """Put the arrays of a field among the others; returns how to put them together again."""
    form: dict[str, Any] = dict(kind=type(value).__name__, data={})
    for name, data in value.items():
        array = to_numpy(data)
        if array.dtype.hasobject:
            raise MMCosegError(f'predictions of type {type(data).__name__} ({name}) cannot be kept')
        form['data'][name] = dict(key=f'{key}.{name}', tensor=isinstance(data, torch.Tensor))
        if array.dtype == bool:
            form['data'][name]['shape'] = array.shape
            array = np.packbits(array)
        arrays[f'{key}.{name}'] = array
    return form


def _unpack(form: dict, file: Any, device: Any) -> PixelData | InstanceData:
    value = dict(PixelData=PixelData, InstanceData=InstanceData)[form['kind']]()
    for name, how in form['data'].items():
        array = file[how['key']]
        if 'shape' in how:
            shape: Sequence[int] = how['shape']
            array = np.unpackbits(array, count=int(np.prod(shape))).astype(bool).reshape(shape)
        value.set_field(torch.from_numpy(array).to(device) if how['tensor'] else array, name)
    return value
