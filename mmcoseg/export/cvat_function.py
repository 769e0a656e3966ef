"""Saved objects as a function with which CVAT annotates tasks.

::

    cvat-cli task auto-annotate TASK --function-module mmcoseg.export.cvat_function \\
        -p object=str:mug.coseg

The task must have labels of the names that the object's classes have.
https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation/ says what is asked of such a function.
"""

from typing import Any

import numpy as np
from PIL.Image import Image

from ..apis import CoSegInferencer
from ..optional import import_optional
from ..structures import read_object
from .objects import ObjectMask, to_result
from .polygons import mask_to_polygons

_PURPOSE = 'annotating tasks of CVAT', 'Install it: pip install cvat-cli'
cvat = import_optional('cvat_sdk.auto_annotation', *_PURPOSE)
cvat_masks = import_optional('cvat_sdk.masks', *_PURPOSE)

__all__ = ['create']


class _AppliedObject:
    """Finds a saved object in each image by itself."""

    def __init__(self, object: str, **options: Any) -> None:
        self._inferencer = CoSegInferencer(objects=[object], **options)
        labels = []
        self._ids = {}
        for number, name in enumerate(read_object(object).classes):
            labels.append(cvat.label_spec(name, number, type='mask'))
            self._ids[name] = number
        self.spec = cvat.DetectionFunctionSpec(labels=labels)

    def detect(self, context: Any, image: Image) -> list[Any]:
        """The shapes of an image: a mask for each class that is found, or polygons."""
        [group] = self._inferencer([image])
        shapes = []
        for sample in group:
            for item in to_result(sample).objects:
                if item.score >= (context.conf_threshold or 0):
                    shapes += self._shapes(item, context.conv_mask_to_poly)
        return shapes

    def _shapes(self, item: ObjectMask, as_polygons: bool) -> list[Any]:
        number = self._ids[item.category]
        if not as_polygons:
            return [cvat.mask(number, cvat_masks.encode_mask(np.asarray(item.mask, bool)))]
        polygons = mask_to_polygons(item.mask, edges=True)
        return [cvat.polygon(number, polygon.ravel().tolist()) for polygon in polygons]


def create(object: str, **options: Any) -> _AppliedObject:
    """The function that cvat-cli asks for.

    Args:
        object: file of a saved object.
        options: of :class:`~mmcoseg.apis.CoSegInferencer`, such as ``method``.
    """
    return _AppliedObject(object, **options)
