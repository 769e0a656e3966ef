import copy
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from mmcoseg.datasets import COCOSEGDataset

PIPELINE = [
    dict(type='SampleGroup', num_images=2),
    dict(
        type='ForEachImage',
        transforms=[dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask')],
    ),
    dict(type='PackGroupInputs'),
]


def box(left, top, width, height):
    right, bottom = left + width, top + height
    return [[left, top, right, top, right, bottom, left, bottom]]


@pytest.fixture
def root(tmp_path):
    """A miniature COCO: 4 images of 40 x 60; cats in all, dogs in three, a crowd, a small bird."""
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'train2017').mkdir()
    images, annotations = [], []

    def annotate(image, category, shape, area, crowd=0):
        annotations.append(
            dict(
                id=len(annotations),
                image_id=image,
                category_id=category,
                segmentation=shape,
                area=area,
                iscrowd=crowd,
            )
        )

    for i in range(4):
        name = f'{i:012d}.jpg'
        images.append(dict(id=i, file_name=name, height=40, width=60))
        Image.fromarray(np.full((40, 60, 3), 60 * i, np.uint8)).save(tmp_path / 'train2017' / name)
        annotate(i, 17, box(2, 2, 20, 20), 400)
        if i:
            annotate(i, 18, box(30, 10, 20, 20), 400)
    annotate(0, 18, dict(size=[40, 60], counts=[0, 2400]), 2400, crowd=1)
    annotate(1, 16, box(0, 0, 5, 5), 25)
    categories = [dict(id=i, name=n) for i, n in [(16, 'bird'), (17, 'cat'), (18, 'dog')]]
    content = dict(images=images, annotations=annotations, categories=categories)
    (tmp_path / 'annotations' / 'instances_train2017.json').write_text(json.dumps(content))
    return tmp_path


def build(root, **kwargs):
    options = dict(min_area=100, min_images=3)
    return COCOSEGDataset(str(root), **{**options, **kwargs})


def test_groups_are_the_categories_with_enough_large_instances(root):
    dataset = build(root)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert [len(dataset.get_data_info(i)['images']) for i in range(2)] == [4, 3]
    assert build(root, min_images=4).metainfo['classes'] == ('cat',)
    with pytest.raises(ValueError, match='no category has 5 images with an instance above 100'):
        build(root, min_images=5)
    # Exclusive: an instance of just the least area does not count.
    with pytest.raises(ValueError, match='above 400'):
        build(root, min_area=400)


def test_co_categories_and_masks_follow_the_drawn_images(root):
    dataset = build(root, groups=['cat'], pipeline=PIPELINE)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    seen = set()
    for draw in range(12):
        group = dataset[0, draw]['data_samples']
        stems = {sample.stem for sample in group}
        labels = (0,) if '000000000000' in stems else (0, 1)
        assert group.label_ids == labels
        for sample in group:
            mask = sample.gt_sem_seg.data[0]
            assert mask[10, 10] == 1 and mask[39, 59] == 0
            assert mask[20, 40] == (1 if len(labels) == 2 else 0)
        seen.add(labels)
    assert len(seen) == 2


def test_records_are_made_when_they_are_looked_at(root):
    dataset = build(root)
    dataset.group_maps['dog/000000000002'] = np.zeros((2, 2), np.uint8)
    images = dataset.get_data_info(1)['images']
    assert [image['stem'] for image in images] == [f'{i:012d}' for i in (1, 2, 3)]
    assert [image['stem'] for image in images[1:]] == [f'{i:012d}' for i in (2, 3)]
    assert images[-1]['label_ids'] == (0, 1) and images[0]['group'] == 'dog'
    assert [i['category'] for i in images[0]['instances']] == [0, 1]
    assert 'group_map' in images[1] and 'group_map' not in images[0]
    content = pickle.dumps(dataset)
    assert len(content) < 10000  # not the annotations
    same = pickle.loads(content)  # as worker processes get it
    assert [i['img_path'] for i in same.get_data_info(1)['images']] == [
        i['img_path'] for i in images
    ]


