"""Objects with names, of whatever tool, as masks of numbered classes."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from ..datasets.hint_files import GivenHints, check_class_names
from ..errors import MMCosegError, naming
from ..files import display_name, named
from ..structures import Absent, ExampleMask
from ..structures.hints import UNKNOWN

__all__ = ['LabelMasks']


class LabelMasks:
    """Collects the objects of images, and numbers their classes in each group.

    Classes are numbered as a file of ours says; else in ``order``, and then by name. A class that
    is called as its group is what the group shares, and stays without a name.

    Args:
        order: names of classes.
    """

    def __init__(self, order: Sequence[str] = ()) -> None:
        self._place = {name: place for place, name in enumerate(order)}
        self._masks: dict[str, np.ndarray] = {}
        # Group -> name -> number in its masks, for now as they come; and names in a file of ours.
        self._numbers: dict[str, dict[str, int]] = defaultdict(dict)
        self._given: dict[str, dict[str, None]] = defaultdict(dict)

    def add(
        self,
        image: str,
        size: tuple[int, int],
        objects: Sequence[tuple[str, np.ndarray]],
        given: Sequence[str] = (),
    ) -> None:
        """Take the objects of an image.

        Args:
            image: ``<group>/<name>`` or ``<name>``.
            size: height and width.
            objects: name of the class and mask (H, W) bool of each. Where objects of two classes
                overlap, the later one counts.
            given: the classes of the group in order, where the file is one of ours.

        Raises:
            MMCosegError: if the image was there before, or for too many classes.
        """
        if image in self._masks:
            raise MMCosegError(f'the image {image!r} is there twice; keep one of the two')
        group = image.rpartition('/')[0]
        with naming('its categories'):
            self._given[group].update(dict.fromkeys(check_class_names(given)))
        numbers = self._numbers[group]
        labels = np.zeros(size, np.uint8)
        for name, mask in objects:
            number = numbers.setdefault(name, len(numbers) + 1)
            if number >= UNKNOWN:
                raise MMCosegError(
                    f'the objects of {group!r} are of more than {UNKNOWN - 1} classes, such as '
                    f'{named(list(numbers), 5)}; a mask has values for no more'
                )
            labels[mask] = number
        self._masks[image] = labels

    def hints(self) -> GivenHints:
        """A whole mask for each image with objects, an absence for each without."""
        hints = GivenHints()
        tables = {}
        for group, numbers in self._numbers.items():
            others = sorted(set(numbers) - set(self._given[group]), key=self._rank)
            names = [*self._given[group], *others]
            tables[group] = np.zeros(UNKNOWN, np.uint8)
            for name, number in numbers.items():
                tables[group][number] = names.index(name) + 1
            if names and names != [display_name(group)]:
                hints.classes[group] = tuple(names)
        for image, labels in self._masks.items():
            table = tables[image.rpartition('/')[0]]
            hint = ExampleMask(table[labels]) if labels.any() else Absent()
            hints.by_image[image] = [hint]
        return hints

    def _rank(self, name: str) -> tuple[int, str]:
        return self._place.get(name, len(self._place)), name
