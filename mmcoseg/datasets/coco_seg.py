"""COCO-SEG: groups read straight from COCO's instance annotations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import MMCosegError
from ..registry import DATASETS
from .base import CoSegDataset, image_record
from .coco_index import open_index

__all__ = ['COCOSEGDataset']


@DATASETS.register_module()
class COCOSEGDataset(CoSegDataset):
    """SSNM's training set, made of COCO 2017 instances on the fly.

    A category's group has the images with a non-crowd instance of it above ``min_area``;
    categories with fewer than ``min_images`` such images are left out (78 stay of COCO 2017's
    training images). The co-categories of a drawn group are all categories that have such an
    instance in each of its images. Its masks are the union of all annotations of those categories,
    also small ones and crowds; ``LoadCoSegMask`` draws them, a crowd as one instance.

    All processes share the annotations in files (:func:`open_index`), made at the first start, and
    an image's are read when it is drawn: drawing from the 45,000 images with persons costs what
    drawing from 100 does. An image with an unreadable ``segmentation`` is left out then, with a
    warning that names the annotation.

    Args:
        data_root: folder of COCO.
        ann_file: annotations, below ``data_root``.
        data_prefix: folder of the images, ``img_path``.
        min_area: in pixels, exclusive.
        min_images: least number of images of a category.
    """

    DATA_PREFIX = dict(img_path='train2017')
    HINT = (
        'Download the images and instance annotations of COCO 2017 from https://cocodataset.org '
        'and set data_root to the folder that holds annotations/ and train2017/'
    )

    def __init__(
        self,
        data_root: str | None = 'data/coco',
        ann_file: str = 'annotations/instances_train2017.json',
        min_area: float = 4000,
        min_images: int = 100,
        **kwargs: Any,
    ) -> None:
        self.min_area = min_area
        self.min_images = min_images
        super().__init__(data_root=data_root, ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One record a category; its ``images`` are positions in the index."""
        index = open_index(self.ann_file, f' {self.HINT}.')
        members, numbers = {}, {}
        for number, name in enumerate(index.names):
            images = index.images_with(number, self.min_area)
            if len(images) >= self.min_images:
                members[name], numbers[name] = images, number
        if not members:
            raise MMCosegError(
                f'{self.ann_file}: no category has {self.min_images} images with an instance above '
                f'{self.min_area} pixels; lower min_images or min_area'
            )
        # The numbering is that of all categories that stay, also where only some groups are used.
        self._metainfo.setdefault('classes', tuple(members))
        self._index = index
        # Label by number in the index; a user's classes may lack some.
        self._label_of = {}
        for name, number in numbers.items():
            self._label_of.update((number, label) for label in self.label_ids_of(name))
        records = []
        for name in self.select(list(members), Path(self.ann_file)):
            record = dict(group=name, category=name, label_ids=self.label_ids_of(name))
            records.append(dict(record, images=members[name]))
        return records

    def _images_of(self, info: dict) -> Sequence[dict]:
        return _ImageRecords(self, info)

    def image_record(self, group: str, position: int) -> dict:
        """The image record at a position of the index."""
        file = Path(self.data_prefix['img_path']) / self._index.file_name(position)
        instances, label_ids = [], set()
        for annotation in self._index.annotations(position):
            label = self._label_of.get(annotation.category)
            if label is None:
                continue
            if annotation.area > self.min_area and not annotation.crowd:
                label_ids.add(label)
            mask, name = annotation.segmentation, annotation.name
            instances.append(dict(category=label, mask=mask, name=name))
        size = self._index.size(position)
        record = image_record(
            file, group, tuple(sorted(label_ids)), instances=instances, listed_size=size
        )
        return self._complete(record)


class _ImageRecords(Sequence):
    """The image records of a group, each made when it is looked at."""

    def __init__(self, dataset: COCOSEGDataset, info: dict) -> None:
        self.dataset = dataset
        self.group = info['group']
        self.positions = info['images']

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int | slice) -> dict | list[dict]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.dataset.image_record(self.group, int(self.positions[index]))
