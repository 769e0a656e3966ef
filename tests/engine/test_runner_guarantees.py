"""What the runner promises, in real processes."""

import json
import signal
import subprocess
import time

import pytest
import torch

pytestmark = pytest.mark.slow

DROPOUT = 'model.backbone.dropout=0.3'


STEPS = "type='StepLR', by_epoch=False, step_size=3, gamma=0.5"
ONE_CYCLE = "type='OneCycleLR', by_epoch=False, eta_max=1e-3, total_steps=5000"


# OneCycleLR's state holds a function, which a checkpoint must do without.
@pytest.mark.parametrize('schedule', [STEPS, ONE_CYCLE], ids=['steps', 'one-cycle'])
def test_resume_after_kill_gives_the_same_losses_and_weights(tiny_system, state_of, schedule):
    config = tiny_system.config.read_text()
    assert STEPS in config
    tiny_system.config.write_text(config.replace(STEPS, schedule))
    options = [
        '--cfg-options',
        DROPOUT,
        'val_cfg=None',
        'val_dataloader=None',
        'val_evaluator=None',
    ]
    tiny_system.run('train', '--work-dir', 'whole', *options)
    whole = tiny_system.losses('whole')
    assert sorted(whole) == list(range(1, 9))

    # Far more steps, so that the kill hits a running training. The schedules do not depend on them.
    command = tiny_system.command(
        'train', '--work-dir', 'cut', *options, 'train_cfg.max_iters=5000'
    )
    process = subprocess.Popen(
        command,
        cwd=tiny_system.folder,
        env=tiny_system.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    first = tiny_system.folder / 'cut' / 'last_checkpoint'
    try:
        deadline = time.monotonic() + 120
        while not (first.is_file() and first.read_text()):
            assert process.poll() is None, 'the training ended by itself'
            assert time.monotonic() < deadline, 'no checkpoint after two minutes'
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    # Go on from step 2, whatever later steps the process came to.
    resumed = ['--work-dir', 'resumed', '--resume', 'cut/iter_2.pth']
    tiny_system.run('train', *resumed, *options)
    after = tiny_system.losses('resumed')
    assert sorted(after) == list(range(3, 9))
    before = tiny_system.losses('cut')
    assert before[1] == whole[1]
    assert {step: whole[step] for step in after} == after
    expected = state_of(tiny_system.folder / 'whole' / 'iter_8.pth')
    actual = state_of(tiny_system.folder / 'resumed' / 'iter_8.pth')
    for name, value in expected.items():
        assert torch.equal(value, actual[name]), name


def test_bare_resume_goes_on_from_the_last_checkpoint_with_any_workers_anywhere(tiny_system):
    # As our configs have it: the sampler's seed is the runner's.
    options = [
        '--cfg-options',
        DROPOUT,
        'train_dataloader.sampler.seed=None',
        'randomness.seed=3',
        'val_cfg=None',
        'val_dataloader=None',
        'val_evaluator=None',
    ]
    tiny_system.run('train', '--work-dir', 'whole', *options, 'train_cfg.max_iters=6')
    tiny_system.run('train', '--work-dir', 'cut', *options, 'train_cfg.max_iters=4')
    # The pointer to the last checkpoint names the old folder.
    (tiny_system.folder / 'cut').rename(tiny_system.folder / 'moved')
    # What a kill leaves behind in the middle of saving: the pointer still names the one before.
    (tiny_system.folder / 'moved' / 'iter_6.pth').write_bytes(b'PK\x03\x04 cut off')
    workers = ['train_cfg.max_iters=6', 'train_dataloader.num_workers=2']
    tiny_system.run('train', '--work-dir', 'moved', '--resume', *options, *workers)
    starts = [
        min(json.loads(line)['step'] for line in log.read_text().splitlines())
        for log in sorted((tiny_system.folder / 'moved').glob('*/vis_data/*_*.json'))
    ]
    assert starts == [1, 5]
    assert tiny_system.losses('moved') == tiny_system.losses('whole')


def test_two_processes_train_like_one_with_the_same_global_batch(tiny_system, state_of):
    steps = ['train_cfg.max_iters=4', 'train_cfg.val_interval=4']
    one = tiny_system.run('train', '--work-dir', 'one', '--cfg-options', *steps)
    size = 'train_dataloader.batch_size=1'
    two = tiny_system.run('train', '--work-dir', 'two', '--cfg-options', *steps, size, processes=2)
    expected = state_of(tiny_system.folder / 'one' / 'iter_4.pth')
    actual = state_of(tiny_system.folder / 'two' / 'iter_4.pth')
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-3, atol=2e-5, msg=name)
    # The two also evaluate alike, each process one of the two groups.
    assert _table(one.stdout + one.stderr) == _table(two.stdout + two.stderr)


def _table(log: str) -> list[str]:
    rows = [line.split('INFO')[-1].split() for line in log.splitlines() if 'mean' in line]
    assert rows, log[-3000:]
    return rows


def test_amp_options_and_learning_rate_scaling(tiny_system):
    tiny_system.run(
        'train',
        '--amp',
        '--auto-scale-lr',
        '--cfg-options',
        'optim_wrapper.optimizer.lr=0.01',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
    )
    dumped = next(
        (tiny_system.folder / 'work_dirs' / 'tiny').glob('*/vis_data/config.py')
    ).read_text()
    assert 'BFloat16OptimWrapper' in dumped
    log = next((tiny_system.folder / 'work_dirs' / 'tiny').glob('*/*.log')).read_text()
    # Batches of 2 groups, a base of 4: half of 0.01.
    assert 'lr: 5.0000e-03' in log


def test_test_writes_masks_and_pictures(tiny_system, repo):
    quick = ['--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2']
    tiny_system.run('train', '--work-dir', 'run', *quick)
    tiny_system.run(
        'test', 'run/iter_2.pth', '--out', 'masks', '--show-dir', 'sheets', '--test-groups', 'f',
        '--cfg-options', 'train_dataloader.dataset.data_root=gone',  # a test needs no training data
    )  # fmt: skip
    masks = sorted((tiny_system.folder / 'masks').glob('*/*.png'))
    assert [mask.relative_to(tiny_system.folder).as_posix() for mask in masks] == [
        f'masks/f/{i:03d}.png' for i in range(4)
    ]
    assert [sheet.name for sheet in (tiny_system.folder / 'sheets').glob('*')] == ['f.jpg']


def test_checkpoints_with_code_need_the_users_word(tiny_system):
    class Payload:
        def __reduce__(self):
            return (print, ('the payload ran',))

    path = tiny_system.folder / 'bad.pth'
    torch.save(dict(state_dict={}, extra=Payload()), path)
    refused = tiny_system.run('test', path, code=1)
    assert 'the payload ran' not in refused.stdout
    assert '--trust-checkpoint' in refused.stderr
    assert 'it asks for' in refused.stderr
    assert 'Traceback' not in refused.stderr
    trusted = tiny_system.run('test', path, '--trust-checkpoint')
    assert 'the payload ran' in trusted.stdout


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['--train-groups', 'a', 'e', '--test-groups', 'e'], "the groups ['e'] would be trained"),
        (['--test-groups', 'a', 'e'], "the groups ['a'] would be trained"),
        (['--train-groups', 'zebra'], "['zebra']"),
        (['--data-root', 'nowhere'], 'nowhere'),
        (['--resume', 'none.pth'], 'there is no checkpoint none.pth'),
    ],
)
def test_wrong_wishes_get_one_clear_error(tiny_system, args, message):
    done = tiny_system.run('train', *args, code=1)
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
