import random
from itertools import islice

import numpy as np
import pytest
import torch
from demo_inputs import write_tiny_dataset
from PIL import Image
from torch.utils.data import DataLoader

from mmcoseg.datasets import (
    CoSegDataset,
    EpisodeSampler,
    MSRC7Dataset,
    SyntheticCoSegDataset,
    group_collate,
)
from mmcoseg.errors import MMCosegError

PIPELINE = [
    dict(type='SampleGroup', num_images=2),
    dict(type='MixForeignImages', prob=0.5),
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='LoadCoSegMask'),
            dict(type='mmcv.Resize', scale=(24, 16), keep_ratio=False),
            dict(type='mmcv.RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackGroupInputs'),
]
TEST_PIPELINE = [
    dict(
        type='ForEachImage',
        transforms=[dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask')],
    ),
    dict(type='PackGroupInputs'),
]


@pytest.fixture
def root(tmp_path):
    write_tiny_dataset(tmp_path / 'data', groups=dict(cat=4, ant=3, bee=2))
    return tmp_path / 'data'


def stems_of(dataset, index):
    return [image['stem'] for image in dataset.get_data_info(index)['images']]


def test_folds_share_no_image_and_miss_none(root):
    whole = CoSegDataset(str(root), pipeline=TEST_PIPELINE)
    folds = [CoSegDataset(str(root), pipeline=TEST_PIPELINE, fold=(i, 2)) for i in range(2)]
    assert folds[0].metainfo['classes'] == whole.metainfo['classes']
    for index in range(len(whole)):
        first, second = stems_of(folds[0], index), stems_of(folds[1], index)
        assert first and second and not set(first) & set(second)
        assert sorted(first + second) == stems_of(whole, index)
    assert len(folds[0][2]['data_samples']) == 2


@pytest.mark.parametrize('fold', [(2, 2), (-1, 2), (0,), (0, 2.0), 2, '01'])
def test_a_fold_that_is_none(root, fold):
    with pytest.raises(ValueError, match=r'fold must be \(index, count\)'):
        CoSegDataset(str(root), fold=fold)


def test_a_fold_that_leaves_a_group_empty(root):
    with pytest.raises(ValueError, match=r"group 'bee' has 2 images, none of them in the fold"):
        CoSegDataset(str(root), fold=(2, 3))


def test_groups_and_images_are_sorted(root):
    dataset = CoSegDataset(str(root), pipeline=TEST_PIPELINE, test_mode=True)
    assert dataset.metainfo['classes'] == ('ant', 'bee', 'cat')
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [r['group'] for r in records] == ['ant', 'bee', 'cat']
    assert [r['label_ids'] for r in records] == [(0,), (1,), (2,)]
    stems = [image['stem'] for image in records[2]['images']]
    assert len(stems) == 4 and stems == sorted(stems)
    group = dataset[2]['data_samples']
    assert group.group == 'cat' and group.label_ids == (2,)
    assert [s.identity for s in group] == [f'cat/{stem}' for stem in stems]
    assert all(s.gt_sem_seg.data.unique().tolist() == [0, 1] for s in group)


def test_groups_can_be_chosen(root):
    dataset = CoSegDataset(str(root), groups=['cat', 'ant'])
    assert [dataset.get_data_info(i)['group'] for i in range(2)] == ['cat', 'ant']
    assert dataset.metainfo['classes'] == ('ant', 'cat')
    assert len(CoSegDataset(str(root), exclude_groups=['cat'])) == 2
    with pytest.raises(ValueError, match=r"no group \['dog'\]; it has \['ant', 'bee', 'cat'\]"):
        CoSegDataset(str(root), groups=['dog'])
    with pytest.raises(ValueError, match='no group to use'):
        CoSegDataset(str(root), exclude_groups=['ant', 'bee', 'cat'])


@pytest.mark.parametrize(
    ('wish', 'error', 'message'),
    [
        (dict(groups=[]), ValueError, 'groups is empty.*None stands for all'),
        (dict(groups=['cat', 'ant', 'cat']), ValueError, r"groups has \['cat'\] more than once"),
        (dict(groups='cat'), MMCosegError, r"groups must be a list.*\['cat', 'dog'\].*\(str\)"),
        (dict(groups={'cat', 'ant'}), MMCosegError, r'groups must be a list.*\(set\)'),
        (dict(groups=[1]), MMCosegError, 'groups must be a list'),
        (
            dict(exclude_groups='cat'),
            MMCosegError,
            r"exclude_groups must be a list.*\['cat', 'dog'\].*\(str\)",
        ),
    ],
)
@pytest.mark.parametrize('kind', ['folders', 'drawn', 'named'])
def test_groups_must_be_a_list_of_some_names(root, kind, wish, error, message):
    with pytest.raises(error, match=message):
        if kind == 'drawn':
            SyntheticCoSegDataset(num_categories=3, **wish)
        else:
            (CoSegDataset if kind == 'folders' else MSRC7Dataset)(str(root), **wish)


def test_what_is_excluded_may_be_nothing_or_come_twice(root):
    assert len(CoSegDataset(str(root), exclude_groups=None)) == 3
    assert len(CoSegDataset(str(root), exclude_groups=['cat', 'cat'])) == 2


def test_classes_must_be_a_list(root):
    with pytest.raises(MMCosegError, match=r"metainfo\['classes'\] must be a list.*'ant'"):
        CoSegDataset(str(root), metainfo=dict(classes='ant'))
    with pytest.raises(ValueError, match=r"has \['ant'\] more than once"):
        CoSegDataset(str(root), metainfo=dict(classes=['ant', 'bee', 'ant']))


def test_a_group_outside_the_classes_has_no_number(root):
    dataset = CoSegDataset(str(root), metainfo=dict(classes=('bee', 'dog')), test_mode=True)
    assert [dataset.get_data_info(i)['label_ids'] for i in range(3)] == [(), (0,), ()]


@pytest.mark.slow
def test_draws_depend_on_seed_and_number_alone(root):
    def draw(seed, number):
        item = CoSegDataset(str(root), pipeline=PIPELINE, seed=seed)[1, number]
        return torch.stack(item['inputs']), [s.identity for s in item['data_samples']]

    random.seed(1)
    first = draw(0, 5)
    random.seed(2)
    np.random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()
    second = draw(0, 5)
    assert torch.equal(first[0], second[0]) and first[1] == second[1]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    others = [draw(0, number) for number in range(8)] + [draw(1, 5)]
    assert any(other[1] != first[1] for other in others)


@pytest.mark.parametrize('workers', [1, 2])
def test_workers_do_not_change_the_data(root, workers):
    def batches(num_workers):
        dataset = CoSegDataset(str(root), pipeline=PIPELINE)
        loader = DataLoader(
            dataset,
            batch_size=2,
            sampler=EpisodeSampler(dataset, seed=3),
            num_workers=num_workers,
            collate_fn=group_collate,
        )
        return [torch.stack(sum(batch['inputs'], [])) for batch in islice(loader, 4)]

    for a, b in zip(batches(0), batches(workers)):
        assert torch.equal(a, b)


def test_missing_masks(root):
    (root / 'masks' / 'bee').rename(root / 'elsewhere')
    with pytest.raises(ValueError, match=r"group 'bee' has 2 images without a mask: .*bee"):
        CoSegDataset(str(root), test_mode=True)
    dataset = CoSegDataset(str(root), missing_masks='keep', test_mode=True, pipeline=TEST_PIPELINE)
    assert not any('gt_sem_seg' in sample for sample in dataset[1]['data_samples'])
    (root / 'masks').rename(root / 'more')
    assert len(CoSegDataset(str(root), test_mode=True)) == 3
    with pytest.raises(ValueError, match='without a mask'):
        CoSegDataset(str(root))


def test_what_is_wrong_on_disk_is_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no folder .*nowhere.*images/<group>'):
        CoSegDataset(str(tmp_path / 'nowhere'))
    (root / 'images' / 'dog').mkdir()
    with pytest.raises(ValueError, match=r'dog holds no image.*exclude_groups'):
        CoSegDataset(str(root))
    (root / 'images' / 'dog').rmdir()
    first = next((root / 'images' / 'ant').iterdir())
    other = '.bmp' if first.suffix != '.bmp' else '.png'
    Image.open(first).save(first.with_suffix(other))
    with pytest.raises(ValueError, match='have one stem'):
        CoSegDataset(str(root))


def test_one_bad_image_never_ends_a_run(root):
    files = sorted((root / 'images' / 'cat').iterdir())
    files[0].write_text('broken')
    training = CoSegDataset(str(root), pipeline=PIPELINE)
    bad = f'cat/{files[0].stem}'
    with pytest.warns(UserWarning, match=f'left out: .*{files[0].name} cannot be read'):
        for draw in range(12):
            samples = training[2, draw]['data_samples']
            assert len(samples) == 2
            assert bad not in [sample.identity for sample in samples]
    testing = CoSegDataset(str(root), pipeline=TEST_PIPELINE, test_mode=True)
    with pytest.warns(UserWarning, match='left out'):
        assert len(testing[2]['data_samples']) == 3


def test_a_mask_of_another_size_is_named(root):
    mask = sorted((root / 'masks' / 'bee').iterdir())[0]
    Image.new('L', (3, 5)).save(mask)
    dataset = CoSegDataset(str(root), pipeline=TEST_PIPELINE, test_mode=True)
    with pytest.warns(UserWarning, match=rf'{mask.name} is 5 x 3, its image .*{mask.stem}'):
        assert len(dataset[1]['data_samples']) == 1


def test_priors_go_through_the_pipeline(root):
    pipeline = [
        dict(
            type='ForEachImage',
            transforms=[
                dict(type='LoadCoSegImage'),
                dict(type='LoadGroupMap'),
                dict(type='mmseg.RandomFlip', prob=1.0),
            ],
        ),
        dict(type='PackGroupInputs'),
    ]
    dataset = CoSegDataset(str(root), pipeline=pipeline)
    stem = dataset.get_data_info(0)['images'][0]['stem']
    dataset.group_maps[f'ant/{stem}'] = np.array([[0, 255]], np.uint8)
    samples = dataset[0]['data_samples']
    prior = samples[0].saliency.data
    assert prior.shape[-2:] == samples[0].img_shape[:2]
    assert prior[0, :, 0].mean() == 1 and prior[0, :, -1].mean() == 0
    assert 'saliency' not in samples[1]


@pytest.mark.parametrize(
    ('folder', 'counts'),
    [
        ('pascal_coseg', dict(Aero=66, Bicycle=43, Person=115, Plant=41)),
        ('voc_multiclass', {'bicycle+person': 35, 'bicycle+car+person': 5}),
    ],
)
def test_photographs(coseg_data, folder, counts):
    dataset = CoSegDataset(str(coseg_data / folder), pipeline=TEST_PIPELINE, test_mode=True)
    records = {dataset.get_data_info(i)['group']: i for i in range(len(dataset))}
    for group, count in counts.items():
        assert len(dataset.get_data_info(records[group])['images']) == count
    item = dataset[records[min(counts, key=counts.get)]]
    for image, sample in zip(item['inputs'], item['data_samples']):
        assert image.shape[1:] == sample.gt_sem_seg.data.shape[1:]
        assert set(sample.gt_sem_seg.data.unique().tolist()) <= {0, 1, 255}
