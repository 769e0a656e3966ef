"""The dense CRF for groups: many images at once, on all cores."""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from ...mean_field import check_crf_options, dense_crf, import_pydensecrf
from ...options import whole_number
from ...registry import TASK_UTILS
from ...workers import default_workers, map_in_processes
from .edge_refiner import EdgeRefiner

__all__ = ['DenseCRF']


@TASK_UTILS.register_module()
class DenseCRF(EdgeRefiner):
    """Post-processor: fits soft masks to their images by a fully connected CRF.

    See :func:`dense_crf` for the model and its options, :class:`EdgeRefiner` for what it changes.
    All DenseCRFs share their processes.

    Args:
        iterations, bilateral, gaussian, logit_shift: as in :func:`dense_crf`.
        max_side, threshold: as in :class:`EdgeRefiner`.
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
        max_side: int | None = 1024,
        threshold: float = 0.5,
        num_workers: int | None = None,
    ) -> None:
        super().__init__(max_side, threshold)
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
        def calls() -> Iterator[tuple[tuple, dict]]:
            for image, prob in zip(images, probs, strict=True):
                sides = image.shape[1::-1]
                scale = min(1.0, (self.max_side or max(sides)) / max(sides))
                size = [max(1, round(side * scale)) for side in sides]
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
                yield (image, _resized(prob, size)), self.options

        # pydensecrf holds the interpreter's lock, so that threads gain nothing.
        workers = default_workers() if self.num_workers is None else self.num_workers
        return map_in_processes(dense_crf, calls(), workers)


def _resized(prob: np.ndarray, size: list[int]) -> np.ndarray:
    """A soft map (C, h, w) at another width and height, as float32."""
    width, height = size
    shrinks = prob.shape[1] >= height and prob.shape[2] >= width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    channels = np.asarray(prob, np.float32)
    return np.stack([cv2.resize(channel, size, interpolation=how) for channel in channels])
