"""Predictions in files against ground truth in files."""

import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image

from mmcoseg.cli import main
from mmcoseg.datasets import InstanceCoSegDataset
from mmcoseg.errors import MMCosegError
from mmcoseg.evaluation import CorLocMetric, InstanceCoSegMetric, evaluate_instances
from mmcoseg.export import GroupRecord, ResultWriter
from mmcoseg.structures import CoSegDataSample

PIPELINE = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='LoadCoSegMask', with_instances=True),
        ],
    ),
    dict(type='PackGroupInputs'),
]
SIZE = 20, 30


def box(left, top, right, bottom):
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


#: Per image the true objects (``*``: a crowd) and predictions with their scores.
CONTENT = {
    'cat/1.jpg': (
        [('cat', (0, 0, 10, 10)), ('cat', (15, 0, 25, 10))],
        [((0, 0, 10, 9), 0.9), ((15, 2, 25, 10), 0.5), ((0, 10, 30, 20), 0.6)],
    ),
    'cat/2.jpg': (
        [('cat', (0, 0, 10, 10)), ('dog', (20, 10, 30, 20)), ('*cat', (10, 10, 20, 20))],
        [((20, 10, 30, 20), 0.8), ((0, 0, 10, 10), 0.7), ((10, 12, 20, 20), 0.95)],
    ),
    'dog/1.png': ([('dog', (3, 3, 23, 13))], []),
    'dog/2.png': ([('dog', (3, 3, 23, 13))], [((3, 3, 23, 13), 0.4), ((3, 3, 23, 12), 0.3)]),
}


def polygon(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


@pytest.fixture
def files(tmp_path):
    """Ground truth as a data set; predictions as `mmcoseg segment` writes them."""
    names = ['cat', 'dog']
    images, annotations, records = [], [], []
    writer = ResultWriter(tmp_path / 'pred', formats=['coco'])
    for number, (file, (objects, predictions)) in enumerate(CONTENT.items()):
        path = tmp_path / 'gt' / 'images' / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', SIZE[::-1], (number, 5, 5)).save(path)
        images.append(dict(id=f'no {number}', file_name=file, height=SIZE[0], width=SIZE[1]))
        for name, corners in objects:
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=f'no {number}',
                    category_id=names.index(name.strip('*')),
                    segmentation=polygon(*corners),
                    iscrowd=int('*' in name),
                )
            )
        group, name = file.split('/')
        sample = CoSegDataSample(
            metainfo=dict(group=group, stem=name[0], img_path=str(path), ori_shape=SIZE)
        )
        masks = np.array([box(*corners) for corners, _ in predictions]).reshape(-1, *SIZE)
        sample.pred_instances = InstanceData(
            masks=torch.from_numpy(masks),
            labels=torch.zeros(len(masks), dtype=torch.int64),
            scores=torch.tensor([score for _, score in predictions]),
        )
        union = sample.pred_instances.masks.any(dim=0)[None].byte()
        sample.pred_sem_seg = PixelData(data=union)
        records.append(writer.write_image(sample, np.zeros((*SIZE, 3), np.uint8)))
    groups = [GroupRecord(n, [r for r in records if r.group == n]) for n in names]
    writer.write_collections(groups)
    categories = [dict(id=i, name=name) for i, name in enumerate(names)]
    document = dict(images=images, annotations=annotations, categories=categories)
    (tmp_path / 'gt' / 'instances.json').write_text(json.dumps(document))
    return tmp_path / 'pred', tmp_path / 'gt'


def test_known_figures(files, capsys, tmp_path):
    pred, gt = files
    report = evaluate_instances(pred, gt)
    # cats: of no account (.95), right, wrong, right, wrong, right at three instances
    # dogs: right, wrong at two
    cat = (1 + 2 / 3 + 3 / 5) / 3
    scores = report.class_scores()
    assert scores['cat']['AP_50'] == pytest.approx(100 * cat)
    assert scores['dog']['AP_50'] == pytest.approx(50)
    assert (scores['cat']['CorLoc'], scores['dog']['CorLoc']) == (50, 50)
    out = tmp_path / 'new' / 'scores.json'
    assert main(['evaluate', 'instances', str(pred), str(gt), '--json', str(out)]) == 0
    assert report.table('instances') in capsys.readouterr().out
    assert json.loads(out.read_text()) == dict(instances=report.to_dict())


