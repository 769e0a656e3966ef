import gzip
import json
import re
import warnings

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image

from mmcoseg.cli import main
from mmcoseg.datasets import COCOVOCDataset, InstanceCoSegDataset, group_collate
from mmcoseg.datasets.checks import check_data, format_report
from mmcoseg.datasets.instances import PublishedCounts
from mmcoseg.evaluation import CorLocMetric, InstanceCoSegMetric
from mmcoseg.structures.rle import as_rle, decode_rles, encode_masks

TEST = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='LoadCoSegMask', with_instances=True),
        ],
    ),
    dict(type='PackGroupInputs'),
]
SIZE = 20, 30
KEY = 'data_samples'


def masks_of(*boxes):
    masks = np.zeros((len(boxes), *SIZE), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes):
        mask[top:bottom, left:right] = True
    return masks


#: By file: category and instances; an image without any; a crowd.
CONTENT = {
    'cat/b.jpg': [('cat', (1, 1, 10, 9)), ('cat', (12, 3, 20, 19))],
    'cat/a.jpg': [('cat', (5, 5, 9, 9)), ('dog', (20, 0, 30, 10))],
    'cat/c.png': [],
    'dog/a.jpg': [('dog', (0, 0, 15, 20)), ('dog crowd', (10, 0, 30, 20))],
}


def write_set(root, content=CONTENT):
    names = ['dog', 'cat']
    images, annotations = [], []
    for file, objects in content.items():
        path = root / 'images' / file
        path.parent.mkdir(parents=True, exist_ok=True)
        color = (len(images) * 40, 10, 200)
        Image.new('RGB', SIZE[::-1], color).save(path)
        images.append(dict(id=len(images), file_name=file, height=SIZE[0], width=SIZE[1]))
        for name, box in objects:
            (rle,) = encode_masks(masks_of(box))
            category, _, crowd = name.partition(' ')
            annotations.append(
                dict(
                    id=len(annotations),
                    image_id=images[-1]['id'],
                    category_id=3 + names.index(category),
                    segmentation=dict(size=list(SIZE), counts=rle['counts'].decode()),
                    iscrowd=int(bool(crowd)),
                )
            )
    categories = [dict(id=4, name='cat'), dict(id=3, name='dog')]
    document = dict(images=images, annotations=annotations, categories=categories)
    (root / 'instances.json').write_text(json.dumps(document))
    return document


@pytest.fixture
def root(tmp_path):
    write_set(tmp_path)
    return tmp_path


def change(root, edit):
    document = json.loads((root / 'instances.json').read_text())
    edit(document)
    (root / 'instances.json').write_text(json.dumps(document))


def test_groups_with_their_instances_at_original_size(root):
    dataset = InstanceCoSegDataset(str(root), pipeline=TEST, test_mode=True)
    assert dataset.metainfo['classes'] == ('dog', 'cat')  # by their ids
    cat, dog = (item['data_samples'] for item in dataset)
    assert (cat.group, cat.category, cat.label_ids) == ('cat', 'cat', (1,))
    assert [sample.identity for sample in cat] == ['cat/a', 'cat/b', 'cat/c']
    first, second, third = cat
    # Only what is common to the group.
    np.testing.assert_array_equal(first.gt_instances.masks, masks_of((5, 5, 9, 9)))
    expected = masks_of((1, 1, 10, 9), (12, 3, 20, 19))
    np.testing.assert_array_equal(second.gt_instances.masks, expected)
    assert second.gt_instances.labels.tolist() == [1, 1]
    np.testing.assert_array_equal(second.gt_sem_seg.data[0] == 1, expected.any(axis=0))
    assert third.gt_instances.masks.shape == (0, *SIZE) and not third.gt_sem_seg.data.any()
    assert second.img_shape == (16, 16) and second.ori_shape == SIZE
    # A crowd is no instance, and void where none is.
    (sample,) = dog
    assert sample.gt_instances.masks.shape == (1, *SIZE)
    assert (sample.gt_sem_seg.data[0, :, 15:] == 255).all()
    assert (sample.gt_sem_seg.data[0, :, :15] == 1).all()


def test_records_tell_what_is_in_an_image(root):
    change(root, lambda d: d['images'][0].update(proposals_file='../mcg/b.mat'))
    dataset = InstanceCoSegDataset(str(root))
    first, second, third = dataset.get_data_info(0)['images']
    assert first['label_ids'] == (0, 1) and third['label_ids'] == ()
    assert second['proposals_path'] == str(root / '../mcg/b.mat') and 'saliency_path' not in second
    assert [i['crowd'] for i in dataset.get_data_info(1)['images'][0]['instances']] == [0, 1]


