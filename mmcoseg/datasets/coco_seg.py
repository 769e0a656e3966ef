"""COCO-SEG: groups read straight from COCO's instance annotations."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from ..registry import DATASETS
from .base import CoSegDataset

__all__ = ['COCOSEGDataset']


@DATASETS.register_module()
class COCOSEGDataset(CoSegDataset):
    """SSNM's training set, made of COCO 2017 instances on the fly.

    A category's group are the images with a non-crowd instance of it above ``min_area``;
    categories with fewer than ``min_images`` such images are left out (78 stay with COCO 2017's
    training images). The co-categories of a drawn group are all categories that have such an
    instance in every one of its images, and its masks the union of those categories' instances,
    drawn by ``LoadCoSegMask``.

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
        """One record a category, with the instances that its masks are drawn from."""
        coco = self._read()
        names = {category['id']: category['name'] for category in coco['categories']}
        files = {image['id']: image['file_name'] for image in coco['images']}
        instances: dict[int, list[dict]] = defaultdict(list)
        members: dict[int, set[int]] = defaultdict(set)
        for annotation in coco['annotations']:
            if not annotation.get('iscrowd') and annotation['area'] > self.min_area:
                instances[annotation['image_id']].append(annotation)
                members[annotation['category_id']].add(annotation['image_id'])
        enough = {names[c]: c for c, ids in members.items() if len(ids) >= self.min_images}
        if not enough:
            raise ValueError(
                f'{self.ann_file}: no category has {self.min_images} images with an instance above '
                f'{self.min_area} pixels; lower min_images or min_area'
            )
        # The numbering of all categories that stay, also where only some groups are used.
        ordered = [names[c] for c in names if names[c] in enough]
        self._metainfo.setdefault('classes', tuple(ordered))
        numbers = {enough[name]: i for i, name in enumerate(self._metainfo['classes'])}
        folder = Path(self.data_prefix['img_path'])
        records = []
        for name in self._select(ordered, Path(self.ann_file)):
            image_ids = sorted(members[enough[name]])[: self.max_images]
            images = [
                self._image_record(name, folder / files[i], instances[i], numbers)
                for i in image_ids
            ]
            label_ids = self.label_ids_of(name)
            records.append(dict(group=name, category=name, label_ids=label_ids, images=images))
        return records

    def _read(self) -> dict:
        try:
            with open(self.ann_file, encoding='utf-8') as file:
                coco = json.load(file)
        except FileNotFoundError:
            raise FileNotFoundError(
                f'{type(self).__name__}: there is no file {self.ann_file}. {self.HINT}.'
            ) from None
        except json.JSONDecodeError as error:
            raise ValueError(f'{self.ann_file} is not valid json ({error})') from error
        missing = {'images', 'annotations', 'categories'} - set(coco)
        if missing:
            raise ValueError(
                f'{self.ann_file} has no {sorted(missing)}: it is not a file of COCO instances'
            )
        return coco

    @staticmethod
    def _image_record(
        group: str, file: Path, annotations: list[dict], numbers: dict[int, int]
    ) -> dict:
        usable = [a for a in annotations if a['category_id'] in numbers]
        return dict(
            img_path=str(file),
            seg_map_path=None,
            group=group,
            stem=file.stem,
            label_ids=tuple(sorted({numbers[a['category_id']] for a in usable})),
            instances=[
                dict(category=numbers[a['category_id']], mask=a['segmentation']) for a in usable
            ],
        )
