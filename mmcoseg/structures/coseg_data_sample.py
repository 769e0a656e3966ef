"""The data element of one image of a group."""

import numbers
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from .proposals import Proposals

__all__ = ['CoSegDataSample', 'data_field', 'shallow_copy', 'to_numpy']

#: The value of a mask's pixels that are neither object nor background.
VOID = 255


def to_numpy(values: Any) -> np.ndarray:
    """A tensor on any device, an array or a list as a numpy array."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def data_field(name: str, kind: type) -> property:
    """A field that takes only values of one kind."""
    return property(
        lambda sample: getattr(sample, name),
        lambda sample, value: sample.set_field(value, name, dtype=kind),
        lambda sample: delattr(sample, name),
    )


class CoSegDataSample(SegDataSample):
    """Annotations and predictions of one image of a group.

    Metainfo (set by ``PackGroupInputs``):

    - ``group`` (str), ``stem`` (str): together the identity ``group/stem``;
    - ``img_path`` (str), ``seg_map_path`` (str or None);
    - ``ori_shape`` (tuple[int, int]): height and width of the file's image, upright;
    - ``img_shape`` (tuple[int, int]): height and width as fed to the network, without padding.

    Fields, each present only where something has set it:

    - ``gt_sem_seg`` (PixelData): ``data`` of shape (1, H, W), int64, 0 background, 1..K object
      classes, 255 void. At test time at ``ori_shape``, in training at ``img_shape``.
    - ``pred_sem_seg`` (PixelData): ``data`` of shape (1, H, W), uint8, the same values without
      void, at ``ori_shape``.
    - ``pred_prob`` (PixelData): the soft prediction, ``data`` of shape (C, h, w), float32 in
      [0, 1], covering the whole image at any resolution. C = 1: probability of the object;
      C = K + 1: channel c is mask value c, channels sum to 1.
    - ``gt_instances``, ``pred_instances`` (InstanceData): ``masks`` (n, H, W) bool, ``labels``
      (n,) int64, and for predictions ``scores`` (n,) float32.
    - ``saliency`` (PixelData): prior, ``data`` of shape (1, h, w), float32 in [0, 1].
    - ``proposals`` (:class:`~mmcoseg.structures.Proposals`): object proposals, with masks of
      ``ori_shape``.
    - ``initial_maps`` (PixelData): what an initial segmentor found before the model was optimized
      on the group, ``data`` as that of ``pred_prob``.
    - ``hints`` (tuple of :class:`~mmcoseg.structures.Hint`): what a person said of some pixels; not
      empty.
    - ``presence`` (float): how sure the method is that the common object is in this image, 0 to 1.

    Example:
        >>> import torch
        >>> from mmengine.structures import PixelData
        >>> sample = CoSegDataSample(metainfo=dict(group='cat', stem='001', ori_shape=(2, 3)))
        >>> sample.pred_prob = PixelData(data=torch.rand(1, 2, 3))
        >>> sample.identity
        'cat/001'
    """

    @property
    def identity(self) -> str:
        """``group/stem``: the key of this image in every file and table."""
        return f'{self.group}/{self.stem}'

    pred_prob = data_field('_pred_prob', PixelData)
    saliency = data_field('_saliency', PixelData)
    gt_instances = data_field('_gt_instances', InstanceData)
    pred_instances = data_field('_pred_instances', InstanceData)
    proposals = data_field('_proposals', Proposals)
    hints = data_field('_hints', tuple)
    presence = data_field('_presence', numbers.Real)


def shallow_copy(sample: CoSegDataSample) -> CoSegDataSample:
    """A sample with the same fields, which may then be replaced."""
    new = CoSegDataSample()
    for key, value in sample.metainfo_items():
        new.set_field(value, key, field_type='metainfo')
    for key, value in sample.items():
        setattr(new, key, value)
    return new
