"""The data element of one group: what flows through the toolbox."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from mmengine.structures import BaseDataElement

from ..errors import MMCosegError
from .coseg_data_sample import CoSegDataSample, data_field

__all__ = ['GroupDataSample', 'GroupSampleList', 'group_sizes_of', 'split_groups']


def _of_each_image(name: str) -> Callable:
    """A method that does the same with every image and gives a new group."""

    def method(self, *args, **kwargs) -> 'GroupDataSample':
        new = self.new()
        new.samples = [getattr(sample, name)(*args, **kwargs) for sample in self._samples]
        return new

    return method


class GroupDataSample(BaseDataElement):
    """An ordered list of the images of one group.

    Metainfo: ``group`` (str), the group's name; ``category`` (str), what its images share, where
    known; ``label_ids`` (tuple[int, ...]), the co-categories as indices into the data set's
    ``metainfo['classes']``, empty where unknown; ``num_classes`` (int), how many classes the images
    share, where the data set says it; ``class_count`` (:class:`~mmcoseg.models.ops.ClassCount`),
    what a model has estimated of that.

    Example:
        >>> images = [CoSegDataSample(metainfo=dict(group='cat', stem=s)) for s in ('a', 'b')]
        >>> group = GroupDataSample(images, metainfo=dict(group='cat', label_ids=(3,)))
        >>> len(group), [image.identity for image in group]
        (2, ['cat/a', 'cat/b'])
    """

    def __init__(
        self, samples: Sequence[CoSegDataSample] = (), *, metainfo: dict | None = None, **kwargs
    ) -> None:
        super().__init__(metainfo=metainfo, **kwargs)
        for sample in samples:
            if not isinstance(sample, CoSegDataSample):
                raise MMCosegError(f'samples must hold CoSegDataSample, got {type(sample)}')
        self.samples = list(samples)

    samples = data_field('_samples', list)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> CoSegDataSample:
        return self._samples[index]

    def __iter__(self) -> Iterator[CoSegDataSample]:
        return iter(self._samples)

    def select(self, indices: Iterable[int]) -> 'GroupDataSample':
        """A group of some of the images, which both then hold."""
        new = super().new()
        new.samples = [self._samples[i] for i in indices]
        return new

    # BaseDataElement moves only the tensors that it finds directly among its fields; the images
    # of a group lie one level lower.
    to, cpu, cuda = _of_each_image('to'), _of_each_image('cpu'), _of_each_image('cuda')
    numpy, to_tensor = _of_each_image('numpy'), _of_each_image('to_tensor')
    detach, clone = _of_each_image('detach'), _of_each_image('clone')


#: A batch: one entry a group.
GroupSampleList = list[GroupDataSample]


def group_sizes_of(data_samples: GroupSampleList) -> list[int]:
    """Number of images of each group of a batch, in order.

    The flattened batch tensor has ``sum(group_sizes_of(...))`` images.
    """
    return list(map(len, data_samples))


def split_groups(batch: torch.Tensor, group_sizes: list[int]) -> tuple[torch.Tensor, ...]:
    """Cut a tensor over the flattened batch, (sum N, ...), into one tensor (N, ...) a group."""
    if sum(group_sizes) != len(batch):
        raise MMCosegError(
            f'group sizes {group_sizes} add up to {sum(group_sizes)}, but the batch has '
            f'{len(batch)} images'
        )
    return torch.split(batch, list(group_sizes))
