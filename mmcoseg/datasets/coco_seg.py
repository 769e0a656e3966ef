"""COCO-SEG: groups read straight from COCO's instance annotations."""

import json
import pickle
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..registry import DATASETS
from .base import CoSegDataset

__all__ = ['COCOSEGDataset', 'read_coco']


@DATASETS.register_module()
class COCOSEGDataset(CoSegDataset):
    """SSNM's training set, made of COCO 2017 instances on the fly.

    A category's group are the images with a non-crowd instance of it above ``min_area``;
    categories with fewer than ``min_images`` such images are left out (78 stay with COCO 2017's
    training images). The co-categories of a drawn group are all categories that have such an
    instance in every one of its images, and its masks the union of those categories' instances,
    drawn by ``LoadCoSegMask``.

    An image's annotations are kept once, however many groups it is in, and unpacked when the image
    is drawn: drawing from the 45,000 images with persons costs what drawing from 100 does.

    Args:
        data_root: folder of COCO.
        ann_file: annotations, below ``data_root``.
        data_prefix: folder of the images, ``img_path``.
        min_area: in pixels, exclusive.
        min_images: least number of images of a category.
        max_images: None, or how many images of a category to use at most (the first by id), for
            trials.

    Raises:
        FileNotFoundError: if the annotations are not there.
        ValueError: if they are no COCO instances, or no category has enough images.
    """

    HINT = (
        'Download the images and instance annotations of COCO 2017 from https://cocodataset.org '
        'and set data_root to the folder that holds annotations/ and train2017/'
    )

    def __init__(
        self,
        data_root: str | None = 'data/coco',
        ann_file: str = 'annotations/instances_train2017.json',
        data_prefix: dict | None = None,
        min_area: float = 4000,
        min_images: int = 100,
        max_images: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.min_area = min_area
        self.min_images = min_images
        self.max_images = max_images
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            data_prefix=data_prefix or dict(img_path='train2017'),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """One record a category; its ``images`` are positions in the store of images."""
        coco = self._read()
        names = {category['id']: category['name'] for category in coco['categories']}
        files = {image['id']: image['file_name'] for image in coco['images']}
        instances, members = self._large_instances(coco['annotations'])
        enough = {c for c, ids in members.items() if len(ids) >= self.min_images}
        if not enough:
            raise ValueError(
                f'{self.ann_file}: no category has {self.min_images} images with an instance above '
                f'{self.min_area} pixels; lower min_images or min_area'
            )
        # The numbering is that of all categories that stay, also where only some groups are used.
        ordered = {names[c]: c for c in names if c in enough}
        self._metainfo.setdefault('classes', tuple(ordered))
        number_of = {c: self.label_ids_of(name) for name, c in ordered.items()}

        records = []
        used: dict[int, int] = {}  # id of an image -> its position in the store
        for name in self._select(list(ordered), Path(self.ann_file)):
            image_ids = sorted(members[ordered[name]])[: self.max_images]
            positions = [used.setdefault(i, len(used)) for i in image_ids]
            records.append(
                dict(
                    group=name,
                    category=name,
                    label_ids=self.label_ids_of(name),
                    images=np.array(positions),
                )
            )
        folder = Path(self.data_prefix['img_path'])
        self._store = _Store(
            (
                str(folder / files[i]),
                [
                    dict(category=number, mask=a['segmentation'])
                    for a in instances[i]
                    for number in number_of.get(a['category_id'], ())
                ],
            )
            for i in used
        )
        return records

    def _large_instances(
        self, annotations: list[dict]
    ) -> tuple[dict[int, list[dict]], dict[int, set[int]]]:
        """Instances that count: those of an image, and the images of a category."""
        instances: dict[int, list[dict]] = defaultdict(list)
        members: dict[int, set[int]] = defaultdict(set)
        for annotation in annotations:
            try:
                if not annotation.get('iscrowd') and annotation['area'] > self.min_area:
                    instances[annotation['image_id']].append(annotation)
                    members[annotation['category_id']].add(annotation['image_id'])
            except KeyError as error:
                raise ValueError(
                    f'{self.ann_file}: annotation {annotation.get("id")} has no key {error}'
                ) from None
        return instances, members

    def _images_of(self, info: dict) -> Sequence[dict]:
        return _ImageRecords(self, info)

    def image_record(self, group: str, position: int) -> dict:
        """The image record at a position of the store."""
        path, instances = self._store[position]
        return self._with_prior(
            dict(
                img_path=path,
                seg_map_path=None,
                group=group,
                stem=Path(path).stem,
                label_ids=tuple(sorted({instance['category'] for instance in instances})),
                instances=instances,
            )
        )

    def _read(self) -> dict:
        return read_coco(self.ann_file, f'{type(self).__name__}: ', f' {self.HINT}.')


def read_coco(file: str | Path, who: str = '', hint: str = '') -> dict:
    """The content of a file of COCO instances.

    Args:
        file: its path.
        who, hint: before and after the message if it is not there.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is no json, or none of COCO's form.
    """
    try:
        content = json.loads(Path(file).read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise FileNotFoundError(f'{who}there is no file {file}.{hint}') from None
    except ValueError as error:
        raise ValueError(f'{file} is not valid json ({error})') from error
    if not isinstance(content, dict):
        raise ValueError(f'{file} is a list: not a file of COCO instances')
    missing = {'images', 'annotations', 'categories'} - set(content)
    if missing:
        raise ValueError(f'{file} has no {sorted(missing)}: it is not a file of COCO instances')
    return content


class _Store:
    """Objects, pickled into one array, which worker processes share with the one that made it."""

    def __init__(self, items) -> None:
        packed = [np.frombuffer(pickle.dumps(item, protocol=5), np.uint8) for item in items]
        self.ends = np.cumsum([len(item) for item in packed])
        self.bytes = np.concatenate(packed)

    def __getitem__(self, position: int) -> Any:
        start = self.ends[position - 1] if position else 0
        return pickle.loads(memoryview(self.bytes[start : self.ends[position]]))


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