def test_categories_can_be_numbered_from_outside(root):
    dataset = build(root, metainfo=dict(classes=('unicorn', 'dog')))
    cat, dog = dataset.get_data_info(0), dataset.get_data_info(1)
    assert (cat['group'], cat['label_ids']) == ('cat', ())
    assert (dog['group'], dog['label_ids']) == ('dog', (1,))


def change(root, edit):
    file = root / 'annotations' / 'instances_train2017.json'
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_masks_are_the_union_of_all_that_is_annotated(root):
    def edit(content):
        cat = dict(image_id=2, category_id=17)
        content['annotations'] += [
            dict(cat, id=90, segmentation=box(50, 30, 6, 6), area=36),
            dict(cat, id=91, segmentation=box(30, 32, 15, 8), area=120, iscrowd=1),
            dict(cat, id=92, category_id=16, segmentation=box(0, 30, 5, 5), area=25),
        ]

    change(root, edit)
    pipeline = copy.deepcopy(PIPELINE)
    pipeline[0]['num_images'] = 4
    pipeline[1]['transforms'][1]['with_instances'] = True
    dataset = build(root, groups=['cat'], pipeline=pipeline)
    group = dataset[0]['data_samples']
    (sample,) = (sample for sample in group if sample.stem == '000000000002')
    mask = sample.gt_sem_seg.data[0]
    assert mask[10, 10] == 1  # large
    assert mask[33, 53] == 1  # small
    assert mask[36, 37] == 1  # crowd
    assert mask[32, 2] == 0  # of a category that does not count
    assert mask.sum() == 20 * 20 + 6 * 6 + 15 * 8
    assert sorted(sample.gt_instances.masks.sum(dim=(1, 2)).tolist()) == [36, 120, 400]
    # What is small or a crowd decides neither about images nor about labels.
    images = dataset.get_data_info(0)['images']
    assert [image['label_ids'] for image in images] == [(0,), (0, 1), (0, 1), (0, 1)]
    assert [len(build(root).get_data_info(i)['images']) for i in range(2)] == [4, 3]


def test_one_bad_annotation_costs_one_image_and_is_named(root):
    change(root, lambda c: c['annotations'][0].update(segmentation=dict(size=[40, 60], counts=[5])))
    pipeline = copy.deepcopy(PIPELINE[1:])
    dataset = build(root, groups=['cat'], test_mode=True, pipeline=pipeline)
    with pytest.warns(UserWarning, match=r'00\.jpg: annotation 0: its RLE has 5 of 2,400 pixels'):
        assert len(dataset[0]['data_samples']) == 3


def test_ids_as_text_and_categories_of_one_name(root):
    before = [len(build(root).get_data_info(i)['images']) for i in range(2)]

    def edit(content):
        content['categories'].append(dict(id=99, name='cat'))
        content['annotations'][0]['category_id'] = 99
        for image in content['images']:
            image['id'] = str(image['id'])

    change(root, edit)
    with pytest.warns(UserWarning) as said:
        dataset = build(root)
    texts = ' | '.join(str(warning.message) for warning in said)
    assert 'image ids are of two kinds' in texts and "are called 'cat', and taken as one" in texts
    assert [len(dataset.get_data_info(i)['images']) for i in range(2)] == before


def test_errors_name_the_file(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no file .*instances.*cocodataset\.org'):
        build(tmp_path / 'none')
    file = root / 'annotations' / 'instances_train2017.json'
    file.write_text('{"images": []}')
    with pytest.raises(ValueError, match=r"has no \['annotations', 'categories'\]"):
        build(root)
    file.write_text('{"images": [], "categories": [], "annotations": [{"id": 7}]}')
    with pytest.raises(ValueError, match='annotation 7 has no image_id'):
        build(root)
    file.write_text('{"images')
    with pytest.raises(ValueError, match='not valid json'):
        build(root)


def test_images_of_another_size_than_their_polygons_are_left_out(root):
    file = root / 'annotations' / 'instances_train2017.json'
    content = json.loads(file.read_text())
    content['images'][0].update(height=60, width=40)
    file.write_text(json.dumps(content))
    dataset = build(root, groups=['cat'], pipeline=PIPELINE[1:], test_mode=True)
    with pytest.warns(UserWarning, match='polygons are of an image of 60 x 40, it is 40 x 60'):
        assert len(dataset[0]['data_samples']) == 3
