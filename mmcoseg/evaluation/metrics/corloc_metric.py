"""The metric of co-localization."""

from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask

from ...options import one_of
from ...registry import METRICS
from ...structures.rle import encode_masks
from .instance_coseg_metric import InstanceMetric

__all__ = ['CorLocMetric']

Shape = Literal['masks', 'boxes']


@METRICS.register_module()
class CorLocMetric(InstanceMetric):
    """CorLoc, in per cent: how often the best scored prediction of an image lies on an instance.

    An image is a hit if its prediction of highest score (the first of equal ones) has an IoU of at
    least ``iou_threshold`` with some true instance; without predictions it is a miss. Images
    without instances do not count. With masks this is CorLoc^r of DeepCO3 (section 4.2), with boxes
    the classical one.

    The results are ``CorLoc``, mean over the categories, and ``CorLoc_image``, over all images; the
    log shows a table with a row a category.

    Args:
        iou_threshold: IoU of a hit.
        shape: what is compared: ``'masks'``, or the ``'boxes'`` around them.
        out_file, format, collect_device, prefix, collect_dir: as in ``InstanceCoSegMetric``.

    Raises:
        MMCosegError: as ``InstanceCoSegMetric``.

    Example:
        >>> CorLocMetric(shape='boxes').shape
        'boxes'
    """

    def __init__(
        self,
        iou_threshold: float = 0.5,
        shape: Shape = 'masks',
        out_file: str | None = None,
        format: str = 'text',
        **kwargs: Any,
    ) -> None:
        one_of('shape', shape, Shape)
        self.shape = shape
        super().__init__(
            dict(thresholds=(), corloc=iou_threshold),
            'co-localization' + (' by boxes' if shape == 'boxes' else ''),
            out_file=out_file,
            format=format,
            **kwargs,
        )

    def overlaps(
        self, preds: np.ndarray, gts: np.ndarray, void: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :func:`~mmcoseg.evaluation.functional.instance_overlaps`, or of boxes; these know no
        void."""
        if self.shape == 'masks':
            return super().overlaps(preds, gts, void)
        shares = np.zeros(len(preds))
        if not len(preds) or not len(gts):
            return np.zeros((len(preds), len(gts))), shares
        boxes = [coco_mask.toBbox(encode_masks(masks)) for masks in (preds, gts)]
        return np.asarray(coco_mask.iou(*boxes, [0] * len(gts))), shares