def test_training_takes_instances_through_the_transforms(root):
    pipeline = [
        dict(type='SampleGroup', num_images=2),
        dict(
            type='ForEachImage',
            transforms=[
                dict(type='LoadCoSegImage'),
                dict(type='LoadCoSegMask', with_instances=True),
                dict(type='Resize', scale=(60, 40), keep_ratio=False),
                dict(type='RandomFlip', prob=1.0),
            ],
        ),
        dict(type='PackGroupInputs'),
    ]
    dataset = InstanceCoSegDataset(str(root), groups=['cat'], pipeline=pipeline)
    batch = group_collate([dataset[0]])
    for sample in batch['data_samples'][0]:
        union = sample.gt_instances.masks.any(dim=0)
        assert torch.equal(union, sample.gt_sem_seg.data[0] == 1) and union.shape == (40, 60)


def test_other_names_of_groups_and_other_numbers_of_classes(root):
    for image in ('a.jpg', 'b.jpg'):
        path = root / 'images' / 'mixed' / image
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((root / 'images' / 'cat' / image).read_bytes())

    def edit(document):
        for image in document['images'][:2]:
            image['file_name'] = image['file_name'].replace('cat/', 'mixed/')

    change(root, edit)
    dataset = InstanceCoSegDataset(str(root), groups=['mixed'], pipeline=TEST, test_mode=True)
    group = dataset[0]['data_samples']
    assert group.category == 'mixed' and group.label_ids == (0, 1)
    assert len(group[0].gt_instances.masks) == 2
    names = dict(classes=('horse', 'cat', 'dog'))
    numbered = InstanceCoSegDataset(str(root), metainfo=names, pipeline=TEST, test_mode=True)
    assert numbered[1]['data_samples'].label_ids == (2,)  # dog
    assert numbered[1]['data_samples'][0].gt_instances.labels.tolist() == [2]


@pytest.mark.parametrize(
    'edit, message',
    [
        (lambda d: d.pop('categories'), 'has no .*categories'),
        (lambda d: d['images'][0].update(file_name='b.jpg'), 'must be <group>/<file>'),
        (lambda d: d['images'][0].update(file_name='../b.jpg'), 'must be <group>/<file>'),
        (lambda d: d['images'][0].update(file_name='cat/x.jpg'), "lacks 1 of .*'x.jpg'"),
        (lambda d: d['images'][0].update(file_name='cat/c.jpg'), 'have the same name'),
        (lambda d: d['annotations'][1].update(category_id=9), 'annotation 1: .* no category 9'),
        (lambda d: d['annotations'][1].pop('image_id'), 'annotation 1 has no image_id'),
        (lambda d: d['images'].pop(), 'annotation 4: there is no image 3; correct or remove'),
    ],
)
def test_what_is_wrong_is_named(root, edit, message):
    change(root, edit)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        InstanceCoSegDataset(str(root))


def test_masks_of_another_size_are_named(root):
    change(root, lambda d: d['annotations'][0]['segmentation'].update(size=[30, 20]))
    dataset = InstanceCoSegDataset(str(root), pipeline=TEST, test_mode=True)
    with pytest.warns(
        UserWarning, match=r'of .*b\.jpg: annotation 0: an RLE is of the size .30, 20.'
    ):
        assert len(dataset[0]['data_samples']) == 2


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        (dict(size=SIZE, counts=[100, 50, 1]), 'its RLE has 151 of 600 pixels'),
        (dict(size=SIZE, counts=[100, 50, 600]), 'its RLE has 750 of 600 pixels'),
        (dict(size=SIZE, counts=[100, -50, 550]), 'a negative run'),
        (dict(size=SIZE, counts=None), 'are None'),
        (dict(size=SIZE, counts="b'PP'"), 'text of a Python object'),
        (dict(size=SIZE), 'polygons or an RLE with size and counts'),
        (None, 'there is no segmentation'),
        ([5, 5, 9, 9, 5, 9], 'polygons cannot be read'),
    ],
)
def test_one_bad_mask_costs_one_image_and_is_named(root, shape, message, capsys):
    change(root, lambda d: d['annotations'][0].update(segmentation=shape))
    dataset = InstanceCoSegDataset(str(root), pipeline=TEST, test_mode=True)
    with pytest.warns(UserWarning, match=f'left out: .*b.jpg: annotation 0: .*{message}') as said:
        assert [sample.stem for sample in dataset[0]['data_samples']] == ['a', 'c']
        assert [sample.stem for sample in dataset[0]['data_samples']] == ['a', 'c']
    assert len([w for w in said if 'left out' in str(w.message)]) == 1
    assert len(dataset[1]['data_samples']) == 1
    assert main(['check-data', str(root)]) == 1
    assert re.search(f'error: .*annotation 0: .*{message}', capsys.readouterr().out)


