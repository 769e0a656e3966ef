"""From group records to what a batch is made of."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData, PixelData

from ...errors import MMCosegError
from ...registry import TRANSFORMS
from ...structures import CoSegDataSample, GroupDataSample
from ...structures.coseg_data_sample import VOID
from .loading import instance_field

__all__ = ['PackGroupInputs']


@TRANSFORMS.register_module()
class PackGroupInputs(BaseTransform):
    """The end of every pipeline.

    Gives ``dict(inputs=list[Tensor (3, h, w) uint8], data_samples=GroupDataSample)``, one tensor
    and one ``CoSegDataSample`` an image.

    Args:
        meta_keys: keys of the image records to keep in the samples' metainfo, where present.

    Raises:
        MMCosegError: if instances were loaded, and a transform after that left them behind.
    """

    def __init__(
        self,
        meta_keys: Sequence[str] = (
            'group',
            'stem',
            'img_path',
            'ori_img',
            'render',
            'seg_map_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'flip',
            'flip_direction',
            'foreign',
        ),
    ) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        group_keys = ('group', 'category', 'label_ids', 'num_classes')
        return dict(
            inputs=[self._tensor(image['img']) for image in results['images']],
            data_samples=GroupDataSample(
                [self._sample(image) for image in results['images']],
                metainfo={key: results[key] for key in group_keys if key in results},
            ),
        )

    @staticmethod
    def _tensor(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

    def _sample(self, image: dict) -> CoSegDataSample:
        sample = CoSegDataSample(
            metainfo={key: image[key] for key in self.meta_keys if key in image}
        )
        if 'gt_seg_map' in image:
            mask = torch.from_numpy(image['gt_seg_map'].astype(np.int64))
            sample.gt_sem_seg = PixelData(data=mask[None])
        if 'prior_map' in image:
            prior = torch.from_numpy(image['prior_map'].astype(np.float32) / 255)
            sample.saliency = PixelData(data=prior[None])
        if 'proposals' in image:
            sample.proposals = image['proposals']
        if 'gt_instance_labels' in image:
            sample.gt_instances = _instances(image)
        return sample


def _instances(image: dict) -> InstanceData:
    """The instances of which the transforms left something."""
    labels, whole = image['gt_instance_labels'], image['gt_seg_map']
    maps = [image[instance_field(i)] for i in range(len(labels))]
    together = all(mask.shape == whole.shape for mask in maps)
    if together:
        # What was padded or rotated in is void.
        masks = np.array(maps, np.uint8).reshape(-1, *whole.shape) == 1
        together = np.array_equal(masks.any(axis=0), (whole != 0) & (whole != VOID))
    if not together:
        raise MMCosegError(
            f'{image.get("img_path")}: a transform changed the mask, but not the instances with it '
            "(with_instances=True); use mmseg's transforms, such as Resize and RandomFlip without "
            'mmcv., which treat all of seg_fields alike'
        )
    left = masks.any(axis=(1, 2))
    return InstanceData(masks=torch.from_numpy(masks[left]), labels=torch.from_numpy(labels[left]))
