"""Descriptors of all images of a group, in half precision, in memory or in a temporary file."""

import mmap
from collections.abc import Sequence
from tempfile import TemporaryFile

import numpy as np
import torch
from torch import Tensor

from ..ops.spectral import second_moments

__all__ = ['FeatureStore', 'uncentered_basis']

_LARGEST = torch.finfo(torch.float16).max


class FeatureStore:
    """Descriptors of a group's images, put in some at a time and read as one tensor.

    Beyond the memory limit, in bytes, they are in a temporary file that goes with the tensor.
    ``basis`` says in which orthonormal basis (d', d) of the backbone's d' channels they are; None
    for the channels themselves.

    Example:
        >>> store = FeatureStore(num_images=3, memory_limit=0)
        >>> store.put([2, 0], torch.ones(2, 4, 5, 6))
        >>> store.put([1], torch.zeros(1, 4, 5, 6))
        >>> store.descriptors().shape, store.descriptors()[:, 0, 0, 0].tolist()
        (torch.Size([3, 4, 5, 6]), [1.0, 0.0, 1.0])
    """

    def __init__(self, num_images: int, memory_limit: int, basis: Tensor | None = None) -> None:
        self.num_images = num_images
        self.memory_limit = memory_limit
        self.basis = basis
        self._memory: Tensor | None = None
        self._file = None
        self._mapped: np.memmap | None = None
        self._shape: tuple[int, ...] = ()

    def put(self, indices: Sequence[int], descriptors: Tensor) -> None:
        """Keep the descriptors (n, d, h, w) of the images with these indices."""
        # Locations before channels: as rows of descriptors they are then a view.
        descriptors = (
            descriptors.permute(0, 2, 3, 1).clamp(-_LARGEST, _LARGEST).half().cpu().contiguous()
        )
        if not self._shape:
            self._shape = (self.num_images, *descriptors.shape[1:])
            if 2 * int(np.prod(self._shape)) <= self.memory_limit:
                self._memory = torch.empty(self._shape, dtype=torch.float16)
            else:
                self._file = TemporaryFile(prefix='mmcoseg-')
        if self._memory is not None:
            self._memory[list(indices)] = descriptors
            return
        # Not through a memory map, with which a full disk would kill the process.
        for index, image in zip(indices, descriptors):
            self._file.seek(index * image.nbytes)
            self._file.write(image.numpy().data)

    def descriptors(self) -> Tensor:
        """All descriptors, (N, d, h, w) float16; a file's pages are read on first use."""
        if self._memory is not None:
            return self._memory.permute(0, 3, 1, 2)
        if self._mapped is None:
            self._file.flush()
            # Copy-on-write, since torch knows no tensors that may not be written to.
            self._mapped = np.memmap(self._file, np.float16, mode='c', shape=self._shape)
        return torch.from_numpy(self._mapped).permute(0, 3, 1, 2)

    def page_out(self) -> None:
        """Take what is in a file out of memory until it is looked at again."""
        advice = getattr(mmap, 'MADV_DONTNEED', None)  # not on Windows
        if self._mapped is not None and advice is not None:
            self._mapped._mmap.madvise(advice)


def uncentered_basis(descriptors: Tensor, channels: int) -> Tensor:
    """The directions in which descriptors (n, d, h, w) are largest: orthonormal, (d, channels).

    Uncentered, so lengths and angles are kept as well as they can be. Of more than 16,384
    locations, an even part is used.
    """
    rows = descriptors.permute(0, 2, 3, 1).flatten(0, 2)
    gram, _ = second_moments(rows[:: -(-len(rows) // 16_384)])
    _, vectors = torch.linalg.eigh(gram.float())
    return vectors[:, -channels:].contiguous()
