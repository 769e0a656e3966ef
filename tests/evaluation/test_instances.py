"""AP and CorLoc of instances: against literal definitions, pycocotools, and by hand."""

import json
import socket

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData, PixelData
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmcoseg.evaluation import (
    CorLocMetric,
    ImageMatches,
    InstanceCoSegMetric,
    InstanceReport,
    average_precision,
    instance_overlaps,
    match_instances,
)
from mmcoseg.structures import CoSegDataSample, GroupDataSample
from mmcoseg.structures.rle import encode_masks

SIZE = 24, 32
CLASSES = {'cat': 5, 'dog': 4, 'emu': 2}


def make_image(group, stem, rng, crowd=False):
    """Disjoint instances, predictions close to them, beside them and twice; round scores."""
    gts = np.zeros((int(rng.integers(1, 4)), *SIZE), bool)
    for number, mask in enumerate(gts):
        left = 10 * number
        mask[rng.integers(1, 5) : rng.integers(8, 14), left : left + rng.integers(4, 9)] = True
    preds = []
    for mask in gts:
        for _ in range(int(rng.integers(0, 3))):
            shift = rng.integers(-2, 3), rng.integers(-1, 2)
            preds.append(np.roll(mask, shift, (0, 1)))
    noise = np.zeros((2, *SIZE), bool)
    noise[0, 15:20, 3:25] = noise[1, 16:22, 5:20] = True
    preds = np.array([gts.any(axis=0), *preds, *noise])  # the first: two objects as one
    sample = CoSegDataSample(metainfo=dict(group=group, stem=stem, img_path=f'{group}/{stem}'))
    labels = gts.any(axis=0).astype(np.int64)
    if crowd:
        labels[15:18] = 255
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels[None]))
    sample.gt_instances = InstanceData(
        masks=torch.from_numpy(gts), labels=torch.zeros(len(gts), dtype=torch.int64)
    )
    scores = rng.permutation(1000)[: len(preds)] / 1000 + rng.random(len(preds)) / 1e5
    sample.pred_instances = InstanceData(
        masks=torch.from_numpy(preds),
        labels=torch.zeros(len(preds), dtype=torch.int64),
        scores=torch.from_numpy(scores.astype(np.float32)),
    )
    return sample


def make_groups(seed=0, crowd=False):
    rng = np.random.default_rng(seed)
    return [
        GroupDataSample(
            [make_image(name, f'{i:03d}', rng, crowd) for i in range(count)],
            metainfo=dict(group=name, category=name, label_ids=(0,)),
        )
        for name, count in CLASSES.items()
    ]


def evaluate(groups, metrics=None, batch_size=1):
    evaluator = Evaluator(metrics or [InstanceCoSegMetric(), CorLocMetric()])
    for start in range(0, len(groups), batch_size):
        evaluator.process(data_samples=groups[start : start + batch_size])
    return evaluator.evaluate(len(groups))


def iou(a, b):
    union = (a | b).sum()
    return (a & b).sum() / union if union else 0.0


def literal_ap(group, threshold, matching='greedy'):
    """VOC's AP of a class with loops, over bitmaps; void pixels are cut out."""
    detections, truths, total = [], {}, 0
    for number, sample in enumerate(group):
        void = sample.gt_sem_seg.data[0].numpy() == 255
        truths[number] = [[mask.numpy(), False] for mask in sample.gt_instances.masks]
        total += len(truths[number])
        for mask, score in zip(sample.pred_instances.masks, sample.pred_instances.scores):
            detections.append((float(score), number, mask.numpy(), void))
    detections.sort(key=lambda d: -d[0])
    right, wrong, curve = 0, 0, []
    for _, number, mask, void in detections:
        candidates = [
            (iou(mask & ~void, entry[0]), entry)
            for entry in truths[number]
            if matching == 'voc' or not entry[1]
        ]
        best, entry = max(candidates, key=lambda c: c[0], default=(0, None))
        if best >= threshold and not entry[1]:
            entry[1] = True
            right += 1
        elif best < threshold and (mask & void).sum() >= threshold * mask.sum():
            continue
        else:
            wrong += 1
        curve.append((right / total, right / (right + wrong)))
    area, before = 0.0, 0.0
    for recall, _ in curve:
        if recall > before:
            highest = max(p for r, p in curve if r >= recall)
            area += (recall - before) * highest
            before = recall
    return area


