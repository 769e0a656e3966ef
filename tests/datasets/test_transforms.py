import random

import numpy as np
import pytest
import torch
from demo_inputs import write_tiny_dataset
from mmcv.transforms import BaseTransform
from PIL import Image
from pycocotools import mask as coco_mask

from mmcoseg.datasets import (
    CoSegDataset,
    ForEachImage,
    LoadCoSegMask,
    MixForeignImages,
    PackGroupInputs,
    SampleGroup,
)
from mmcoseg.datasets.image_io import BadImageError
from mmcoseg.registry import TRANSFORMS


def record(count, label_ids=(0,), **kwargs):
    images = [
        dict(group='g', stem=str(i), img_path=f'{i}.jpg', label_ids=label_ids) for i in range(count)
    ]
    return dict(group='g', category='g', label_ids=(0,), images=images, **kwargs)


def test_sample_group_draws_without_replacement():
    drawn = SampleGroup(5).transform(record(8))
    stems = [image['stem'] for image in drawn['images']]
    assert len(set(stems)) == 5
    assert set(stems) | {image['stem'] for image in drawn['spares']} == set('01234567')
    small = SampleGroup(5).transform(record(2))
    assert len(small['images']) == 5 and {i['stem'] for i in small['images']} == {'0', '1'}
    with pytest.raises(ValueError, match='num_images must be a whole number, at least 1'):
        SampleGroup(0)


def test_co_categories_are_those_of_all_drawn_images():
    group = record(3)
    for image, labels in zip(group['images'], [(0, 2, 5), (0, 2), (0, 2, 7)]):
        image['label_ids'] = labels
    assert SampleGroup(3).transform(group)['label_ids'] == (0, 2)


def test_foreign_images_lack_the_category_and_have_empty_masks(tmp_path):
    write_tiny_dataset(tmp_path, groups=dict(a=3, b=3))
    pipeline = [
        dict(type='SampleGroup', num_images=3),
        dict(type='MixForeignImages', prob=1.0),
        dict(
            type='ForEachImage',
            transforms=[dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask')],
        ),
        dict(type='PackGroupInputs'),
    ]
    dataset = CoSegDataset(str(tmp_path), pipeline=pipeline)
    for draw in range(5):
        samples = dataset[0, draw]['data_samples']
        foreign = [s for s in samples if s.metainfo.get('foreign')]
        assert len(foreign) == 1
        for sample in samples:
            assert (sample.group == 'b') == (sample in foreign)
            assert (sample.gt_sem_seg.data.max() == 0) == (sample in foreign)


def test_images_that_hold_the_category_are_never_foreign():
    class TwoGroups:
        def __len__(self):
            return 2

        def get_data_info(self, i):
            return dict(record(3, label_ids=(0, 1)), group='other')

    group = record(3, dataset=TwoGroups())
    assert MixForeignImages(prob=1.0).transform(group)['images'] == group['images']
    with pytest.raises(ValueError, match='prob must be a number from 0 to 1'):
        MixForeignImages(prob=2)


def load(tmp_path, pixels, **kwargs):
    path = tmp_path / 'mask.png'
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    results = dict(
        seg_map_path=str(path), img_path='image.jpg', ori_shape=np.shape(pixels), seg_fields=[]
    )
    results = LoadCoSegMask(**kwargs).transform(results)
    assert results['seg_fields'] == ['gt_seg_map']
    return results['gt_seg_map'].tolist()


def test_conventions_of_mask_values(tmp_path):
    assert load(tmp_path, [[0, 1, 1]]) == [[0, 1, 1]]
    assert load(tmp_path, [[0, 255, 0]]) == [[0, 1, 0]]
    assert load(tmp_path, [[0, 1, 255]]) == [[0, 1, 255]]
    assert load(tmp_path, [[0, 3, 2, 255]]) == [[0, 1, 1, 255]]
    assert load(tmp_path, [[0, 3, 2, 255]], binary=False) == [[0, 3, 2, 255]]
    assert load(tmp_path, [[0, 255]], values='label') == [[0, 255]]
    assert load(tmp_path, [[0, 7, 1]], void=7) == [[0, 255, 1]]
    assert load(tmp_path, [[3, 250, 128, 127]], values='threshold') == [[0, 1, 1, 0]]


def test_masks_that_were_saved_lossily_are_named(tmp_path):
    with pytest.raises(BadImageError, match=r"mask\.png has 100 different values.*'threshold'"):
        load(tmp_path, [list(range(100))])
    with pytest.raises(ValueError, match="values must be one of .*'guess'"):
        LoadCoSegMask(values='guess')


@pytest.mark.parametrize(
    ('pixels', 'options', 'labels'),
    [
        ([0, 64, 128, 191, 255], dict(values='threshold'), [0, 0, 1, 1, 1]),  # smoothed
        ([0, 128, 255], dict(void=128), [0, 255, 1]),  # a trimap
        ([0, 62, 255], dict(values='label'), [0, 1, 255]),  # a class of high number, and void
        ([0, 1, 254, 255], dict(values='threshold'), [0, 0, 1, 1]),  # saved a little lossily
    ],
)
def test_masks_of_doubtful_values_are_not_guessed(tmp_path, pixels, options, labels):
    with pytest.raises(BadImageError, match=r"mask\.png .*beside 255 \(.*'threshold'.*'label'"):
        load(tmp_path, [pixels])
    assert load(tmp_path, [pixels], **options) == [labels]


@pytest.mark.parametrize('pixels', [[0, 1, 20, 255], [0, 62, 67], [0, 128]])
def test_masks_of_classes_are_no_matter_of_doubt(tmp_path, pixels):
    labels = [value if value in (0, 255) else 1 for value in pixels]
    assert load(tmp_path, [pixels]) == [labels]


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: SampleGroup(2.5), 'num_images must be .*2.5'),
        (lambda: SampleGroup('5'), "num_images must be .*'5'"),
        (lambda: LoadCoSegMask(void=300), 'void must be .*300'),
        (lambda: LoadCoSegMask(void=0), 'void must be .*0'),
        (lambda: LoadCoSegMask(void='255'), "void must be .*'255'"),
    ],
)
def test_numbers_that_could_do_nothing_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_masks_from_instances():
    square = np.zeros((10, 12), np.uint8)
    square[2:5, 3:7] = 1
    rle = coco_mask.encode(np.asfortranarray(square))
    polygon = [[6.0, 6.0, 11.0, 6.0, 11.0, 9.0, 6.0, 9.0]]
    results = dict(
        ori_shape=(10, 12),
        seg_fields=[],
        label_ids=(4, 9),
        co_label_ids=(4,),
        instances=[dict(category=4, mask=rle), dict(category=9, mask=polygon)],
    )
    one = LoadCoSegMask().transform(dict(results))
    np.testing.assert_array_equal(one['gt_seg_map'], square)
    both = LoadCoSegMask().transform(dict(results, co_label_ids=(4, 9)))['gt_seg_map']
    assert both[7, 8] == 1 and both[3, 4] == 1 and both[0, 0] == 0


