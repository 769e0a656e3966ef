import json

import numpy as np
import pytest
from demo_inputs import write_tiny_dataset
from PIL import Image

from mmcoseg.datasets import ConcatCoSegDataset, MultiClassCoSegDataset, MultiClassVOCDataset
from mmcoseg.datasets.image_io import read_mask
from mmcoseg.datasets.multiclass import PUBLISHED_GROUPS, classes_in_name
from mmcoseg.registry import DATASETS

PIPELINE = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='LoadCoSegMask', binary=False, values='label'),
        ],
    ),
    dict(type='PackGroupInputs'),
]


@pytest.fixture
def root(tmp_path):
    write_tiny_dataset(tmp_path, groups={'sofa+dog': 2}, num_foreground=2)
    return write_tiny_dataset(tmp_path, groups={'car+dog+person': 3}, num_foreground=3)


def test_classes_are_those_of_the_names(root):
    dataset = MultiClassCoSegDataset(str(root), test_mode=True)
    assert dataset.metainfo['classes'] == ('car', 'dog', 'person', 'sofa')
    first, second = dataset.get_data_info(0), dataset.get_data_info(1)
    assert (first['group'], first['label_ids']) == ('car+dog+person', (0, 1, 2))
    assert second['label_ids'] == (3, 1)  # in the order of the mask values, not of the classes
    assert [image['label_ids'] for image in second['images']] == [(3, 1)] * 2
    assert DATASETS.get('MultiClassCoSegDataset') is MultiClassCoSegDataset
    chosen = MultiClassCoSegDataset(str(root), groups=['sofa+dog'], test_mode=True)
    assert chosen.metainfo['classes'] == ('dog', 'sofa')


def test_masks_keep_their_classes_and_void(root):
    file = root / 'masks/sofa+dog/000.png'
    mask = read_mask(file)
    assert set(np.unique(mask)) == {0, 1, 2}
    mask[0] = 255
    Image.fromarray(mask).save(file)
    only_void = root / 'masks/sofa+dog/001.png'
    Image.fromarray(np.where(read_mask(only_void) > 0, 255, 0).astype(np.uint8)).save(only_void)
    dataset = MultiClassCoSegDataset(str(root), pipeline=PIPELINE, test_mode=True)
    group = dataset[1]['data_samples']
    assert group.label_ids == (3, 1)
    np.testing.assert_array_equal(group[0].gt_sem_seg.data[0].numpy(), mask)
    assert set(np.unique(group[1].gt_sem_seg.data.numpy())) == {0, 255}


def test_names_may_stand_elsewhere(root):
    write_tiny_dataset(root, groups={'pets': 2, 'farm': 2}, num_foreground=2)
    (root / 'classes.json').write_text(json.dumps(dict(pets=['dog', 'cat'], farm=['horse', 'cow'])))
    dataset = MultiClassCoSegDataset(str(root), groups=['pets', 'farm', 'sofa+dog'])
    assert dataset.metainfo['classes'] == ('cat', 'cow', 'dog', 'horse', 'sofa')
    assert [dataset.get_data_info(i)['label_ids'] for i in range(3)] == [(2, 0), (3, 1), (4, 2)]
    assert dataset.classes_of('pets') == ('dog', 'cat')


def test_a_name_without_plus_is_one_class(tmp_path):
    write_tiny_dataset(tmp_path, groups={'bird': 2})
    assert MultiClassCoSegDataset(str(tmp_path)).get_data_info(0)['label_ids'] == (0,)


def test_how_many_classes_a_group_has(root):
    options = dict(pipeline=PIPELINE, test_mode=True)
    dataset = MultiClassCoSegDataset(str(root), **options)
    assert [dataset[i]['data_samples'].num_classes for i in range(2)] == [3, 2]
    # Also where the classes have no numbers.
    other = MultiClassCoSegDataset(str(root), metainfo=dict(classes=('cat',)), **options)
    groups = [other[i]['data_samples'] for i in range(2)]
    assert [(group.num_classes, group.label_ids) for group in groups] == [(3, ()), (2, ())]
    # And in mini-batches.
    assert groups[0].select([0, 2]).num_classes == 3


