"""The loop over groups in whole runs: of this process, and of real ones."""

import json
import re
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from constant_segmentor import ConstantSegmentor, RecordingHook, RecordingOptimWrapper
from demo_inputs import write_tiny_dataset
from mmengine.config import Config

from mmcoseg.datasets import group_collate
from mmcoseg.engine.group_optimization import (
    InitialState,
    OptimizationSettings,
    optimize_and_segment,
)
from mmcoseg.engine.launch import GroupsFailedError, build_runner, run_test, run_training
from mmcoseg.engine.run_config import optimizes_groups, select_data

SIZES = dict(a=5, b=2, c=7, d=3)
EPOCHS = 3

CONFIG = """
default_scope = 'mmcoseg'
custom_imports = dict(imports=['constant_segmentor'])
randomness = dict(seed=0)
model = dict(type='ConstantSegmentor')
resize = dict(type='Resize', scale=(16, 16), keep_ratio=False)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='group_collate'),
    dataset=dict(
        type='CoSegDataset',
        data_root={data!r},
        test_mode=True,
        pipeline=[
            dict(
                type='ForEachImage',
                transforms=[dict(type='LoadCoSegImage'), resize, dict(type='LoadCoSegMask')],
            ),
            dict(type='PackGroupInputs'),
        ],
    ),
)
test_cfg = dict(
    type='GroupOptimizationLoop',
    optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
    param_scheduler=[dict(type='StepLR', by_epoch=True, step_size=1, gamma=0.5)],
    max_epochs=3,
    batch_size=3,
)
test_evaluator = dict(type='CoSegMetric', protocol=['native', 'ssnm-224'])
custom_hooks = [dict(type='IterationSeedHook'), dict(type='RecordingHook')]
log_processor = dict(by_epoch=False)
visualizer = dict(
    type='GroupVisualizer', vis_backends=[dict(type='LocalVisBackend')], name='visualizer'
)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    visualization=dict(type='GroupVisualizationHook'),
)
"""


@pytest.fixture
def config(tmp_path):
    numbers = count()
    data = write_tiny_dataset(tmp_path / 'data', SIZES)
    path = tmp_path / 'groups.py'
    path.write_text(CONFIG.format(data=str(data)))

    def read(name='work', groups=None, **options):
        cfg = Config.fromfile(str(path))
        cfg.work_dir = str(tmp_path / name)
        # Of equal names there is one visualizer in a process, that of the run before.
        cfg.visualizer.name = cfg.experiment_name = f'{tmp_path.name}-{name}-{next(numbers)}'
        if groups:
            cfg.test_dataloader.dataset.groups = groups
        cfg.merge_from_dict(options)
        return cfg

    return read


def run(cfg):
    """Run the loop of a config; the loop, and its metrics."""
    runner = build_runner(cfg)
    metrics = runner.test()
    return runner.test_loop, metrics


@pytest.fixture
def scores_of(config):
    """Runs a config with other keys, and gives the scores of all groups and images."""

    def score(name, groups=None, test=run, **options):
        cfg = config(name, groups, **options)
        cfg.test_evaluator.out_file = str(Path(cfg.work_dir) / 'scores.json')
        test(cfg)
        return json.loads(Path(cfg.test_evaluator.out_file).read_text())

    return score


def images_of(scores):
    groups = scores['ssnm-224']['groups'].values()
    return {key: value for group in groups for key, value in group['images'].items()}


def test_train_and_test_are_the_same(scores_of):
    tested, trained = (scores_of(test.__name__, test=test) for test in (run_test, run_training))
    assert len(images_of(tested)) == sum(SIZES.values())
    assert tested == trained


def test_no_group_depends_on_the_others(config, scores_of):
    whole = images_of(scores_of('whole'))
    backwards = images_of(scores_of('backwards', ['d', 'c', 'b', 'a']))
    assert backwards == whole
    alone = images_of(scores_of('alone', ['c']))
    assert len(alone) == SIZES['c']
    assert alone == {key: value for key, value in whole.items() if key.startswith('c/')}
    # What was learned did matter.
    assert images_of(scores_of('unlearned', **{'test_cfg.max_epochs': 0})) != whole


