"""Loading images and masks of image records."""

from collections.abc import Collection
from typing import Literal

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ...errors import MMCosegError
from ...options import in_range, one_of
from ...registry import TRANSFORMS
from ...structures.coseg_data_sample import VOID
from ...structures.rle import as_rle, decode_rles
from ..coco_file import refuse_moved_polygons
from ..image_io import BadImageError, read_image, read_mask, require_one_size

__all__ = [
    'LoadCoSegImage',
    'LoadCoSegMask',
    'LoadGroupMap',
    'decode_instances',
    'instance_field',
    'mask_doubt',
]

MaskValues = Literal['auto', '0-255', 'label', 'threshold']

#: The highest value that `auto` takes for a class in a mask that also has 255.
MAX_CLASS_BESIDE_255 = 50


@TRANSFORMS.register_module()
class LoadCoSegImage(BaseTransform):
    """Read the image of an image record, whatever its format; see :func:`read_image`.

    A record with ``ori_img``, (H, W, 3) uint8 BGR, has its image already; one with ``render`` is
    drawn, and gets its ``instances`` with the image (``SyntheticCoSegDataset``).

    Required keys: ``img_path``, ``render`` or ``ori_img``. Added keys: ``img`` (H, W, 3) uint8 BGR,
    ``img_shape``, ``ori_shape`` (H, W), and ``seg_fields`` (empty), ``reduce_zero_label``
    (False), which mmsegmentation's transforms expect.
    """

    def transform(self, results: dict) -> dict:
        if results.get('ori_img') is not None:
            results['img'] = results['ori_img']
        elif results.get('render') is not None:
            results['img'], results['instances'] = results['render'].load()
        else:
            results['img'] = read_image(results['img_path'])
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        results['seg_fields'] = []
        results['reduce_zero_label'] = False
        return results


@TRANSFORMS.register_module()
class LoadCoSegMask(BaseTransform):
    """Read or draw the mask of an image record.

    A record without a mask file and without ``instances`` stays without ground truth; a foreign
    image (``foreign=True``, see ``MixForeignImages``) has an empty mask.

    Required keys: ``ori_shape``, and ``seg_map_path`` or ``instances``. Added keys:
    ``gt_seg_map`` (H, W) uint8; with instances also ``gt_instance_labels`` (n,) int64 and
    ``gt_instance_0``, ..., (H, W) uint8 0/1. The names of all maps are added to ``seg_fields``, so
    that mmsegmentation's transforms treat them alike.

    Args:
        values: what the values of mask files mean.

            - ``'label'``: 0 background, 1..K object classes, ``void`` void;
            - ``'0-255'``: 0 background, 255 object;
            - ``'threshold'``: 128 and above is object (masks that were saved lossily);
            - ``'auto'``: ``'0-255'`` for a file that has no other values than these two,
              ``'label'`` otherwise, unless :func:`mask_doubt` sees that it is neither.
        binary: one object class: all but background and void become 1. False keeps the classes;
            instances of the k-th of the group's co-categories, by number, become k.
        void: the value of void pixels in files, 1 to 255; becomes 255.
        with_instances: also keep the masks of single instances; they become ``gt_instances`` of the
            sample. Crowds (a true ``crowd``) are not among them: they are void where no instance
            lies.

    Raises:
        BadImageError: if a mask is unreadable, of another size than its image, or (``'auto'``)
            looks smoothed, like a trimap, or saved lossily, so that its meaning is unclear.
    """

    #: Inference leaves it out.
    needs_annotations = True

    def __init__(
        self,
        values: MaskValues = 'auto',
        binary: bool = True,
        void: int = VOID,
        with_instances: bool = False,
    ) -> None:
        one_of('values', values, MaskValues)
        in_range('void', void, 1, 255)
        self.values = values
        self.binary = binary
        self.void = void
        self.with_instances = with_instances

    def transform(self, results: dict) -> dict:
        if results.get('foreign'):
            mask = np.zeros(results['ori_shape'], np.uint8)
            self._keep(results, mask[None][:0], [])
        elif results.get('seg_map_path'):
            mask = self._from_file(results)
        elif results.get('instances') is not None:
            mask = self._from_instances(results)
        else:
            return results
        results['gt_seg_map'] = mask
        results['seg_fields'] = [*results.get('seg_fields', []), 'gt_seg_map']
        return results

    def _from_file(self, results: dict) -> np.ndarray:
        path = results['seg_map_path']
        mask = read_mask(path)
        image = f'its image {results["img_path"]}'
        require_one_size(f'the mask {path}', mask.shape, image, results['ori_shape'])
        return self.translate(mask, path)

    def translate(self, mask: np.ndarray, path: str) -> np.ndarray:
        """The labels (H, W) uint8 that a file's values mean; ``path`` is for messages."""
        values = self.values
        if values == 'threshold':
            return (mask >= 128).astype(np.uint8)
        if values == 'auto':
            present = set(np.unique(mask).tolist())
            doubt = mask_doubt(present, self.void)
            if doubt:
                raise BadImageError(f'the mask {path} {doubt}')
            values = '0-255' if present <= {0, 255} else 'label'
        if values == '0-255':
            return (mask == 255).astype(np.uint8)
        void = mask == self.void
        if self.binary:
            mask = (mask != 0).astype(np.uint8)
        mask[void] = VOID
        return mask

    def _from_instances(self, results: dict) -> np.ndarray:
        """The instances of the group's co-categories, as one (COCO-SEG) or with one value each."""
        size = tuple(results['ori_shape'])
        wanted = results.get('co_label_ids') or results['label_ids']
        chosen = [instance for instance in results['instances'] if instance['category'] in wanted]
        chosen.sort(key=_is_crowd)  # crowds last
        try:
            shapes = [instance['mask'] for instance in chosen]
            refuse_moved_polygons(shapes, results.get('listed_size'), size)
            masks = decode_instances(chosen, *size)
        except ValueError as error:
            raise BadImageError(f'an instance of {results.get("img_path")}: {error}') from error
        count = len(chosen) - sum(map(_is_crowd, chosen))
        categories = [instance['category'] for instance in chosen[:count]]
        self._keep(results, masks[:count], categories)
        label = np.zeros(size, np.uint8)
        label[masks[count:].any(axis=0)] = VOID
        values = {category: place for place, category in enumerate(sorted(wanted), 1)}
        for mask, category in zip(masks, categories):
            label[mask] = 1 if self.binary else values[category]
        return label

    def _keep(self, results: dict, masks: np.ndarray, labels: list[int]) -> None:
        """Put instances into the record, each mask a map of its own."""
        if not self.with_instances:
            return
        names = [instance_field(i) for i in range(len(labels))]
        results.update(zip(names, masks.astype(np.uint8)))
        results['gt_instance_labels'] = np.array(labels, np.int64)
        results['seg_fields'] = [*results.get('seg_fields', []), *names]


