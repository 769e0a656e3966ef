"""Which group comes when in training."""

from collections.abc import Iterator, Sized
from typing import Literal

import numpy as np
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from ..errors import MMCosegError
from ..options import one_of
from ..registry import DATA_SAMPLERS
from .concat import ConcatCoSegDataset

__all__ = ['EpisodeSampler']

_WRAPPERS = (ConcatDataset, RepeatDataset, ClassBalancedDataset)

Order = Literal['rounds', 'by_size']


@DATA_SAMPLERS.register_module()
class EpisodeSampler(Sampler):
    """Endless draws ``(index of the group, number of the draw)``.

    By default the groups come in rounds, each a new random order of all groups. Draw t is a
    function of (seed, t) alone, and ``CoSegDataset`` makes everything random about an item a
    function of its draw and its own seed, which is the sampler's unless it was given one. Of W
    processes, process r takes the draws r, r + W, r + 2 W, ...: together they see what a single
    process sees with a W times larger batch, and a resumed run continues with its draws.

    Args:
        dataset: anything with a length; its items are groups.
        seed: None for one drawn at random, the same in all processes.
        order: ``'rounds'``, or ``'by_size'``: every draw for itself, in proportion to the groups'
            numbers of images, so that every image is drawn about equally often.

    Example:
        >>> sampler = iter(EpisodeSampler(range(3), seed=0))
        >>> [next(sampler) for _ in range(4)]
        [(2, 0), (0, 1), (1, 2), (2, 3)]
    """

    def __init__(
        self,
        dataset: Sized,
        seed: int | None = None,
        order: Order = 'rounds',
    ) -> None:
        if isinstance(dataset, _WRAPPERS) and not isinstance(dataset, ConcatCoSegDataset):
            raise MMCosegError(
                f'EpisodeSampler cannot draw from a {type(dataset).__name__}, which takes numbers '
                'of items only; join data sets with ConcatCoSegDataset, or draw some groups more '
                "often with order='by_size'"
            )
        if len(dataset) == 0:
            raise MMCosegError('EpisodeSampler needs a data set with at least one group, got none')
        one_of('order', order, Order)
        self.rank, self.world_size = get_dist_info()
        self.size = len(dataset)
        self.seed = sync_random_seed() if seed is None else seed
        self.probabilities = None
        if order == 'by_size':
            images = [len(dataset.get_data_info(i)['images']) for i in range(self.size)]
            self.probabilities = np.array(images) / sum(images)
        if getattr(dataset, 'seed', self.seed) is None:
            dataset.seed = self.seed
        self.start = 0

    def _round(self, number: int) -> np.ndarray:
        """The groups of the draws from ``number * size`` on, ``size`` of them."""
        rng = np.random.default_rng((self.seed, number))
        if self.probabilities is None:
            return rng.permutation(self.size)
        return rng.choice(self.size, self.size, p=self.probabilities)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        draw = self.rank + self.world_size * self.start
        number, groups = -1, None
        while True:
            if draw // self.size != number:
                number = draw // self.size
                groups = self._round(number)
            yield int(groups[draw % self.size]), draw
            draw += self.world_size

    def __len__(self) -> int:
        return self.size

    def skip(self, num_samples: int) -> None:
        """Start behind the first ``num_samples`` draws of this process, as mmengine resumes."""
        self.start = num_samples