def test_images_with_several_instances(files, capsys):
    pred, gt = files
    report = evaluate_instances(pred, gt, min_instances=2)
    assert report.class_scores() == {
        'cat': dict(
            images=1,
            instances=2,
            predictions=3,
            AP_25=pytest.approx(100 * (1 / 2 + 1 / 2 * 2 / 3)),
            AP_50=pytest.approx(100 * (1 / 2 + 1 / 2 * 2 / 3)),
            CorLoc=100,
        )
    }
    assert main(['evaluate', str(pred), str(gt), '--min-instances', '2']) == 0
    assert 'instances of images with 2 or more' in capsys.readouterr().out
    with pytest.raises(MMCosegError, match=r'instances\.json has no image with 3 or more'):
        evaluate_instances(pred, gt, min_instances=3)
    with pytest.raises(MMCosegError, match='min_instances must be a whole number, at least 0'):
        evaluate_instances(pred, gt, min_instances=-1)


def test_files_score_as_runs_do(files):
    pred, gt = files
    dataset = InstanceCoSegDataset(str(gt), pipeline=PIPELINE, test_mode=True)
    metrics = [InstanceCoSegMetric(), CorLocMetric()]
    for item in dataset:
        group = item['data_samples']
        for sample in group:
            (name,) = (n for n in CONTENT if n.startswith(sample.identity))
            predictions = CONTENT[name][1]
            masks = np.array([box(*c) for c, _ in predictions]).reshape(-1, *SIZE)
            scores = torch.tensor([score for _, score in predictions])
            sample.pred_instances = InstanceData(masks=torch.from_numpy(masks), scores=scores)
        for metric in metrics:
            metric.process(None, [group])
    together = {k: v for metric in metrics for k, v in metric.evaluate(2).items()}
    assert evaluate_instances(pred, gt).summary() == pytest.approx(together)


def test_list_of_results(files, tmp_path):
    pred, gt = files
    content = json.loads((pred / 'annotations.json').read_text())
    names = {image['id']: image['file_name'] for image in content['images']}
    numbers = {name: f'no {i}' for i, name in enumerate(CONTENT)}
    results = [
        dict(a, image_id=numbers[names[a['image_id']]], id=None) for a in content['annotations']
    ]
    file = tmp_path / 'results.json'
    file.write_text(json.dumps(results))
    expected = evaluate_instances(pred, gt)
    truth = gt / 'instances.json'
    assert evaluate_instances(file, truth).to_dict() == expected.to_dict()
    file.write_text(json.dumps([dict(results[0], image_id='no 9')]))
    with pytest.raises(ValueError, match="results.json: annotation .0.: there is no image 'no 9'"):
        evaluate_instances(file, truth)


def change(file, edit):
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def test_missing_predictions(files):
    pred, gt = files
    before = evaluate_instances(pred, gt).summary()

    def edit(document):
        gone = document['images'].pop()['id']
        document['annotations'] = [a for a in document['annotations'] if a['image_id'] != gone]

    change(pred / 'annotations.json', edit)
    with pytest.raises(FileNotFoundError, match=r'does not list 1 of 4 images: dog/2\.png; .*empt'):
        evaluate_instances(pred, gt)
    report = evaluate_instances(pred, gt, missing='empty')
    assert report.class_scores()['dog']['AP_50'] == 0 and report.summary() != before
    report = evaluate_instances(pred, gt, groups=['cat'])
    assert list(report.class_scores()) == ['cat']


