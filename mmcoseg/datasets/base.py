"""Data sets of groups in the canonical layout."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.dataset import BaseDataset

from ..errors import MMCosegError
from ..options import one_of
from ..registry import DATASETS
from ..seeding import random_state
from .image_io import IMAGE_SUFFIXES
from .records import check_records
from .transforms.group import build_transforms

__all__ = [
    'CoSegDataset',
    'download_hint',
    'group_names',
    'image_files',
    'image_record',
    'is_image_name',
    'select_groups',
    'visible_folders',
]

MissingMasks = Literal['auto', 'error', 'keep']


@DATASETS.register_module()
class CoSegDataset(BaseDataset):
    """Groups of images that show the same objects; one item is one group.

    The canonical layout::

        data_root/
            images/<group>/*.jpg           (png, bmp, tif, webp; any case)
            masks/<group>/<stem>.png       (0 background, 1 or 255 object, or 1..K classes)

    Groups and their images come in sorted order. docs/architecture.md describes the group record
    with which a pipeline starts.

    Args:
        data_root: folder of the data set.
        data_prefix: folders below it, ``img_path`` and ``seg_map_path``.
        groups: names of the groups to use, in this order; None for all.
        exclude_groups: names of groups to leave out.
        pipeline: transforms of group records.
        metainfo: may give ``classes``, the names that category numbers stand for; by default the
            sorted names of the groups used. A group with another name has no category number.
        missing_masks: ``'error'`` names the images without a mask; ``'keep'`` uses them without
            ground truth; ``'auto'`` keeps them in test mode if there is no folder of masks at all.
        fold: (index, count): use only every ``count``-th image of each group, from number
            ``index`` on; (0, 2) and (1, 2) are halves that share no image. None for all images.
        seed: of everything random about the items that ``EpisodeSampler`` draws; None for the
            sampler's.
        network_input: ``input_size`` (height, width) and ``interpolation`` for ``ResizeToInput``;
            programs take them from ``model.data_preprocessor``.
        test_mode, lazy_init, indices, serialize_data, max_refetch: as in mmengine.

    Raises:
        FileNotFoundError: if the folder or one of its parts is not there.
        MMCosegError: for unknown groups, empty ones, missing masks, or records that lack something.
    """

    METAINFO: dict = dict()

    #: The default of ``data_prefix``.
    DATA_PREFIX: dict = dict(img_path='images', seg_map_path='masks')

    #: Whether a group is of the one category that it is called by, and all categories are groups.
    BY_CATEGORY = True

    #: What the data set is, and where it comes from; ends the message when it is not there.
    HINT = (
        'It must hold images/<group>/*.jpg and masks/<group>/<stem>.png; '
        '`mmcoseg check-data ROOT` tells what a folder has'
    )

    def __init__(
        self,
        data_root: str | None = '',
        data_prefix: dict | None = None,
        groups: Sequence[str] | None = None,
        exclude_groups: Sequence[str] | None = (),
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict | None = None,
        missing_masks: MissingMasks = 'auto',
        fold: tuple[int, int] | None = None,
        seed: int | None = None,
        network_input: dict | None = None,
        **kwargs: Any,
    ) -> None:
        one_of('missing_masks', missing_masks, MissingMasks)
        self.groups = None if groups is None else group_names('groups', groups)
        self.exclude_groups = group_names('exclude_groups', exclude_groups or (), chosen=False)
        if metainfo and 'classes' in metainfo:
            group_names("metainfo['classes']", metainfo['classes'])
        self.missing_masks = missing_masks
        self.fold = _checked_fold(fold or (0, 1))
        self.seed = seed
        #: Maps (h, w) uint8 by `group/stem` (``GroupMapHook``): ``group_map`` of image records.
        self.group_maps: dict[str, np.ndarray] = {}
        self.network_input = dict(network_input or {})
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix or self.DATA_PREFIX,
            # Built from our registry here, whatever the default scope is.
            pipeline=build_transforms(pipeline),
            metainfo=metainfo,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Group records, without the data set itself."""
        image_root = Path(self.data_prefix['img_path'])
        if not image_root.is_dir():
            raise FileNotFoundError(f'there is no folder {image_root}. {self.HINT}.')
        available = [folder.name for folder in visible_folders(image_root)]
        names = self.select(available, image_root)
        self.name_classes(names)
        return [self._group_record(name, image_root / name) for name in names]

    def select(self, available: list[str], where: Path) -> list[str]:
        """The groups to use among those that are there; ``where`` is for messages."""
        return select_groups(available, self.groups, self.exclude_groups, str(where))

    def name_classes(self, names: Sequence[str]) -> None:
        """Name the categories like the groups, unless the data set or the user names them."""
        self._metainfo.setdefault('classes', tuple(sorted(names)))

    def use_classes(self, classes: Sequence[str]) -> None:
        """Number the categories by these names from now on.

        Raises: MMCosegError: if groups were taken out by ``get_subset_``; reading would undo it.
        """
        before = tuple(self._metainfo['classes'])
        self._metainfo['classes'] = tuple(classes)
        if before == tuple(classes[: len(before)]):
            return  # all keep their numbers
        count = len(self)
        self._fully_initialized = False
        self.full_init()
        if len(self) != count:
            raise MMCosegError(
                f'{type(self).__name__} in {self.data_root} has {len(self)} groups, of which '
                f'{count} were left: choose them with groups= or indices= instead of get_subset_'
            )

    def label_ids_of(self, category: str) -> tuple[int, ...]:
        """Number of a category among ``metainfo['classes']``; empty if it is not among them."""
        classes = list(self._metainfo['classes'])
        return (classes.index(category),) if category in classes else ()

    def _group_record(self, group: str, folder: Path) -> dict:
        files = image_files(folder)
        if not files:
            raise MMCosegError(
                f'{folder} holds no image ({", ".join(IMAGE_SUFFIXES)}); add some, or leave the '
                f'group out with exclude_groups=[{group!r}]'
            )
        label_ids = self.label_ids_of(group)
        images = []
        for file, mask in zip(files, self._masks_of(group, files)):
            images.append(image_record(file, group, label_ids, seg_map_path=mask))
        return dict(group=group, category=group, label_ids=label_ids, images=images)

    def _masks_of(self, group: str, files: list[Path]) -> list[str | None]:
        root = self.data_prefix.get('seg_map_path')
        if not root:
            return [None] * len(files)
        masks = [os.path.join(root, group, f'{file.stem}.png') for file in files]
        missing = [mask for mask in masks if not os.path.isfile(mask)]
        auto = self.test_mode and not os.path.isdir(root)
        if missing and not dict(auto=auto, error=False, keep=True)[self.missing_masks]:
            raise MMCosegError(
                f'group {group!r} has {len(missing)} images without a mask: '
                f'{", ".join(missing[:5])}{", ..." * (len(missing) > 5)}; add them, remove the '
                "images, or set missing_masks='keep' to predict only"
            )
        return [None if mask in missing else mask for mask in masks]

    def filter_data(self) -> list[dict]:
        """The group records, checked by :func:`check_records`, with the images of the fold only."""
        check_records(self.data_list, type(self).__name__)
        index, count = self.fold
        for record in self.data_list:
            group, images = record['group'], record['images']
            if len(images) <= index:
                raise MMCosegError(
                    f'group {group!r} has {len(images)} images, none of them in the fold '
                    f'{self.fold}; leave it out with exclude_groups, or choose fewer folds'
                )
            record['images'] = images[index::count]
        return self.data_list

    def get_data_info(self, idx: int) -> dict:
        """The group record number ``idx``; see docs/architecture.md."""
        info = super().get_data_info(idx)
        info['dataset'] = self
        info['images'] = self._images_of(info)
        return info

    def _images_of(self, info: dict) -> Sequence[dict]:
        """The image records of a group, from its record as ``load_data_list`` made it."""
        return [self._complete(image) for image in info['images']]

    def _complete(self, image: dict) -> dict:
        """Add to an image record what does not come from files."""
        image.update(self.network_input)
        identity = f'{image["group"]}/{image["stem"]}'
        if identity in self.group_maps:
            image['group_map'] = self.group_maps[identity]
        return image

    def __getitem__(self, idx: int | tuple[int, int]) -> Any:
        """Item ``idx``, or the draw ``(idx, draw)`` of ``EpisodeSampler``.

        Everything random about a draw is a function of (seed, draw): the generators of ``random``
        and ``numpy.random`` are set for it and put back afterwards.
        """
        if not isinstance(idx, tuple):
            return super().__getitem__(idx)
        group, draw = idx
        with random_state((self.seed or 0, draw)):
            return super().__getitem__(group)


def _checked_fold(fold: Sequence[int]) -> tuple[int, int]:
    with suppress(TypeError, ValueError):
        index, count = fold
        if index in range(count):
            return int(index), count
    half = 'such as (0, 2) for one half of the images'
    raise MMCosegError(f'fold must be (index, count) with 0 <= index < count, {half}; got {fold!r}')


def download_hint(source: str, converter: str) -> str:
    """How to get a published set: ``converter`` is a program under tools/dataset_converters."""
    return (
        f'Download {source} and run `python tools/dataset_converters/{converter}.py DOWNLOAD '
        f'data/{converter}`; then set data_root'
    )


def image_record(
    file: Path, group: str, label_ids: tuple[int, ...], seg_map_path: str | None = None, **rest: Any
) -> dict:
    """The image record of a file; ``rest`` are further keys, see docs/architecture.md."""
    record = dict(img_path=str(file), seg_map_path=seg_map_path, group=group, stem=file.stem)
    return dict(record, label_ids=label_ids, **rest)


def visible_folders(root: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without hidden ones."""
    return sorted(filter(Path.is_dir, root.glob('[!.]*')))


def is_image_name(path: Path) -> bool:
    """Whether a file is taken for an image: by its suffix, unless it is hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.')


def image_files(folder: Path) -> list[Path]:
    """The images in a folder, sorted by name.

    Raises: MMCosegError: if two of them differ only in their suffix, since masks go by the stem.
    """
    files = sorted(filter(Path.is_file, filter(is_image_name, folder.iterdir())))
    by_stem: dict[str, Path] = {}
    for file in files:
        first = by_stem.setdefault(file.stem, file)
        if first is not file:
            raise MMCosegError(
                f'{first} and {file} have one stem: a mask {file.stem}.png could belong to either; '
                'rename one'
            )
    return files


def group_names(option: str, names: Sequence[str], chosen: bool = True) -> list[str]:
    """The names that a user gave as ``option``, as a list; if ``chosen``, some and none twice."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        given = f'{names!r} ({type(names).__name__})'
        raise MMCosegError(f"{option} must be a list of names such as ['cat', 'dog'], got {given}")
    if chosen and not names:
        raise MMCosegError(f'{option} is empty, which leaves no group; None stands for all groups')
    twice = sorted(Counter(names) - Counter(set(names)))
    if chosen and twice:
        raise MMCosegError(f'{option} has {twice} more than once; name each group once')
    return list(names)


def select_groups(
    available: Sequence[str],
    groups: Sequence[str] | None,
    exclude_groups: Sequence[str],
    where: str,
) -> list[str]:
    """The groups to use, in the order asked for, or else as they come.

    Raises: MMCosegError: as :func:`group_names`; for an unknown name; if no group is left.
    """
    wanted = available if groups is None else group_names('groups', groups)
    unknown = sorted({*wanted, *exclude_groups}.difference(available))
    if unknown:
        raise MMCosegError(f'{where} has no group {unknown}; it has {list(available)}')
    names = [name for name in wanted if name not in exclude_groups]
    if not names:
        raise MMCosegError(f'{where} has no group to use (excluded: {list(exclude_groups)})')
    return names
