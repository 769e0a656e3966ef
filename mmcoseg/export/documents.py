"""What covers all images: ``annotations.json`` and ``summary.json``."""

import platform
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from statistics import fmean
from typing import Any

import cv2

from ..version import __version__
from .records import GroupRecord, ImageRecord, exported_images, images_of

__all__ = ['class_names_document', 'coco_document', 'summary_document']

#: Packages that results may depend on.
_PACKAGES = ('torch', 'numpy', 'timm', 'pillow', 'pycocotools', 'pydensecrf2')


def coco_document(groups: Sequence[GroupRecord]) -> dict[str, Any]:
    """All images and objects in COCO's form; ids count from 1 in the given order.

    Images that a person left out are left out, and rejected ones have no objects.
    """
    numbers: dict[str, int] = {}
    images, annotations = [], []
    for record in exported_images(groups):
        for category in record.categories:  # even where nothing was found
            numbers.setdefault(category, len(numbers) + 1)
        images.append(
            dict(
                id=len(images) + 1,
                file_name=record.file_name,
                source=record.source,
                height=record.height,
                width=record.width,
                presence=record.presence,
                review=record.review,
                categories=record.categories,
                **record.place,
            )
        )
        for found in record.exported_annotations:
            annotation = dict(
                id=len(annotations) + 1,
                image_id=len(images),
                category_id=numbers[found['category']],
                segmentation=found['segmentation'],
                bbox=found['bbox'],
                area=found['area'],
                iscrowd=0,
                score=found['score'],
            )
            annotations.append(annotation)
    return dict(
        info=dict(description='Common objects found by mmcoseg', version=__version__),
        licenses=[],
        images=images,
        annotations=annotations,
        categories=[dict(id=i, name=name, supercategory='') for name, i in numbers.items()],
    )


def class_names_document(groups: Sequence[GroupRecord]) -> dict[str, list[str]]:
    """Group -> names of its classes, of groups whose masks tell classes apart."""
    names = {}
    for record in images_of(groups):
        if len(record.classes) > 1:
            names[record.group] = record.classes
    return names


def summary_document(groups: Sequence[GroupRecord], settings: dict[str, Any]) -> dict[str, Any]:
    """Figures of all, of each group and of each image."""
    num_skipped = sum(len(group.skipped) for group in groups)
    return dict(
        created=datetime.now().astimezone().isoformat(timespec='seconds'),
        settings=settings,
        versions=_versions(),
        totals=dict(groups=len(groups), **_totals(images_of(groups), num_skipped)),
        groups=list(map(_group_summary, groups)),
    )


def _group_summary(group: GroupRecord) -> dict[str, Any]:
    summary = dict(name=group.name)
    if group.class_count is not None:
        summary['class_count'] = group.class_count
    if group.settings is not None:
        summary['settings'] = group.settings
    return dict(
        **summary,
        **_totals(group.images, len(group.skipped)),
        images=list(map(_image_summary, group.images)),
        skipped=[dict(file_name=f.file_name, reason=f.reason) for f in group.skipped],
    )


def _image_summary(record: ImageRecord) -> dict[str, Any]:
    fields = 'stem file_name height width presence absent area_share sureness hints review'.split()
    return dict(
        **{field: getattr(record, field) for field in fields},
        **record.place,
        objects=len(record.annotations),
        seconds=record.seconds,
        warnings=record.warnings,
        files=record.files,
    )


def _totals(records: Sequence[ImageRecord], num_skipped: int) -> dict[str, Any]:
    seconds = _known(records, 'seconds')
    return dict(
        num_images=len(records),
        num_absent=sum(map(attrgetter('absent'), records)),
        num_empty=sum(not (record.annotations or record.absent) for record in records),
        num_skipped=num_skipped,
        num_warnings=sum(len(record.warnings) for record in records),
        mean_presence=_mean(_known(records, 'presence')),
        mean_area_share=_mean(_known(records, 'area_share')),
        seconds=round(sum(seconds), 4) if seconds else None,
        seconds_an_image=_mean(seconds),
    )


def _known(records: Sequence[ImageRecord], field: str) -> list[float]:
    return [value for value in map(attrgetter(field), records) if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 6) if values else None


def _versions() -> dict[str, str]:
    versions = dict(mmcoseg=__version__, python=platform.python_version())
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    versions['opencv'] = cv2.__version__
    return versions
