"""From group records to what a batch is made of."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData, PixelData

from ...registry import TRANSFORMS
from ...structures import CoSegDataSample, GroupDataSample

__all__ = ['PackGroupInputs']


@TRANSFORMS.register_module()
class PackGroupInputs(BaseTransform):
    """The end of every pipeline.

    Gives ``dict(inputs=list[Tensor (3, h, w) uint8], data_samples=GroupDataSample)``, one tensor
    and one ``CoSegDataSample`` an image.

    Args:
        meta_keys: keys of the image records to keep in the samples' metainfo, where present.
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
        group_keys = ('group', 'category', 'label_ids')
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
        if 'gt_instance_masks' in image:
            sample.gt_instances = InstanceData(
                masks=torch.from_numpy(image['gt_instance_masks']),
                labels=torch.from_numpy(image['gt_instance_labels']),
            )
        return sample
