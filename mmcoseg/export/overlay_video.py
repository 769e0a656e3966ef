"""Overlays of a sequence as a video."""

import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..datasets.image_io import BadImageError, read_image
from ..files import file_name_of
from .records import GroupRecord, ImageRecord, exported_images

__all__ = ['write_overlay_video']

#: Images a second, where nothing says how many there were: of folders.
_RATE = 10.0


def write_overlay_video(group: GroupRecord, out_dir: Path) -> None:
    """Write ``overlays/<group>.mp4`` of a sequence, unless it is newer than its overlays.

    Each overlay is shown until the next frame that has one, at the rate of the video that the
    frames are of. All get the size of the first, without a last odd row or column.
    """
    shown = []
    for record in exported_images([group]):
        if record.frame is not None and (out_dir / record.files.get('overlays', '.')).is_file():
            shown.append(record)
    if not shown:
        return
    shown.sort(key=lambda record: record.frame)
    path = out_dir / 'overlays' / file_name_of(group.name, '.mp4')
    if path.exists():
        newest = max((out_dir / record.files['overlays']).stat().st_mtime_ns for record in shown)
        if path.stat().st_mtime_ns > newest:
            return
    # OpenCV writes files by their names alone.
    temporary = path.parent / f'.mmcoseg-{uuid.uuid4().hex[:12]}.mp4'
    try:
        if _write(shown, out_dir, temporary):
            temporary.replace(path)
        else:  # everything else is worth having
            warnings.warn(f'{path} was not written: OpenCV has no encoder for it', stacklevel=2)
    finally:
        temporary.unlink(missing_ok=True)


def _write(shown: Sequence[ImageRecord], out_dir: Path, path: Path) -> bool:
    """Write the video; False if there is no encoder."""
    first = shown[0]
    size = max(2, first.width // 2 * 2), max(2, first.height // 2 * 2)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), _rate(shown), size)
    if not writer.isOpened():
        return False
    try:
        for record, after in zip(shown, [*shown[1:], None]):
            try:
                image = read_image(out_dir / record.files['overlays'])
            except (BadImageError, FileNotFoundError):
                continue  # removed in the meantime
            fitted = _fitted(image, first, size)
            for _ in range(1 if after is None else after.frame - record.frame):
                writer.write(fitted)
    finally:
        writer.release()
    return True


def _fitted(image: np.ndarray, first: ImageRecord, size: tuple[int, int]) -> np.ndarray:
    """An overlay at the size of the video."""
    if image.shape[:2] != (first.height, first.width) or min(image.shape[:2]) < 2:
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[: size[1], : size[0]])


def _rate(shown: Sequence[ImageRecord]) -> float:
    """Frames a second of what the frames are of."""
    first, last = shown[0], shown[-1]
    if first.time is None or last.time is None or last.time <= first.time:
        return _RATE
    return (last.frame - first.frame) / (last.time - first.time)
