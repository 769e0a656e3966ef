"""The writer of results: files of each image as it is done, and collections over all images."""

import json
import platform
import shutil
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..datasets.image_io import image_of
from ..errors import MMCosegError
from ..export_formats import FORMATS, chosen_formats
from ..files import file_name_of, relative_path, save_image, write_atomically
from ..structures import CoSegDataSample
from ..structures.coseg_data_sample import VOID
from ..version import __version__
from ..visualization import PALETTE, overlay
from ..visualization.contact_sheet import VOID_COLOR
from .annotation_tools import YoloNames, labelme_document, yolo_lines
from .objects import ImageResult, ObjectMask, sureness, to_annotation, to_result
from .polygons import TOLERANCE, mask_to_polygons
from .report import THUMBNAIL_SIDE, build_report

__all__ = ['FORMATS', 'ResultWriter']

#: Suffixes of the image files that Ultralytics reads without other packages, and their formats as
#: Pillow calls them.
_YOLO_SUFFIXES = frozenset({'.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'})
_YOLO_FORMATS = frozenset({'BMP', 'JPEG', 'MPO', 'PNG', 'TIFF', 'WEBP'})
_ORIENTATION = 0x0112
#: Folder of what is needed again to assemble the report.
_THUMBNAILS = '.mmcoseg/thumbnails'
#: Pixels that an overlay is drawn of at once, and rows that it is drawn beyond them.
_BAND_PIXELS = 4_000_000
_BAND_MARGIN = 3
_JPEG = dict(quality=90, optimize=True)


