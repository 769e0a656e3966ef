from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from demo_inputs import write_tiny_dataset
from mmengine.dataset import ConcatDataset as MMEngineConcat
from mmengine.dataset import RepeatDataset
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmcoseg.datasets import ConcatCoSegDataset, CoSegDataset, EpisodeSampler, SyntheticCoSegDataset
from mmcoseg.errors import MMCosegError
from mmcoseg.registry import DATASETS

PIPELINE = [
    dict(type='SampleGroup', num_images=2),
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='LoadCoSegMask'),
            dict(type='Resize', scale=(24, 24), keep_ratio=False),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackGroupInputs'),
]


@pytest.fixture
def parts(tmp_path):
    """Configs of two data sets that share the category `bee`."""
    roots = [
        write_tiny_dataset(tmp_path / 'one', dict(ant=4, bee=3), size=(20, 30)),
        write_tiny_dataset(tmp_path / 'two', dict(bee=5, cat=2, ape=2), size=(20, 30)),
    ]
    return [dict(type='CoSegDataset', data_root=str(root), pipeline=PIPELINE) for root in roots]


def groups(dataset):
    return [dataset.get_data_info(i)['group'] for i in range(len(dataset))]


def test_groups_of_all_sets_with_one_numbering_of_categories(parts):
    joined = DATASETS.build(dict(type='ConcatCoSegDataset', datasets=parts))
    assert type(joined) is ConcatCoSegDataset
    assert groups(joined) == ['ant', 'bee', 'ape', 'bee', 'cat']
    assert joined.metainfo['classes'] == ('ant', 'bee', 'ape', 'cat')
    for i in range(5):
        info = joined.get_data_info(i)
        assert info['label_ids'] == (joined.metainfo['classes'].index(info['group']),)
        assert all(image['label_ids'] == info['label_ids'] for image in info['images'])
        assert info['dataset'] is joined.datasets[i > 1]


def test_sets_of_other_kinds_and_sets_of_sets_can_be_joined(parts):
    drawn = SyntheticCoSegDataset(
        num_categories=2, images_per_group=3, image_size=(32, 32), pipeline=PIPELINE
    )
    inner = ConcatCoSegDataset(parts)
    joined = ConcatCoSegDataset([drawn, inner])
    names = groups(drawn)
    assert groups(joined) == [*names, *groups(inner)]
    assert joined.metainfo['classes'] == (*names, 'ant', 'bee', 'ape', 'cat')
    assert [joined.get_data_info(i)['label_ids'] for i in (0, 2, 5)] == [(0,), (2,), (3,)]
    assert len(joined[0, 0]['inputs']) == len(joined[5, 1]['inputs']) == 2


def test_draws_are_those_of_the_sets_with_the_seed_of_the_sampler(parts):
    joined = ConcatCoSegDataset(parts)
    sampler = EpisodeSampler(joined, seed=3)
    drawn = list(islice(sampler, 10))
    assert Counter(group for group, _ in drawn) == dict.fromkeys(range(5), 2)
    second = CoSegDataset(**{k: v for k, v in parts[1].items() if k != 'type'}, seed=3)
    for group, draw in drawn:
        if group > 1:
            ours, theirs = joined[group, draw], second[group - 2, draw]
            assert all(map(torch.equal, ours['inputs'], theirs['inputs']))


def test_a_seed_of_its_own_stays(parts):
    joined = ConcatCoSegDataset([dict(parts[0], seed=8), parts[1]])
    EpisodeSampler(joined, seed=3)
    assert [dataset.seed for dataset in joined.datasets] == [8, 3]


def test_draws_by_size_look_at_the_groups_of_all_sets(parts):
    sampler = EpisodeSampler(ConcatCoSegDataset(parts), seed=0, order='by_size')
    np.testing.assert_allclose(sampler.probabilities, np.array([4, 3, 2, 5, 2]) / 16)


@pytest.mark.parametrize('workers', [0, 2])
def test_a_loader_as_training_has_it(parts, workers):
    config = dict(
        batch_size=2,
        num_workers=workers,
        dataset=dict(type='ConcatCoSegDataset', datasets=parts),
        sampler=dict(type='EpisodeSampler', seed=1),
        collate_fn=dict(type='group_collate'),
    )
    with DefaultScope.overwrite_default_scope('mmcoseg'):
        loader = Runner.build_dataloader(config)
    batches = list(islice(loader, 3))
    names = [group.metainfo['group'] for batch in batches for group in batch['data_samples']]
    assert sorted(names[:5]) == ['ant', 'ape', 'bee', 'bee', 'cat']


def test_indices_from_the_end_and_beyond(parts):
    joined = ConcatCoSegDataset(parts)
    assert joined[-1]['data_samples'].metainfo['group'] == 'cat'
    for index in (5, -6, (5, 0)):
        with pytest.raises(IndexError, match='5 groups'):
            joined[index]


def test_what_cannot_be_joined_is_named(parts):
    with pytest.raises(ValueError, match='at least one data set'):
        ConcatCoSegDataset([])
    for wrong in (dict(type='mmseg.ADE20KDataset', lazy_init=True), 'data/msrc'):
        with pytest.raises(MMCosegError, match='data sets of groups'):
            ConcatCoSegDataset([parts[0], wrong])
    cut = DATASETS.build(parts[1])
    cut.get_subset_([0, 2])
    with pytest.raises(ValueError, match='indices= instead of get_subset_'):
        ConcatCoSegDataset([parts[0], cut])
    cut = dict(parts[1], indices=[0, 2])
    assert groups(ConcatCoSegDataset([parts[0], cut])) == ['ant', 'bee', 'ape', 'cat']


@pytest.mark.parametrize(
    'wrap',
    [
        lambda parts: MMEngineConcat(parts, ignore_keys='classes'),
        lambda parts: RepeatDataset(parts[0], 2),
    ],
)
def test_wrappers_that_know_no_draws_are_refused_at_once(parts, wrap):
    dataset = wrap([DATASETS.build(part) for part in parts])
    with pytest.raises(MMCosegError, match='ConcatCoSegDataset'):
        EpisodeSampler(dataset)


def test_classes_given_by_hand_are_kept(parts):
    classes = ('cat', 'dog', 'bee', 'ape', 'ant')
    joined = ConcatCoSegDataset([dict(part, metainfo=dict(classes=classes)) for part in parts])
    assert joined.metainfo['classes'] == classes
    assert [joined.get_data_info(i)['label_ids'] for i in (0, 4)] == [(4,), (0,)]