def test_ids_that_are_the_same_numbers_are_the_same(root):
    masks = [s.gt_sem_seg.data for s in InstanceCoSegDataset(str(root), pipeline=TEST)[0][KEY]]

    def edit(document):
        for image in document['images']:
            image['id'] = str(image['id'])
        for annotation in document['annotations']:
            annotation['category_id'] = f'{annotation["category_id"]:04}'

    change(root, edit)
    with pytest.warns(UserWarning, match='ids are of two kinds') as said:
        dataset = InstanceCoSegDataset(str(root), pipeline=TEST)
    assert [str(w.message).partition('json: ')[2].split()[0] for w in said] == ['image', 'category']
    for sample, mask in zip(dataset[0][KEY], masks):
        assert torch.equal(sample.gt_sem_seg.data, mask)
    report = check_data(root, progress=False)
    assert not report.errors
    assert sum('of two kinds' in problem.message for problem in report.problems) == 2


def test_categories_of_one_name_are_one(root):
    def edit(document):
        document['categories'].insert(0, dict(id=99, name='cat'))
        document['annotations'][0]['category_id'] = 99

    before = InstanceCoSegDataset(str(root), pipeline=TEST)[0][KEY]
    change(root, edit)
    with pytest.warns(UserWarning, match="categories 99 and 4 are called 'cat', and taken as one"):
        dataset = InstanceCoSegDataset(str(root), pipeline=TEST)
    assert dataset.metainfo['classes'] == ('dog', 'cat')
    for sample, old in zip(dataset[0][KEY], before):
        assert torch.equal(sample.gt_instances.masks, old.gt_instances.masks)
    messages = [problem.message for problem in check_data(root, progress=False).problems]
    assert sum("called 'cat'" in message for message in messages) == 1


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_a_mark_of_byte_order_does_no_harm(root, encoding):
    file = root / 'instances.json'
    file.write_text(file.read_text(), encoding=encoding)
    assert len(InstanceCoSegDataset(str(root))) == 2
    assert not check_data(root, progress=False).errors


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tif', 'tiff'])
def test_images_of_every_orientation_have_their_upright_size(tmp_path, suffix):
    write_set(tmp_path, {f'cat/{n}.{suffix}': [('cat', (1, 1, 9, 9))] for n in range(1, 9)})
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        lying = SIZE if orientation >= 5 else SIZE[::-1]
        color = (10, orientation * 20, 0)
        path = tmp_path / 'images' / 'cat' / f'{orientation}.{suffix}'
        Image.new('RGB', lying, color).save(path, exif=exif)
    report = check_data(tmp_path, progress=False)
    assert not report.errors
    facts = report.groups['cat']
    assert (facts.heights, facts.widths) == ((20, 20), (30, 30))
    change(tmp_path, lambda d: d['images'][5].update(height=30, width=20))
    messages = [problem.message for problem in check_data(tmp_path, progress=False).errors]
    assert any('is (20, 30) (height, width)' in message for message in messages)


def test_published_sets_compare_their_size(root, monkeypatch):
    with pytest.warns(UserWarning, match='has 2 classes, 4 images and 5 instances, COCOVOCDataset'):
        COCOVOCDataset(str(root))
    monkeypatch.setattr(COCOVOCDataset, 'PUBLISHED', PublishedCounts(2, 4, 5))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        COCOVOCDataset(str(root))
    with pytest.raises(FileNotFoundError, match='dataset_converters/coco_voc.py DOWNLOAD'):
        COCOVOCDataset(str(root / 'nowhere'))


def test_check_data_reports_instances(root, capsys):
    report = check_data(root, progress=False)
    facts = report.groups['cat']
    assert (facts.images, facts.masks, facts.instances, facts.without_object) == (3, 3, 4, 1)
    assert not report.errors
    assert [p.message for p in report.problems if 'no instance' in p.message]
    assert 'instances' in format_report(report) and '5 instances' in format_report(report)
    assert main(['check-data', str(root)]) == 0


