"""Files of YOLO segmentation."""

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import yaml

from ..errors import MMCosegError
from ..files import display_name, write_atomically
from .objects import ObjectMask
from .polygons import join_parts, mask_to_polygons

__all__ = ['YoloNames', 'yolo_lines']

#: Added to a pixel's number in YOLO files, whose readers round (supervision) or cut off
#: (Ultralytics): between 0 and 0.5 both give the pixel.
_YOLO_OFFSET = 0.25


def yolo_lines(objects: Sequence[ObjectMask], indices: dict[str, int]) -> str:
    """The text of a YOLO segmentation file: ``class x y x y ...``, in shares of the image's size.

    An instance is one line, its parts joined by bridges of no width. A class' mask may cover any
    number of objects, so it has a line for each connected part. ``indices`` numbers the categories
    from 0.
    """
    lines = []
    for item in objects:
        polygons = mask_to_polygons(item.mask)
        if item.instance:
            polygons = [join_parts(polygons)]
        for polygon in polygons:
            shares = (polygon + _YOLO_OFFSET) / item.mask.shape[::-1]
            values = ' '.join(f'{value:.6f}' for value in shares.ravel())
            lines.append(f'{indices[item.category]} {values}\n')
    return ''.join(lines)


class YoloNames:
    """The numbers of the categories in YOLO's label files, kept in its ``data.yaml``.

    Label files are written image by image, before all categories are known. So categories are
    numbered in the order in which they come, and those of earlier runs keep their numbers.

    Args:
        file: path of ``data.yaml``; what stands there is read, and all else in it is kept.

    Raises:
        MMCosegError: if the file is there but does not have our form.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = Lock()
        self._head = (
            '# Ultralytics finds images and labels from here. All images serve for training and\n'
            '# for validation alike: split them before you trust a validation.\n'
            'train: images\n'
            'val: images\n'
        )
        self._indices: dict[str, int] = {}
        if not file.is_file():
            return
        try:
            text = file.read_text(encoding='utf-8')
            names = yaml.safe_load(text)['names'] or {}
            self._indices = {names[number]: number for number in range(len(names.keys()))}
        except (UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise MMCosegError(
                f'{file} is not as mmcoseg writes it, so that the numbers of the categories '
                'of earlier results are lost; delete or move the folder it is in'
            ) from error
        self._head = text.partition('names:\n')[0]

    def number(self, categories: Sequence[str]) -> dict[str, int]:
        """The number of each category; new ones are put into the file."""
        with self._lock:
            before, numbers = len(self._indices), {}
            for name in categories:
                shown = display_name(name)
                numbers[name] = self._indices.setdefault(shown, len(self._indices))
            if len(self._indices) > before or not self.file.is_file():
                text = f'{self._head}names:\n'
                for name, number in self._indices.items():
                    # Not escaped: YAML takes the two halves of a rare character for two.
                    text += f'  {number}: {json.dumps(name, ensure_ascii=False)}\n'
                with write_atomically(self.file) as file:
                    file.write(text.encode())
            return numbers
