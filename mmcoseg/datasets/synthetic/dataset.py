"""A data set without files: rendered groups of procedural objects."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from ...errors import MMCosegError
from ...files import save_image
from ...options import in_range, one_of, whole_number
from ...registry import DATASETS
from ...structures.rle import encode_masks
from ..base import CoSegDataset, select_groups
from .scene import SceneObject, category, render_scene

__all__ = ['RenderedImage', 'SyntheticCoSegDataset']

ImageFormat = Literal['jpg', 'png']

#: From here on, categories that no data set uses: distractors once its own are used up.
_STRANGERS = 1_000_000
#: Smallest and largest number of objects of each class in an image.
_INSTANCES = (1, 2)
#: Smallest and largest size of objects, as a share of the image's shorter side.
_SCALES = (0.3, 0.6)


@dataclass(frozen=True)
class RenderedImage:
    """What an image record of a rendered image has in place of a file: its key ``render``.

    ``key`` seeds everything random, ``size`` is height and width; ``labels`` are the numbers of the
    objects' categories in the data set, -1 for strangers.
    """

    key: tuple[int, ...]
    size: tuple[int, int]
    objects: tuple[SceneObject, ...]
    labels: tuple[int, ...]

    def load(self) -> tuple[np.ndarray, list[dict]]:
        """The image, (H, W, 3) uint8 BGR, and its instances as ``LoadCoSegMask`` takes them."""
        image, masks = render_scene(self.key, self.size, self.objects)
        rles = encode_masks(masks)
        return image, [dict(category=label, mask=rle) for label, rle in zip(self.labels, rles)]


@DATASETS.register_module()
class SyntheticCoSegDataset(CoSegDataset):
    """Groups of rendered images: textured objects among clutter on natural-statistics backgrounds.

    A category is a parametric shape (animal, vehicle, plant, ...) with a texture and colors; the
    catalogue of categories is endless and the same for every data set. Instances vary in pose,
    size, light, color and occlusion. A group is known only by what recurs in it: a category is the
    object of one group and a distractor in others. Training with ``category_offset=0`` and testing
    with ``category_offset=100`` tests on unseen categories.

    An image is a function of (seed, split, group, number of the image) and the options below alone.

    Args:
        num_categories: number of categories, and of groups.
        category_offset: number of the first one in the catalogue; they are named ``synth_000``, ...
        images_per_group: number of images of each group.
        image_size: height and width, at least 32.
        classes_per_image: K, the number of classes that recur in a group. With K > 1 a group is
            K neighboring categories, like ``synth_000+synth_001``, mask values are 1..K in the
            order of their numbers (with ``binary=False`` in ``LoadCoSegMask``).
        distractors: smallest and largest number of objects of other categories in an image. No
            category recurs among the distractors of a group.
        empty_share: probability that an image lacks a class of its group, for each class.
        split: any name; different splits of one seed have different images.
        seed: of the images, and of everything random about training draws.
        groups, exclude_groups, pipeline, metainfo, ...: as in ``CoSegDataset``; files and folders
            are not used. ``metainfo['classes']``, if given, must have all categories.

    Example:
        >>> dataset = SyntheticCoSegDataset(num_categories=3, images_per_group=4)
        >>> [dataset.get_data_info(i)['group'] for i in range(len(dataset))]
        ['synth_000', 'synth_001', 'synth_002']
        >>> image, instances = dataset.get_data_info(0)['images'][0]['render'].load()
        >>> image.shape
        (128, 128, 3)
    """

    BY_CATEGORY = False

    def __init__(
        self,
        num_categories: int = 40,
        category_offset: int = 0,
        images_per_group: int = 20,
        image_size: tuple[int, int] = (128, 128),
        classes_per_image: int = 1,
        distractors: tuple[int, int] = (0, 2),
        empty_share: float = 0.0,
        split: str = 'train',
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        whole_number('num_categories', num_categories)
        whole_number('category_offset', category_offset, 0)
        whole_number('images_per_group', images_per_group)
        whole_number('classes_per_image', classes_per_image)
        whole_number('seed', seed, 0)
        in_range('empty_share', empty_share, 0, 1)
        if classes_per_image > num_categories:
            needs = f'classes_per_image={classes_per_image} needs at least as many categories'
            raise MMCosegError(f'{needs}, got num_categories={num_categories}')
        if len(image_size) != 2 or min(image_size) < 32:
            least = 'both at least 32 pixels'
            raise MMCosegError(f'image_size must be (height, width), {least}, got {image_size}')
        low, high = distractors
        whole_number('distractors[0], the smallest number,', low, 0)
        whole_number('distractors[1], the largest number,', high, low)
        self.categories = range(category_offset, category_offset + num_categories)
        self.images_per_group = images_per_group
        self.image_size = tuple(image_size)
        self.classes_per_image = classes_per_image
        self.distractors = low, high
        self.empty_share = empty_share
        self.split = split
        super().__init__(seed=seed, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Group records, without the data set itself."""
        names = {index: category(index).name for index in self.categories}
        members, around = {}, [*names, *names]
        for start in range(len(names)):
            indices = tuple(sorted(around[start : start + self.classes_per_image]))
            members['+'.join(map(names.get, indices))] = indices
        where = (
            f'{type(self).__name__}(num_categories={len(names)}, '
            f'category_offset={self.categories.start})'
        )
        groups = select_groups(list(members), self.groups, self.exclude_groups, where)
        self.name_classes(list(names.values()))
        unknown = sorted(set(names.values()).difference(self._metainfo['classes']))
        if unknown:
            raise MMCosegError(
                f"metainfo['classes'] lacks {unknown[0]!r}; {type(self).__name__} needs all of "
                f'{names[self.categories[0]]} to {names[self.categories[-1]]}, or no classes at all'
            )
        # Numbers of all its categories, not only of the groups used: distractors have them, too.
        self._labels = {index: self.label_ids_of(name)[0] for index, name in names.items()}
        return [self._rendered_group(name, members[name]) for name in groups]

    def _rendered_group(self, group: str, members: tuple[int, ...]) -> dict:
        key = (self.seed, zlib.crc32(self.split.encode()), len(members), *members)
        others = [index for index in self.categories if index not in members]
        others = np.random.default_rng((*key, 0)).permutation(others).tolist()
        images = []
        for number in range(self.images_per_group):
            render = self._plan((*key, 1, number), members, others, number)
            label_ids = tuple(sorted(set(render.labels) - {-1}))
            image = dict(group=group, stem=f'{number:03}', label_ids=label_ids, render=render)
            images.append(dict(image, img_path=None, seg_map_path=None))
        label_ids = tuple(sorted(self._labels[index] for index in members))
        return dict(group=group, category=group, label_ids=label_ids, images=images)

    def _plan(
        self, key: tuple[int, ...], members: tuple[int, ...], others: list[int], number: int
    ) -> RenderedImage:
        """Decide what an image shows, without painting it."""
        rng = np.random.default_rng((*key, 0))
        shown = []
        for index in members:
            count = int(rng.integers(*_INSTANCES, endpoint=True))
            shown += [index] * count * int(rng.random() >= self.empty_share)
        for place in range(rng.integers(*self.distractors, endpoint=True)):
            # Every place of every image has its own distractor, so that none recurs.
            turn = number * self.distractors[1] + place
            fresh = _STRANGERS + int(rng.integers(_STRANGERS))
            shown.append(others[turn] if turn < len(others) else fresh)
        order = rng.permutation(len(shown))
        objects = tuple(SceneObject(shown[i], float(rng.uniform(*_SCALES))) for i in order)
        labels = tuple(self._labels.get(item.category, -1) for item in objects)
        return RenderedImage((*key, 1), self.image_size, objects, labels)

    def export(self, root: str | Path, image_format: ImageFormat = 'jpg') -> Path:
        """Write the data set to files in the canonical layout, where ``CoSegDataset`` reads it.

        Masks hold 0 and 255, with several classes 0..K. Files of the same names are replaced.

        Args:
            root: folder to write to, which is returned.
            image_format: ``'jpg'`` or ``'png'`` (lossless).
        """
        one_of('image_format', image_format, ImageFormat)
        root, options = Path(root), dict(format='PNG')
        if image_format == 'jpg':
            options = dict(format='JPEG', quality=92, subsampling=0)
        for number in range(len(self)):
            record = self.get_data_info(number)
            for item in record['images']:
                image, instances = item['render'].load()
                name = f'{record["group"]}/{item["stem"]}'
                image_file = root / 'images' / f'{name}.{image_format}'
                save_image(Image.fromarray(image[:, :, ::-1]), image_file, **options)
                mask = self._mask_of(instances, image.shape[:2], record['label_ids'])
                save_image(Image.fromarray(mask), root / 'masks' / f'{name}.png', 'PNG')
        return root

    def _mask_of(self, instances: list[dict], size: tuple[int, int], labels: tuple) -> np.ndarray:
        """The values (H, W) uint8 of a mask file."""
        mask = np.zeros(size, np.uint8)
        for instance in instances:
            if instance['category'] in labels:
                value = labels.index(instance['category']) + 1
                mask[coco_mask.decode(instance['mask']) > 0] = value
        return mask * np.uint8(255) if self.classes_per_image == 1 else mask