@pytest.mark.parametrize('crowd', [False, True])
@pytest.mark.parametrize('matching', ['greedy', 'voc'])
def test_map_is_that_of_the_literal_definition(matching, crowd):
    groups = make_groups(3, crowd)
    metrics = evaluate(groups, [InstanceCoSegMetric((0.25, 0.5, 0.75), matching)])
    for threshold in (0.25, 0.5, 0.75):
        expected = [literal_ap(group, threshold, matching) for group in groups]
        assert 0.02 < np.mean(expected) < 0.98
        assert metrics[f'mAP_{int(100 * threshold)}'] == pytest.approx(100 * np.mean(expected))


def coco_ap(group, threshold):
    """pycocotools with the recalls of all points of the curve instead of 101."""
    images, annotations, results = [], [], []
    for number, sample in enumerate(group, 1):
        images.append(dict(id=number, height=SIZE[0], width=SIZE[1]))
        for rle in encode_masks(sample.gt_instances.masks.numpy()):
            annotations.append(dict(segmentation=rle, iscrowd=0, area=1, image_id=number))
        void = sample.gt_sem_seg.data[0].numpy() == 255
        if void.any():
            (rle,) = encode_masks(void[None])
            annotations.append(dict(segmentation=rle, iscrowd=1, area=1, image_id=number))
        predictions = sample.pred_instances
        for rle, score in zip(encode_masks(predictions.masks.numpy()), predictions.scores):
            results.append(
                dict(segmentation=rle, image_id=number, category_id=1, score=float(score))
            )
    for i, annotation in enumerate(annotations, 1):
        annotation.update(id=i, category_id=1)
    truth = COCO()
    truth.dataset = dict(images=images, annotations=annotations, categories=[dict(id=1)])
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(results), 'segm')
    total = sum(not a['iscrowd'] for a in annotations)
    evaluation.params.iouThrs = np.array([threshold])
    evaluation.params.recThrs = np.arange(1, total + 1) / total - 1e-9
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e9]], ['all']
    evaluation.params.maxDets = [100]
    evaluation.evaluate()
    evaluation.accumulate()
    return float(evaluation.eval['precision'].mean())


def test_ap_is_that_of_pycocotools_at_all_recalls(capsys):
    groups = make_groups(4)
    for threshold in (0.25, 0.5, 0.75):
        metrics = evaluate(groups, [InstanceCoSegMetric([threshold])])
        expected = [coco_ap(group, threshold) for group in groups]
        assert metrics[f'mAP_{int(100 * threshold)}'] == pytest.approx(100 * np.mean(expected))


def test_crowds_as_in_pycocotools_where_predictions_lie_in_them_or_off(capsys):
    groups = make_groups(5, crowd=True)
    for group in groups:
        for sample in group:  # what straddles the crowd's border is what the two see differently
            masks = sample.pred_instances.masks
            void = sample.gt_sem_seg.data[0] == 255
            mostly = (masks & void).sum((1, 2)) * 2 >= masks.sum((1, 2))
            masks[mostly] &= void
            masks[~mostly] &= ~void
    expected = [coco_ap(group, 0.5) for group in groups]
    plain = evaluate(make_groups(5), [InstanceCoSegMetric([0.5])])['mAP_50']
    value = evaluate(groups, [InstanceCoSegMetric([0.5])])['mAP_50']
    assert value == pytest.approx(100 * np.mean(expected)) and value != pytest.approx(plain)


def test_corloc_by_hand():
    groups = make_groups(6)
    hits = []
    for group in groups:
        row = []
        for sample in group:
            best = sample.pred_instances.masks[sample.pred_instances.scores.argmax()].numpy()
            row.append(any(iou(best, gt.numpy()) >= 0.5 for gt in sample.gt_instances.masks))
        hits.append(row)
    metrics = evaluate(groups, [CorLocMetric()])
    assert metrics['CorLoc'] == pytest.approx(100 * np.mean([np.mean(row) for row in hits]))
    assert metrics['CorLoc_image'] == pytest.approx(100 * np.mean(sum(hits, [])))
    assert 0 < metrics['CorLoc'] < 100


