import pytest
import torch
from demo_inputs import make_group_batch

from mmcoseg.models import GroupDataPreprocessor
from mmcoseg.structures import GroupImages


def unequal_batch():
    batch = make_group_batch((2, 1), (20, 28))
    batch['inputs'][1][0] = batch['inputs'][1][0][:, :17, :10]
    return batch


@pytest.mark.parametrize(('divisor', 'size'), [(1, (20, 28)), (16, (32, 32))])
def test_batches_are_the_same_in_parts(divisor, size):
    preprocessor = GroupDataPreprocessor(size_divisor=divisor, channels_last=True)
    data = preprocessor(unequal_batch())
    images = data['inputs']
    assert isinstance(images, GroupImages) and images.size == size
    assert [image.dtype for image in images] == [torch.uint8] * 3
    assert len(data['data_samples']) == 2
    whole = images.batch()
    assert whole.shape == (3, 3, *size) and whole.dtype == torch.float32
    assert whole.is_contiguous(memory_format=torch.channels_last)
    parts = torch.cat([images.batch([number]) for number in range(3)])
    assert torch.equal(parts, whole)


def test_images_are_not_copied():
    batch = unequal_batch()
    images = list(GroupDataPreprocessor()(batch)['inputs'])
    assert images[0].data_ptr() == batch['inputs'][0][0].data_ptr()


def test_normalizes_channel_by_channel_and_pads_with_the_mean():
    preprocessor = GroupDataPreprocessor(mean=[1, 2, 3], std=[1, 2, 4])
    image = torch.stack([torch.full((2, 2), v) for v in (30, 20, 10)]).to(torch.uint8)
    result = preprocessor.normalize([image], (2, 3))
    assert result.shape == (1, 3, 2, 3)
    assert result[0, :, 0, 0].tolist() == [9, 9, 6.75]  # RGB of a BGR image
    assert (result[0, :, :, 2] == 0).all()


def test_without_normalization_values_stay():
    preprocessor = GroupDataPreprocessor(mean=None, std=None, bgr_to_rgb=False)
    batch = unequal_batch()
    found = preprocessor(batch)['inputs'].batch([0])
    assert torch.equal(found[0], batch['inputs'][0][0].float())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(mean=None), 'both mean and std or neither, got mean=None'),
        (dict(std=(1, 2)), 'need 3 values each'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        GroupDataPreprocessor(**options)
