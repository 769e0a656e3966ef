"""Predictions of finished groups as files, so that a run that was killed goes on after them."""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData

from ..errors import MMCosegError
from ..structures import CoSegDataSample, GroupDataSample

__all__ = ['PredictionStore']

#: Raised where a file is cut off or is no such file.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class PredictionStore:
    """A folder with one file a group, which holds the predictions of its images.

    A file is written whole or not at all. It is good for one fingerprint only, that of all the
    settings that the predictions depend on; any other is as if there were none. Files hold plain
    arrays: reading one never runs code.

    Args:
        folder: made where needed.
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
        return self.folder / f'{quote(name, safe=" ()+,=@")}.npz'

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
            fields = {}
            for field in self.FIELDS:
                if field in sample:
                    fields[field] = _pack(sample.get(field), f'{number}.{field}', arrays)
            values = {field: float(sample.get(field)) for field in self.NUMBERS if field in sample}
            images.append(dict(stem=sample.stem, fields=fields, numbers=values))
        header = dict(fingerprint=self.fingerprint, images=images, notes=notes)
        arrays['header'] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f'{path.name}.{os.getpid()}.part')
        try:
            with open(partial, 'wb') as file:
                np.savez_compressed(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)

    def notes(self, name: str) -> dict[str, Any] | None:
        """What was noted with the predictions of a group; None if there are none that hold."""
        try:
            with np.load(self.path(name), allow_pickle=False) as file:
                return self._header(file)['notes']
        except _DAMAGED:
            return None

    def load(self, name: str, group: GroupDataSample, device: Any = 'cpu') -> bool:
        """Put the kept predictions of a group into its samples.

        Returns:
            Whether there are such predictions, of these very images; otherwise the samples are
            left as they were.
        """
        try:
            content = io.BytesIO(self.path(name).read_bytes())
            with np.load(content, allow_pickle=False) as file:
                images = self._header(file)['images']
                if [image['stem'] for image in images] != [sample.stem for sample in group]:
                    return False
                fields = [
                    {field: _unpack(form, file, device) for field, form in image['fields'].items()}
                    for image in images
                ]
        except _DAMAGED:
            return False
        for sample, image, found in zip(group, images, fields):
            _set(sample, {**found, **image['numbers']})
        return True

    def _header(self, file: Any) -> dict:
        header = json.loads(file['header'].tobytes())
        if header['fingerprint'] != self.fingerprint:
            raise MMCosegError('predictions by other settings')
        return header


def _set(sample: CoSegDataSample, values: dict[str, Any]) -> None:
    for field, value in values.items():
        setattr(sample, field, value)


def _pack(value: PixelData | InstanceData, key: str, arrays: dict[str, np.ndarray]) -> dict:
    """Put the arrays of a field among the others; how to put them together again."""
    form: dict[str, Any] = dict(kind=type(value).__name__, data={})
    for name, data in value.items():
        tensor = isinstance(data, torch.Tensor)
        array = data.detach().cpu().numpy() if tensor else np.asarray(data)
        if array.dtype.hasobject:
            raise MMCosegError(f'predictions of type {type(data).__name__} ({name}) cannot be kept')
        form['data'][name] = dict(key=f'{key}.{name}', tensor=tensor)
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