class ResultWriter:
    """Writes what was found in images to a folder, each file whole or not at all.

    ======================================== ==================================================
    ``masks/<group>/<stem>.png``             0 and 255, or 0..K with a palette where there are K
                                             classes; the image's original size
    ``instances/<group>/<stem>.png``         with ``masks``, where the method gives instances:
                                             0 and their numbers from 1, where they overlap that
                                             of the highest score; a palette up to 255 of them,
                                             16-bit gray above
    ``overlays/<group>/<stem>.jpg``          the image with its objects tinted and outlined
    ``cutouts/<group>/<stem>.png``           RGBA, all objects: of the image's size, so that it can
                                             be laid over it; alpha 255 exactly on the mask, all
                                             else wholly transparent and black
    ``annotations.json``                     (``coco``) of all images: see
                                             :meth:`write_collections`
    ``labelme/<group>/<stem>.json``          polygons
    ``yolo/labels/<group>/<stem>.txt``,      polygons, as Ultralytics wants it. In ``yolo/images``
    ``yolo/data.yaml``                       relative links to the images; copies where links cannot
                                             be; PNG files of what Ultralytics does not read
    ``summary.json``, ``report.html``        always: every image's figures; all images to look at
    ======================================== ==================================================

    Polygons cannot say everything that masks can; see ``mask_to_polygons`` for how close they
    come. All else gives exactly the mask back.

    Group and image names become file names as they are, wherever that is possible
    (``files.file_name_of``).

    Args:
        out_dir: folder to write to; made when the first file is written.
        formats: some of :data:`FORMATS`.
        polygons: polygons instead of RLE in ``annotations.json``.
        polygon_tolerance: pixels by which the outlines of polygons may be off; 0: not at all.
        report: write ``report.html``, and the thumbnails it needs.
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
        >>> record['files']['masks'], record['area_share']
        ('masks/cat/001.png', 0.25)
        >>> writer.write_collections([dict(name='cat', images=[record])])
    """

    def __init__(
        self,
        out_dir: str | Path,
        formats: Sequence[str] = ('masks', 'overlays', 'coco'),
        polygons: bool = False,
        polygon_tolerance: float = TOLERANCE,
        report: bool = True,
        copy_images: bool = False,
    ) -> None:
        self.out_dir = Path(out_dir)
        self.formats = chosen_formats(formats)
        self.polygons = polygons
        self.polygon_tolerance = polygon_tolerance
        self.report = report
        self.copy_images = copy_images
        self._pictures: dict = {}  # of the report, which is written again and again
        self._yolo = YoloNames(self.out_dir / 'yolo/data.yaml') if 'yolo' in self.formats else None

    def write_image(
        self,
        sample: CoSegDataSample,
        image: np.ndarray | None = None,
        classes: Sequence[str] | None = None,
        *,
        seconds: float | None = None,
        warnings: Sequence[str] = (),
        absent: bool | None = None,
    ) -> dict[str, Any]:
        """Write the files of one image. May be called by several threads at once.

        Args:
            sample: with predictions. ``file_name`` in its metainfo goes before the name of
                ``img_path``.
            image: (H, W, 3) uint8 BGR, upright, at the original size; None: ``image_of`` finds it.
            classes: names of the K classes of the mask; see ``objects.to_result`` for where they
                are not known.
            seconds: that the image took.
            warnings: about this image, for the summary and the report.
            absent: the object was found not to be in the image. None: ``absent`` of the sample's
                metainfo.

        Returns:
            The image's record, for :meth:`write_collections`. Only plain types, the same after a
            way through json: ``group``, ``stem``, ``file_name`` (``<group>/<file name>``),
            ``source`` (path of the image's file relative to ``out_dir``; None where it has none),
            ``height``, ``width``, ``presence`` (None where unknown), ``sureness`` (see
            ``objects.sureness``), ``absent``, ``area_share``
            (of all objects together, 0 to 1), ``classes`` and ``categories`` (of mask values
            1..K), ``annotations``, ``files`` and ``thumbnails`` (paths relative to ``out_dir``,
            with slashes), ``seconds``, ``warnings``.

        Raises:
            MMCosegError: naming the image, if it has no prediction or one of another size.
            OSError: if a file cannot be written.
        """
        image = image_of(sample) if image is None else image
        result = to_result(sample, classes)
        height, width = result.labels.shape
        name = f'{sample.get("group")}/{sample.get("stem")}'
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise MMCosegError(
                f'{name}: the image is {image.dtype} {image.shape}, the prediction '
                f'{height} x {width} (height x width); give the image as (H, W, 3) uint8 at its '
                'original size'
            )
        group, stem = str(sample.get('group')), str(sample.get('stem'))
        source = Path(sample.get('img_path') or '')
        paths = {
            kind: f'{kind}/{file_name_of(group)}/{file_name_of(stem, suffix)}'
            for kind, suffix in (
                ('masks', '.png'),
                ('instances', '.png'),
                ('overlays', '.jpg'),
                ('cutouts', '.png'),
                ('labelme', '.json'),
            )
        }
        rgb = np.ascontiguousarray(image[:, :, ::-1])
        # Where there are instances, they are the answer: all pictures show them, not their union.
        numbers, shown = None, result.labels
        if result.instances is not None:
            numbers = _numbered(result.instances, sample.pred_instances.get('scores'))
            shown = _in_palette_range(numbers)
        files = {}
        if 'masks' in self.formats:
            self._save_mask(result, self.out_dir / paths['masks'])
            files['masks'] = paths['masks']
            if numbers is not None:
                self._save_instances(numbers, self.out_dir / paths['instances'])
                files['instances'] = paths['instances']
        if 'overlays' in self.formats:
            picture = Image.fromarray(_overlay_by_bands(rgb, shown))
            save_image(picture, self.out_dir / paths['overlays'], 'JPEG', **_JPEG)
            files['overlays'] = paths['overlays']
        if 'cutouts' in self.formats:
            save_image(_cutout(rgb, result), self.out_dir / paths['cutouts'], 'PNG')
            files['cutouts'] = paths['cutouts']
        if 'labelme' in self.formats:
            self._save_labelme(result, paths['labelme'], source, image)
            files['labelme'] = paths['labelme']
        if self._yolo is not None:
            files |= self._save_yolo(result, group, stem, source, rgb)

        absent = bool(sample.get('absent', False) if absent is None else absent)
        share = float((result.labels != 0).mean()) if result.labels.size else 0.0
        record = dict(
            group=group,
            stem=stem,
            file_name=f'{group}/{sample.get("file_name") or source.name or stem}',
            source=relative_path(source, self.out_dir) if source.is_file() else None,
            height=height,
            width=width,
            presence=round(float(sample.presence), 6) if 'presence' in sample else None,
            sureness=None if absent else sureness(sample, result),
            absent=absent,
            area_share=round(share, 6),
            classes=list(result.names),
            categories=list(result.categories),
            annotations=[self._annotation(item) for item in result.objects],
            files=files,
            thumbnails=self._save_thumbnails(rgb, result, shown, group, stem)
            if self.report
            else {},
            seconds=None if seconds is None else round(float(seconds), 6),
            warnings=[*map(str, warnings), *_remarks(share, absent)],
        )
        return record

    def write_collections(
        self, groups: Sequence[dict[str, Any]], settings: dict[str, Any] | None = None
    ) -> None:
        """Write what covers all images: each file anew, from their records.

        ``annotations.json`` is in COCO's form. Image, category and annotation ids count from 1 in
        the given order. ``file_name`` is ``<group>/<file name>`` and ``source`` where the file is,
        relative to ``out_dir`` (None for an image in memory); a category is a group, or a class
        where masks tell classes apart; ``segmentation`` is RLE or polygons; ``score`` as in
        ``objects.to_result``. Images without objects are listed too. So it serves both as ground
        truth and, its ``annotations`` alone, as results.

        ``summary.json``: ``totals``; ``groups`` with theirs, and each image's presence, sureness,
        area share, time and warnings; ``skipped`` files with the reason; ``settings`` and
        ``versions``. An image's time is its share of that of its group.

        Args:
            groups: in order, ``dict(name=..., images=[records], skipped=[...])``, where an entry of
                ``skipped`` is ``dict(file_name=..., reason=...)``, the file's name in its group.
                The report shows ``class_count['text']``, where there is one.
                Other keys that hold plain types are taken into the summary.
            settings: of the run, plain types, for the summary and the head of the report.
                ``method`` is shown first.
        """
        settings = settings or {}
        if 'coco' in self.formats:
            self._write_json('annotations.json', _coco_document(groups))
        if self._yolo is not None:
            self._yolo.number([])  # the file is there even if nothing was found
        summary = _summary(groups, settings)
        self._write_json('summary.json', summary, indent=1)
        if self.report:
            with write_atomically(self.out_dir / 'report.html') as file:
                for text in build_report(groups, summary, self.out_dir, self._pictures):
                    file.write(text.encode())

    def _write_json(self, name: str, content: dict, indent: int | None = None) -> None:
        # Escaped, so that names with bytes that are not UTF-8 can stand in it.
        text = json.dumps(content, indent=indent, allow_nan=False)
        with write_atomically(self.out_dir / name) as file:
            file.write(text.encode('ascii'))

    def _annotation(self, item: ObjectMask) -> dict[str, Any]:
        annotation = to_annotation(item)
        if self.polygons:
            outlines = mask_to_polygons(item.mask, edges=True, tolerance=self.polygon_tolerance)
            annotation['segmentation'] = [outline.ravel().tolist() for outline in outlines]
        return annotation

    @staticmethod
    def _save_mask(result: ImageResult, path: Path) -> None:
        if len(result.names) == 1:
            picture = Image.fromarray((result.labels != 0).astype(np.uint8) * 255)
        else:
            picture = _with_palette(result.labels)
        save_image(picture, path, 'PNG')

    @staticmethod
    def _save_instances(numbers: np.ndarray, path: Path) -> None:
        if numbers.max(initial=0) < 256:
            save_image(_with_palette(numbers.astype(np.uint8), void=False), path, 'PNG')
        else:
            save_image(Image.fromarray(numbers), path, 'PNG')

    def _save_labelme(
        self, result: ImageResult, relative: str, source: Path, image: np.ndarray
    ) -> None:
        path = self.out_dir / relative
        document = labelme_document(
            result.objects,
            result.labels.shape,
            path.parent,
            source if source.is_file() else None,
            image,
            self.polygon_tolerance,
        )
        with write_atomically(path) as file:
            file.write(json.dumps(document, indent=1).encode('ascii'))

    def _save_yolo(
        self, result: ImageResult, group: str, stem: str, source: Path, rgb: np.ndarray
    ) -> dict[str, str]:
        # Ultralytics looks for the labels of .../images/x/y.jpg at .../labels/x/y.txt, where
        # "images" is the last folder of this name.
        folder = file_name_of(group, reserved={'images'})
        as_it_is = source.is_file() and _yolo_reads(source)
        suffix = source.suffix if as_it_is else '.png'
        longest = max('.txt', suffix, key=len)  # both files have one name, and it must not be cut
        name = file_name_of(stem, longest).removesuffix(longest)
        label = f'yolo/labels/{folder}/{name}.txt'
        picture = f'yolo/images/{folder}/{name}{suffix}'
        numbers = self._yolo.number(result.categories)  # all, so that their order is certain
        with write_atomically(self.out_dir / label) as file:
            file.write(yolo_lines(result.objects, numbers, self.polygon_tolerance).encode())
        if as_it_is and self.copy_images:
            _copy(source, self.out_dir / picture)
        elif as_it_is:
            _link(source, self.out_dir / picture)
        else:
            save_image(Image.fromarray(rgb), self.out_dir / picture, 'PNG')
        return dict(yolo=label, yolo_images=picture)

    def _save_thumbnails(
        self, rgb: np.ndarray, result: ImageResult, shown: np.ndarray, group: str, stem: str
    ) -> dict[str, str]:
        height, width = result.labels.shape
        factor = min(1.0, THUMBNAIL_SIDE / max(height, width))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(shown, size, interpolation=cv2.INTER_NEAREST)
        folder = f'{_THUMBNAILS}/{file_name_of(group)}'
        paths = {
            kind: f'{folder}/{file_name_of(stem, suffix)}'
            for kind, suffix in (
                ('image', '.image.jpg'),
                ('mask', '.mask.png'),
                ('overlay', '.overlay.jpg'),
            )
        }
        options = dict(quality=80, optimize=True)
        save_image(Image.fromarray(small), self.out_dir / paths['image'], 'JPEG', **options)
        single = len(result.names) == 1 and result.instances is None
        mask = Image.fromarray(labels != 0) if single else _with_palette(labels)
        save_image(mask, self.out_dir / paths['mask'], 'PNG', optimize=True)
        picture = Image.fromarray(overlay(small, labels))
        save_image(picture, self.out_dir / paths['overlay'], 'JPEG', **options)
        return paths


