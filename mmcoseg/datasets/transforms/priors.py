"""What a single image tells about its objects, as part of the pipeline."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ...priors import fused_saliency
from ...registry import TRANSFORMS

__all__ = ['ComputeSaliency']


@TRANSFORMS.register_module()
class ComputeSaliency(BaseTransform):
    """Add the saliency of an image, found without labels; see :func:`fused_saliency`.

    Put it behind the last geometric transform. In the end it is the sample's ``saliency``.

    Required key: ``img``. Added key: ``prior_map``, (h, w) uint8.

    Args:
        size: (width, height) of the map, which covers the whole image.
    """

    def __init__(self, size: tuple[int, int] = (65, 65)) -> None:
        self.size = tuple(size)

    def transform(self, results: dict) -> dict:
        image = results['img']
        height, width = results.get('ori_shape', image.shape)[:2]
        # In its own shape: a square would distort distances and directions.
        scale = min(1.0, max(image.shape[:2]) / max(height, width))
        size = max(1, round(scale * width)), max(1, round(scale * height))
        saliency = fused_saliency(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        saliency = cv2.resize(saliency, self.size, interpolation=cv2.INTER_AREA)
        results['prior_map'] = np.rint(255 * saliency).astype(np.uint8)
        return results
