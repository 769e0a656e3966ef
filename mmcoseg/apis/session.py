"""One group of images, opened for a person who says more and more about it."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..datasets.hint_files import write_hints
from ..datasets.image_io import read_mask
from ..datasets.multiclass import CLASSES_FILE
from ..errors import MMCosegError, naming
from ..files import save_image, write_json
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
    shallow_copy,
    to_numpy,
)
from .hint_inputs import image_called, images_by_name
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
        self._file_names: dict[str, str] = {}
        for item in group.items:
            self._file_names[item.stem] = item.file_name
            if item.stem in by_stem:
                self._samples[item.file_name] = by_stem[item.stem]
        self._owners = images_by_name([group])
        self._history: list[tuple[str, Hint]] = []
        self.names = list(self._samples)
        self.classes = group.classes
        self.update()

    def add(self, image: str, hint: Hint) -> None:
        """Add a hint on an image, which is called as in a file of hints.

        Warns where it contradicts an earlier one; it counts then.

        Raises:
            MMCosegError: if there is no such image, or the hint lies outside of it.
        """
        image = self._name(image)
        sample = self._samples[image]
        if hint.classes and max(hint.classes) > max(1, len(self.classes)):
            raise MMCosegError(
                f'the hint is of class {max(hint.classes)}, but the classes are '
                f'{list(self.classes)}; name all classes when the group is opened'
            )
        hints = (*sample.get('hints', ()), hint)
        with naming(image):
            known = hint_map(hints, sample.ori_shape[:2], num_classes=len(self.classes))
        earlier = hint_map(hints[:-1], sample.ori_shape[:2], num_classes=len(self.classes))
        before = len(earlier.contradictions)
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
        self,
        image: str,
        left: float,
        top: float,
        right: float,
        bottom: float,
        object: Object = True,
    ) -> None:
        """Put a box around an object, or around what is none."""
        self.add(image, Box(left, top, right, bottom, label=self._label(object)))

    def add_example(self, image: str, mask: np.ndarray | str | Path) -> None:
        """Give the whole mask, (H, W): 0 background, 1 to K (or True) objects, 255 unknown.

        In a mask of nothing but 0 and 255, as files often hold, 255 is the object. ``mask`` may be
        a file.
        """
        given = read_mask(mask) if isinstance(mask, (str, Path)) else np.asarray(mask)
        labels = given.astype(np.uint8)
        if given.dtype.kind not in 'biu' or (labels != given).any():
            raise MMCosegError(
                f'{image}: a mask holds whole numbers from 0 to 255, or True and False; got '
                f'{given.dtype} from {given.min()} to {given.max()}'
            )
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
        """Write the hints as ``mmcoseg segment --hints`` reads them, but for example masks.

        Warns of those, which :meth:`save_examples` writes.
        """
        by_image, examples = {}, 0
        for name, hints in self.hints().items():
            others = [hint for hint in hints if not isinstance(hint, ExampleMask)]
            if others:
                by_image[f'{self._group.name}/{name}'] = others
            examples += len(hints) - len(others)
        write_hints(file, by_image, self.classes)
        if examples:
            warnings.warn(
                f'{examples} example masks are not in {file}; save_examples writes them',
                stacklevel=2,
            )

    def save_examples(self, folder: str | Path) -> None:
        """Write the example masks as ``mmcoseg segment --examples`` reads them."""
        folder = Path(folder)
        for name, hints in self.hints().items():
            for hint in hints:
                if isinstance(hint, ExampleMask):
                    file = folder / 'masks' / self._group.name / f'{self._samples[name].stem}.png'
                    save_image(Image.fromarray(hint.mask), file, 'PNG')
        if self.classes:
            write_json(folder / CLASSES_FILE, {self._group.name: list(self.classes)})

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
        names = self._names(images)
        group = GroupDataSample(
            [shallow_copy(self._samples[name]) for name in names],
            metainfo=dict(group=self._group.name, category=self._group.name, label_ids=()),
        )
        return self._inferencer.finished(group, self._group)

    def masks(self, images: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        """Masks of some images, or of all: (H, W) uint8, 0 background, 1 to K objects."""
        names = self._names(images)
        samples = self.samples(names)
        return {name: to_numpy(s.pred_sem_seg.data[0]) for name, s in zip(names, samples)}

    def sureness(self) -> dict[str, float]:
        """How sure the answer for each image is, 0 to 1: the Jaccard index to be expected.

        It is 1 where a person said all of an image.
        """
        sureness = {}
        for name, sample in self._samples.items():
            prob = sample.pred_prob.data
            hints = sample.get('hints', ())
            sureness[name] = expected_overlap(prob)
            if hints:
                size, number = prob.shape[1:], len(self.classes)
                if hint_map(hints, sample.ori_shape[:2], size, number).sure.all():
                    sureness[name] = 1.0
        return sureness

    def next_image(self) -> str | None:
        """The image without hints whose answer is the least sure; None if all have hints."""
        sureness = self.sureness()
        for name in self.hints():
            del sureness[name]
        return min(sureness, key=sureness.get, default=None)

    def _name(self, image: str) -> str:
        """The file name of an image, whatever it is called."""
        _, stem = image_called(image, self._owners)
        name = self._file_names[stem]
        if name not in self._samples:
            raise MMCosegError(f'{name} cannot be read, and is not in the group')
        return name

    def _names(self, images: str | Iterable[str] | None) -> list[str]:
        if images is None:
            return self.names
        listed = [images] if isinstance(images, str) else images
        return [self._name(image) for image in listed]

    def _label(self, object: Object) -> int:
        if isinstance(object, str):
            if object not in self.classes:
                raise MMCosegError(
                    f'there is no class {object!r}{nearest(object, self.classes)}; name the '
                    f'classes when the group is opened, these are {list(self.classes)}'
                )
            return self.classes.index(object) + 1
        return int(object)