@pytest.mark.parametrize(
    'edit, severity, message',
    [
        (lambda d: d.pop('images'), 'error', 'cannot be used: .*images'),
        (lambda d: d['images'][0].update(file_name='b.jpg'), 'error', 'must be <group>/<file>'),
        (lambda d: d['images'][0].update(file_name='cat/x.jpg'), 'error', 'is missing, but in'),
        (lambda d: d['images'][0].update(id=1), 'error', 'stands there twice'),
        (lambda d: d['images'][0].update(height=31), 'error', r'is \(20, 30\) .*\(31, 30\)'),
        (lambda d: d['images'][0].pop('width'), 'error', 'image 0: its width is None'),
        (lambda d: d['images'].pop(), 'error', 'annotation 4: there is no image 3'),
        (lambda d: d['annotations'][0].update(category_id=9), 'error', 'no category 9'),
        (
            lambda d: d['annotations'][0]['segmentation'].update(size=[2, 2]),
            'error',
            'annotation 0: an RLE is of the size',
        ),
        (lambda d: d['annotations'][0].update(segmentation=[]), 'warning', '0 has no pixel'),
        (
            lambda d: d['annotations'][0].update(segmentation=[[1, 1, 9, 9], [1, 1, 9, 1, 9, 9]]),
            'warning',
            'annotation 0: 1 of its 2 polygons have no area and count for nothing',
        ),
        (lambda d: d['annotations'][0].update(area='400'), 'error', "0: its area is '400', not"),
        (lambda d: d['annotations'][0].update(iscrowd='0'), 'error', "0: its iscrowd is '0'"),
        (lambda d: d['annotations'][0].update(image_id=None), 'error', '0 has no image_id'),
        (lambda d: d['annotations'][0].update(image_id=[0]), 'error', r'there is no image \[0\]'),
        (lambda d: d['annotations'][0].update(image_id=True), 'error', 'there is no image True'),
        (lambda d: d['annotations'][0].pop('id'), None, None),
        (lambda d: d['annotations'].append(None), 'error', r'annotations\[6\] is null'),
        (lambda d: d.update(annotations={}), 'error', 'annotations is an object, not a list'),
        (lambda d: d['images'][0].update(height='20'), 'error', "its height is '20', not a pos"),
        (lambda d: d['images'][0].update(height=None), 'error', 'image 0: its height is None'),
        (lambda d: d['images'][0].update(height=20.5), 'error', 'its height is 20.5'),
        (lambda d: d['images'][0].update(height=0), 'error', 'its height is 0'),
        (lambda d: d['images'][0].update(height=20.0), None, None),
        (lambda d: d['images'][0].pop('file_name'), 'error', 'image 0: no file can have'),
        (lambda d: d['images'][0].update(file_name=5), 'error', 'image 0: no file can have'),
        (lambda d: d['images'][0].pop('id'), 'error', r'images\[0\] has no id that is'),
        (lambda d: d['images'][0].update(id=float('nan')), 'error', r'images\[0\] has no id'),
        (lambda d: d['categories'][0].pop('name'), 'error', 'category 4 has no name'),
        (lambda d: d['categories'][0].update(name=7), 'error', 'category 4 has no name'),
        (lambda d: d['categories'][0].pop('id'), 'error', r'categories\[0\] has no id'),
        (lambda d: d['categories'][0].update(id=3), 'error', "category 3 is called 'cat' and"),
        (lambda d: d['categories'].append('cat'), 'error', r'categories\[2\] is text'),
        (lambda d: d['annotations'][0].update(segmentation=['x']), 'error', 'annotation 0: pol'),
        (lambda d: d['annotations'][0].update(id=1), 'warning', '2 annotations have the id 1'),
        (
            lambda d: d['annotations'].append(dict(d['annotations'][0], id=9)),
            'warning',
            'same instance twice',
        ),
        (lambda d: d['images'].pop(2), 'warning', 'is not in instances.json and not used'),
        (
            lambda d: d['images'][0].update(file_name='cat/\ud800.jpg'),
            'error',
            r"image 0: no file can have the file_name 'cat/\\ud800.jpg'",
        ),
        (lambda d: d['images'][0].update(file_name='cat/\0.jpg'), 'error', 'no file can have'),
        (
            lambda d: d['images'][0].update(file_name=f'cat/{"a" * 300}.jpg'),
            'error',
            'is missing, but in',
        ),
        (
            lambda d: d['annotations'][0].update(segmentation=[]),
            'warning',
            '1 of 6 annotations, the first is annotation 0, have an empty segmentation',
        ),
    ],
)
def test_check_data_finds_what_is_wrong(root, edit, severity, message):
    change(root, edit)
    problems = check_data(root, progress=False).problems
    found = [p for p in problems if p.severity == severity]
    if message is None:
        known = ('has no instance', 'has one image')
        assert all(any(text in problem.message for text in known) for problem in problems)
        return
    assert any(re.search(message, problem.message) for problem in found), found