def test_classes_given_and_joined(root, tmp_path_factory):
    classes = ('person', 'dog', 'car', 'cat')
    dataset = MultiClassCoSegDataset(str(root), metainfo=dict(classes=classes))
    assert dataset.metainfo['classes'] == classes
    assert [dataset.get_data_info(i)['label_ids'] for i in range(2)] == [(2, 1, 0), ()]
    other = tmp_path_factory.mktemp('other')
    write_tiny_dataset(other, groups={'cat+dog': 2}, num_foreground=2)
    joined = ConcatCoSegDataset([MultiClassCoSegDataset(str(r)) for r in (root, other)])
    assert joined.metainfo['classes'] == ('car', 'dog', 'person', 'sofa', 'cat')
    assert joined.datasets[1].get_data_info(0)['label_ids'] == (4, 1)


def test_what_is_wrong_is_named(root):
    with pytest.raises(ValueError, match=r"group 'a\+\+b' must name each class .*'a', '', 'b'"):
        classes_in_name('a++b')
    names = root / 'classes.json'
    for content, message in (
        ('{', r'classes\.json is not valid json'),
        ('[]', r'classes\.json must be of the form .*got list'),
        ('{"sofa+dog": []}', r"classes\.json, 'sofa\+dog', must name each class"),
        ('{"sofa+dog": ["dog", "dog"]}', r"classes\.json, 'sofa\+dog', must name each class"),
        ('{"sofa+dog": "dog"}', "must be a list of names .* got 'dog'"),
    ):
        names.write_text(content)
        with pytest.raises(ValueError, match=message):
            MultiClassCoSegDataset(str(root))
    with pytest.raises(FileNotFoundError, match=r'none/images.*masks/<a\+b>'):
        MultiClassCoSegDataset(str(root / 'none'))


def test_the_ten_published_groups(tmp_path, repo):
    assert len(PUBLISHED_GROUPS) == len(set(PUBLISHED_GROUPS)) == 10
    assert sorted(len(classes_in_name(group)) for group in PUBLISHED_GROUPS) == [2] * 8 + [3] * 2
    assert MultiClassVOCDataset.METAINFO['groups'] == PUBLISHED_GROUPS
    groups = {'sofa+dog': 1, 'boat+dog+person': 2, 'chair+person': 1}
    write_tiny_dataset(tmp_path, groups=groups, num_foreground=3)
    with pytest.warns(UserWarning, match=r'chair\+person left out.*MultiClassCoSegDataset'):
        dataset = MultiClassVOCDataset(str(tmp_path), test_mode=True)
    classes = dataset.metainfo['classes']
    assert classes == tuple(sorted(classes)) and len(classes) == 10
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [[classes[i] for i in record['label_ids']] for record in records] == [
        ['sofa', 'dog'],
        ['boat', 'dog', 'person'],
    ]
    with pytest.raises(FileNotFoundError, match=r'http.*voc_multiclass\.py') as error:
        MultiClassVOCDataset(str(tmp_path / 'none'))
    assert 'tools/dataset_converters/voc_multiclass.py' in str(error.value)
    assert (repo / 'tools/dataset_converters/voc_multiclass.py').is_file()


def test_photographs(coseg_data):
    root = coseg_data / 'voc_multiclass'
    if not root.is_dir():
        pytest.skip(f'there is no {root}')
    dataset = MultiClassCoSegDataset(str(root), pipeline=PIPELINE, test_mode=True)
    assert set(dataset.metainfo['classes']) >= {'person', 'bicycle', 'car'}
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        info['images'] = info['images'][:2]
        for sample in dataset.pipeline(info)['data_samples']:
            values = set(np.unique(sample.gt_sem_seg.data.numpy()))
            assert values - {0, 255} == set(range(1, 1 + len(info['label_ids'])))