@TRANSFORMS.register_module()
class LoadGroupMap(BaseTransform):
    """Take what a model found of an image in its whole group along through its transforms.

    The map is brought to the image's size and treated like a mask from then on; in the end it is
    the sample's ``saliency``. Images without one stay without.

    Required key: ``ori_shape``; optional: ``group_map`` (h, w) uint8. Added key: ``saliency_map``
    (H, W) uint8, and its name in ``seg_fields``.
    """

    needs_annotations = True

    def transform(self, results: dict) -> dict:
        if results.get('group_map') is not None:
            height, width = results['ori_shape']
            results['saliency_map'] = cv2.resize(
                results['group_map'], (width, height), interpolation=cv2.INTER_NEAREST_EXACT
            )
            results['seg_fields'] = [*results.get('seg_fields', []), 'saliency_map']
        return results


def _is_crowd(instance: dict) -> bool:
    return bool(instance.get('crowd'))


def instance_field(number: int) -> str:
    """The key of an instance's mask in an image record."""
    return f'gt_instance_{number}'


def mask_doubt(present: Collection[int], void: int = VOID) -> str | None:
    """Why a mask of these values cannot be understood, and what to do; None if there is no doubt.

    Beside 255, which is the object or void, classes are small numbers. Values in between are
    smoothed edges or the band of a trimap. A mask of very many values was saved lossily.
    """
    between = sorted(set(present) - {0, 255, void})
    smoothed = 255 in present and max(between, default=0) > MAX_CLASS_BESIDE_255
    if len(present) <= 64 and not smoothed:
        return None
    found = f' beside 255 ({between[0]} to {between[-1]})' if smoothed else ''
    return (
        f'has {len(present)} different values{found}: if it was smoothed or saved lossily, set '
        "values='threshold' (128 and above is the object); if they are classes and 255 is void, "
        "values='label'; if one of them is the void band of a trimap, void= that value"
    )


def decode_instances(instances: list[dict], height: int, width: int) -> np.ndarray:
    """Masks of COCO annotations, polygons or RLE, as (n, H, W) bool; errors give their ``name``."""
    rles = []
    for instance in instances:
        try:
            rles.append(as_rle(instance['mask'], height, width))
        except ValueError as error:
            raise MMCosegError(f'{instance["name"]}: {error}') from error
    return decode_rles(rles, height, width)
