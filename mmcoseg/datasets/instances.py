"""Groups whose objects are known one by one: DeepCO3's test sets, and any of their form."""

import warnings
from collections import defaultdict
from itertools import chain
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..errors import MMCosegError
from ..registry import DATASETS
from .base import CoSegDataset, download_hint, image_record
from .coco_file import CocoFile, listed_size, read_coco

__all__ = [
    'COCONonVOCDataset',
    'COCOVOCDataset',
    'InstanceCoSegDataset',
    'PublishedCounts',
    'SOCDataset',
    'VOC12Dataset',
    'common_categories',
    'split_file_name',
]


class PublishedCounts(NamedTuple):
    """Size of a set in publications."""

    classes: int
    images: int
    instances: int

    def __str__(self) -> str:
        return f'{self.classes} classes, {self.images} images and {self.instances} instances'


@DATASETS.register_module()
class InstanceCoSegDataset(CoSegDataset):
    """Groups of images with one mask for each object; one item is one group.

    The layout::

        data_root/
            images/<group>/*.jpg
            instances.json        COCO instances; file_name is <group>/<file>

    ``segmentation`` is RLE or polygons. An image with another one is left out when it is loaded,
    with a warning that names the annotation. Annotations with ``iscrowd`` are void where no
    instance lies on them. ``mmcoseg check-data`` tells what a folder has.

    A group's category is the one of its name if it has instances of that, or else all categories of
    its instances; instances of others are not loaded. With ``LoadCoSegMask(with_instances=True)``
    samples have ``gt_instances``.

    Image entries may have ``saliency_file`` and ``proposals_file``, paths from ``data_root`` to
    published results of other methods: ``saliency_path`` and ``proposals_path`` of image records.

    Args:
        data_root: folder of the data set.
        ann_file: below ``data_root``.
        metainfo: may give ``classes``; by default the file's categories, by their ids.
        data_prefix, **kwargs: as in ``CoSegDataset``.
    """

    BY_CATEGORY = False
    DATA_PREFIX = dict(img_path='images')

    HINT = (
        'It must hold images/<group>/* and instances.json in COCO form, whose file_name is '
        '<group>/<file>; tools/dataset_converters makes such folders, see docs/datasets.md'
    )

    def __init__(
        self,
        data_root: str | None = '',
        ann_file: str = 'instances.json',
        **kwargs: Any,
    ) -> None:
        super().__init__(data_root=data_root, ann_file=ann_file, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Group records, without the data set itself."""
        coco = read_coco(self.ann_file, f' {self.HINT}.')
        by_id = sorted(coco.names, key=lambda key: (isinstance(key, str), key))
        self._metainfo.setdefault('classes', tuple(dict.fromkeys(coco.names[key] for key in by_id)))
        groups: dict[str, list[tuple[str, dict]]] = defaultdict(list)
        for image in coco.images:
            group, file = split_file_name(image, self.ann_file)
            groups[group].append((file, image))
        chosen = self.select(sorted(groups), Path(self.ann_file))
        annotations = coco.annotations_by_image()
        return [self._instance_group(name, groups[name], annotations, coco) for name in chosen]

    def _instance_group(
        self, group: str, images: list[tuple[str, dict]], annotations: dict, coco: CocoFile
    ) -> dict:
        """The record of a group, from its files and their image entries."""
        if len({Path(file).stem for file, _ in images}) < len(images):
            raise MMCosegError(f'{self.ann_file}: images of the group {group!r} have the same name')
        folder = Path(self.data_prefix['img_path']) / group
        missing = sorted(dict(images).keys() - {path.name for path in folder.glob('*')})
        if missing:
            raise FileNotFoundError(
                f'{folder} lacks {len(missing)} of the {len(images)} images in {self.ann_file}, '
                f'the first are {missing[:5]}'
            )
        records = []
        present: set[str] = set()
        for file, image in sorted(images, key=itemgetter(0)):
            own = annotations[image['id']]
            present.update(coco.names[a['category_id']] for a in own)
            instances = self._instances(own, coco)
            shown = tuple(sorted({instance['category'] for instance in instances}))
            rest = dict(instances=instances, listed_size=listed_size(image))
            rest |= self._published_results(image)
            records.append(image_record(folder / file, group, shown, **rest))
        common, category = common_categories(group, present)
        label_ids = tuple(sorted(chain.from_iterable(map(self.label_ids_of, common))))
        return dict(group=group, category=category, label_ids=label_ids, images=records)

    def _instances(self, annotations: list[dict], coco: CocoFile) -> list[dict]:
        """The instances of an image that are of the data set's classes."""
        instances = []
        for annotation in annotations:
            for number in self.label_ids_of(coco.names[annotation['category_id']]):
                instance = dict(
                    category=number,
                    mask=annotation.get('segmentation'),
                    crowd=bool(annotation.get('iscrowd')),
                    name=f'annotation {annotation["id"]}',
                )
                instances.append(instance)
        return instances

    def _published_results(self, image: dict) -> dict[str, str]:
        """The paths of results of other methods that an image entry names."""
        paths = {}
        for kind in ('saliency', 'proposals'):
            if image.get(f'{kind}_file'):
                paths[f'{kind}_path'] = str(Path(self.data_root or '', str(image[f'{kind}_file'])))
        return paths


def common_categories(group: str, present: set[str]) -> tuple[set[str], str]:
    """The categories that count in a group, and what it is called in tables.

    That of the group's name if any image has it, or else all that are ``present``.
    """
    common = {group} if group in present else present
    return common, min(common) if len(common) == 1 else group


def split_file_name(image: dict, where: str | Path) -> tuple[str, str]:
    """Group and file of an image entry, from its ``file_name``, ``<group>/<file>``."""
    name = image.get('file_name', '')
    parts = PurePosixPath(str(name)).parts
    if len(parts) != 2 or not {'..', '/'}.isdisjoint(parts):
        found = f'image {image.get("id")} has the file_name {name!r}'
        raise MMCosegError(f'{where}: {found}; it must be <group>/<file>')
    return parts


class _PublishedSet(InstanceCoSegDataset):
    """One of DeepCO3's test sets; a warning says if it has another size than published."""

    #: Name of the converter under tools/dataset_converters.
    CONVERTER: str
    PUBLISHED: PublishedCounts

    def load_data_list(self) -> list[dict]:
        """Group records; the size of the whole set is compared with the published one."""
        records = super().load_data_list()
        if self.groups is None and not self.exclude_groups:
            images = [image for record in records for image in record['images']]
            instances = [i for image in images for i in image['instances'] if not i['crowd']]
            counts = PublishedCounts(len(records), len(images), len(instances))
            if counts != self.PUBLISHED:
                published = f'{type(self).__name__} as published {self.PUBLISHED}'
                text = 'figures are not comparable with published ones'
                warnings.warn(f'{self.ann_file} has {counts}, {published}: {text}', stacklevel=2)
        return records


_RELEASE = "DeepCO3's data sets (https://github.com/KuangJuiHsu/DeepCO3)"


@DATASETS.register_module()
class COCOVOCDataset(_PublishedSet):
    """COCO-VOC: images of COCO 2017 with several instances of one category, for those categories
    that PASCAL VOC has, too (DeepCO3, section 4.1)."""

    CONVERTER = 'coco_voc'
    HINT = download_hint(f'{_RELEASE}, or COCO 2017,', CONVERTER)
    PUBLISHED = PublishedCounts(12, 1281, 3151)


@DATASETS.register_module()
class COCONonVOCDataset(_PublishedSet):
    """COCO-NONVOC: as COCO-VOC, for the categories that PASCAL VOC does not have."""

    CONVERTER = 'coco_nonvoc'
    HINT = download_hint(f'{_RELEASE}, or COCO 2017,', CONVERTER)
    PUBLISHED = PublishedCounts(32, 3130, 8303)


@DATASETS.register_module()
class VOC12Dataset(_PublishedSet):
    """VOC12: images of PASCAL VOC 2012, with the additional annotations of SBD, that have objects
    of one category only (DeepCO3, section 4.1)."""

    CONVERTER = 'voc12'
    HINT = download_hint(f'{_RELEASE}, or VOC 2012 and SBD,', CONVERTER)
    PUBLISHED = PublishedCounts(18, 891, 2214)


@DATASETS.register_module()
class SOCDataset(_PublishedSet):
    """SOC: salient objects in clutter, images that have objects of one category only (DeepCO3,
    section 4.1)."""

    CONVERTER = 'soc'
    HINT = download_hint(f'{_RELEASE}, or SOC,', CONVERTER)
    PUBLISHED = PublishedCounts(5, 522, 835)
