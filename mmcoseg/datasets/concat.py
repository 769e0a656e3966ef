"""Several data sets of groups as one."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from mmengine.dataset import ConcatDataset

from ..errors import MMCosegError
from ..registry import DATASETS
from .base import CoSegDataset

__all__ = ['ConcatCoSegDataset']


@DATASETS.register_module()
class ConcatCoSegDataset(ConcatDataset):
    """The groups of several data sets, one set after the other, for training on all of them.

    Items are those of the sets, drawn by number or by ``EpisodeSampler``. ``metainfo['classes']``
    are the classes of all sets, each once, in the order in which they come; all category numbers
    refer to them. Foreign images (``MixForeignImages``) are drawn from a group's own set, since one
    set does not know what the images of another show.

    Args:
        datasets: data sets of groups, or their configs; none that was cut by ``get_subset_``.

    Example:
        >>> joined = ConcatCoSegDataset(
        ...     [dict(type='MSRC7Dataset', data_root=a), dict(type='InternetDataset', data_root=b)]
        ... )  # doctest: +SKIP
        >>> joined.metainfo['classes']  # doctest: +SKIP
        ('bird', 'car', 'cat', 'cow', 'dog', 'plane', 'sheep', 'airplane', 'horse')
    """

    def __init__(self, datasets: Sequence[CoSegDataset | dict]) -> None:
        parts: list[CoSegDataset] = []
        for dataset in datasets:
            if isinstance(dataset, dict):
                dataset = DATASETS.build(dataset)
            if not isinstance(dataset, (CoSegDataset, ConcatCoSegDataset)):
                raise MMCosegError(
                    'ConcatCoSegDataset joins data sets of groups (CoSegDataset and those derived '
                    f'from it) or their configs, got {type(dataset).__name__}'
                )
            parts += getattr(dataset, 'datasets', [dataset])
        if not parts:
            raise MMCosegError('ConcatCoSegDataset needs at least one data set, got none')
        for part in parts:
            part.full_init()
        classes = chain.from_iterable(part.metainfo['classes'] for part in parts)
        classes = tuple(dict.fromkeys(classes))
        for part in parts:
            part.use_classes(classes)
        super().__init__(parts)

    @property
    def seed(self) -> int | None:
        """None if a set waits for the sampler's seed; a seed set here is for such sets only."""
        seeds = [part.seed for part in self.datasets]
        return None if None in seeds else seeds[0]

    @seed.setter
    def seed(self, seed: int | None) -> None:
        for part in self.datasets:
            if part.seed is None:
                part.seed = seed

    def __getitem__(self, idx: int | tuple[int, int]) -> Any:
        """As :meth:`CoSegDataset.__getitem__`."""
        group, *draw = idx if isinstance(idx, tuple) else (idx,)
        if not -len(self) <= group < len(self):
            raise IndexError(f'there is no group number {group}: the sets have {len(self)} groups')
        part, position = self._get_ori_dataset_idx(group)
        return self.datasets[part][(position, *draw) if draw else position]
