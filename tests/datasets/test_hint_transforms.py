"""Examples out of the ground truth, and metrics on the other images."""

import numpy as np
import pytest
import torch
from demo_inputs import write_tiny_dataset
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from PIL import Image
from torch.utils.data import DataLoader

from mmcoseg.datasets import CoSegDataset, GiveExamples, MultiClassCoSegDataset, group_collate
from mmcoseg.errors import MMCosegError
from mmcoseg.evaluation import CoSegMetric, MultiClassCoSegMetric
from mmcoseg.structures import ExampleMask


def dataset(root, num_examples, seed=0, kind=CoSegDataset, **mask):
    load = [dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask', **mask)]
    pipeline = [
        dict(type='ForEachImage', transforms=load),
        dict(type='GiveExamples', num_examples=num_examples, seed=seed),
        dict(type='PackGroupInputs'),
    ]
    return kind(str(root), test_mode=True, missing_masks='keep', pipeline=pipeline)


def hinted(group):
    return [sample.stem for sample in group if 'hints' in sample]


def test_images_get_their_own_masks(tmp_path):
    root = write_tiny_dataset(tmp_path, groups=dict(bird=6))
    group = dataset(root, 2)[0]['data_samples']
    assert len(hinted(group)) == 2
    for sample in group:
        for hint in sample.get('hints', ()):
            assert isinstance(hint, ExampleMask)
            np.testing.assert_array_equal(hint.mask, sample.gt_sem_seg.data[0].numpy())


def test_the_choice_is_of_the_seed_and_the_group_alone(tmp_path):
    root = write_tiny_dataset(tmp_path, groups=dict(ape=9, bird=9))
    chosen = {}
    for seed in range(4):
        groups = [item['data_samples'] for item in dataset(root, 3, seed)]
        chosen[seed] = [tuple(hinted(group)) for group in groups]
        alone = CoSegDataset(
            str(root),
            groups=['bird'],
            test_mode=True,
            pipeline=dataset(root, 3, seed).pipeline.transforms,
        )
        assert tuple(hinted(alone[0]['data_samples'])) == chosen[seed][1]
    assert len({choice for pair in chosen.values() for choice in pair}) > 4
    smaller = hinted(dataset(root, 2)[0]['data_samples'])
    assert set(smaller) < set(chosen[0][0])


def test_any_number_of_workers_gives_the_same(tmp_path):
    root = write_tiny_dataset(tmp_path, groups=dict(ape=5, bird=5, cat=5))
    found = []
    for workers in (0, 2):
        loader = DataLoader(dataset(root, 2), num_workers=workers, collate_fn=group_collate)
        found.append([hinted(batch['data_samples'][0]) for batch in loader])
    assert found[0] == found[1]


def test_small_groups_keep_an_image_to_score(tmp_path):
    root = write_tiny_dataset(tmp_path, groups=dict(one=1, two=2, three=3))
    counts = {}
    for item in dataset(root, 5):
        group = item['data_samples']
        counts[group.group] = len(hinted(group))
    assert counts == dict(one=0, two=1, three=2)


def test_images_without_mask_or_object_are_no_examples(tmp_path):
    root = write_tiny_dataset(tmp_path, groups=dict(bird=5))
    for stem in ('000', '001'):
        (root / f'masks/bird/{stem}.png').unlink()
    file = root / 'masks/bird/002.png'
    Image.fromarray(np.zeros_like(np.asarray(Image.open(file)))).save(file)
    for seed in range(3):
        assert hinted(dataset(root, 5, seed)[0]['data_samples']) == ['003', '004']


def test_of_several_classes_each_gets_its_examples(tmp_path):
    root = write_tiny_dataset(tmp_path, groups={'a+b': 8}, num_foreground=2)
    for number in range(8):
        file = root / f'masks/a+b/{number:03}.png'
        mask = np.asarray(Image.open(file))
        Image.fromarray(np.where(mask == 1 + number % 2, mask, 0).astype(np.uint8)).save(file)
    items = dataset(root, 2, kind=MultiClassCoSegDataset, binary=False, values='label')
    labels = [int(s.hints[0].mask.max()) for s in items[0]['data_samples'] if 'hints' in s]
    assert sorted(labels) == [1, 1, 2, 2]


@pytest.mark.parametrize('kind', [CoSegMetric, MultiClassCoSegMetric])
def test_metrics_on_the_other_images(tmp_path, kind):
    init_default_scope('mmcoseg')
    root = write_tiny_dataset(tmp_path, groups=dict(bird=6))
    group = dataset(root, 2)[0]['data_samples']
    for sample in group:
        mask = sample.gt_sem_seg.data.to(torch.uint8)
        # Right on the examples, wrong on the others.
        answer = mask if 'hints' in sample else torch.zeros_like(mask)
        sample.pred_sem_seg = PixelData(data=answer)
    scores = {}
    for choice in ('score', 'skip'):
        evaluator = Evaluator([kind(hinted_images=choice)])
        evaluator.process(data_samples=[group])
        scores[choice] = evaluator.evaluate(1)['J']
    assert scores['skip'] == 0 < scores['score']


def test_wrong_options():
    with pytest.raises(MMCosegError, match='num_examples must be a whole number, at least 1'):
        GiveExamples(0)
    with pytest.raises(MMCosegError, match='hinted_images'):
        CoSegMetric(hinted_images='none')