def masks_of(*boxes):
    masks = np.zeros((len(boxes), *SIZE), bool)
    for mask, (top, left, bottom, right) in zip(masks, boxes):
        mask[top:bottom, left:right] = True
    return masks


def test_overlaps_with_void():
    gts = masks_of((0, 0, 10, 10))
    preds = masks_of((0, 0, 10, 20), (20, 0, 24, 5), (0, 5, 10, 10))
    void = np.zeros(SIZE, bool)
    void[:, 8:] = True  # also over the instance, whose pixels are never void
    void[20:] = True
    ious, shares = instance_overlaps(preds, gts, void)
    np.testing.assert_allclose(ious[:, 0], [1, 0, 0.5])
    np.testing.assert_allclose(shares, [0.5, 1, 0])
    rles = instance_overlaps(encode_masks(preds), encode_masks(gts), void)
    np.testing.assert_array_equal(rles[0], ious)
    np.testing.assert_array_equal(rles[1], shares)
    assert instance_overlaps(preds[:0], gts)[0].shape == (0, 1)
    assert instance_overlaps(preds, gts[:0], void)[0].shape == (3, 0)
    assert instance_overlaps(np.zeros((1, *SIZE)), gts, void)[0] == 0
    with pytest.raises(ValueError, match='one size, got'):
        instance_overlaps(preds, gts[:, 1:])


def test_duplicates_and_matching():
    duplicate = np.array([[0.9, 0.0], [0.8, 0.6], [0.7, 0.0]])
    assert match_instances(duplicate, np.zeros(3), 0.5).tolist() == [1, 1, 0]
    assert match_instances(duplicate, np.zeros(3), 0.5, 'voc').tolist() == [1, 0, 0]
    assert match_instances(np.full((2, 1), 0.5), np.ones(2), 0.5).tolist() == [1, -1]
    assert match_instances(np.zeros((2, 0)), np.array([0.4, 0.5]), 0.5).tolist() == [0, -1]
    with pytest.raises(ValueError, match="matching must be one of .*'best'"):
        match_instances(duplicate, np.zeros(3), 0.5, 'best')


def test_average_precision_of_known_curves():
    scores = np.array([0.1, 0.9, 0.5, 0.5])
    # ranked: right, wrong, right, of no account
    assert average_precision(scores, np.array([-1, 1, 0, 1]), 4) == pytest.approx((1 + 2 / 3) / 4)
    assert average_precision(scores[:0], np.array([]), 4) == 0
    assert np.isnan(average_precision(scores, np.zeros(4), 0))


def test_images_without_predictions_and_without_instances():
    groups = make_groups(7)
    before = evaluate(groups)
    empty = groups[0][1]
    empty.pred_instances = InstanceData(
        masks=torch.zeros(0, *SIZE, dtype=torch.bool), scores=torch.zeros(0)
    )
    assert evaluate(groups)['mAP_25'] < before['mAP_25']
    # An image without the object costs precision, and CorLoc nothing.
    corloc = evaluate(groups)['CorLoc']
    foreign = groups[1][0]
    foreign.gt_instances = InstanceData(
        masks=torch.zeros(0, *SIZE, dtype=torch.bool), labels=torch.zeros(0).long()
    )
    report = InstanceReport()
    metric = InstanceCoSegMetric()
    matches = metric.score_image(foreign, groups[1])
    report.add('dog', '000', matches)
    assert np.isnan(report.summary()['CorLoc']) and np.isnan(report.summary()['mAP_50'])
    assert report.to_dict()['summary']['mAP_50'] is None
    assert '-' in report.table() and evaluate(groups)['CorLoc'] >= 0 and corloc >= 0


