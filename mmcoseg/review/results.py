"""A folder of results, as a review reads and writes it."""

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.structures import PixelData
from PIL import Image
from torch import Tensor

from ..apis.inputs import ImageItem, InputGroup
from ..apis.run_state import FinishedImage, GroupState, RunState
from ..datasets.coco_file import read_json
from ..datasets.image_io import read_mask
from ..errors import MMCosegError
from ..export import ResultWriter
from ..files import copy_file, file_name_of, write_atomically, write_json
from ..structures import CoSegDataSample

__all__ = ['Results', 'as_png', 'labels_of_png']

#: Folder of a review, in the folder of results.
REVIEW = Path('.mmcoseg', 'review')
#: Longer side of the soft map that stands for a mask whose own is missing, and its least value.
_SOFT_SIDE, _LOW = 128, 0.1


def as_png(labels: np.ndarray) -> bytes:
    """Labels (H, W) uint8 as a PNG file, whose values they are."""
    buffer = BytesIO()
    Image.fromarray(labels).save(buffer, 'PNG', compress_level=1)
    return buffer.getvalue()


def labels_of_png(content: bytes) -> np.ndarray:
    """The labels (H, W) uint8 of :func:`as_png`."""
    return np.asarray(Image.open(BytesIO(content)))


class Results:
    """What ``mmcoseg segment`` has written to a folder.

    Args:
        folder: of the results.

    Attributes:
        states: of the finished groups, by name.

    Raises:
        MMCosegError: if there are none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        states = RunState(self.folder, None, {}).groups
        self.states = {name: state for name, state in sorted(states.items()) if state.finished}
        if not any(state.images for state in self.states.values()):
            raise MMCosegError(
                f'{self.folder} holds no results: give the folder of a finished `mmcoseg segment`'
            )
        self.settings = next(iter(self.states.values())).settings
        writer = ResultWriter(
            self.folder,
            self.settings.get('formats', ('masks', 'overlays', 'coco')),
            bool(self.settings.get('polygons')),
            copy_images=bool(self.settings.get('copy_images')),
        )
        self._run_state = RunState(self.folder, writer, self.settings)
        self.writer = writer
        self._overwritten = self._find_overwritten()

    @property
    def review(self) -> Path:
        """Folder of the review."""
        return self.folder / REVIEW

    def photo(self, image: FinishedImage) -> Path | None:
        """The file of an image; None if it came from memory."""
        return image.record.source and self.folder / image.record.source

    def group_of(self, state: GroupState) -> InputGroup:
        """The images of a group as input."""
        items = []
        for image in state.images:
            items.append(ImageItem(image.record.stem, image.file_name, self.photo(image)))
        return InputGroup(state.name, items, self.classes_of(state))

    @staticmethod
    def classes_of(state: GroupState) -> tuple[str, ...]:
        """Names of a group's classes; none where there is one."""
        names = state.images[0].record.classes if state.images else []
        return tuple(names) if len(names) > 1 else ()

    def _first_file(self, image: FinishedImage, suffix: str = '.png') -> Path:
        record = image.record
        name = file_name_of(record.stem, suffix)
        return self.review / 'first' / file_name_of(record.group) / name

    def first_mask(self, image: FinishedImage) -> np.ndarray:
        """What was found before any review, (H, W) uint8: 0 background, 1..K classes."""
        if self.was_overwritten(image):
            return self._labels(self._first_file(image), image)
        return self.written_mask(image)

    def written_mask(self, image: FinishedImage) -> np.ndarray:
        """What is in the results now, (H, W) uint8: 0 background, 1..K classes."""
        return self._labels(self.folder / image.record.files['masks'], image)

    @staticmethod
    def _labels(file: Path, image: FinishedImage) -> np.ndarray:
        mask = read_mask(file)
        return (mask != 0).astype(np.uint8) if len(image.record.classes) == 1 else mask

    def first_instances(self, image: FinishedImage) -> np.ndarray | None:
        """Numbers of the instances before any review, (H, W) uint8; None where there are none."""
        if 'instances' not in image.record.files:
            return None
        file = self.folder / image.record.files['instances']
        if self.was_overwritten(image):
            file = self._first_file(image, '.instances.png')
        numbers = np.asarray(Image.open(file)).astype(int)
        return ((numbers - 1) % 254 + 1).clip(0).astype(np.uint8)

    def small_mask(self, image: FinishedImage) -> np.ndarray:
        """The mask of the report's thumbnail, (h, w) uint8."""
        path = self.folder / image.record.thumbnails['mask']
        return np.asarray(Image.open(path)).astype(np.uint8)

    def was_overwritten(self, image: FinishedImage) -> bool:
        """Whether a review has written this image's files."""
        return (image.record.group, image.record.stem) in self._overwritten

    def _find_overwritten(self) -> set[tuple[str, str]]:
        """Group and stem of images that an earlier review wrote, since they were last segmented."""
        found = set()
        for state in self.states.values():
            for image in state.images:
                kept = self._first_file(image, '.json')
                if kept.exists() and read_json(kept)['made_of'] == self._made_of(image):
                    found.add((image.record.group, image.record.stem))
        return found

    def _made_of(self, image: FinishedImage) -> list:
        """What an image's results were made of and by."""
        return [image.signature, self.states[image.record.group].settings]

    def keep_first(self, image: FinishedImage) -> None:
        """Keep what was found, before it is overwritten for the first time."""
        if self.was_overwritten(image):
            return
        record = image.record
        copy_file(self.folder / record.files['masks'], self._first_file(image))
        if 'instances' in record.files:
            kept = self._first_file(image, '.instances.png')
            copy_file(self.folder / record.files['instances'], kept)
        if record.soft_map is not None:
            copy_file(self.folder / record.soft_map, self._first_file(image, '.npz'))
        # The last one: what was kept counts from here on.
        content = dict(made_of=self._made_of(image), annotations=record.annotations)
        write_json(self._first_file(image, '.json'), content)
        self._overwritten.add((record.group, record.stem))

    def first_annotations(self, image: FinishedImage) -> list[dict]:
        """The objects that were found before any review, as in ``ImageRecord.annotations``."""
        return read_json(self._first_file(image, '.json'))['annotations']

    def soft_map(self, image: FinishedImage) -> Tensor:
        """The soft map before any review, (C, h, w); of results without one, it is made up."""
        kept = self._first_file(image, '.npz')
        if not self.was_overwritten(image):
            kept = self.folder / (image.record.soft_map or kept)
        if kept.is_file():
            with np.load(kept, allow_pickle=False) as content:
                return torch.from_numpy(content['prob']).float() / 255
        labels = self.first_mask(image)
        scale = min(1.0, _SOFT_SIDE / max(labels.shape))
        size = tuple(max(1, round(side * scale)) for side in labels.shape[::-1])
        number = len(image.record.classes)
        values = [1] if number == 1 else range(number + 1)
        maps = []
        for value in values:
            share = cv2.resize(np.float32(labels == value), size, interpolation=cv2.INTER_AREA)
            maps.append(_LOW + (1 - 2 * _LOW) * share)
        maps = torch.from_numpy(np.stack(maps))
        return maps if number == 1 else maps / maps.sum(dim=0)

    def sample_of(self, state: GroupState, image: FinishedImage) -> CoSegDataSample:
        """An image with its soft map before any review, as ``finish`` takes it."""
        record = image.record
        metainfo = dict(
            group=record.group,
            stem=record.stem,
            file_name=image.file_name,
            ori_shape=(record.height, record.width),
            class_names=self.classes_of(state),
        )
        photo = self.photo(image)
        if photo is not None:
            metainfo['img_path'] = str(photo)
        sample = CoSegDataSample(metainfo=metainfo)
        sample.pred_prob = PixelData(data=self.soft_map(image))
        if record.presence is not None:
            sample.presence = record.presence
        return sample

    def store_mask(self, png: bytes, name: str) -> None:
        """Keep a mask under a name that its content gives."""
        file = self.review / 'masks' / f'{name}.png'
        if not file.exists():
            with write_atomically(file) as target:
                target.write(png)

    def stored_mask(self, name: str) -> bytes:
        return (self.review / 'masks' / f'{name}.png').read_bytes()

    def save(self, name: str, images: Sequence[FinishedImage]) -> None:
        """Store the records of a group's images."""
        state = replace(self.states[name], images=list(images))
        self._run_state.save(state)
        self.states[name] = state

    def assemble(self, finish: bool = False) -> None:
        """Write annotations, summary and report anew, unless that was done a short while ago."""
        self._run_state.assemble(finish)