def _numbered(masks: np.ndarray, scores: Any) -> np.ndarray:
    """Numbers of instances (n, H, W) from 1, (H, W) uint16: where they overlap the surest one's."""
    numbers = np.zeros(masks.shape[1:], np.uint16)
    order = range(len(masks))
    if scores is not None:
        order = np.argsort(np.asarray(scores), kind='stable')
    for number in order:
        numbers[masks[number]] = number + 1
    return numbers


def _in_palette_range(numbers: np.ndarray) -> np.ndarray:
    """Numbers of instances as (H, W) uint8 of the same colors, none of them void."""
    whole = VOID // len(PALETTE) * len(PALETTE)
    table = np.r_[0, np.arange(np.iinfo(np.uint16).max) % whole + 1].astype(np.uint8)
    return table[numbers]


def _with_palette(labels: np.ndarray, void: bool = True) -> Image.Image:
    """Numbers as an image whose values stay, and that viewers show in colors."""
    colors = [(0, 0, 0), *(PALETTE[i % len(PALETTE)] for i in range(255))]
    if void:
        colors[VOID] = VOID_COLOR
    picture = Image.fromarray(labels)
    picture.putpalette([value for color in colors for value in color])
    return picture


def _overlay_by_bands(rgb: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """``overlay`` of images of any size, whose intermediate maps take ten bytes a pixel."""
    height, width = rgb.shape[:2]
    rows = max(1, _BAND_PIXELS // max(1, width))
    if height <= rows:
        return overlay(rgb, shown)
    out = np.empty_like(rgb)
    for top in range(0, height, rows):
        # With a margin, since outlines are also drawn where a band ends.
        first, last = max(0, top - _BAND_MARGIN), top + rows + _BAND_MARGIN
        band = overlay(rgb[first:last], shown[..., first:last, :])
        out[top : top + rows] = band[top - first :][:rows]
    return out


def _cutout(rgb: np.ndarray, result: ImageResult) -> Image.Image:
    inside = result.labels != 0
    # Black outside: what is cut away must not travel along unseen, nor cost space.
    return Image.fromarray(np.dstack([rgb * inside[..., None], inside.astype(np.uint8) * 255]))


def _yolo_reads(source: Path) -> bool:
    """Whether Ultralytics reads an image file, and as we do."""
    if source.suffix.lower() not in _YOLO_SUFFIXES:
        return False
    try:
        with Image.open(source) as image:
            image.verify()  # as it does: files of damaged metadata are left out there
        with Image.open(source) as image:
            # Only of JPEG files is a rotation noted in the EXIF data carried out for certain.
            upright = image.format in ('JPEG', 'MPO') or image.getexif().get(_ORIENTATION, 1) == 1
            return image.format in _YOLO_FORMATS and upright
    except Exception:  # Pillow's readers raise anything on damaged files
        return False


def _link(source: Path, path: Path) -> None:
    """A relative link to a file, or a copy where the file system knows none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        path.symlink_to(relative_path(source, path.parent))
    except OSError:
        _copy(source, path)


def _copy(source: Path, path: Path) -> None:
    with open(source, 'rb') as original, write_atomically(path) as file:
        shutil.copyfileobj(original, file)


def _remarks(share: float, absent: bool) -> list[str]:
    if share == 0 and not absent:
        return ['nothing was found']
    return ['the mask fills the whole image'] if share == 1 else []


def _coco_document(groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    numbers: dict[str, int] = {}
    images, annotations = [], []
    for group in groups:
        for record in group['images']:
            for category in record['categories']:  # even where nothing was found
                numbers.setdefault(category, len(numbers) + 1)
            images.append(
                dict(
                    id=len(images) + 1,
                    file_name=record['file_name'],
                    source=record.get('source'),  # records of earlier versions have none
                    height=record['height'],
                    width=record['width'],
                    presence=record['presence'],
                )
            )
            for annotation in record['annotations']:
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=len(images),
                        category_id=numbers[annotation['category']],
                        segmentation=annotation['segmentation'],
                        bbox=annotation['bbox'],
                        area=annotation['area'],
                        iscrowd=0,
                        score=annotation['score'],
                    )
                )
    return dict(
        info=dict(description='Common objects found by mmcoseg', version=__version__),
        licenses=[],
        images=images,
        annotations=annotations,
        categories=[dict(id=i, name=name, supercategory='') for name, i in numbers.items()],
    )


def _summary(groups: Sequence[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    records = [record for group in groups for record in group['images']]
    skipped = [file for group in groups for file in group.get('skipped', ())]
    kept = ('stem', 'file_name', 'height', 'width', 'presence', 'absent', 'area_share')
    return dict(
        created=datetime.now().astimezone().isoformat(timespec='seconds'),
        settings=settings,
        versions=_versions(),
        totals=dict(groups=len(groups), **_totals(records, skipped)),
        groups=[
            dict(
                **{k: v for k, v in group.items() if k not in ('images', 'skipped')},
                **_totals(group['images'], group.get('skipped', ())),
                images=[
                    dict(
                        **{key: record[key] for key in kept},
                        sureness=record.get('sureness'),  # not in results of earlier versions
                        objects=len(record['annotations']),
                        seconds=record['seconds'],
                        warnings=record['warnings'],
                        files=record['files'],
                    )
                    for record in group['images']
                ],
                skipped=list(group.get('skipped', ())),
            )
            for group in groups
        ],
    )


def _totals(records: Sequence[dict], skipped: Sequence[dict]) -> dict[str, Any]:
    seconds = [record['seconds'] for record in records if record['seconds'] is not None]
    presence = [record['presence'] for record in records if record['presence'] is not None]
    shares = [record['area_share'] for record in records]
    return dict(
        num_images=len(records),
        num_absent=sum(record['absent'] for record in records),
        num_empty=sum(not r['annotations'] and not r['absent'] for r in records),
        num_skipped=len(skipped),
        num_warnings=sum(len(record['warnings']) for record in records),
        mean_presence=round(fmean(presence), 6) if presence else None,
        mean_area_share=round(fmean(shares), 6) if shares else None,
        seconds=round(sum(seconds), 4) if seconds else None,
        seconds_an_image=round(fmean(seconds), 6) if seconds else None,
    )


def _versions() -> dict[str, str]:
    versions = dict(mmcoseg=__version__, python=platform.python_version())
    for package in ('torch', 'numpy', 'timm', 'pillow', 'pycocotools', 'pydensecrf2'):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    versions['opencv'] = cv2.__version__
    return versions