def test_what_is_wrong_is_named(files, tmp_path):
    pred, gt = files
    with pytest.raises(ValueError, match="missing must be one of .*'error', 'empty'.* got 'no'"):
        evaluate_instances(pred, gt, missing='no')
    with pytest.raises(ValueError, match=r"no group \['cow'\]"):
        evaluate_instances(pred, gt, groups=['cow'])
    with pytest.raises(FileNotFoundError, match='there is no file .*instances.json'):
        evaluate_instances(pred, tmp_path)
    with pytest.raises(FileNotFoundError, match='annotations.json that `mmcoseg segment` writes'):
        evaluate_instances(tmp_path, gt)
    change(pred / 'annotations.json', lambda d: d['annotations'][0].pop('score'))
    with pytest.raises(ValueError, match=r'annotations.json: cat/1.jpg: needs one finite score'):
        evaluate_instances(pred, gt)
    change(gt / 'instances.json', lambda d: d['images'][0].update(height=9))
    with pytest.raises(ValueError, match=r'annotations.json: cat/1.jpg: annotation 1: an RLE is'):
        evaluate_instances(pred, gt)
    change(gt / 'instances.json', lambda d: d['annotations'][0].pop('segmentation'))
    with pytest.raises(ValueError, match=r'cat/1.jpg: annotation 1: there is no segm'):
        evaluate_instances(pred, gt)
    (pred / 'annotations.json').write_text('{')
    with pytest.raises(ValueError, match='annotations.json is not valid json'):
        change(gt / 'instances.json', lambda d: d['annotations'].pop(0))
        evaluate_instances(pred, gt)


SHORT = dict(size=SIZE, counts=[100, 50, 1])


@pytest.mark.parametrize(
    ('side', 'edit', 'message'),
    [
        ('gt', dict(segmentation=SHORT), 'annotation 1: its RLE has 151 of 600 pixels'),
        ('gt', dict(segmentation=SHORT, iscrowd=1), 'annotation 1: its RLE has 151 of 600'),
        ('pred', dict(segmentation=SHORT), 'annotation 1: its RLE has 151 of 600 pixels'),
        ('gt', dict(segmentation=None), 'annotation 1: there is no segmentation'),
        ('gt', dict(image_id='no 77'), "annotation 1: there is no image 'no 77'"),
        ('gt', dict(image_id=None), 'annotation 1 has no image_id'),
        ('gt', dict(category_id=77), 'annotation 1: there is no category 77'),
        ('pred', dict(image_id=77), 'annotation 1: there is no image 77'),
        ('pred', dict(score=None), 'annotation 1: its score is None, not a number'),
        ('pred', dict(score='0.9'), "annotation 1: its score is '0.9', not a number"),
        ('pred', dict(score=10**400), 'annotation 1: its score is 1000'),
    ],
)
def test_one_bad_annotation_is_one_named_error(files, capsys, side, edit, message):
    pred, gt = files
    file = pred / 'annotations.json' if side == 'pred' else gt / 'instances.json'
    change(file, lambda d: d['annotations'][0].update(edit))
    assert main(['evaluate', str(pred), str(gt)]) == 1
    error = capsys.readouterr().err
    assert message in error and str(file) in error and 'Traceback' not in error


@pytest.mark.parametrize('size', [dict(height=None), dict(height='20'), dict(width=-5)])
def test_true_images_have_a_size(files, size):
    pred, gt = files
    change(gt / 'instances.json', lambda d: d['images'][0].update(size))
    with pytest.raises(ValueError, match=r"instances.json: cat/1.jpg: (has no|its) '?(height|wid)"):
        evaluate_instances(pred, gt)


def test_ids_that_are_the_same_numbers_are_the_same(files):
    pred, gt = files
    before = evaluate_instances(pred, gt).summary()

    def edit(document):
        for image in document['images']:
            image['id'] = str(image['id'])

    change(pred / 'annotations.json', edit)
    with pytest.warns(UserWarning, match='annotations.json: image ids are of two kinds'):
        assert evaluate_instances(pred, gt).summary() == before


