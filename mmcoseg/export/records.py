"""Records of images and groups with results: plain types that JSON can hold."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ['REVIEWS', 'GroupRecord', 'ImageRecord', 'SkippedFile', 'exported_images', 'images_of']

#: What a person decided of an image.
REVIEWS = ('unseen', 'accepted', 'corrected', 'rejected', 'left out')


@dataclass
class ImageRecord:
    """One image.

    Args:
        group, stem: its name, which its files go by.
        file_name: ``<group>/<name of the image's file>``.
        presence: 0 to 1; None where it is not known.
        absent: the object was found not to be in the image.
        area_share: of all objects together, 0 to 1.
        classes, categories: of mask values 1..K; see ``objects.to_result``.
        annotations: objects in COCO's form; see ``objects.to_annotation``.
        files: kind -> path of a result, relative to the folder of results, with slashes.
        thumbnails: the same for the pictures of the report.
        warnings: about this image.
        source: path of the image's file relative to the folder of results; None where it has none.
        sureness: see ``objects.sureness``.
        seconds: that the image took.
        hints: number of a person's hints on it.
        review: what a person decided of it, one of :data:`REVIEWS`.
        instances: whether each annotation is a single object.
        soft_map: path of its soft map, like those in ``files``; see ``exporters.export_soft_map``.
        frame: of an image in a sequence, its number in the video or folder, from 0.
        video, time: the name of the video's file, and seconds from its start; None of a folder.
    """

    group: str
    stem: str
    file_name: str
    height: int
    width: int
    presence: float | None
    absent: bool
    area_share: float
    classes: list[str]
    categories: list[str]
    annotations: list[dict[str, Any]]
    files: dict[str, str]
    thumbnails: dict[str, str]
    warnings: list[str]
    # Results of earlier versions lack some of these.
    source: str | None = None
    sureness: float | None = None
    seconds: float | None = None
    hints: int = 0
    review: str = 'unseen'
    instances: bool = False
    soft_map: str | None = None
    frame: int | None = None
    video: str | None = None
    time: float | None = None

    @property
    def name(self) -> str:
        """Name of the image's file in its group."""
        return self.file_name[len(self.group) + 1 :]

    @property
    def place(self) -> dict[str, Any]:
        """Where it is in its sequence; nothing of an image that is in none."""
        if self.frame is None:
            return {}
        return dict(frame=self.frame, video=self.video, time=self.time)

    @property
    def exported_annotations(self) -> list[dict[str, Any]]:
        """The annotations that exports hold: none of a rejected image."""
        return [] if self.review == 'rejected' else self.annotations


@dataclass(frozen=True)
class SkippedFile:
    """A file that was left out, and why."""

    file_name: str
    reason: str


@dataclass
class GroupRecord:
    """One group.

    Args:
        class_count: what was estimated of its number of classes: ``num_classes``, ``shares``
            and, in words, ``text``. None where it was not estimated.
        settings: by which it was computed, where they are not those of the run.
    """

    name: str
    images: list[ImageRecord] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    class_count: dict[str, Any] | None = None
    settings: dict[str, Any] | None = None


def images_of(groups: Sequence[GroupRecord]) -> list[ImageRecord]:
    """The images of all groups."""
    return [record for group in groups for record in group.images]


def exported_images(groups: Sequence[GroupRecord]) -> list[ImageRecord]:
    """The images of all groups that exports hold: all that are not left out."""
    return [record for record in images_of(groups) if record.review != 'left out']
