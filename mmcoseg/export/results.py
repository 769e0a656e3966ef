"""Other formats of results that are there already, without segmenting again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.image_io import BadImageError, read_image, read_mask, require_one_size
from ..errors import MMCosegError
from ..files import relative_path
from ..segment_options import chosen_formats
from ..structures.rle import decode_rles
from ..workers import default_workers, map_in_threads
from .objects import ImageResult, ObjectMask, Picture
from .records import GroupRecord, ImageRecord, exported_images
from .run_state import FinishedImage, GroupState, RunState, has_results, only_run
from .writer import ResultWriter

__all__ = ['ExportResult', 'export_results', 'export_unlocked']

#: Formats that show the photograph, or link to it.
_OF_PHOTOGRAPHS = frozenset({'overlays', 'cutouts', 'yolo'})
#: Formats that hold the photograph where it has no file.
_OF_FILES = frozenset({'labelme', 'labelme-masks'})
#: Format -> kinds of files that an image has in it, where they are not called as the format.
_KINDS = dict(masks=('masks', 'instances'), yolo=('yolo', 'yolo_images'))


@dataclass
class ExportResult:
    """What an export did.

    Args:
        out_dir: folder of the files.
        num_images: images in it.
        skipped: image or group, and why it lacks some or all formats.
    """

    out_dir: Path
    num_images: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def export_results(
    results: str | Path, formats: str | Sequence[str], out_dir: str | Path | None = None
) -> ExportResult:
    """Write results in other formats.

    Objects are exactly those of the results. Images that a person left out are left out; those
    that a person rejected have no objects.

    Args:
        results: folder that ``mmcoseg segment`` or ``mmcoseg apply`` wrote.
        formats: some of :data:`~mmcoseg.export.FORMATS`.
        out_dir: folder to write to; None for that of the results, whose summary and report then
            follow, too.

    Raises:
        FileNotFoundError: if there are no results in the folder.
        OSError: if a run is writing to it.
        MMCosegError: for a format that is not known, or if ``out_dir`` has results of its own.
    """
    formats = chosen_formats(formats)
    results = Path(results).expanduser()
    if not has_results(results):
        raise FileNotFoundError(
            f'there are no results in {results}; give the folder that `mmcoseg segment` wrote to'
        )
    with only_run(results):
        return export_unlocked(results, formats, out_dir)


def export_unlocked(
    results: Path, formats: Sequence[str], out_dir: str | Path | None = None
) -> ExportResult:
    """As :func:`export_results`, for a caller that holds the lock of the results."""
    out_dir = results if out_dir is None else Path(out_dir).expanduser()
    in_place = out_dir.resolve() == results.resolve()
    if has_results(out_dir) and not in_place:
        raise MMCosegError(f'{out_dir} has results of its own; give another folder')
    writer = ResultWriter(out_dir, formats)
    state = RunState(results, writer, _settings_of(results))
    result = ExportResult(out_dir)
    export = _Export(results, writer, result)
    groups = []
    for _, group in sorted(state.groups.items()):
        if not group.finished:
            reason = 'it is being computed anew; run the command that wrote the results once more'
            result.skipped.append((group.name, reason))
            continue
        group = export.group(group)
        groups.append(_record_of(group))
        if in_place:
            state.save(group)
    if in_place:
        state.assemble(finish=True)
    else:
        writer.write_formats(groups)
    return result


def _record_of(state: GroupState) -> GroupRecord:
    return GroupRecord(state.name, [image.record for image in state.images])


def _settings_of(results: Path) -> dict[str, Any]:
    """The settings of the last run, for the summary; none where it was not written."""
    try:
        return json.loads((results / 'summary.json').read_bytes())['settings']
    except (OSError, ValueError, KeyError, TypeError):
        return {}


class _Export:
    """Writes the files of single images, and takes down what is skipped."""

    def __init__(self, results: Path, writer: ResultWriter, result: ExportResult) -> None:
        self.results = results
        self.writer = writer
        self.result = result

    def group(self, state: GroupState) -> GroupState:
        """Write the images of a group: its state with their new files."""
        images = []
        for image, problem in map_in_threads(self._image, state.images, default_workers()):
            images.append(image)
            if problem:
                self.result.skipped.append((image.record.file_name, problem))
        self.result.num_images += len(exported_images([_record_of(state)]))
        return replace(state, images=images)

    def _image(self, image: FinishedImage) -> tuple[FinishedImage, str]:
        """Write an image: it with its new files, and what it lacks and why."""
        record, problem = image.record, ''
        replaced, files = set(self.writer.formats), {}
        if record.review != 'left out':
            pixels, reason = self._photograph(record)
            lacking = self._lacking(record, reason)
            if lacking:
                problem = f'{", ".join(lacking)}: {reason}'
            replaced -= set(lacking)
            files = self._write(self._picture(record, pixels), lacking)
        kept = dict(record.files)
        for name in replaced:
            for kind in _KINDS.get(name, (name,)):
                kept.pop(kind, None)
        source = record.source
        if source is not None:
            source = relative_path(self.results / source, self.writer.out_dir)
        record = replace(record, files=kept | files, source=source)
        return replace(image, record=record), problem

    def _lacking(self, record: ImageRecord, reason: str | None) -> list[str]:
        """The formats that an image cannot have, if there is a reason why it has no photograph."""
        if reason is None:
            return []
        lacking = _OF_PHOTOGRAPHS if record.source else _OF_PHOTOGRAPHS | _OF_FILES
        return [name for name in self.writer.formats if name in lacking]

    def _write(self, picture: Picture, lacking: Sequence[str]) -> dict[str, str]:
        """Write the files of an image: kind -> path."""
        files = {}
        for name, write in self.writer.exporters.items():
            if name not in lacking:
                files |= write(picture, self.writer.out_dir)
        return files

    def _photograph(self, record: ImageRecord) -> tuple[np.ndarray | None, str | None]:
        """The photograph where a format shows it, or why there is none."""
        if record.source is None:
            return None, 'it was given in memory, and has no file'
        if _OF_PHOTOGRAPHS.isdisjoint(self.writer.formats):
            return None, None
        path = self.results / record.source
        try:
            pixels = read_image(path)
            size = record.height, record.width
            require_one_size(path, pixels.shape[:2], 'its mask', size)
        except FileNotFoundError:
            return None, f'there is no file {path}'
        except BadImageError as error:
            return None, str(error)
        return pixels, None

    def _picture(self, record: ImageRecord, pixels: np.ndarray | None) -> Picture:
        found = record.exported_annotations
        shapes = [annotation['segmentation'] for annotation in found]
        masks = decode_rles(shapes, record.height, record.width)
        # Earlier versions did not say so.
        instances = record.instances or 'instances' in record.files
        objects = []
        for annotation, mask in zip(found, masks):
            label, category = annotation['label'], annotation['category']
            objects.append(ObjectMask(mask, label, category, annotation['score'], instances))
        result = ImageResult(
            labels=self._labels(record, objects, instances),
            names=record.classes,
            categories=record.categories,
            objects=objects,
            instances=masks if instances else None,
        )
        return Picture(
            image=pixels,
            result=result,
            group=record.group,
            stem=record.stem,
            source=record.source and self.results / record.source,
            scores=[item.score for item in objects],
        )

    def _labels(
        self, record: ImageRecord, objects: Sequence[ObjectMask], instances: bool
    ) -> np.ndarray:
        """The mask of classes: that of the objects, or a file's where these are not all of it."""
        labels = np.zeros((record.height, record.width), np.uint8)
        for item in reversed(objects):  # the surest is the first
            labels[item.mask] = item.label
        shapes = [annotation['segmentation'] for annotation in record.annotations]
        inexact = instances or list in map(type, shapes)
        file = self.results / record.files.get('masks', '')
        if inexact and record.review != 'rejected' and file.is_file():
            values = read_mask(file)
            require_one_size(file, values.shape, 'its image', labels.shape)
            # It is empty if the image was rejected for a while.
            if values.any():
                labels = values if len(record.classes) > 1 else (values > 0).astype(np.uint8)
        return labels