def test_check_data_collects_everything(root):
    def edit(document):
        document['images'][0]['width'] = '30'
        document['annotations'][2].update(segmentation=dict(size=SIZE, counts=[5]))
        document['annotations'][3].update(image_id='x')
        document['annotations'][4].update(category_id=[1])
        document['categories'].append(dict(id=8))

    change(root, edit)
    messages = ' | '.join(p.message for p in check_data(root, progress=False).errors)
    for expected in (
        "image 0: its width is '30'",
        'annotation 2: its RLE has 5 of 600 pixels',
        "annotation 3: there is no image 'x'",
        'annotation 4: there is no category [1]',
        'category 8 has no name',
    ):
        assert expected in messages


@pytest.mark.parametrize(
    'edit, cause',
    [
        (lambda d: d['images'][0].pop('file_name'), 'image 0: no file can have'),
        (lambda d: d['images'][0].update(file_name='cat/\0.jpg'), 'image 0: no file can have'),
        (lambda d: d['categories'][0].pop('name'), 'category 4 has no name'),
    ],
)
def test_what_follows_from_an_error_is_no_error(root, edit, cause):
    change(root, edit)
    (error,) = check_data(root, progress=False).errors
    assert cause in error.message


def test_polygons_of_images_of_another_size_are_refused(root):
    polygon = dict(segmentation=[[1, 1, 9, 1, 9, 9]])
    change(root, lambda d: d['annotations'][0].update(polygon))
    dataset = InstanceCoSegDataset(str(root), pipeline=TEST)
    images = len(dataset[0]['data_samples'])
    change(root, lambda d: d['images'][0].update(height=SIZE[1], width=SIZE[0]))
    dataset = InstanceCoSegDataset(str(root), pipeline=TEST)
    with pytest.warns(UserWarning, match='polygons are of an image of 30 x 20, it is 20 x 30'):
        assert len(dataset[0]['data_samples']) == images - 1


@pytest.mark.parametrize(
    'content', [b'', b'{"images": [', gzip.compress(b'{}')], ids=['empty', 'cut off', 'gzip']
)
def test_a_file_that_is_no_json_is_named(root, content):
    (root / 'instances.json').write_bytes(content)
    with pytest.raises(ValueError, match=r'instances.json is (not valid json|compressed)'):
        InstanceCoSegDataset(str(root))


def test_forms_of_segmentations():
    mask = masks_of((2, 3, 9, 12))
    (rle,) = encode_masks(mask)
    forms = [
        rle,
        dict(rle, counts=rle['counts'].decode()),
        dict(size=list(SIZE), counts=[43, *[9, 11] * 6, 9, 600 - 43 - 6 * 20 - 9]),
        [[2, 3, 9, 3, 9, 12, 2, 12]],
    ]
    for form in forms:
        np.testing.assert_array_equal(decode_rles([as_rle(form, *SIZE)], *SIZE), mask)
    assert encode_masks(mask[:0]) == [] and decode_rles([], *SIZE).shape == (0, *SIZE)
    for wrong in ('x', dict(counts=[1]), 5):
        with pytest.raises(ValueError, match='polygons or an RLE'):
            as_rle(wrong, *SIZE)


def test_real_photographs_score_themselves_fully(coseg_data):
    root = coseg_data / 'voc_instances'
    dataset = InstanceCoSegDataset(
        str(root), groups=['bicycle', 'bottle'], pipeline=TEST, test_mode=True
    )
    metrics = [InstanceCoSegMetric(), CorLocMetric()]
    count = 0
    for item in dataset:
        for sample in item['data_samples']:
            assert sample.gt_instances.masks.shape[1:] == sample.ori_shape
            count += len(sample.gt_instances.masks)
            truth = sample.gt_instances
            sample.pred_instances = InstanceData(
                masks=truth.masks, scores=torch.rand(len(truth.masks))
            )
        for metric in metrics:
            metric.process(None, [item['data_samples']])
    assert count == 73
    for metric in metrics:
        assert set(metric.evaluate(2).values()) == {100.0}
