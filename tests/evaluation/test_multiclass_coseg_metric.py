import itertools
import json
import socket

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from mmcoseg.evaluation import ClassReport, MultiClassCoSegMetric, count_labels, match_classes
from mmcoseg.evaluation.class_report import class_names_of
from mmcoseg.structures import CoSegDataSample, GroupDataSample

#: Name, images, classes of the truth, channels of the prediction.
GROUPS = [
    ('car+person', 4, 2, 2),
    ('car+dog+person', 5, 3, 3),
    ('cat+dog', 1, 2, 4),
    ('a+b+c', 3, 3, 2),
]


def make_masks(count, classes, channels, seed, absent=True):
    """Predictions that have to do with the truth, up to a permutation; void; missing classes."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(max(classes, channels)) + 1
    masks = []
    for i in range(count):
        size = 14 + i, 20 - i
        gt = rng.integers(0, classes + 1, size).astype(np.uint8)
        if absent and i % 3 == 2:
            gt[gt == 1 + i % classes] = 0
        pred = np.concatenate([[0], names])[gt]
        noise = rng.random(size) < 0.1 + 0.5 * rng.random(channels + 1)[gt % (channels + 1)]
        pred[noise] = rng.integers(0, channels + 1, size)[noise]
        pred[pred > channels] = 0
        gt[rng.random(size) < 0.1] = 255
        masks.append((pred.astype(np.uint8), gt))
    return masks


def make_group(name, masks, **meta):
    samples = []
    for i, (pred, gt) in enumerate(masks):
        sample = CoSegDataSample(metainfo=dict(group=name, stem=f'{i:03d}'))
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(pred)[None])
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(gt.astype(np.int64))[None])
        samples.append(sample)
    return GroupDataSample(samples, metainfo=dict(group=name, **meta))


def make_groups():
    return [make_group(g[0], make_masks(*g[1:], seed)) for seed, g in enumerate(GROUPS)]


def evaluate(groups, batch_size=1, **kwargs):
    evaluator = Evaluator([MultiClassCoSegMetric(**kwargs)])
    for start in range(0, len(groups), batch_size):
        evaluator.process(data_samples=groups[start : start + batch_size])
    return evaluator.evaluate(len(groups))


def report_of(masks, name='a+b', **kwargs):
    report = ClassReport(**kwargs)
    for i, (pred, gt) in enumerate(masks):
        report.add(name, f'{i:03d}', count_labels(pred, gt))
    return report


def score_of(masks, **kwargs):
    return report_of(masks, **kwargs).group_scores()['a+b']


def ratio(part, whole):
    return part / whole if whole else 1.0


def brute_force(masks, classes, channels, over, absent):
    """The definition: every way of giving channels (or nothing) to classes, pixel by pixel."""
    free = [*range(1, channels + 1), *[None] * classes]
    best = None
    for chosen in set(itertools.permutations(free, classes)):
        jaccards = []
        for k, channel in enumerate(chosen, 1):
            inside, around = [], []
            for pred, gt in masks:
                valid = gt != 255
                p, g = (pred == channel) & valid, (gt == k) & valid
                if absent == 'score' or g.any():
                    inside.append((p & g).sum())
                    around.append((p | g).sum())
            if not any((gt == k).any() for _, gt in masks):
                continue
            if over == 'pixels':
                jaccards.append(ratio(sum(inside), sum(around)))
            else:
                jaccards.append(np.mean([ratio(i, a) for i, a in zip(inside, around)]))
        right, total = [], []
        for pred, gt in masks:
            named = np.full(pred.shape, -1)
            named[pred == 0] = 0
            for k, channel in enumerate(chosen, 1):
                if channel is not None:
                    named[pred == channel] = k
            right.append(((named == gt) & (gt != 255)).sum())
            total.append((gt != 255).sum())
        if over == 'pixels':
            precision = sum(right) / sum(total)
        else:
            precision = np.mean([ratio(r, t) for r, t in zip(right, total)])
        if best is None or np.mean(jaccards) > best[1]:
            best = precision, np.mean(jaccards), jaccards
    return best


@pytest.mark.parametrize('over', ['images', 'pixels'])
@pytest.mark.parametrize('absent', ['skip', 'score'])
def test_best_of_all_permutations(over, absent):
    for seed, (classes, channels) in enumerate([(2, 2), (3, 3), (2, 4), (3, 1), (1, 3), (3, 2)]):
        masks = make_masks(5, classes, channels, seed)
        score = score_of(masks, over=over, absent=absent)
        precision, jaccard, jaccards = brute_force(masks, classes, channels, over, absent)
        assert score.precision == pytest.approx(100 * precision)
        assert score.jaccard == pytest.approx(100 * jaccard)
        assert [c.jaccard for c in score.classes] == pytest.approx([100 * j for j in jaccards])


def test_by_hand():
    first = np.array([[2, 2, 2, 1, 0, 0, 0, 0]]), np.array([[1, 1, 0, 2, 2, 255, 255, 0]])
    second = np.array([[1, 1, 2, 2]]), np.array([[1, 0, 0, 1]])  # no class 2
    score = score_of([first, second])
    # class 1 is channel 2: (2/3 + 1/3) / 2; class 2 channel 1, in the first image only: 1/2
    assert [(c.name, c.channel, c.num_images) for c in score.classes] == [('a', 2, 2), ('b', 1, 1)]
    assert [c.jaccard for c in score.classes] == pytest.approx([50, 50])
    # right: 4 of 6 and 1 of 4
    assert score.precision == pytest.approx(100 * (4 / 6 + 1 / 4) / 2)
    # class 1 or not: 5 of 6 and 2 of 4; class 2 or not: 5 of 6
    assert [c.precision for c in score.classes] == pytest.approx([200 / 3, 500 / 6])
    pixels = score_of([first, second], over='pixels')
    assert [c.jaccard for c in pixels.classes] == pytest.approx([100 * 3 / 6, 50])
    assert pixels.precision == pytest.approx(100 * 5 / 10)
    # with the second image, class 2 has a J of 0 there, for channel 1 is seen
    scored = score_of([first, second], absent='score')
    assert [c.jaccard for c in scored.classes] == pytest.approx([50, 25])
    assert scored.classes[1].num_images == 2
    assert report_of([first, second]).to_dict()['groups']['a+b']['images'] == {
        'a+b/000': dict(P=pytest.approx(400 / 6), J=dict(a=pytest.approx(200 / 3), b=50.0)),
        'a+b/001': dict(P=25.0, J=dict(a=pytest.approx(100 / 3), b=None)),
    }


def test_against_sklearn():
    masks = make_masks(6, 3, 3, 7)
    score = score_of(masks, over='pixels', absent='score')
    channels = [c.channel for c in score.classes]
    assert sorted(channels) == [1, 2, 3] != channels
    pred = np.concatenate([pred.ravel() for pred, _ in masks])
    gt = np.concatenate([gt.ravel() for _, gt in masks])
    named = np.array([0, *np.argsort(channels) + 1])[pred[gt != 255]]
    gt = gt[gt != 255]
    expected = jaccard_score(gt, named, labels=[1, 2, 3], average=None)
    assert [c.jaccard for c in score.classes] == pytest.approx(100 * expected)
    assert score.precision == pytest.approx(100 * accuracy_score(gt, named))
    for k, c in enumerate(score.classes, 1):
        assert c.precision == pytest.approx(100 * accuracy_score(gt == k, named == k))
    for pred, gt in masks:
        valid = gt != 255
        expected = confusion_matrix(pred[valid], gt[valid], labels=range(4))
        counts = count_labels(pred, gt)
        padding = [(0, 4 - size) for size in counts.shape]
        np.testing.assert_array_equal(np.pad(counts, padding), expected)


def test_matching_is_the_best_sum_and_not_the_best_first():
    np.testing.assert_array_equal(match_classes(np.array([[0.6, 0.5], [0.5, 0.1]])), [1, 0])
    np.testing.assert_array_equal(match_classes(np.eye(4)[[2, 0, 3]].T), [2, 0, 3])


@pytest.mark.parametrize('over', ['images', 'pixels'])
def test_order_of_images_and_names_of_channels_change_nothing(over):
    masks = make_masks(6, 3, 5, 3)
    expected = score_of(masks, over=over)
    for names in ([0, 3, 5, 1, 2, 4], [0, 9, 2, 30, 254, 1]):
        changed = [(np.array(names, np.uint8)[pred], gt) for pred, gt in masks]
        score = score_of(changed, over=over)
        assert (score.precision, score.jaccard) == (expected.precision, expected.jaccard)
        assert [c.channel for c in score.classes] == [names[c.channel] for c in expected.classes]
    counts = [(f'{i}', count_labels(*masks[i])) for i in range(6)]
    tables = set()
    for order in (counts, counts[::-1]):
        report = ClassReport(over)
        for stem, table in order:
            report.add('a+b', stem, table)
        tables.add(json.dumps(report.to_dict()))
    assert len(tables) == 1


def test_ties_do_not_depend_on_the_names_of_channels():
    gt = np.array([[1, 1, 2, 2, 0, 0, 0, 0]])
    pred = np.array([[1, 2, 1, 2, 1, 0, 0, 2]])  # both assignments have one sum of J
    lopsided = np.array([[1, 2, 1, 2, 1, 1, 0, 0]])
    for masks in ([(pred, gt)], [(lopsided, gt)]):
        swapped = [(np.array([0, 2, 1])[pred], gt) for pred, gt in masks]
        one, other = score_of(masks), score_of(swapped)
        assert one.precision == other.precision
        assert [c.jaccard for c in one.classes] == [c.jaccard for c in other.classes]


def test_the_background_is_no_channel():
    gt = np.array([[1, 1, 1, 2, 0]])
    score = score_of([(np.zeros_like(gt), gt)])
    assert score.jaccard == 0 and score.precision == pytest.approx(20)
    assert [c.channel for c in score.classes] == [None, None]


def test_spare_channels_are_wrong_and_missing_ones_score_nothing():
    gt = np.array([[1, 1, 2, 2, 0, 0]])
    spare = score_of([(np.array([[3, 3, 1, 1, 2, 0]]), gt)])
    assert [c.channel for c in spare.classes] == [3, 1]
    assert spare.jaccard == 100 and spare.precision == pytest.approx(500 / 6)
    missing = score_of([(np.array([[0, 1, 0, 0, 0, 0]]), gt)])
    assert [(c.channel, c.jaccard) for c in missing.classes] == [(1, 50.0), (None, 0.0)]


def test_classes_and_pixels_without_truth():
    void = np.full((2, 3), 255)
    nothing = score_of([(np.array([[0, 0, 1], [2, 0, 0]]), void)])
    assert nothing.precision == 100 and np.isnan(nothing.jaccard) and nothing.classes == ()
    # value 1 is in no image: it has no figure and takes no channel away
    score = score_of([(np.array([[1, 1, 0, 0]]), np.array([[2, 2, 2, 0]]))])
    assert np.isnan(score.classes[0].jaccard) and score.jaccard == pytest.approx(200 / 3)
    report = report_of([(np.array([[1, 1, 0, 0]]), np.array([[2, 2, 2, 0]]))])
    assert report.to_dict()['groups']['a+b']['classes']['a']['J'] is None
    json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert ' - ' in report.table()
    empty = ClassReport()
    assert np.isnan(list(empty.summary().values())).all() and 'group mean' in empty.table()


def test_means_over_classes_then_groups():
    groups = make_groups()
    scores = [
        brute_force(make_masks(*g[1:], seed), *g[2:], 'images', 'skip')
        for seed, g in enumerate(GROUPS)
    ]
    metrics = evaluate(groups)
    assert list(metrics) == ['P', 'J']
    expected = 100 * np.mean([score[:2] for score in scores], axis=0)
    assert list(metrics.values()) == pytest.approx(expected.tolist())
    assert evaluate(groups, over='pixels')['J'] != metrics['J']
    assert evaluate(groups, absent='score')['J'] != metrics['J']


@pytest.mark.parametrize('batch_size', [2, 4])
def test_batches_copies_and_dicts_score_alike(batch_size):
    groups = make_groups()
    expected = evaluate(groups)
    assert evaluate([*groups, groups[1]], batch_size) == expected
    dicts = [dict(group=g.group, samples=[s.to_dict() for s in g]) for g in groups]
    assert evaluate(dicts, batch_size) == expected


def test_only_small_tables_are_kept():
    metric = MultiClassCoSegMetric()
    metric.process(None, make_groups())
    for group, (_, count, classes, channels) in zip(metric.results, GROUPS):
        assert len(group) == count
        for image in group:
            rows, columns = image['scored'].shape
            assert rows <= channels + 1 and columns <= classes + 1
            owner = image['scored'] if image['scored'].base is None else image['scored'].base
            assert owner.size == rows * columns


def test_classes_are_named(tmp_path, monkeypatch):
    logged = []
    module = 'mmcoseg.evaluation.metrics.group_metric'
    monkeypatch.setattr(f'{module}.print_log', lambda text, **_: logged.append(text))
    masks = make_masks(2, 2, 2, 0)
    file = tmp_path / 'new' / 'scores.json'
    metric = MultiClassCoSegMetric(out_file=str(file))
    metric.dataset_meta = dict(classes=('cat', 'dog', 'sofa'))
    groups = [make_group('sofa+dog', masks), make_group('pets', masks, label_ids=(2, 0))]
    groups.append(make_group('others', masks, label_ids=(0,)))
    metric.process(None, groups)
    metric.evaluate(3)
    content = json.loads(file.read_text())
    assert content['over'] == 'images'
    assert {name: list(group['classes']) for name, group in content['groups'].items()} == {
        'sofa+dog': ['sofa', 'dog'],
        'pets': ['sofa', 'cat'],
        'others': ['class 1', 'class 2'],
    }
    assert set(content['groups']['pets']['images']) == {'pets/000', 'pets/001'}
    lines = [line for line in logged[0].splitlines() if line.startswith('│ sofa+dog')]
    assert [line.split('│')[2].strip() for line in lines] == ['sofa', 'dog', 'all']
    score = content['groups']['sofa+dog']
    assert f'{score["J"]:.2f}' in lines[2] and f'{score["classes"]["dog"]["J"]:.2f}' in lines[1]
    assert class_names_of('a+a', 2) == ('class 1', 'class 2')


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="over must be one of .*'image'"):
        MultiClassCoSegMetric(over='image')
    with pytest.raises(ValueError, match="absent must be one of .*'zero'"):
        ClassReport(absent='zero')
    group = make_group('emu', make_masks(1, 2, 2, 0))
    group[0].pred_sem_seg = PixelData(data=torch.full((1, 14, 20), 255, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r'emu/000: .*no void \(255\)'):
        evaluate([group])
    group[0].pred_sem_seg = PixelData(data=torch.zeros(1, 12, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r'emu/000: the prediction is \(12, 16\)'):
        evaluate([group])
    del group[0].pred_sem_seg
    with pytest.raises(ValueError, match='emu/000: it has no pred_sem_seg'):
        evaluate([group])
    del group[0].gt_sem_seg
    with pytest.raises(ValueError, match='emu/000: it has no ground truth'):
        evaluate([group])
    first, second = (make_group('x', make_masks(1, 2, 2, 0)) for _ in range(2))
    first[0].set_metainfo(dict(img_path='a/x/000.jpg'))
    second[0].set_metainfo(dict(img_path='b/x/000.jpg'))
    with pytest.raises(ValueError, match="'x/000': a/x/000.jpg and b/x/000.jpg"):
        evaluate([first, second])


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def evaluate_in_process(rank, world_size, port, file):
    """Unequal shares, and a copy in the middle of one of them."""
    torch.distributed.init_process_group(
        'gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=world_size
    )
    groups = make_groups()
    share = [groups[0], groups[1], groups[0]] if rank == 0 else groups[1:]
    evaluator = Evaluator([MultiClassCoSegMetric()])
    evaluator.process(data_samples=share)
    metrics = evaluator.evaluate(len(groups))
    if rank == 1:
        file.write_text(json.dumps(metrics))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_score_as_one(tmp_path):
    file = tmp_path / 'metrics.json'
    mp.spawn(evaluate_in_process, args=(2, free_port(), file), nprocs=2)
    assert json.loads(file.read_text()) == evaluate(make_groups())


def test_metric_is_registered():
    from mmcoseg.registry import METRICS

    assert METRICS.get('MultiClassCoSegMetric') is MultiClassCoSegMetric
