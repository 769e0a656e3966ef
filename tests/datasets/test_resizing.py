import numpy as np
import pytest

from mmcoseg.datasets.transforms import ResizeToInput
from mmcoseg.registry import TRANSFORMS


def record(**values):
    """An image of 8 x 6 pixels, white in its left half, with all that may belong to it."""
    image = np.zeros((8, 6, 3), np.uint8)
    image[:, :3] = 255
    mask = image[:, :, 0] // 255
    fields = ['gt_seg_map', 'gt_instance_0', 'group_map']
    maps = {field: mask.copy() for field in fields}
    return dict(img=image, ori_shape=(8, 6), seg_fields=fields, **maps, **values)


def test_all_that_belongs_to_an_image_gets_the_size():
    results = ResizeToInput()(record(input_size=(4, 12), interpolation='area'))
    assert results['img'].shape == (4, 12, 3) and results['img_shape'][:2] == (4, 12)
    assert results['ori_shape'] == (8, 6)
    for field in results['seg_fields']:
        assert results[field].shape == (4, 12)
        assert (results[field][:, :6] == 1).all() and (results[field][:, 6:] == 0).all()


@pytest.mark.parametrize('interpolation', ['area', 'nearest'])
def test_the_interpolation_is_the_records(interpolation):
    given = record(input_size=(8, 2), interpolation=interpolation)
    given['img'][:, 0] = 0
    found = ResizeToInput()(given)['img']
    # Of columns 0, 255, 255 the mean, or the first.
    expected = dict(area=[170, 0], nearest=[0, 0])[interpolation]
    assert found[0, :, 0].tolist() == expected


def test_one_transform_serves_records_of_several_sizes():
    resize = ResizeToInput()
    for size in ((4, 3), (16, 12), (4, 3)):
        found = resize(record(input_size=size, interpolation='area'))
        assert found['img'].shape[:2] == size


def test_without_a_size_the_image_stays():
    given = record(input_size=None, interpolation='area')
    found = TRANSFORMS.build(dict(type='ResizeToInput'))(given)
    assert found is given and found['img'].shape == (8, 6, 3)


def test_a_record_that_says_no_size_is_an_error():
    with pytest.raises(ValueError, match=r'set model\.data_preprocessor\.size, or input_size'):
        ResizeToInput()(record())
