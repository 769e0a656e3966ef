import json
import socket

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from mmcoseg.evaluation import CoSegMetric, binarize_adaptive, image_scores
from mmcoseg.evaluation.functional import resize_ground_truth
from mmcoseg.structures import CoSegDataSample, GroupDataSample

SIZES = {'bus': 3, 'cat': 1, 'dog': 4, 'emu': 2, 'fox': 3}


def make_group(name, count, seed):
    """A group with random masks; every third image lacks the object."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        prob = rng.random((1, 12, 16)).astype(np.float32)
        gt = (rng.random((1, 24, 20)) < 0.5).astype(np.int64) * (i % 3 != 2)
        gt[0, 0] = 255
        pred = (rng.random((1, 24, 20)) < 0.5).astype(np.uint8)
        sample = CoSegDataSample(metainfo=dict(group=name, stem=f'{i:03d}'))
        sample.pred_prob = PixelData(data=torch.from_numpy(prob))
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(pred))
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(gt))
        samples.append(sample)
    return GroupDataSample(samples, metainfo=dict(group=name))


@pytest.fixture(scope='module')
def groups():
    return [make_group(name, count, seed) for seed, (name, count) in enumerate(SIZES.items())]


def evaluate(groups, batch_size=1, **kwargs):
    evaluator = Evaluator([CoSegMetric(**kwargs)])
    for start in range(0, len(groups), batch_size):
        evaluator.process(data_samples=groups[start : start + batch_size])
    return evaluator.evaluate(len(groups))


def test_class_and_image_means_native(groups):
    scores = [
        np.array(
            [
                image_scores(s.pred_sem_seg.data[0].numpy(), s.gt_sem_seg.data[0].numpy())
                for s in group
            ]
        )
        for group in groups
    ]
    class_mean = np.mean([s.mean(axis=0) for s in scores], axis=0)
    image_mean = np.concatenate(scores).mean(axis=0)
    metrics = evaluate(groups)
    assert list(metrics) == ['P', 'J', 'P_image', 'J_image']
    expected = 100 * np.concatenate([class_mean, image_mean])
    np.testing.assert_allclose(list(metrics.values()), expected, atol=0.0051)
    assert metrics['J'] != metrics['J_image']


def test_protocol_of_the_published_code(groups):
    scores = []
    for group in groups:
        for s in group:
            soft = torch.nn.functional.interpolate(
                s.pred_prob.data[None].float(), (224, 224), mode='bilinear', align_corners=False
            )[0, 0].numpy()
            gt = resize_ground_truth(s.gt_sem_seg.data[0].numpy(), (224, 224))
            scores.append(image_scores(binarize_adaptive(soft), gt))
    metrics = evaluate(groups, protocol='ssnm-224')
    assert metrics['J_image'] == pytest.approx(100 * np.mean(scores, axis=0)[1], abs=0.0051)


def test_protocol_of_the_published_code_where_there_is_no_object():
    group = make_group('cat', 1, seed=0)
    group[0].gt_sem_seg.data.zero_()
    group[0].pred_prob.data.fill_(0.3)
    group[0].pred_sem_seg.data.zero_()
    metrics = evaluate([group], protocol=['native', 'ssnm-224'])
    assert metrics['native/J'] == 100 and metrics['ssnm-224/J'] == 0
    assert metrics['ssnm-224/P'] == 100


def test_several_protocols_are_told_apart(groups):
    both = evaluate(groups, protocol=['native', 'ssnm-224'])
    assert both['native/J'] == evaluate(groups)['J']
    assert both['ssnm-224/J'] == evaluate(groups, protocol='ssnm-224')['J']


@pytest.mark.parametrize('batch_size', [2, 3, 5])
def test_batch_size_does_not_matter(groups, batch_size):
    assert evaluate(groups, batch_size) == evaluate(groups)


def test_several_classes_count_as_one_object(groups):
    sample = make_group('x', 1, 0)[0]
    multi = CoSegDataSample(metainfo=dict(group='x', stem='000'))
    multi.pred_sem_seg = PixelData(data=sample.pred_sem_seg.data * 2)
    object_prob = sample.pred_prob.data
    multi.pred_prob = PixelData(
        data=torch.cat([1 - object_prob, object_prob / 4, object_prob * 3 / 4])
    )
    multi.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data)
    protocols = ['native', 'ssnm-224']
    as_multi = evaluate([GroupDataSample([multi], metainfo=dict(group='x'))], protocol=protocols)
    as_one = evaluate([GroupDataSample([sample], metainfo=dict(group='x'))], protocol=protocols)
    assert as_multi == pytest.approx(as_one)


def test_json_names_every_image(groups, tmp_path):
    path = tmp_path / 'new' / 'scores.json'
    evaluate(groups, out_file=str(path))
    content = json.loads(path.read_text())['native']
    assert {name: len(group['images']) for name, group in content['groups'].items()} == SIZES
    s = groups[2][1]
    expected = image_scores(s.pred_sem_seg.data[0].numpy(), s.gt_sem_seg.data[0].numpy())
    assert content['groups']['dog']['images']['dog/001']['J'] == pytest.approx(
        100 * expected[1], abs=1e-3
    )


def test_what_is_wrong_is_named(groups):
    with pytest.raises(ValueError, match="one or more of .*'voc'"):
        CoSegMetric('voc')
    group = make_group('emu', 1, 0)
    group[0].pred_sem_seg = PixelData(data=torch.zeros(1, 12, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r'emu/000: the prediction is \(12, 16\)'):
        evaluate([group])
    del group[0].gt_sem_seg
    with pytest.raises(ValueError, match='emu/000: it has no ground truth'):
        evaluate([group])


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def evaluate_in_process(rank, world_size, port, file):
    """What one of several processes does; the sampler pads to equal shares by repeating groups."""
    torch.distributed.init_process_group(
        'gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=world_size
    )
    groups = [make_group(name, count, seed) for seed, (name, count) in enumerate(SIZES.items())]
    share = [groups[i % len(groups)] for i in range(rank, 6, world_size)]
    evaluator = Evaluator([CoSegMetric()])
    evaluator.process(data_samples=share)
    metrics = evaluator.evaluate(len(groups))
    if rank == 0:
        file.write_text(json.dumps(metrics))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_score_as_one(groups, tmp_path):
    file = tmp_path / 'metrics.json'
    mp.spawn(evaluate_in_process, args=(2, free_port(), file), nprocs=2)
    assert json.loads(file.read_text()) == evaluate(groups)


def evaluate_contiguous(rank, world_size, port, file):
    """Unequal contiguous shares with copies in the middle: mmengine's cut would lose a group."""
    torch.distributed.init_process_group(
        'gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=world_size
    )
    groups = [make_group(name, count, seed) for seed, (name, count) in enumerate(SIZES.items())]
    share = [groups[0], groups[1], groups[0]] if rank == 0 else [*groups[1:3], *groups[3:]]
    evaluator = Evaluator([CoSegMetric(protocol=['native', 'ssnm-224'])])
    evaluator.process(data_samples=share)
    metrics = evaluator.evaluate(len(groups))
    if rank == 1:  # every process gets the figures
        file.write_text(json.dumps(metrics))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_copies_and_uneven_shares_of_processes_change_nothing(groups, tmp_path):
    file = tmp_path / 'metrics.json'
    mp.spawn(evaluate_contiguous, args=(2, free_port(), file), nprocs=2)
    assert json.loads(file.read_text()) == evaluate(groups, protocol=['native', 'ssnm-224'])