def instances_after(*steps, before=(), foreign=False):
    """The sample of an image whose two instances, of categories 4 and 9, lie over each other."""
    left, right = np.zeros((2, 40, 50), np.uint8)
    left[5:20, 10:30], right[10:35, 20:45] = 1, 1
    image = dict(
        img_path='a.jpg',
        group='g',
        stem='a',
        label_ids=(4, 9),
        ori_img=np.dstack([255 * left, 255 * right, 0 * left]),
        foreign=foreign,
        instances=[
            dict(category=9, mask=coco_mask.encode(np.asfortranarray(right))),
            dict(category=4, mask=coco_mask.encode(np.asfortranarray(left))),
            dict(category=7, mask=[[0.0, 0.0, 9.0, 0.0, 9.0, 9.0]]),
        ],
    )
    load = dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask', with_instances=True)
    pipeline = ForEachImage([load[0], *before, load[1], *steps])
    record = dict(group='g', category='g', label_ids=(4, 9), images=[image])
    item = PackGroupInputs().transform(pipeline.transform(record))
    return item['inputs'][0], item['data_samples'][0]


RESIZE = dict(type='Resize', scale=(100, 80), keep_ratio=False)


@pytest.mark.parametrize(
    'steps',
    [
        [],
        [dict(type='Resize', scale=(100, 80), keep_ratio=False, interpolation='nearest')],
        [dict(type='RandomFlip', prob=1.0, direction=['vertical'])],
        [dict(type='RandomFlip', prob=1.0), dict(type='RandomCrop', crop_size=(30, 30))],
    ],
    ids=['nothing', 'resize', 'flip', 'flip and crop'],
)
def test_instances_go_through_the_transforms_of_their_image(steps):
    random.seed(1)
    np.random.seed(1)
    image, sample = instances_after(*steps)
    instances = sample.gt_instances
    assert instances.labels.tolist() == [9, 4]
    assert instances.masks.dtype == torch.bool
    assert torch.equal(instances.masks[0], image[1] == 255)
    assert torch.equal(instances.masks[1], image[0] == 255)
    assert torch.equal(instances.masks.any(0), sample.gt_sem_seg.data[0] == 1)


