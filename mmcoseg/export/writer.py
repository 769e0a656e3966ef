"""The writer of results: files of each image as it is done, and collections over all images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.image_io import image_of
from ..datasets.multiclass import CLASSES_FILE
from ..errors import MMCosegError
from ..files import relative_path, write_atomically, write_json
from ..segment_options import FORMATS, chosen_formats
from ..structures import CoSegDataSample, to_numpy
from .cvat import write_cvat
from .documents import class_names_document, coco_document, summary_document
from .exporters import (
    YoloExporter,
    export_cutout,
    export_labelme,
    export_labelme_masks,
    export_masks,
    export_overlay,
    export_soft_map,
    export_thumbnails,
)
from .label_studio import label_studio_tasks
from .objects import ObjectMask, Picture, sureness, to_annotation, to_result
from .overlay_video import write_overlay_video
from .polygons import mask_to_polygons
from .records import GroupRecord, ImageRecord
from .report import build_report

__all__ = ['FORMATS', 'ResultWriter']

#: Writes the files of one kind for an image, and returns kind -> relative path.
Exporter = Callable[[Picture, Path], dict[str, str]]


class ResultWriter:
    """Writes what was found in images to a folder, each file whole or not at all.

    docs/segment.md lists the files. ``mask_to_polygons`` says how close polygons come to the mask;
    all else gives exactly it back. Groups and images become names of files by ``file_name_of``.

    Args:
        out_dir: folder to write to.
        formats: some of :data:`FORMATS`.
        polygons: polygons instead of RLE in ``annotations.json``.
        copy_images: copies of the images in ``yolo/images``, instead of links.

    Raises:
        MMCosegError: for a format that is not known, or where ``yolo/data.yaml`` of earlier results
            is not as we write it.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from mmengine.structures import PixelData
        >>> sample = CoSegDataSample(metainfo=dict(group='cat', stem='001'))
        >>> sample.pred_sem_seg = PixelData(data=torch.eye(4, dtype=torch.uint8)[None])
        >>> writer = ResultWriter(tempfile.mkdtemp())
        >>> record = writer.write_image(sample, np.zeros((4, 4, 3), np.uint8))
        >>> record.files['masks'], record.area_share
        ('masks/cat/001.png', 0.25)
        >>> writer.write_collections([GroupRecord('cat', [record])])
    """

    def __init__(
        self,
        out_dir: str | Path,
        formats: Sequence[str] = ('masks', 'overlays', 'coco'),
        polygons: bool = False,
        copy_images: bool = False,
    ) -> None:
        self.out_dir = Path(out_dir)
        self.formats = chosen_formats(formats)
        self.polygons = polygons
        self._pictures: dict = {}  # of the report, which is written again and again
        exporters: dict[str, Exporter] = {
            'masks': export_masks,
            'overlays': export_overlay,
            'cutouts': export_cutout,
            'labelme': export_labelme,
            'labelme-masks': export_labelme_masks,
        }
        if 'yolo' in self.formats:
            exporters['yolo'] = YoloExporter(self.out_dir, copy_images)
        #: Format -> what writes the files of an image in it.
        self.exporters = {name: exporters[name] for name in self.formats if name in exporters}

    def write_image(self, sample: CoSegDataSample, image: np.ndarray | None = None) -> ImageRecord:
        """Write the files of one image. May be called by several threads at once.

        Args:
            sample: with predictions. Its metainfo may have ``absent``, ``warnings``, and a
                ``file_name`` that goes before the name of ``img_path``.
            image: (H, W, 3) uint8 BGR, upright, at the original size; None: ``image_of`` finds it.

        Raises:
            MMCosegError: naming the image, if it has no prediction or one of another size.
            OSError: if a file cannot be written.
        """
        image = image_of(sample) if image is None else image
        result = to_result(sample)
        height, width = result.labels.shape
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise MMCosegError(
                f'{sample.identity}: the image is {image.dtype} {image.shape}, the prediction '
                f'{height} x {width} (height x width); give the image as (H, W, 3) uint8 at its '
                'original size'
            )
        path = Path(sample.get('img_path') or '')
        picture = Picture(
            image=image,
            result=result,
            group=str(sample.get('group')),
            stem=str(sample.get('stem')),
            source=path if path.is_file() else None,
            scores=sample.get('pred_instances', {}).get('scores'),
        )
        files = {}
        for export in self.exporters.values():
            files |= export(picture, self.out_dir)
        return self._record(sample, picture, files)

    def _record(
        self, sample: CoSegDataSample, picture: Picture, files: dict[str, str]
    ) -> ImageRecord:
        result, source = picture.result, picture.source
        height, width = result.labels.shape
        share = np.count_nonzero(result.labels) / result.labels.size
        name = Path(sample.get('img_path') or '').name or picture.stem
        soft_map = None
        if 'pred_prob' in sample:
            prob = to_numpy(sample.pred_prob.data.float())
            soft_map = export_soft_map(prob, picture, self.out_dir)
        record = ImageRecord(
            group=picture.group,
            stem=picture.stem,
            file_name=f'{picture.group}/{sample.get("file_name", name)}',
            height=height,
            width=width,
            presence=round(float(sample.presence), 6) if 'presence' in sample else None,
            sureness=sureness(sample, result),
            absent=bool(sample.get('absent', False)),
            area_share=round(float(share), 6),
            classes=result.names,
            categories=result.categories,
            annotations=list(map(self._annotation, result.objects)),
            files=files,
            thumbnails=export_thumbnails(picture, self.out_dir),
            warnings=list(map(str, sample.get('warnings', ()))),
            source=source and relative_path(source, self.out_dir),
            hints=len(sample.get('hints', ())),
            soft_map=soft_map,
            instances=result.instances is not None,
            frame=sample.get('frame'),
            video=sample.get('video'),
            time=sample.get('time'),
        )
        if not result.labels.any() and not record.absent:
            record.warnings.append('nothing was found')
        elif result.labels.all():
            record.warnings.append('the mask fills the whole image')
        return record

    def write_collections(
        self, groups: Sequence[GroupRecord], settings: dict[str, Any] | None = None
    ) -> None:
        """Write what covers all images: each file anew, from their records.

        ``annotations.json`` is in COCO's form: ids count from 1 in the given order, ``file_name``
        is ``<group>/<file name>``, ``source`` the file's path from ``out_dir`` (None for an image
        in memory), ``categories`` those that its mask's values stand for, ``review`` what a person
        decided, ``frame``, ``video``, ``time`` where it is in its sequence; a category is a group,
        or a class where masks tell classes apart; ``score`` as in
        ``objects.to_result``. Images without objects are listed, too. So it serves as ground
        truth and, its ``annotations`` alone, as results. ``classes.json`` names the classes of
        masks, as ``MultiClassCoSegDataset`` reads them; it is there if some have several.

        ``settings`` of the run are plain types, for ``summary.json`` and the head of the report.
        """
        self.write_formats(groups)
        summary = summary_document(groups, settings or {})
        write_json(self.out_dir / 'summary.json', summary, indent=1)
        with write_atomically(self.out_dir / 'report.html') as file:
            for text in build_report(groups, summary, self.out_dir, self._pictures):
                file.write(text.encode())

    def write_formats(self, groups: Sequence[GroupRecord]) -> None:
        """Write what the formats have beside the files of single images."""
        if 'coco' in self.formats:
            write_json(self.out_dir / 'annotations.json', coco_document(groups))
        if 'overlays' in self.formats:
            for group in groups:
                write_overlay_video(group, self.out_dir)
        if 'masks' in self.formats:
            self._write_class_names(groups)
        if 'yolo' in self.formats:
            self.exporters['yolo'].names.number([])  # the file is there even if nothing was found
        if 'label-studio' in self.formats:
            write_json(self.out_dir / 'label-studio.json', label_studio_tasks(groups))
        if 'cvat' in self.formats:
            write_cvat(self.out_dir / 'cvat.zip', groups)

    def _write_class_names(self, groups: Sequence[GroupRecord]) -> None:
        names = class_names_document(groups)
        file = self.out_dir / CLASSES_FILE
        if names:
            write_json(file, names)
        else:
            file.unlink(missing_ok=True)

    def _annotation(self, item: ObjectMask) -> dict[str, Any]:
        annotation = to_annotation(item)
        if self.polygons:
            outlines = mask_to_polygons(item.mask, edges=True)
            annotation['segmentation'] = [outline.ravel().tolist() for outline in outlines]
        return annotation
