"""From group records to batches."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import FUNCTIONS
from mmengine.structures import InstanceData, PixelData

from ...errors import MMCosegError
from ...registry import TRANSFORMS
from ...structures import CoSegDataSample, GroupDataSample
from ...structures.coseg_data_sample import VOID
from .loading import instance_field

__all__ = ['PackGroupInputs', 'group_collate']


#: Keys of group records and of image records that the samples keep, where present.
_GROUP_KEYS = ('group', 'category', 'label_ids', 'num_classes')
_IMAGE_KEYS = tuple(
    'group stem img_path ori_img render seg_map_path ori_shape img_shape scale_factor flip '
    'flip_direction foreign class_names'.split()
)


@TRANSFORMS.register_module()
class PackGroupInputs(BaseTransform):
    """The end of every pipeline.

    Gives ``dict(inputs=list[Tensor (3, h, w) uint8], data_samples=GroupDataSample)``, one tensor
    and one ``CoSegDataSample`` an image.

    Raises: MMCosegError: if instances were loaded, and a transform after that left them behind.
    """

    def transform(self, results: dict) -> dict:
        inputs, samples = [], []
        for image in results['images']:
            pixels = np.ascontiguousarray(image['img'].transpose(2, 0, 1))
            inputs.append(torch.from_numpy(pixels))
            samples.append(self._sample(image))
        group = GroupDataSample(samples, metainfo=_some(results, _GROUP_KEYS))
        return dict(inputs=inputs, data_samples=group)

    def _sample(self, image: dict) -> CoSegDataSample:
        sample = CoSegDataSample(metainfo=_some(image, _IMAGE_KEYS))
        if 'gt_seg_map' in image:
            mask = torch.from_numpy(image['gt_seg_map'].astype(np.int64))
            sample.gt_sem_seg = PixelData(data=mask[None])
        if 'saliency_map' in image:
            prior = torch.from_numpy(image['saliency_map'].astype(np.float32) / 255)
            sample.saliency = PixelData(data=prior[None])
        if 'proposals' in image:
            sample.proposals = image['proposals']
        if image.get('hints'):
            sample.hints = tuple(image['hints'])
        if 'gt_instance_labels' in image:
            sample.gt_instances = _instances(image)
        return sample


@FUNCTIONS.register_module()
def group_collate(batch: list[dict]) -> dict:
    """Put groups of any size into one batch, one list entry a group.

    Items ``dict(inputs=list[Tensor (3, H, W)], data_samples=GroupDataSample)`` become
    ``dict(inputs=list[list[Tensor]], data_samples=list[GroupDataSample])``.
    """
    try:
        return {key: [item[key] for item in batch] for key in ('inputs', 'data_samples')}
    except (KeyError, IndexError, TypeError) as error:
        raise MMCosegError(
            'group_collate takes items with the keys inputs and data_samples: does the data '
            f"set's pipeline end with PackGroupInputs? ({error!r})"
        ) from error


def _some(record: dict, keys: Sequence[str]) -> dict:
    return {key: record[key] for key in keys if key in record}


def _instances(image: dict) -> InstanceData:
    """The instances of which the transforms left something."""
    labels, whole = image['gt_instance_labels'], image['gt_seg_map']
    maps = [image[instance_field(i)] for i in range(len(labels))]
    fitting = [mask for mask in maps if mask.shape == whole.shape]
    # What was padded or rotated in is void.
    masks = np.array(fitting, np.uint8).reshape(-1, *whole.shape) == 1
    objects = (whole != 0) & (whole != VOID)
    if len(masks) < len(maps) or not np.array_equal(masks.any(axis=0), objects):
        raise MMCosegError(
            f'{image.get("img_path")}: a transform changed the mask, but not the instances with it '
            "(with_instances=True); use mmseg's transforms, such as Resize and RandomFlip without "
            'mmcv., which treat all of seg_fields alike'
        )
    left = masks.any(axis=(1, 2))
    return InstanceData(masks=torch.from_numpy(masks[left]), labels=torch.from_numpy(labels[left]))
