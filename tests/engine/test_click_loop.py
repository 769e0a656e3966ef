"""A simulated person's clicks, and what is scored after them."""

import json

import numpy as np
import pytest
import torch
from demo_inputs import write_tiny_dataset
from mmengine.model import BaseModule
from mmengine.runner import Runner
from mmengine.structures import PixelData
from torch.nn import functional as F

from mmcoseg.engine import ClickLoop
from mmcoseg.engine.loops.click_loop import center_of, next_click
from mmcoseg.errors import MMCosegError
from mmcoseg.models.segmentors.hinted_images import least_sure
from mmcoseg.models.stages import GroupStage
from mmcoseg.registry import LOOPS, MODELS
from mmcoseg.structures import Click, CoSegDataSample, GroupDataSample


@MODELS.register_module()
class MeanColors(BaseModule):
    """The mean color around each fourth pixel."""

    def forward(self, x):
        return (F.avg_pool2d(x, 5, 4, padding=2),)


@MODELS.register_module()
class BlueIsObject(GroupStage):
    """Knows the object of the first group only, and everywhere a little too much of it."""

    def forward(self, context):
        blue = F.avg_pool2d(context.images.batch()[:, :1], 9, 4, padding=4)
        return torch.sigmoid(blue + 0.6)


MODEL = dict(
    type='TrainingFreeCoSegmentor',
    backbone=dict(type='MeanColors'),
    stages=dict(blue=dict(type='BlueIsObject'), follow_hints=dict(type='FollowHints')),
    data_preprocessor=dict(type='GroupDataPreprocessor', size=(33, 33)),
)


@pytest.fixture
def run(tmp_path):
    def run(root, evaluator=None, num_workers=0, seed=0, **options):
        load = [
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=(33, 33), keep_ratio=False),
            dict(type='LoadCoSegMask'),
        ]
        runner = Runner(
            model=MODEL,
            work_dir=str(tmp_path / 'work'),
            test_dataloader=dict(
                batch_size=1,
                num_workers=num_workers,
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='group_collate'),
                dataset=dict(
                    type='CoSegDataset',
                    data_root=str(root),
                    test_mode=True,
                    pipeline=[
                        dict(type='ForEachImage', transforms=load),
                        dict(type='PackGroupInputs'),
                    ],
                ),
            ),
            test_evaluator=evaluator or dict(type='CoSegMetric'),
            test_cfg=dict(type='ClickLoop', **options),
            default_scope='mmcoseg',
            experiment_name=f'{tmp_path.name}-{seed}-{num_workers}-{len(options)}',
            log_level='WARNING',
            randomness=dict(seed=seed),
        )
        return runner.test()

    return run


@pytest.fixture
def root(tmp_path):
    return write_tiny_dataset(tmp_path / 'data', groups=dict(bird=5, car=6), size=(48, 60))


@pytest.mark.parametrize('policy', ['next', 'random', 'worst'])
def test_clicks_help_the_group(run, root, policy):
    metrics = run(root, report=(1, 4), policy=policy)
    assert metrics['0_clicks/J'] < metrics['4_clicks/J']
    assert metrics['0_clicks/J'] < metrics['4_clicks/others/J']
    assert metrics['4_clicks/others_before/J'] < metrics['4_clicks/others/J']
    for end in ('', '/others', '/others_before'):
        assert {f'{number}_clicks{end}/J' for number in (0, 1, 4)} < set(metrics)


def test_the_same_seed_and_any_workers_click_the_same(run, root):
    first = run(root, report=(3,), policy='random', images_to_80=2)
    assert run(root, report=(3,), policy='random', images_to_80=2, num_workers=2) == first
    assert run(root, report=(3,), policy='random', images_to_80=2, seed=4) != first


def test_images_are_clicked_on_in_turn(run, root, tmp_path):
    file = tmp_path / 'scores.json'
    run(root, dict(type='CoSegMetric', out_file=str(file)), report=(2, 20))
    counts = {}
    for name in ('0_clicks', '2_clicks', '2_clicks_others', '20_clicks_others'):
        content = json.loads(file.with_stem(f'scores_{name}').read_text())
        counts[name] = content['native']['num_images']
    # 20 clicks are some on each image, even if the masks are right on a few after one.
    assert counts['0_clicks'] == counts['2_clicks'] == 11
    assert counts['2_clicks_others'] == 11 - 4
    assert counts['20_clicks_others'] == 0
    images = {}
    for name in ('0_clicks', '2_clicks_others', '2_clicks_others_before'):
        images[name] = {}
        content = json.loads(file.with_stem(f'scores_{name}').read_text())
        for group in content['native']['groups'].values():
            images[name] |= group['images']
    others = images['2_clicks_others']
    assert images['2_clicks_others_before'] == {key: images['0_clicks'][key] for key in others}


def test_single_images_take_some_clicks_and_keep_none(run, root):
    metrics = run(root, report=(), images_to_80=3)
    assert 0 < metrics['clicks_to_80'] <= 20
    assert metrics['0_clicks/J'] == run(root, report=())['0_clicks/J']


def test_negative_clicks_alone(run, root, monkeypatch):
    clicks = []

    def noted(pred, gt, only_negative):
        clicks.append(next_click(pred, gt, only_negative))
        return clicks[-1]

    monkeypatch.setattr('mmcoseg.engine.loops.click_loop.next_click', noted)
    run(root, report=(4,), only_negative=True)
    labels = [click.label for click in clicks if click is not None]
    assert labels and not any(labels)


def test_wrong_options(run, root):
    assert LOOPS.get('ClickLoop') is ClickLoop
    with pytest.raises(MMCosegError, match='policy'):
        run(root, policy='best')
    with pytest.raises(MMCosegError, match='report must be a whole number, at least 1'):
        run(root, report=(0, 1))


def test_a_click_is_in_the_largest_error():
    gt, pred = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    assert next_click(pred, gt) is None
    gt[2:7, 2:7] = 1
    assert next_click(pred, gt) == Click(4.5, 4.5)
    pred[10:17, 10:17] = 1
    assert next_click(pred, gt) == Click(13.5, 13.5, label=0)
    gt[10:17, 10:17] = 255
    assert next_click(pred, gt) == Click(4.5, 4.5)
    assert next_click(pred, gt, only_negative=True) is None


def test_errors_of_two_labels_are_two_regions():
    # Together they are larger than the square below.
    gt, pred = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    gt[0:3, 0:3], pred[0:3, 3:6] = 2, 2
    gt[10:14, 10:14] = 1
    click = next_click(pred, gt)
    assert click.label == 1 and 11 <= click.x <= 13 and 11 <= click.y <= 13


def test_a_center_is_off_the_border():
    region = np.zeros((9, 9), bool)
    region[:5] = True
    region[5:, 8] = True
    x, y = center_of(region)
    assert (y, 2.5 <= x <= 6.5) == (2.5, True)


def test_the_least_sure_image_is_the_most_doubtful():
    samples = []
    for low, high in ((0.02, 0.98), (0.15, 0.5), (0.2, 0.8)):
        prob = torch.full((1, 6, 6), low)
        prob[:, 2:4, 2:5] = high
        sample = CoSegDataSample()
        sample.pred_prob = PixelData(data=prob)
        samples.append(sample)
    group = GroupDataSample(samples)
    assert least_sure(group) == [1, 2, 0]