def test_groups_of_one_category_are_ranked_together():
    groups = make_groups(8)[:2]
    together = GroupDataSample([*groups[0], *groups[1]], metainfo=dict(group='all'))
    for group in groups:
        group.set_metainfo(dict(category='animal'))
    assert evaluate(groups)['mAP_50'] == pytest.approx(evaluate([together])['mAP_50'])


@pytest.mark.parametrize('batch_size', [2, 3])
def test_batches_and_copies_change_nothing(batch_size):
    groups = make_groups(9)
    expected = evaluate(groups)
    assert evaluate(groups, batch_size=batch_size) == expected
    assert evaluate([groups[1], *groups, groups[0]]) == expected
    as_dicts = [
        dict(group=g.group, category=g.category, samples=[s.to_dict() for s in g]) for g in groups
    ]
    metric = InstanceCoSegMetric()
    metric.process(None, as_dicts)
    assert len(metric.results) == len(groups)  # one a group: mmengine cuts the list to this
    assert metric.evaluate(3)['mAP_50'] == expected['mAP_50']


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def evaluate_in_process(rank, world_size, port, file):
    torch.distributed.init_process_group(
        'gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=world_size
    )
    groups = make_groups(10)
    metrics = evaluate([groups[0], groups[1]] if rank == 0 else [groups[2], groups[0]])
    if rank == 1:
        file.write_text(json.dumps(metrics))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_score_as_one(tmp_path):
    file = tmp_path / 'metrics.json'
    mp.spawn(evaluate_in_process, args=(2, free_port(), file), nprocs=2)
    assert json.loads(file.read_text()) == evaluate(make_groups(10))


def test_json_and_table(tmp_path, monkeypatch):
    logged = []
    module = 'mmcoseg.evaluation.metrics.group_metric'
    monkeypatch.setattr(f'{module}.print_log', lambda text, **_: logged.append(text))
    path = tmp_path / 'new' / 'scores.json'
    groups = make_groups()
    metrics = evaluate(groups, [InstanceCoSegMetric(out_file=str(path))])
    content = json.loads(path.read_text())
    assert content['summary'] == metrics and set(content['classes']) == set(CLASSES)
    image = content['images']['emu/001']
    assert image['scores'] == sorted(image['scores'], reverse=True)
    assert len(image['ious']) == len(groups[2][1].pred_instances.scores)
    assert '│ emu ' in logged[0] and 'AP_25' in logged[0] and 'CorLoc' not in logged[0]
    both = InstanceReport().table('title')
    assert 'title' in both and 'image mean' in both


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="matching must be one of .*'best'"):
        InstanceCoSegMetric(matching='best')
    with pytest.raises(ValueError, match='above 0 and at most 1'):
        InstanceCoSegMetric([25, 50])
    (group,) = make_groups()[2:]
    sample = group[1]
    sample.pred_instances.scores[0] = float('nan')
    with pytest.raises(ValueError, match=r'emu/001: needs one finite score .* 1 not finite'):
        evaluate([group])
    sample.pred_instances = InstanceData(masks=torch.zeros(1, 5, 5).bool(), scores=torch.ones(1))
    with pytest.raises(ValueError, match=r'emu/001: the prediction is \(5, 5\)'):
        evaluate([group])
    del sample.pred_instances
    with pytest.raises(ValueError, match='emu/001: it has no pred_instances'):
        evaluate([group])
    del sample.gt_instances
    with pytest.raises(ValueError, match='emu/001: it has no instances to score against'):
        evaluate([group])
    report = InstanceReport()
    matches = ImageMatches.ranked('x', [], np.zeros((0, 1)), np.zeros(0))
    report.add('x', '1', matches, 'a/1.jpg')
    report.add('x', '1', matches, 'a/1.jpg')
    with pytest.raises(ValueError, match="two images are called 'x/1': a/1.jpg and b/1.jpg"):
        report.add('x', '1', matches, 'b/1.jpg')


def test_more_masks_than_a_byte_counts():
    masks = np.zeros((400, 20, 20), bool)
    masks[np.arange(400), np.arange(400) // 20, np.arange(400) % 20] = True
    ious, shares = instance_overlaps(masks, masks)
    np.testing.assert_array_equal(ious, np.eye(400))
    assert not shares.any()