def test_dicts_and_elements_score_alike(groups):
    metric = CoSegMetric()
    metric.process(
        None,
        [
            dict(group=group.group, samples=[sample.to_dict() for sample in group])
            for group in groups
        ],
    )
    assert metric.evaluate(len(groups)) == evaluate(groups)


def test_two_files_of_one_name_are_refused():
    first, second = make_group('x', 1, 0), make_group('x', 1, 1)
    first[0].set_metainfo(dict(img_path='a/x/000.jpg'))
    second[0].set_metainfo(dict(img_path='b/x/000.jpg'))
    with pytest.raises(ValueError, match="'x/000': a/x/000.jpg and b/x/000.jpg"):
        evaluate([first, second])


def test_soft_prediction_that_is_missing_is_named():
    group = make_group('emu', 1, 0)
    del group[0].pred_prob
    assert evaluate([group])['P'] > 0
    with pytest.raises(ValueError, match='emu/000: it has no pred_prob'):
        evaluate([group], protocol='ssnm-224')


def test_metric_is_registered_and_logs_its_table(groups, monkeypatch):
    from mmcoseg.registry import METRICS

    logged = []
    module = 'mmcoseg.evaluation.metrics.group_metric'
    monkeypatch.setattr(f'{module}.print_log', lambda text, **_: logged.append(text))
    metric = METRICS.build(dict(type='CoSegMetric'))
    metric.process(None, groups)
    metric.evaluate(len(groups))
    assert len(logged) == 1 and '│ emu ' in logged[0]
