"""What covers all images: ``annotations.json`` and ``summary.json``."""

import platform
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from statistics import fmean
from typing import Any

import cv2

from ..version import __version__
from .records import GroupRecord, ImageRecord, SkippedFile

__all__ = ['coco_document', 'summary_document']

#: Packages that results may depend on.
_PACKAGES = ('torch', 'numpy', 'timm', 'pillow', 'pycocotools', 'pydensecrf2')


def coco_document(groups: Sequence[GroupRecord]) -> dict[str, Any]:
    """All images and objects in COCO's form; ids count from 1 in the given order."""
    numbers: dict[str, int] = {}
    images, annotations = [], []
    for record in _images_of(groups):
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
            )
        )
        for annotation in record.annotations:
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


def summary_document(groups: Sequence[GroupRecord], settings: dict[str, Any]) -> dict[str, Any]:
    """Figures of all, of each group and of each image."""
    skipped = []
    for group in groups:
        skipped += group.skipped
    return dict(
        created=datetime.now().astimezone().isoformat(timespec='seconds'),
        settings=settings,
        versions=_versions(),
        totals=dict(groups=len(groups), **_totals(_images_of(groups), skipped)),
        groups=[_group_summary(group) for group in groups],
    )


def _images_of(groups: Sequence[GroupRecord]) -> list[ImageRecord]:
    records = []
    for group in groups:
        records += group.images
    return records


def _group_summary(group: GroupRecord) -> dict[str, Any]:
    summary = dict(name=group.name)
    if group.class_count is not None:
        summary['class_count'] = group.class_count
    if group.settings is not None:
        summary['settings'] = group.settings
    return dict(
        **summary,
        **_totals(group.images, group.skipped),
        images=[_image_summary(record) for record in group.images],
        skipped=[vars(file) for file in group.skipped],
    )


def _image_summary(record: ImageRecord) -> dict[str, Any]:
    return dict(
        stem=record.stem,
        file_name=record.file_name,
        height=record.height,
        width=record.width,
        presence=record.presence,
        absent=record.absent,
        area_share=record.area_share,
        sureness=record.sureness,
        objects=len(record.annotations),
        seconds=record.seconds,
        warnings=record.warnings,
        files=record.files,
    )


def _totals(records: Sequence[ImageRecord], skipped: Sequence[SkippedFile]) -> dict[str, Any]:
    absent = empty = warnings = 0
    seconds, presence, shares = [], [], []
    for record in records:
        absent += record.absent
        empty += not record.annotations and not record.absent
        warnings += len(record.warnings)
        seconds.append(record.seconds)
        presence.append(record.presence)
        shares.append(record.area_share)
    seconds = [value for value in seconds if value is not None]
    return dict(
        num_images=len(records),
        num_absent=absent,
        num_empty=empty,
        num_skipped=len(skipped),
        num_warnings=warnings,
        mean_presence=_mean(presence),
        mean_area_share=_mean(shares),
        seconds=round(sum(seconds), 4) if seconds else None,
        seconds_an_image=_mean(seconds),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(fmean(known), 6) if known else None


def _versions() -> dict[str, str]:
    versions = dict(mmcoseg=__version__, python=platform.python_version())
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    versions['opencv'] = cv2.__version__
    return versions