def test_instances_loaded_last_keep_the_size_of_the_file():
    image, sample = instances_after(before=[RESIZE, dict(type='RandomFlip', prob=0.0)])
    assert image.shape == (3, 80, 100)
    assert sample.gt_instances.masks.shape == (2, 40, 50)
    assert sample.gt_instances.masks.sum((1, 2)).tolist() == [25 * 25, 15 * 20]


def test_instances_of_which_nothing_is_left_are_none():
    masks = instances_after(dict(type='mmseg.RandomCrop', crop_size=(40, 50)))[1].gt_instances.masks
    assert len(masks) == 2
    _, sample = instances_after(dict(type='CropLeft'))
    assert sample.gt_instances.labels.tolist() == [4]
    _, sample = instances_after(RESIZE, foreign=True)
    assert sample.gt_instances.masks.shape == (0, 80, 100)
    assert sample.gt_instances.labels.shape == (0,)


@TRANSFORMS.register_module()
class CropLeft(BaseTransform):
    """The left 15 columns."""

    def transform(self, results):
        for key in ('img', *results['seg_fields']):
            results[key] = results[key][:, :15]
        return results


@pytest.mark.parametrize(
    'step',
    [
        dict(type='mmcv.RandomFlip', prob=1.0),
        dict(type='mmcv.Resize', scale=(100, 80)),
        dict(type='mmcv.Pad', size=(64, 64)),
    ],
)
def test_transforms_that_leave_instances_behind_are_refused(step):
    with pytest.raises(ValueError, match=r'a\.jpg: .*instances.*mmseg'):
        instances_after(step)


def test_transforms_of_mmcv_and_mmseg_treat_image_and_mask_alike(tmp_path):
    write_tiny_dataset(tmp_path, groups=dict(a=3), size=(40, 50))
    steps = [
        dict(type='LoadCoSegImage'),
        dict(type='LoadCoSegMask'),
        dict(type='mmcv.RandomResize', scale=(64, 48), ratio_range=(0.8, 1.2), keep_ratio=True),
        dict(type='mmseg.RandomCrop', crop_size=(32, 32)),
        dict(type='mmcv.RandomFlip', prob=0.5),
        dict(type='mmseg.PhotoMetricDistortion'),
        dict(type='mmcv.Pad', size=(48, 48)),
    ]
    pipeline = [dict(type='ForEachImage', transforms=steps), dict(type='PackGroupInputs')]
    dataset = CoSegDataset(str(tmp_path), pipeline=pipeline)
    for draw in range(4):
        item = dataset[0, draw]
        for image, sample in zip(item['inputs'], item['data_samples']):
            assert image.shape == (3, 48, 48) and image.dtype == torch.uint8
            assert sample.gt_sem_seg.data.shape == (1, 48, 48)
            assert set(sample.gt_sem_seg.data.unique().tolist()) <= {0, 1, 255}


def test_void_survives_resizing(tmp_path):
    write_tiny_dataset(tmp_path, groups=dict(a=1), size=(20, 20))
    mask = next((tmp_path / 'masks' / 'a').iterdir())
    values = np.zeros((20, 20), np.uint8)
    values[:10], values[10:] = 1, 255
    Image.fromarray(values).save(mask)
    steps = [
        dict(type='LoadCoSegImage'),
        dict(type='LoadCoSegMask', values='label'),
        dict(type='mmcv.Resize', scale=(37, 33), keep_ratio=False),
    ]
    pipeline = [dict(type='ForEachImage', transforms=steps), dict(type='PackGroupInputs')]
    sample = CoSegDataset(str(tmp_path), pipeline=pipeline)[0]['data_samples'][0]
    assert sample.gt_sem_seg.data.unique().tolist() == [1, 255]


def test_a_group_of_which_nothing_can_be_read():
    random.seed(0)
    with (
        pytest.warns(UserWarning, match='left out'),
        pytest.raises(BadImageError, match=r"no image of the group 'g' can be read; .*\d\.jpg"),
    ):
        ForEachImage([dict(type='LoadCoSegImage')]).transform(record(2))
