"""What a single image tells about its objects, as part of the pipeline."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ...errors import MMCosegError
from ...image_cache import ImageCache
from ...options import whole_number
from ...proposals import combinatorial_grouping, load_proposals_mat
from ...registry import TRANSFORMS
from ...saliency import fused_saliency, load_saliency_mat
from ...structures import Proposals

__all__ = ['ComputeProposals', 'ComputeSaliency', 'LoadProposals', 'LoadSaliency']


@TRANSFORMS.register_module()
class ComputeSaliency(BaseTransform):
    """Add the saliency of an image, found without labels; see :func:`fused_saliency`.

    Put it behind the last geometric transform. In the end it is the sample's ``saliency``.

    Required key: ``img``. Added key: ``saliency_map``, (h, w) uint8.

    Args:
        size: (width, height) of the map, which covers the whole image.
        cache_dir: folder of maps on disk; None computes them anew each time. What
            ``tools/misc/precompute_priors.py`` wrote is found by images at their files' size: with
            no geometric transform but resizing, put this behind ``LoadCoSegImage``.
    """

    def __init__(self, size: tuple[int, int] = (65, 65), cache_dir: str | Path | None = None):
        self.size = tuple(size)
        settings = dict(method='fused_saliency', size=self.size)
        self.cache = ImageCache(cache_dir, 'saliency', settings)

    def transform(self, results: dict) -> dict:
        image = results['img']
        height, width = results.get('ori_shape', image.shape)[:2]
        # In its own shape: a square would distort distances and directions.
        scale = min(1.0, max(image.shape[:2]) / max(height, width))
        size = max(1, round(scale * width)), max(1, round(scale * height))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        # The array's name in files that are already there.
        arrays = self.cache.get(
            image, lambda: dict(prior_map=_as_map(fused_saliency(image), self.size))
        )
        results['saliency_map'] = arrays['prior_map']
        return results


@TRANSFORMS.register_module()
class ComputeProposals(BaseTransform):
    """Add object proposals, found without labels; see :func:`combinatorial_grouping`.

    Put it behind ``LoadCoSegImage``, before the image changes its size. In the end they are the
    sample's ``proposals``, at the file's size.

    Required key: ``img``. Added key: ``proposals`` (:class:`Proposals`).

    Args:
        cache_dir: folder of proposals on disk, shared with ``tools/misc/precompute_priors.py``;
            None computes them anew each time, about 0.4 s per image.
        max_side: images with a longer side than this, in pixels, are made that large before;
            masks are of the file's size all the same. Without it a photograph of 12 megapixels
            takes 48 megabytes.
        max_proposals: at most so many; None for 2,000.
    """

    def __init__(
        self,
        cache_dir: str | Path | None = None,
        max_side: int | None = None,
        max_proposals: int | None = None,
    ) -> None:
        if max_side is not None:
            whole_number('max_side', max_side)
        self.max_side = max_side
        self.settings = {} if max_proposals is None else dict(max_proposals=max_proposals)
        named = dict(method='combinatorial_grouping', **self.settings)
        self.cache = ImageCache(cache_dir, 'proposals', named)

    def transform(self, results: dict) -> dict:
        image = results['img']
        shape = tuple(results.get('ori_shape', image.shape)[:2])
        if image.shape[:2] != shape:
            raise MMCosegError(
                f'{results.get("img_path")}: the image is {image.shape[0]} x {image.shape[1]}, its '
                f'file {shape[0]} x {shape[1]} (height x width); put ComputeProposals before '
                'transforms that change the size'
            )
        scale = (self.max_side or max(shape)) / max(shape)
        if scale < 1:
            size = [max(1, round(scale * side)) for side in shape]
            image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
        arrays = self.cache.get(
            image, lambda: combinatorial_grouping(image, **self.settings).to_arrays()
        )
        results['proposals'] = replace(Proposals.from_arrays(arrays), size=shape)
        return results


def _published(results: dict, key: str) -> str:
    """The path of another method's result that an image's record names."""
    if not results.get(key):
        raise MMCosegError(
            f'{results.get("img_path")}: its record has no {key}; name the file in instances.json, '
            'or find proposals and saliency by ComputeProposals and ComputeSaliency'
        )
    return results[key]


@TRANSFORMS.register_module()
class LoadProposals(BaseTransform):
    """Read published object proposals; see :func:`load_proposals_mat`.

    Required keys: ``ori_shape``, ``proposals_path``. Added key: ``proposals``
    (:class:`Proposals`).
    """

    needs_annotations = True

    def transform(self, results: dict) -> dict:
        path = _published(results, 'proposals_path')
        results['proposals'] = load_proposals_mat(path, results['ori_shape'][:2])
        return results


@TRANSFORMS.register_module()
class LoadSaliency(BaseTransform):
    """Read published saliency; see :func:`load_saliency_mat`. In the end the sample's ``saliency``.

    Required key: ``saliency_path``. Added key: ``saliency_map``, (h, w) uint8.

    Args:
        size: (width, height) of the map, which covers the whole image.
    """

    needs_annotations = True

    def __init__(self, size: tuple[int, int] = (65, 65)) -> None:
        self.size = tuple(size)

    def transform(self, results: dict) -> dict:
        saliency = load_saliency_mat(_published(results, 'saliency_path'))
        results['saliency_map'] = _as_map(saliency, self.size)
        return results


def _as_map(saliency: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Saliency in [0, 1] as (height, width) uint8; ``size`` is (width, height)."""
    saliency = cv2.resize(saliency, size, interpolation=cv2.INTER_AREA)
    return np.rint(255 * saliency).astype(np.uint8)