def test_the_loop_and_the_function_give_the_same_maps(config):
    cfg = config()
    maps = {}

    class Keeping(RecordingHook):
        def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            for sample in outputs[0]:
                maps[sample.identity] = sample.pred_prob.data

    cfg.custom_hooks = [dict(type=Keeping)]
    loop, _ = run(cfg)
    assert len(maps) == sum(SIZES.values())
    model = ConstantSegmentor()
    model.init_weights()
    initial = InitialState(model)
    settings = OptimizationSettings.from_test_cfg(cfg.test_cfg, cfg.randomness.seed)
    assert settings == loop.settings
    dataset = loop.dataloader.dataset
    for number in (2, 0):  # in any order
        data = model.data_preprocessor(group_collate([dataset[number]]), False)
        images, (group,) = data['inputs'], data['data_samples']
        assert optimize_and_segment(model, images, group, initial, settings) is None
        for sample in group:
            assert torch.equal(sample.pred_prob.data, maps[sample.identity])


def test_workers_change_nothing(scores_of):
    options = {'test_dataloader.num_workers': 1}
    assert scores_of('workers', **options) == scores_of('none')


def test_the_model_sees_each_whole_group_by_the_test_pipeline(config, monkeypatch):
    seen = []

    def prepare_group(self, images, group):
        assert len(images) == len(group) and 'gt_sem_seg' in group[0] and not self.training
        seen.append((group.group, len(group), len(self.seen)))

    monkeypatch.setattr(ConstantSegmentor, 'prepare_group', prepare_group, raising=False)
    _, first = run(config(**{'test_cfg.max_epochs': 2}))
    steps = [2 * -(-count // 3) for count in SIZES.values()]
    assert seen == [
        (name, count, sum(steps[:number])) for number, (name, count) in enumerate(SIZES.items())
    ]
    # Of groups that are finished nothing is to be found out.
    seen.clear()
    _, again = run(config(**{'test_cfg.max_epochs': 2, 'test_cfg.resume': True}))
    assert again == first
    assert not seen


def test_hooks_see_one_test(config):
    cfg = config(groups=['a', 'b'])
    _, metrics = run(cfg)
    assert RecordingHook.calls == [
        'before_test',
        'before_test_epoch',
        'after_test_iter 0 a',
        'after_test_iter 1 b',
        'after_test_epoch',
        'after_test',
    ]
    assert metrics['native/J'] > 0
    log = next(Path(cfg.work_dir).glob('*/*.log')).read_text()
    assert len(re.findall(r'group [ab]: epoch [123]/3, loss', log)) == 6
    assert 'Iter(test) [2/2]' in log and 'Iter(train)' not in log
    assert 'class mean' in log
    scalars = next(Path(cfg.work_dir).glob('*/vis_data/scalars.json')).read_text()
    assert sum('b/loss' in line for line in scalars.splitlines()) == EPOCHS
    assert not list(Path(cfg.work_dir).glob('*.pth'))


def test_the_schedule_starts_anew_with_each_group(config):
    RecordingOptimWrapper.rates.clear()
    run(config(groups=['a', 'b'], **{'test_cfg.optim_wrapper.type': 'RecordingOptimWrapper'}))
    expected = [0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.1, 0.05, 0.025]
    assert np.allclose(RecordingOptimWrapper.rates, expected)


def test_a_group_takes_a_few_lines_of_the_log_however_many_epochs(config):
    cfg = config(groups=['b'], **{'test_cfg.max_epochs': 23})
    run(cfg)
    log = next(Path(cfg.work_dir).glob('*/*.log')).read_text()
    epochs = [int(number) for number in re.findall(r'group b: epoch (\d+)/23, loss', log)]
    assert epochs == [5, 10, 15, 20, 23]
    assert 'class mean' in log
    scalars = next(Path(cfg.work_dir).glob('*/vis_data/scalars.json')).read_text()
    assert sum('b/loss' in line for line in scalars.splitlines()) == 23


def test_masks_and_pictures_are_written(config, tmp_path):
    out, sheets = tmp_path / 'masks', tmp_path / 'sheets'
    run_test(config(groups=['a', 'b']), out=str(out), show_dir=str(sheets))
    assert len(list(out.glob('*/*.png'))) == SIZES['a'] + SIZES['b']
    assert sorted(path.name for path in sheets.iterdir()) == ['a.jpg', 'b.jpg']


@pytest.fixture
def autocasts(monkeypatch):
    """For each step of any run, whether it was in mixed precision."""
    seen = []
    original = ConstantSegmentor.loss

    def loss(self, images, data_samples):
        seen.append(torch.is_autocast_enabled(images.device.type))
        return original(self, images, data_samples)

    monkeypatch.setattr(ConstantSegmentor, 'loss', loss)
    return seen


def test_mixed_precision(config, autocasts):
    wrapper = {'test_cfg.optim_wrapper.type': 'BFloat16OptimWrapper'}
    loop, _ = run(config(groups=['b'], **wrapper))
    assert autocasts == [True] * EPOCHS and not loop.failed
    run(config('full', ['b']))
    assert autocasts[EPOCHS:] == [False] * EPOCHS


def test_the_commands_have_an_option_for_mixed_precision(config, autocasts):
    cfg = config(groups=['b'])
    run_training(cfg, amp=True)
    assert autocasts == [True] * EPOCHS
    kind = 'AmpOptimWrapper' if torch.cuda.is_available() else 'BFloat16OptimWrapper'
    assert cfg.test_cfg.optim_wrapper.type == kind


def test_a_group_without_a_loss_is_named_and_the_others_go_on(config, scores_of):
    fails = {'model.fails': ['b']}
    scores = scores_of('failed', **fails)
    untouched = images_of(scores_of('untouched', **{'test_cfg.max_epochs': 0}))
    good = images_of(scores_of('good'))
    for key, value in images_of(scores).items():
        assert value == (untouched if key.startswith('b/') else good)[key]
    # Also when it is only read back.
    cfg = config('failed', **fails, **{'test_cfg.resume': True})
    loop, _ = run(cfg)
    assert list(loop.failed) == ['b'] and loop.failed['b'].startswith("group 'b': the loss is nan")
    logs = ' '.join(path.read_text() for path in Path(cfg.work_dir).glob('*/*.log'))
    assert logs.count('parts: ') == 1
    assert logs.count('1 groups could not be optimized and are scored by the initial weights') == 2
    assert logs.count('was finished before') == len(SIZES)


def test_the_commands_end_with_an_error_that_names_failed_groups(config):
    fails = {'model.fails': ['b']}
    with pytest.raises(GroupsFailedError, match="1 groups could not .*\n.*group 'b': the loss"):
        run_test(config('failed', **fails))
    with pytest.raises(GroupsFailedError):
        run_test(config('failed', **fails), resume=True)


@pytest.mark.slow
def test_resuming_keeps_what_holds(config, monkeypatch):
    _, first = run(config())
    store = Path(config().work_dir) / 'optimized_groups'
    assert sorted(path.name for path in store.iterdir()) == [f'{name}.pth.gz' for name in SIZES]
    (store / 'a.pth.gz').unlink()
    (store / 'c.pth.gz').write_bytes((store / 'c.pth.gz').read_bytes()[:100])
    steps = []
    original = ConstantSegmentor.loss

    def loss(self, images, data_samples):
        steps.append(data_samples[0].group)
        return original(self, images, data_samples)

    monkeypatch.setattr(ConstantSegmentor, 'loss', loss)
    resume = {'test_cfg.resume': True}
    assert run(config(**resume))[1] == first
    assert set(steps) == {'a', 'c'}
    assert [call for call in RecordingHook.calls if 'test_iter' in call] == [
        f'after_test_iter {number} {name}' for number, name in enumerate(SIZES)
    ]
    # Other settings, or a new start, use nothing of it.
    steps.clear()
    run(config(**resume, **{'test_cfg.optim_wrapper.optimizer.lr': 0.2}))
    assert set(steps) == set(SIZES)
    steps.clear()
    run(config())
    assert set(steps) == set(SIZES)
    steps.clear()
    assert run(config(**resume))[1] == first
    assert not steps


@pytest.mark.slow
def test_the_commands_resume(config):
    first = run_test(config())
    finished = Path(config().work_dir) / 'optimized_groups'
    (finished / 'a.pth.gz').unlink()
    written = {path.name: path.stat().st_mtime_ns for path in finished.iterdir()}
    assert run_test(config(), resume=True) == first
    run_training(config(), resume='auto')
    assert {name: (finished / name).stat().st_mtime_ns for name in written} == written
    run_training(config())
    assert all((finished / name).stat().st_mtime_ns > time for name, time in written.items())


def test_wishes_that_make_no_sense_are_refused(config):
    assert optimizes_groups(config())
    with pytest.raises(ValueError, match='choose them by --test-groups alone'):
        select_data(config(), train_groups=['a'])
    with pytest.raises(ValueError, match='--resume old.pth: .* keeps finished groups'):
        run_training(config(), resume='old.pth')
    scale = dict(auto_scale_lr=dict(enable=False, base_batch_size=4))
    with pytest.raises(ValueError, match='auto_scale_lr has no meaning'):
        run_training(config('scale', **scale), auto_scale_lr=True)
    other = Config(dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=1)))
    assert not optimizes_groups(other)
    with pytest.raises(ValueError, match='--resume: the config is not of a method'):
        run_test(other, resume=True)