def test_categories_of_one_name_are_one(files):
    pred, gt = files
    before = evaluate_instances(pred, gt).to_dict()

    def edit(document):
        document['categories'].append(dict(id=99, name='cat'))
        document['annotations'][0]['category_id'] = 99

    change(gt / 'instances.json', edit)
    with pytest.warns(UserWarning, match="categories 0 and 99 are called 'cat'"):
        assert evaluate_instances(pred, gt).to_dict() == before


def add_twin(file, name):
    """The images of a file, and one that differs from the first in its suffix."""

    def edit(document):
        first = document['images'][0]
        document['images'].append(dict(first, id=99, file_name=name))

    change(file, edit)


def test_images_are_matched_by_their_whole_name_first(files):
    pred, gt = files
    before = evaluate_instances(pred, gt).summary()
    add_twin(pred / 'annotations.json', 'cat/1.png')
    with pytest.warns(UserWarning, match='cat/1.png only differs in its suffix from cat/1.jpg'):
        assert evaluate_instances(pred, gt).summary() == before
    # Of other suffixes there may only be one.
    change(pred / 'annotations.json', lambda d: d['images'].pop())
    change(pred / 'annotations.json', lambda d: d['images'][0].update(file_name='cat/1.webp'))
    assert evaluate_instances(pred, gt).summary() == before
    add_twin(pred / 'annotations.json', 'cat/1.png')
    with pytest.raises(ValueError, match=r'cat/1.webp and cat/1.png could both be cat/1.jpg'):
        evaluate_instances(pred, gt)
    change(pred / 'annotations.json', lambda d: d['images'][-1].update(file_name='cat/1.webp'))
    with pytest.raises(ValueError, match='lists cat/1.webp twice'):
        evaluate_instances(pred, gt)


def test_true_images_of_one_stem_are_named(files):
    pred, gt = files
    add_twin(gt / 'instances.json', 'cat/1.png')
    with pytest.raises(ValueError, match=r"two images are called 'cat/1': cat/1.jpg and cat/1.png"):
        evaluate_instances(pred, gt)


def test_true_images_stand_there_once(files):
    pred, gt = files
    add_twin(gt / 'instances.json', 'cat/1.jpg')
    with pytest.raises(ValueError, match='instances.json lists cat/1.jpg twice; remove one'):
        evaluate_instances(pred, gt)


def test_polygons_of_images_of_another_size_are_refused(files):
    pred, gt = files
    shape = dict(segmentation=polygon(0, 0, 10, 9))
    change(pred / 'annotations.json', lambda d: d['annotations'][0].update(shape))
    evaluate_instances(pred, gt)
    change(pred / 'annotations.json', lambda d: d['images'][0].update(height=40, width=60))
    with pytest.raises(ValueError, match='its polygons are of an image of 40 x 60, it is 20 x 30'):
        evaluate_instances(pred, gt)


def test_boxes_without_a_mask_are_told(files):
    pred, gt = files
    change(gt / 'instances.json', lambda d: d['annotations'][1].update(segmentation=[]))
    with pytest.warns(UserWarning, match='1 of 7 annotations, the first is annotation 2, have an'):
        evaluate_instances(pred, gt)


def test_command(files, capsys, tmp_path):
    pred, gt = map(str, files)
    assert main(['evaluate', pred, gt]) == 0
    assert 'AP_25' in capsys.readouterr().out
    assert main(['evaluate', pred, f'{gt}/instances.json', '--json', '-']) == 0
    content = json.loads(capsys.readouterr().out)['instances']
    assert content['summary']['CorLoc'] == 50 and content['matching'] == 'greedy'
    out = str(tmp_path / 'scores.json')
    assert main(['evaluate', pred, gt, '--groups', 'dog', '--json', out, '--matching', 'voc']) == 0
    assert main(['evaluate', str(tmp_path), gt]) == 1
    assert 'mmcoseg segment` writes' in capsys.readouterr().err
