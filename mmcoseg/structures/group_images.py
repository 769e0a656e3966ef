"""The images of groups, which become what the network takes some at a time."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

__all__ = ['GroupImages']


class GroupImages:
    """Images as a pipeline gives them, and batches of them as the network takes them.

    The images of a thousand photographs fit into memory as they are, but not as float32 batches.
    So segmentors ask for batches of some of them.

    Args:
        images: each (3, h, w), uint8 BGR from files.
        size: height and width of the network's input; smaller images are padded at the right and
            the bottom.
        normalize: makes a batch (n, 3, *size) float32 of some images and ``size``.

    Example:
        >>> images = GroupImages.of(torch.rand(5, 3, 8, 6))
        >>> len(images), images.size, images.batch([0, 3]).shape
        (5, (8, 6), torch.Size([2, 3, 8, 6]))
    """

    def __init__(
        self,
        images: Sequence[Tensor],
        size: tuple[int, int],
        normalize: Callable[[Sequence[Tensor], tuple[int, int]], Tensor],
    ) -> None:
        self._images = list(images)
        self._normalize = normalize
        self.size = tuple(size)

    @classmethod
    def of(cls, batch: Tensor) -> 'GroupImages':
        """Images of a batch (N, 3, H, W) that is normalized already."""
        return cls(list(batch), batch.shape[-2:], lambda images, size: torch.stack(images))

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._images)

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self._images[0].device

    def select(self, indices: Sequence[int]) -> 'GroupImages':
        """Some of the images."""
        return GroupImages([self._images[i] for i in indices], self.size, self._normalize)

    def split(self, group_sizes: Sequence[int]) -> list['GroupImages']:
        """The images of each group."""
        numbers = torch.arange(len(self)).split(list(group_sizes))
        return list(map(self.select, numbers))

    def watched(self, watch: Callable[[int], None]) -> 'GroupImages':
        """The same images; ``watch`` is told how many there are in each batch that is taken."""

        def normalize(images: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
            watch(len(images))
            return self._normalize(images, size)

        return GroupImages(self._images, self.size, normalize)

    def batch(self, indices: Sequence[int] | None = None) -> Tensor:
        """The images with these indices, or all, as the network takes them: (n, 3, *size)."""
        images = self._images if indices is None else [self._images[i] for i in indices]
        return self._normalize(images, self.size)

    def chunks(self, length: int) -> Iterator[list[int]]:
        """Indices of ``length`` images after the other; the last chunk may be shorter."""
        for start in range(0, len(self), length):
            yield list(range(start, min(start + length, len(self))))
