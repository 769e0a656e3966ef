"""A data set without files: rendered groups of procedural objects."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from ...errors import MMCosegError
from ...registry import DATASETS
from ..base import CoSegDataset, select_groups
from .scene import SceneObject, category, render_scene

__all__ = ['RenderedImage', 'SyntheticCoSegDataset']

#: Distractors of categories that no data set would use, once its own are used up.
_STRANGERS = 1_000_000


@dataclass(frozen=True)
class RenderedImage:
    """What an image record of a rendered image has in place of a file: its key ``render``.

    Attributes:
        key: seeds of everything random in the picture.
        size: height and width.
        objects: what it shows, distractors included.
        labels: for each object the number of its category in the data set, -1 for strangers.
    """

    key: tuple[int, ...]
    size: tuple[int, int]
    objects: tuple[SceneObject, ...]
    labels: tuple[int, ...]

    def load(self) -> tuple[np.ndarray, list[dict]]:
        """Render.

        Returns:
            The image, (H, W, 3) uint8 BGR, and its instances as ``LoadCoSegMask`` takes them,
            ``dict(category=<label>, mask=<RLE>)``.
        """
        image, masks = render_scene(self.key, self.size, self.objects)
        encoded = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))
        instances = [dict(category=label, mask=rle) for label, rle in zip(self.labels, encoded)]
        return image, instances


@DATASETS.register_module()
class SyntheticCoSegDataset(CoSegDataset):
    """Groups of rendered images: textured objects among clutter on natural-statistics backgrounds.

    It needs no files, and pipelines treat it as any other set. A category is a parametric shape
    (animals, vehicles, vessels, plants, tools, abstract outlines, ...) with a texture and colors;
    the catalogue of categories is endless and the same for every data set. Instances vary in pose,
    size, proportions, light, color and occlusion. So training on ``category_offset=0`` and
    testing on ``category_offset=100`` tests on categories never seen, and a group is known only by
    what recurs in it: the same category is the object of one group and a distractor in others.

    An image is a function of (seed, split, group, number of the image) and of the options below
    alone: neither what was rendered before nor which process renders it matters.

    Args:
        num_categories: number of categories, and of groups.
        category_offset: number of the first one in the catalogue; they are named ``synth_000``, ...
        images_per_group: number of images of each group.
        image_size: (height, width), or ((height, width), (height, width)): the smallest and the
            largest, between which every image's size is drawn.
        classes_per_image: K, the number of classes that recur in a group. With K > 1 a group is
            K neighboring categories, like ``synth_000+synth_001``, mask values are 1..K in the
            order of their numbers (with ``binary=False`` in ``LoadCoSegMask``).
        instances: smallest and largest number of objects of each class in an image.
        distractors: smallest and largest number of objects of other categories in an image. No
            category recurs among the distractors of a group.
        empty_share: probability that an image lacks a class of its group; for each class apart.
        object_scale: smallest and largest size of objects, as a share of the image's shorter side.
        split: any name; different splits of one seed have different images.
        seed: of the images, and of everything random about training draws.
        groups, exclude_groups, pipeline, metainfo, ...: as in ``CoSegDataset``; files and folders
            are not used. ``metainfo['classes']``, if given, must have all categories.

    Raises:
        MMCosegError: for options out of range, with the allowed values.

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
        image_size: Sequence[int] | Sequence[Sequence[int]] = (128, 128),
        classes_per_image: int = 1,
        instances: tuple[int, int] = (1, 2),
        distractors: tuple[int, int] = (0, 2),
        empty_share: float = 0.0,
        object_scale: tuple[float, float] = (0.3, 0.6),
        split: str = 'train',
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        _check_count('num_categories', num_categories, 1)
        _check_count('category_offset', category_offset, 0)
        _check_count('images_per_group', images_per_group, 1)
        _check_count('classes_per_image', classes_per_image, 1)
        _check_count('seed', seed, 0)
        if classes_per_image > num_categories:
            raise MMCosegError(
                f'classes_per_image={classes_per_image} needs at least as many categories, got '
                f'num_categories={num_categories}'
            )
        if not 0 <= empty_share <= 1:
            raise MMCosegError(f'empty_share must be in [0, 1], got {empty_share}')
        self.categories = range(category_offset, category_offset + num_categories)
        self.images_per_group = images_per_group
        self.size_range = _size_range(image_size)
        self.classes_per_image = classes_per_image
        self.instances = _check_range('instances', instances, 1)
        self.distractors = _check_range('distractors', distractors, 0)
        self.empty_share = empty_share
        self.object_scale = _check_range('object_scale', object_scale, 0.05, 1.5)
        self.split = split
        super().__init__(seed=seed, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Group records, without the data set itself."""
        members = self._members()
        where = (
            f'{type(self).__name__}(num_categories={len(self.categories)}, '
            f'category_offset={self.categories.start})'
        )
        names = select_groups(list(members), self.groups, self.exclude_groups, where)
        self._set_classes([category(index).name for index in self.categories])
        # Numbers of all its categories, not only of the groups used: distractors have them, too.
        self._labels = {index: self._label_of(index) for index in self.categories}
        return [self._rendered_group(name, members[name]) for name in names]

    def _members(self) -> dict[str, tuple[int, ...]]:
        """The categories of each group, by its name, in the catalogue's order."""
        members = {}
        for start in range(len(self.categories)):
            indices = tuple(
                sorted(
                    self.categories[(start + k) % len(self.categories)]
                    for k in range(self.classes_per_image)
                )
            )
            members['+'.join(category(index).name for index in indices)] = indices
        return members

    def _label_of(self, index: int) -> int:
        labels = self.label_ids_of(category(index).name)
        if not labels:
            raise MMCosegError(
                f"metainfo['classes'] lacks {category(index).name!r}; {type(self).__name__} needs "
                f'all of {category(self.categories[0]).name} to '
                f'{category(self.categories[-1]).name}, or no classes at all'
            )
        return labels[0]

    def _rendered_group(self, group: str, members: tuple[int, ...]) -> dict:
        key = (self.seed, zlib.crc32(self.split.encode()), len(members), *members)
        others = [index for index in self.categories if index not in members]
        others = np.random.default_rng((*key, 0)).permutation(others).tolist()
        images = []
        for number in range(self.images_per_group):
            render = self._plan((*key, 1, number), members, others, number)
            images.append(
                dict(
                    img_path=None,
                    seg_map_path=None,
                    render=render,
                    group=group,
                    stem=f'{number:03}',
                    label_ids=tuple(sorted({label for label in render.labels if label >= 0})),
                )
            )
        label_ids = tuple(sorted(self._labels[index] for index in members))
        return dict(group=group, category=group, label_ids=label_ids, images=images)

    def _plan(
        self, key: tuple[int, ...], members: tuple[int, ...], others: list[int], number: int
    ) -> RenderedImage:
        """Decide what an image shows, without painting it."""
        rng = np.random.default_rng((*key, 0))
        size = tuple(int(rng.integers(low, high + 1)) for low, high in zip(*self.size_range))
        shown = []
        for index in members:
            count = int(rng.integers(*self.instances, endpoint=True))
            shown += [index] * count * int(rng.random() >= self.empty_share)
        for place in range(rng.integers(*self.distractors, endpoint=True)):
            # Every place of every image has its own distractor, so that none recurs.
            turn = number * self.distractors[1] + place
            fresh = _STRANGERS + int(rng.integers(_STRANGERS))
            shown.append(others[turn] if turn < len(others) else fresh)
        order = rng.permutation(len(shown))
        objects = tuple(
            SceneObject(shown[i], float(rng.uniform(*self.object_scale))) for i in order
        )
        labels = tuple(self._labels.get(item.category, -1) for item in objects)
        return RenderedImage((*key, 1), size, objects, labels)

    def export(self, root: str | Path, image_format: str = 'jpg') -> Path:
        """Write the data set to files in the canonical layout, where ``CoSegDataset`` reads it.

        Masks hold 0 and 255, with several classes 0..K.

        Args:
            root: folder to write to; it is made, files of the same names are replaced.
            image_format: ``'jpg'`` or ``'png'`` (lossless).

        Returns:
            ``root``.

        Raises:
            MMCosegError: for another format.
        """
        if image_format not in ('jpg', 'png'):
            raise MMCosegError(f"image_format must be 'jpg' or 'png', got {image_format!r}")
        root = Path(root)
        for number in range(len(self)):
            record = self.get_data_info(number)
            folders = [root / part / record['group'] for part in ('images', 'masks')]
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            for item in record['images']:
                image, instances = item['render'].load()
                mask = np.zeros(image.shape[:2], np.uint8)
                for instance in instances:
                    if instance['category'] in record['label_ids']:
                        value = record['label_ids'].index(instance['category']) + 1
                        mask[coco_mask.decode(instance['mask']) > 0] = value
                if self.classes_per_image == 1:
                    mask *= 255
                options = dict(quality=92, subsampling=0) if image_format == 'jpg' else {}
                Image.fromarray(image[:, :, ::-1]).save(
                    folders[0] / f'{item["stem"]}.{image_format}', **options
                )
                Image.fromarray(mask).save(folders[1] / f'{item["stem"]}.png')
        return root


def _check_count(name: str, value: Any, low: int) -> None:
    if not isinstance(value, int) or value < low:
        raise MMCosegError(f'{name} must be an integer of at least {low}, got {value!r}')


def _check_range(name: str, value: Sequence, low: float, high: float = np.inf) -> tuple:
    value = tuple(value)
    if len(value) != 2 or not low <= value[0] <= value[1] <= high:
        limit = '' if np.isinf(high) else f' and at most {high}'
        raise MMCosegError(
            f'{name} must be (smallest, largest), at least {low}{limit}, got {value}'
        )
    return value


def _size_range(image_size: Sequence) -> tuple[tuple[int, int], tuple[int, int]]:
    """((height, width) smallest, (height, width) largest)."""
    sizes = np.array(image_size)
    if sizes.shape == (2,):
        sizes = np.stack([sizes, sizes])
    if sizes.shape != (2, 2) or (sizes[0] > sizes[1]).any() or sizes.min() < 32:
        raise MMCosegError(
            'image_size must be (height, width) or a smallest and a largest such pair, all at '
            f'least 32 pixels, got {image_size}'
        )
    low, high = sizes.tolist()
    return tuple(low), tuple(high)