class Process:
    """The tools in processes of their own."""

    def __init__(self, folder, repo, env, server):
        self.folder, self.repo, self.server = folder, repo, server
        path = f'{Path(__file__).parent}:{env["PYTHONPATH"]}'
        self.options = dict(cwd=folder, env={**env, 'PYTHONPATH': path})

    def command(self, tool, *args, processes=1):
        program = [str(self.repo / 'tools' / f'{tool}.py'), 'groups.py', *args]
        if processes == 1:
            return [sys.executable, '-W', 'ignore', *program]
        torchrun = [sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run', '--standalone']
        return [*torchrun, f'--nproc_per_node={processes}', *program, '--launcher', 'pytorch']

    def run(self, tool, *args, code=0, processes=1):
        command = self.command(tool, *args, processes=processes)
        if processes == 1:
            program = command.index(str(self.repo / 'tools' / f'{tool}.py'))
            done = self.server.run(command[program:], **self.options)
        else:
            captured = dict(capture_output=True, text=True, timeout=300)
            done = subprocess.run(command, **self.options, **captured)
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-6000:]
        return done


@pytest.fixture
def process(config, tmp_path, repo, repo_env, tool_server):
    return Process(tmp_path, repo, repo_env, tool_server)


def table(log):
    """What is in the tables of the log."""
    rows = [line.split() for line in log.splitlines() if re.match(r'│ ([a-d]|\w+ mean) ', line)]
    assert len(rows) >= 12, log[-3000:]
    return rows


