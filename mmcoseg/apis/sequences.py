"""Videos and folders of frames as groups: which frames are taken, and where scenes are cut."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..datasets.image_io import BadImageError, read_image
from ..files import file_name_of, save_image, write_json
from ..workers import default_workers, map_in_threads
from .inputs import Frame, ImageItem, ImageLimits, InputGroup, distinct_names

__all__ = ['choose_frames', 'folders_in_order', 'read_video']

#: Folder of the frames of videos, in the folder of results, and what was read in each of its own.
_FRAMES, _READ = 'frames', 'video.json'
#: Of :data:`_READ`; frames of another version are read again.
_VERSION = 1
#: Width and height of the thumbnails that frames are compared by.
_THUMBNAIL = 32, 32
#: A jump of the thumbnail is a cut from so many levels of 255 on, if it is so many times as large
#: as the median of the changes around it, so many frames to each side.
_LEAST_JUMP, _JUMP_RATIO, _AROUND = 15.0, 4.0, 8
#: Frames within which what was there before a flash is there again.
_FLASH = 3
#: Levels of 255 by which a frame differs from the last one taken so that it is taken, too; and the
#: least and largest number of seconds between two.
_MOTION, _LEAST_PAUSE, _LONGEST_PAUSE = 2.0, 1 / 8, 1.0


def choose_frames(
    thumbnails: np.ndarray, times: Sequence[float], every: int | None = None
) -> list[list[int]]:
    """The frames to take of each scene.

    Where a frame differs much more from the one before than frames around it do, a scene begins;
    not at a flash, after which the scene is as before.

    Args:
        thumbnails: of all frames, (N, h, w, 3) uint8.
        times: of the frames, in seconds.
        every: take every n-th frame of each scene. None: by motion, each frame that differs from
            the last one taken, at most eight and at least about one a second, and the first and
            the last of each scene.

    Returns:
        Numbers of frames, from 0.

    Example:
        >>> dark, bright = np.zeros((2, 8, 8, 3), np.uint8), np.full((3, 8, 8, 3), 200, np.uint8)
        >>> choose_frames(np.concatenate([dark, bright]), range(5))
        [[0, 1], [2, 3, 4]]
    """
    cuts = _cuts(thumbnails)
    chosen = []
    for start, end in zip([0, *cuts], [*cuts, len(thumbnails)]):
        if every is None:
            chosen.append(_moving(thumbnails, times, start, end))
        else:
            chosen.append(list(range(start, end, every)))
    return chosen


def _cuts(thumbnails: np.ndarray) -> list[int]:
    """The first frame of each scene but the first."""
    changes = np.zeros(len(thumbnails))
    for number in range(1, len(thumbnails)):
        changes[number] = _difference(thumbnails[number], thumbnails[number - 1])
    cuts = []
    for number in np.flatnonzero(changes > _LEAST_JUMP):
        before = changes[max(1, number - _AROUND) : number]
        around = np.concatenate([before, changes[number + 1 : number + 1 + _AROUND]])
        usual = np.median(around) if len(around) else 0
        if changes[number] > _JUMP_RATIO * usual and not _is_flash(thumbnails, number):
            cuts.append(int(number))
    return cuts


def _is_flash(thumbnails: np.ndarray, number: int) -> bool:
    """Whether something around a jump is as it was before."""
    jump = _difference(thumbnails[number], thumbnails[number - 1])
    for before in thumbnails[max(0, number - _FLASH) : number]:
        for after in thumbnails[number : number + _FLASH]:
            if _difference(before, after) < jump / _JUMP_RATIO:
                return True
    return False


def _moving(thumbnails: np.ndarray, times: Sequence[float], start: int, end: int) -> list[int]:
    """The frames of a scene that differ from those taken before them."""
    taken = [start]
    for number in range(start + 1, end - 1):
        last = taken[-1]
        pause = times[number] - times[last]
        if pause < _LEAST_PAUSE:
            continue
        gray = thumbnails[[number, last]].mean(axis=-1)
        if pause >= _LONGEST_PAUSE or _difference(*gray) > _MOTION:
            taken.append(number)
    if end - 1 > start:  # so that the overlay video is as long as the scene
        taken.append(end - 1)
    return taken


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of two thumbnails, in levels of 255."""
    return float(np.abs(one.astype(np.float32) - other).mean())


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 of an image (H, W, 3) uint8."""
    return cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA)


@dataclass
class _Video:
    """What was read of a video: scenes of frames as (number, seconds); ``problem`` if it broke."""

    scenes: list[list[tuple[int, float]]]
    problem: str = ''


def read_video(
    path: Path, name: str, out: Path, every: int | None, notes: list[str]
) -> list[InputGroup]:
    """The scenes of a video, a group each; frames are files in ``<out>/frames/<name>``.

    Frames that an earlier call wrote stay as they are, if the file has the same size and time.

    Args:
        path: of the video.
        name: of the group; several scenes are ``<name>-1``, ``<name>-2``, ...
        every: see :func:`choose_frames`.
        notes: gets a sentence if the video breaks off.

    Returns:
        The groups; of a file that cannot be read one, which says so when it is loaded.
    """
    folder = out / _FRAMES / file_name_of(name)
    try:
        status = os.stat(path)
        if not status.st_size:
            raise BadImageError(f'{path} is empty')
        signature = [path.name, status.st_size, status.st_mtime_ns, every]
        video = _read_before(folder, signature) or _write_frames(path, folder, signature)
    except (BadImageError, OSError) as error:
        problem = f'{path} cannot be read as a video: {error}'
        item = ImageItem(path.stem, path.name, path, problem=problem)
        return [InputGroup(name, [item])]
    if video.problem:
        notes.append(f'{path} {video.problem}')
    groups = []
    for number, scene in enumerate(video.scenes, 1):
        items = []
        for frame, seconds in scene:
            file = _frame_file(folder, frame)
            place = Frame(frame, path.name, seconds)
            items.append(ImageItem(file.stem, file.name, file, frame=place))
        scene_name = name if len(video.scenes) == 1 else f'{name}-{number}'
        groups.append(InputGroup(scene_name, items, sequence=True))
    return groups


def _frame_file(folder: Path, number: int) -> Path:
    return folder / f'{number:06}.jpg'


def _read_before(folder: Path, signature: list[Any]) -> _Video | None:
    """What an earlier run read of a video, if that is all there."""
    try:
        content = json.loads((folder / _READ).read_bytes())
        if (content['version'], content['signature']) != (_VERSION, signature):
            return None
        video = _Video(content['scenes'], content['problem'])
        there = [_frame_file(folder, number).exists() for s in video.scenes for number, _ in s]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return video if all(there) else None


def _write_frames(path: Path, folder: Path, signature: list[Any]) -> _Video:
    """Read a video and write the frames that are taken."""
    thumbnails, times = [], []
    for image, seconds in _decoded(path):
        thumbnails.append(_thumbnail(image))
        times.append(seconds)
    if not thumbnails:
        raise BadImageError('no frame of it can be decoded; convert it, or remove it')
    count, rate = _promised(path)
    if any(now <= before for before, now in zip(times, times[1:])):
        times = [number / rate for number in range(len(times))]
    every = signature[-1]
    chosen = choose_frames(np.stack(thumbnails), times, every)
    wanted = {number for scene in chosen for number in scene}
    (folder / _READ).unlink(missing_ok=True)
    for file in folder.glob('*.jpg'):  # of another video of this name, or other settings
        file.unlink()
    _write_wanted(path, folder, wanted)
    scenes = [[(number, round(times[number], 3)) for number in scene] for scene in chosen]
    problem = ''
    if len(times) < 0.95 * count - 2:  # some files promise a frame or two too many
        problem = f'breaks off: {len(times)} of its {count:.0f} frames can be read'
    content = dict(version=_VERSION, signature=signature, scenes=scenes, problem=problem)
    write_json(folder / _READ, content)
    return _Video(scenes, problem)


def _write_wanted(path: Path, folder: Path, wanted: set[int]) -> None:
    """Write frames; decoded a second time, since all would not fit into memory."""
    for number, (image, _) in enumerate(_decoded(path)):
        if number in wanted:
            rgb = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
            save_image(rgb, _frame_file(folder, number), 'JPEG', quality=95, subsampling=0)


def _decoded(path: Path) -> Iterator[tuple[np.ndarray, float]]:
    """The frames of a video, (H, W, 3) uint8 BGR, upright, and their times in seconds."""
    capture = cv2.VideoCapture(str(path))
    try:
        while True:
            there, image = capture.read()
            if not there:
                return
            yield image, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    finally:
        capture.release()


def _promised(path: Path) -> tuple[float, float]:
    """Number of frames, 0 or less where it is not known, and frames a second, as the file says."""
    capture = cv2.VideoCapture(str(path))
    count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return count, rate if rate > 0 else 25.0


def folders_in_order(
    groups: Sequence[InputGroup], every: int | None = None, num_workers: int | None = None
) -> list[InputGroup]:
    """Groups of images as sequences in the order of their names, cut into scenes.

    Numbers in names count as numbers: ``frame10`` comes after ``frame9``.

    Args:
        every: take every n-th frame of each scene.
        num_workers: threads that read images; None for one a core.
    """
    workers = default_workers() if num_workers is None else num_workers
    scenes = []
    for group in groups:
        items = sorted(group.items, key=lambda item: _natural(item.file_name))
        starts = [0, *_cuts_of_files(items, workers), len(items)]
        for part, (start, end) in enumerate(zip(starts, starts[1:]), 1):
            frames = []
            for number in range(start, end, every or 1):
                frames.append(replace(items[number], frame=Frame(number)))
            name = group.name if len(starts) == 2 else f'{group.name}-{part}'
            scenes.append(replace(group, name=name, items=frames, sequence=True))
    # Scenes of one sequence may be called as another.
    names = distinct_names([scene.name for scene in scenes])
    return [replace(scene, name=name) for scene, name in zip(scenes, names)]


def _cuts_of_files(items: Sequence[ImageItem], num_workers: int) -> list[int]:
    """The first image of each scene but the first; what cannot be read begins none."""
    seen, thumbnails = [], []
    for number, thumbnail in enumerate(map_in_threads(_thumbnail_of, items, num_workers)):
        if thumbnail is not None:
            seen.append(number)
            thumbnails.append(thumbnail)
    if not thumbnails:
        return []
    return [seen[cut] for cut in _cuts(np.stack(thumbnails))]


def _thumbnail_of(item: ImageItem) -> np.ndarray | None:
    """The thumbnail of an image; None if it cannot be read, which loading it will say."""
    try:
        item.check(ImageLimits())
        image = item.record()['ori_img'] if item.path is None else read_image(item.path)
    except (BadImageError, OSError):
        return None
    return _thumbnail(image)


def _natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts names with their numbers as numbers."""
    return [(text, int(digits or -1)) for text, digits in re.findall(r'(\D*)(\d*)', name)]
