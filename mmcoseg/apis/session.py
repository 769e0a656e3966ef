"""One group of images, opened for a person who says more and more about it."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.hint_files import write_hints
from ..errors import MMCosegError, naming
from ..models.ops.hints import expected_overlap
from ..models.segmentors.saved_objects import require_learner, save_object
from ..options import nearest
from ..structures import (
    Absent,
    Box,
    Click,
    CoSegDataSample,
    ExampleMask,
    GroupDataSample,
    Hint,
    Stroke,
    hint_map,
    to_numpy,
)
from .inputs import InputGroup

if TYPE_CHECKING:
    from .inferencer import CoSegInferencer

__all__ = ['GroupSession']

#: A class: True for the object, False for no object, or the number (from 1) or name of a class.
Object = bool | int | str


class GroupSession:
    """A group whose features are kept, so that hints act at once.

    ``CoSegInferencer.open`` makes it. Hints are added to images by file name, :meth:`update` then
    changes the soft maps of all images, and :meth:`masks` draws the masks of those that are asked
    for at their edges.

    Args:
        inferencer: that segments.
        group: the images, with the hints that they have already.

    Attributes:
        names: file names of the images that can be read.
        classes: names of the classes that hints tell apart; may be empty.
        skipped: files that cannot be read, and why.

    Example:
        >>> from mmcoseg.apis import CoSegInferencer
        >>> group = CoSegInferencer().open('photos')  # doctest: +SKIP
        >>> group.add_click(group.next_image(), 120, 80)  # doctest: +SKIP
        >>> group.update()  # doctest: +SKIP
        >>> masks = group.masks()  # file name -> (H, W) uint8  # doctest: +SKIP
    """

    def __init__(self, inferencer: 'CoSegInferencer', group: InputGroup) -> None:
        self._inferencer = inferencer
        self._group = group
        samples, self._update, self.skipped = inferencer.updater_of(group)
        by_stem = {sample.stem: sample for sample in samples}
        self._samples: dict[str, CoSegDataSample] = {}
        for item in group.items:
            if item.stem in by_stem:
                self._samples[item.file_name] = by_stem[item.stem]
        self._history: list[tuple[str, Hint]] = []
        self.names = list(self._samples)
        self.classes = group.classes
        self.update()

    def add(self, image: str, hint: Hint) -> None:
        """Add a hint on an image, by its file name.

        Warns where it contradicts an earlier one; it counts then.

        Raises:
            MMCosegError: if there is no such image, or the hint lies outside of it.
        """
        sample = self._sample(image)
        hints = (*sample.get('hints', ()), hint)
        with naming(image):
            known = hint_map(hints, sample.ori_shape[:2])
        before = len(hint_map(hints[:-1], sample.ori_shape[:2]).contradictions)
        for text in known.contradictions[before:]:
            warnings.warn(f'{image}: {text}', stacklevel=3)
        sample.hints = hints
        self._history.append((image, hint))

    def add_click(self, image: str, x: float, y: float, object: Object = True) -> None:
        """Say what one pixel shows; ``x`` and ``y`` in the upright original. See :meth:`add`."""
        self.add(image, Click(x, y, label=self._label(object)))

    def add_stroke(
        self, image: str, points: Sequence[tuple[float, float]], object: Object = True
    ) -> None:
        """Say what the pixels along a line through ``points``, (x, y) each, show."""
        self.add(image, Stroke(points, label=self._label(object)))

    def add_box(
        self, image: str, box: tuple[float, float, float, float], object: Object = True
    ) -> None:
        """Put a box (left, top, right, bottom) around an object, or around what is none."""
        self.add(image, Box(*box, label=self._label(object)))

    def add_example(self, image: str, mask: np.ndarray) -> None:
        """Give the whole mask, (H, W): 0 background, 1 to K (or True) objects, 255 unknown.

        In a mask of nothing but 0 and 255, as files often hold, 255 is the object.
        """
        labels = np.asarray(mask, np.uint8)
        if np.isin(labels, (0, 255)).all():
            labels = labels // 255
        self.add(image, ExampleMask(labels))

    def set_absent(self, image: str) -> None:
        """Say that an image does not show the object."""
        self.add(image, Absent())

    def undo(self) -> tuple[str, Hint] | None:
        """Take back the last hint that was added here: its image and the hint, or None."""
        if not self._history:
            return None
        image, hint = self._history.pop()
        sample = self._samples[image]
        hints = sample.hints[:-1]
        del sample.hints
        if hints:
            sample.hints = hints
        return image, hint

    def hints(self) -> dict[str, list[Hint]]:
        """The hints of all images that have some."""
        found = {}
        for name, sample in self._samples.items():
            if 'hints' in sample:
                found[name] = list(sample.hints)
        return found

    def save_hints(self, file: str | Path) -> None:
        """Write the hints as ``mmcoseg segment --hints`` reads them.

        Raises:
            MMCosegError: for example masks, which belong into files of masks.
        """
        by_image = {f'{self._group.name}/{name}': hints for name, hints in self.hints().items()}
        write_hints(file, by_image, self.classes)

    def save_object(self, file: str | Path) -> None:
        """Keep what tells the object from everything else, for ``mmcoseg apply``.

        Raises:
            MMCosegError: if the method saves no objects.
        """
        model = self._inferencer.model
        require_learner(model)
        save_object(model, self._update.context, self.classes, file)

    def update(self) -> None:
        """Change the soft maps of all images to what the hints of all images say."""
        with self._inferencer.reproducibly():
            self._update()

    def maps(self) -> dict[str, np.ndarray]:
        """Soft maps of the last update, (C, h, w) float32 in [0, 1], before edges are looked at."""
        return {name: to_numpy(s.pred_prob.data) for name, s in self._samples.items()}

    def samples(self, images: Iterable[str] | None = None) -> GroupDataSample:
        """Finished samples of some images, or of all, as ``CoSegInferencer.stream`` yields them."""
        names = self.names if images is None else list(images)
        group = GroupDataSample(
            [_copy(self._sample(name)) for name in names],
            metainfo=dict(group=self._group.name, category=self._group.name, label_ids=()),
        )
        return self._inferencer.finished(group, self._group)

    def masks(self, images: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Masks of some images, or of all: (H, W) uint8, 0 background, 1 to K objects."""
        names = self.names if images is None else list(images)
        samples = self.samples(names)
        return {name: to_numpy(s.pred_sem_seg.data[0]) for name, s in zip(names, samples)}

    def sureness(self) -> dict[str, float]:
        """How sure the answer for each image is, 0 to 1: the Jaccard index to be expected."""
        return {name: expected_overlap(s.pred_prob.data) for name, s in self._samples.items()}

    def next_image(self) -> str | None:
        """The image without hints whose answer is the least sure; None if all have hints."""
        sureness = self.sureness()
        for name in self.hints():
            del sureness[name]
        return min(sureness, key=sureness.get, default=None)

    def _sample(self, image: str) -> CoSegDataSample:
        if image not in self._samples:
            raise MMCosegError(f'the group has no image {image!r}{nearest(str(image), self.names)}')
        return self._samples[image]

    def _label(self, object: Object) -> int:
        if isinstance(object, str):
            if object not in self.classes:
                raise MMCosegError(
                    f'there is no class {object!r}{nearest(object, self.classes)}; name the '
                    f'classes when the group is opened, these are {list(self.classes)}'
                )
            return self.classes.index(object) + 1
        return int(object)


def _copy(sample: CoSegDataSample) -> CoSegDataSample:
    """A sample with the same fields, which may then be replaced."""
    new = CoSegDataSample()
    for key, value in sample.metainfo_items():
        new.set_field(value, key, field_type='metainfo')
    for key, value in sample.items():
        setattr(new, key, value)
    return new