@pytest.mark.slow
def test_killed_and_resumed_ends_with_the_same_table(process, tmp_path):
    whole = process.run('train', '--work-dir', 'whole')
    # Slow enough to be killed between the first group and the last.
    slow = ['--work-dir', 'cut', '--cfg-options', 'model.delay=0.2']
    running = subprocess.Popen(
        process.command('train', *slow),
        **process.options,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    kept = tmp_path / 'cut' / 'optimized_groups'
    try:
        deadline = time.monotonic() + 120
        while not list(kept.glob('*.gz')):
            assert running.poll() is None, 'the run ended by itself'
            assert time.monotonic() < deadline, 'no group after two minutes'
            time.sleep(0.01)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    finished = len(list(kept.glob('*.gz')))
    assert finished < len(SIZES)
    resumed = process.run('test', '--resume', *slow)
    log = resumed.stdout + resumed.stderr
    assert log.count('was finished before') == finished
    assert table(log) == table(whole.stdout + whole.stderr)


@pytest.mark.slow
def test_two_processes_share_the_groups_and_end_with_the_same_table(process):
    one = process.run('test', '--work-dir', 'one', '--cfg-options', 'model.fails=["b"]', code=1)
    two = process.run(
        'test', '--work-dir', 'two', '--cfg-options', 'model.fails=["b"]', processes=2, code=1
    )
    log = two.stdout + two.stderr
    assert table(log) == table(one.stdout + one.stderr)
    assert '4 groups, 2 of them in this process' in log
    for done in (one, two):
        assert done.stderr.count("group 'b': the loss is nan") >= 1
    assert 'Traceback' not in one.stderr
    # Killed or not, another number of processes goes on.
    options = ['--work-dir', 'two', '--resume', '--cfg-options', 'model.fails=["b"]']
    again = process.run('test', *options, code=1)
    assert (again.stdout + again.stderr).count('was finished before') == len(SIZES)
    assert table(again.stdout + again.stderr) == table(one.stdout + one.stderr)
