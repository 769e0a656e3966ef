"""Predictions of finished groups as files, so that a killed run continues after them."""

import gzip
import io
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import InstanceData, PixelData

from ..files import file_name_of, write_atomically
from ..structures import GroupDataSample

__all__ = ['PredictionStore']

#: The fields of a sample that are predictions.
_FIELDS = dict(pred_sem_seg=PixelData, pred_prob=PixelData, pred_instances=InstanceData)


class PredictionStore:
    """A folder with one file per group that holds the predictions of its images.

    A file is written whole or not at all. It counts only for the fingerprint of the settings that
    the predictions depend on; with another fingerprint it is ignored. Files hold plain tensors:
    reading one never runs code.
    """

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint

    def path(self, name: str) -> Path:
        """The file of a group."""
        return self.folder / file_name_of(name, '.pth.gz')

    def forget(self, name: str) -> None:
        """Remove what is kept of a group."""
        self.path(name).unlink(missing_ok=True)

    def save(self, name: str, group: GroupDataSample, **notes: Any) -> None:
        """Keep the predictions of a group, and plain values with them, under a name."""
        images = []
        for sample in group:
            image = dict(stem=sample.stem)
            if 'presence' in sample:
                image['presence'] = float(sample.presence)
            for field in _FIELDS.keys() & set(sample.keys()):
                image[field] = dict(sample.get(field).to_tensor().cpu().items())
            images.append(image)
        content = dict(fingerprint=self.fingerprint, images=images, notes=notes)
        buffer = io.BytesIO()
        torch.save(content, buffer)
        with write_atomically(self.path(name)) as file:
            file.write(gzip.compress(buffer.getbuffer(), compresslevel=1))

    def load(self, name: str, group: GroupDataSample) -> dict[str, Any] | None:
        """Put the kept predictions of a group into its samples.

        Returns:
            What was noted with them. None if there are none of these settings and exactly these
            images; then the samples stay as they were.
        """
        try:
            buffer = io.BytesIO(gzip.decompress(self.path(name).read_bytes()))
            content = torch.load(buffer, 'cpu', weights_only=True)
            images, notes = content['images'], content['notes']
            kept = content['fingerprint'], [image['stem'] for image in images]
        except Exception:  # gzip and torch raise anything on what is cut off or something else
            return None
        if kept != (self.fingerprint, [sample.stem for sample in group]):
            return None
        for sample, image in zip(group, images):
            if 'presence' in image:
                sample.presence = image['presence']
            for field in _FIELDS.keys() & image.keys():
                setattr(sample, field, _FIELDS[field](**image[field]))
        return notes
