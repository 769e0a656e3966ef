"""The dense CRF for groups: many images at once, on all cores."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ...mean_field import check_crf_options, dense_crf, import_pydensecrf
from ...options import whole_number
from ...registry import TASK_UTILS
from ...workers import default_workers, map_in_processes
from .edge_refiner import EdgeRefiner, resize_image, resize_prob, working_size

__all__ = ['DenseCRF', 'refine_many']


def refine_many(
    images: Iterable[np.ndarray],
    probs: Iterable[np.ndarray],
    scale: float = 1.0,
    max_side: int | None = None,
    num_workers: int | None = None,
    **options: Any,
) -> list[np.ndarray]:
    """:func:`dense_crf` of many images, in parallel.

    The result is the same bit for bit for any number of workers. Images and maps are taken from
    their iterables as they are needed.

    Args:
        images: (H, W, 3) uint8 each.
        probs: (C, h, w) each, arrays or CPU tensors, at any resolution: they are resized to the
            image's, bilinearly.
        scale: resolution to work at, as a share of the image's, above 0 and up to 1.
        max_side: larger images are worked on with this longer side, in pixels; None for any size.
        num_workers: number of processes; None for one a core, 0 for none.
        options: of :func:`dense_crf`.

    Returns:
        (C, h', w') float32 each, at the resolution worked at.

    Raises:
        MMCosegError, ImportError: as :func:`dense_crf` and :func:`map_in_processes`.
        ValueError: for another number of maps than of images.

    Example:
        >>> images = [np.zeros((6, 8, 3), np.uint8)] * 2
        >>> [prob.shape for prob in refine_many(images, np.random.rand(2, 1, 3, 4), num_workers=0)]
        [(1, 6, 8), (1, 6, 8)]
    """
    return list(_refined(images, probs, scale, max_side, num_workers, options))


def _refined(
    images: Iterable[np.ndarray],
    probs: Iterable[np.ndarray],
    scale: float,
    max_side: int | None,
    num_workers: int | None,
    options: dict[str, Any],
) -> Iterator[np.ndarray]:
    def calls() -> Iterator[tuple[tuple, dict]]:
        for image, prob in zip(images, probs, strict=True):
            size = working_size(image.shape[:2], scale, max_side)
            yield (resize_image(image, size), resize_prob(prob, size)), options

    # pydensecrf holds the interpreter's lock, so that threads gain nothing.
    workers = default_workers() if num_workers is None else num_workers
    return map_in_processes(dense_crf, calls(), workers)


@TASK_UTILS.register_module()
class DenseCRF(EdgeRefiner):
    """Post-processor: fits soft masks to their images by a fully connected CRF.

    See :func:`dense_crf` for the model and its options, :class:`EdgeRefiner` for what it changes.
    All DenseCRFs share their processes.

    Args:
        iterations, bilateral, gaussian, logit_shift: as in :func:`dense_crf`.
        scale, max_side, threshold: as in :class:`EdgeRefiner`.
        num_workers: number of processes; None for one a core, 0 for none. The result is
            the same bit for bit.

    Raises:
        MMCosegError: for options out of range.
        ImportError: without pydensecrf, with the ways out.
    """

    #: ``crf=False`` of the inferencer leaves it out, and what has it as an argument.
    uses_crf = True

    def __init__(
        self,
        iterations: int = 5,
        bilateral: Sequence[float] | None = (60, 8, 5),
        gaussian: Sequence[float] | None = (2, 3),
        logit_shift: float = 0.0,
        scale: float = 1.0,
        max_side: int | None = 1024,
        threshold: float = 0.5,
        num_workers: int | None = None,
    ) -> None:
        super().__init__(scale, max_side, threshold)
        self.options = dict(
            iterations=iterations,
            bilateral=bilateral,
            gaussian=gaussian,
            logit_shift=logit_shift,
        )
        check_crf_options(**self.options)
        if num_workers is not None:
            whole_number('num_workers', num_workers, least=0)
        self.num_workers = num_workers
        import_pydensecrf()  # now, and not after the first group has been computed

    def refine(
        self, images: Iterable[np.ndarray], probs: Iterable[np.ndarray]
    ) -> Iterator[np.ndarray]:
        return _refined(images, probs, self.scale, self.max_side, self.num_workers, self.options)
