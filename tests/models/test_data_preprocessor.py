import pytest
import torch

from mmcoseg.models import GroupDataPreprocessor
from mmcoseg.testing import make_group_batch


def unequal_batch():
    batch = make_group_batch((2, 1), (20, 28))
    batch['inputs'][1][0] = batch['inputs'][1][0][:, :17, :10]
    return batch


@pytest.mark.parametrize('divisor', [1, 16])
def test_deferred_normalization_gives_the_same_in_parts(divisor):
    options = dict(size_divisor=divisor, channels_last=True)
    whole = GroupDataPreprocessor(**options)(unequal_batch())['inputs']
    deferring = GroupDataPreprocessor(**options, defer=True)
    data = deferring(unequal_batch())
    images = data['inputs']
    assert [image.dtype for image in images] == [torch.uint8] * 3
    assert len(data['data_samples']) == 2
    size = deferring.padded_size(images)
    assert size == tuple(whole.shape[-2:])
    parts = torch.cat([deferring.normalize([image], size) for image in images])
    assert torch.equal(parts, whole)


def test_images_are_not_copied():
    batch = unequal_batch()
    images = GroupDataPreprocessor(defer=True)(batch)['inputs']
    assert images[0].data_ptr() == batch['inputs'][0][0].data_ptr()


def test_normalizes_channel_by_channel_and_pads_with_the_mean():
    preprocessor = GroupDataPreprocessor(mean=[1, 2, 3], std=[1, 2, 4])
    image = torch.stack([torch.full((2, 2), v) for v in (30, 20, 10)]).to(torch.uint8)
    result = preprocessor.normalize([image], (2, 3))
    assert result.shape == (1, 3, 2, 3)
    assert result[0, :, 0, 0].tolist() == [9, 9, 6.75]  # RGB of a BGR image
    assert (result[0, :, :, 2] == 0).all()
