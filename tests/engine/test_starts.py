"""How training and testing start: checkpoints instead of downloads, absent sets, slurm, hooks."""

import os
import stat
import subprocess
import sys

import pytest
import torch
from mmengine.registry import init_default_scope

from mmcoseg.engine.launch import run_test
from mmcoseg.engine.run_config import load_config
from mmcoseg.models.backbones import MissingWeightsError
from mmcoseg.registry import MODELS

pytestmark = pytest.mark.slow

QUICK = ['train_cfg.max_iters=2', 'train_cfg.val_interval=1']

#: Runs the command behind its options as slurm does, once a task.
SRUN = """#!{python}
import os, subprocess, sys
with open('srun.txt', 'w') as file:
    file.write(' '.join(sys.argv[1:]))
options = dict(word.removeprefix('--').partition('=')[::2] for word in sys.argv if word[:2] == '--')
first = next(i for i, word in enumerate(sys.argv[3:], 3) if not word.startswith('-'))
count = int(options['ntasks'])
tasks = []
for i in range(count):
    ids = dict(SLURM_PROCID=i, SLURM_LOCALID=i, SLURM_NTASKS=count, SLURM_NODELIST='127.0.0.1')
    env = dict(os.environ, **{{key: str(value) for key, value in ids.items()}})
    tasks.append(subprocess.Popen(sys.argv[first:], env=env))
sys.exit(max(task.wait() for task in tasks))
"""


def run_slurm(system, tool, *args, code=0, **env):
    """Run a slurm script with a cluster of this one machine."""
    srun = system.folder / 'bin' / 'srun'
    srun.parent.mkdir(exist_ok=True)
    srun.write_text(SRUN.format(python=sys.executable))
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    scontrol = srun.with_name('scontrol')
    scontrol.write_text('#!/bin/sh\necho 127.0.0.1\n')
    scontrol.chmod(srun.stat().st_mode)
    path = f'{srun.parent}:{os.environ["PATH"]}'
    script = str(system.repo / 'tools' / f'slurm_{tool}.sh')
    done = subprocess.run(
        [script, 'partition', 'job', str(system.config), *args],
        cwd=system.folder,
        env={**system.env, 'PATH': path, 'PYTHON': sys.executable, 'MASTER_PORT': '29571', **env},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-6000:]
    return (system.folder / 'srun.txt').read_text()


def test_slurm_without_a_gpu(tiny_system):
    options = ['--cfg-options', *QUICK, 'train_dataloader.batch_size=1']
    asked = run_slurm(tiny_system, 'train', '--work-dir', 'two', *options, GPUS='0', PROCESSES='2')
    assert 'gres' not in asked
    asked = run_slurm(tiny_system, 'test', 'two/iter_2.pth', GPUS='0')
    assert '--ntasks=1 ' in asked


def test_slurm_asks_for_the_gpus_that_are_wanted(tiny_system):
    help_only = ['--help']
    asked = run_slurm(tiny_system, 'train', *help_only, GPUS='2')
    assert '--gres=gpu:2 --ntasks=2 --ntasks-per-node=2' in asked
    asked = run_slurm(tiny_system, 'test', *help_only, GPUS='16', GPUS_PER_NODE='4')
    assert '--gres=gpu:4 --ntasks=16 --ntasks-per-node=4' in asked


@pytest.mark.parametrize('best', ['auto', '[P,J_image]'])
def test_the_best_checkpoint_is_kept(tiny_system, best):
    option = f'default_hooks.checkpoint.save_best={best}'
    tiny_system.run('train', '--work-dir', 'run', '--cfg-options', *QUICK, option)
    kept = {path.name.split('_iter')[0] for path in (tiny_system.folder / 'run').glob('best_*')}
    assert (
        kept
        == {
            'auto': {'best_P'},
            '[P,J_image]': {'best_P', 'best_J_image'},
        }[best]
    )


def test_a_best_score_that_there_is_not_is_named(tiny_system):
    option = 'default_hooks.checkpoint.save_best=Jaccard'
    done = tiny_system.run('train', '--cfg-options', *QUICK, option, code=1)
    assert "save_best of the checkpoint hook names ['Jaccard']" in done.stderr
    assert 'Traceback' not in done.stderr


def test_training_starts_without_a_validation_set_that_is_not_there(tiny_system):
    option = 'val_dataloader.dataset.data_root=nowhere'
    done = tiny_system.run('train', '--work-dir', 'run', '--cfg-options', *QUICK, option)
    said = [line for line in (done.stdout + done.stderr).splitlines() if 'nowhere' in line]
    assert sum('trained without validation: there is no folder' in line for line in said) == 1
    assert (tiny_system.folder / 'run' / 'iter_2.pth').is_file()
    # What nobody reads is in the log file, not on the console.
    assert len((done.stdout + done.stderr).splitlines()) < 30
    (log,) = (tiny_system.folder / 'run').glob('*/*.log')
    assert 'Config:\n' in log.read_text() and 'Hooks will be executed' in log.read_text()


def test_training_that_cannot_start_says_why(tiny_system):
    option = 'train_dataloader.dataset.data_root=nowhere'
    done = tiny_system.run('train', '--cfg-options', option, code=1)
    assert 'nowhere' in done.stderr and 'Traceback' not in done.stderr


def test_default_hooks_may_be_none(tiny_system):
    names = ('logger', 'param_scheduler', 'sampler_seed', 'timer', 'visualization')
    hooks = [f'default_hooks.{name}=None' for name in names]
    tiny_system.run('train', '--work-dir', 'run', '--cfg-options', *QUICK, *hooks)
    # Pictures that are asked for come all the same.
    wish = ['--show-dir', 'shown', '--cfg-options', 'default_hooks.visualization=None']
    tiny_system.run('test', 'run/iter_2.pth', *wish, 'custom_hooks=None')
    assert len(list((tiny_system.folder / 'shown').iterdir())) == 2


def test_a_checkpoint_stands_for_pretrained_weights(tmp_path):
    options = {
        'model.backbone.weights': None,
        'test_dataloader.dataset.num_categories': 1,
        'test_dataloader.dataset.images_per_group': 2,
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
    }
    name = 'ssnm_efficientnet-lite0_synthetic'
    cfg = load_config(name, options)
    init_default_scope('mmcoseg')
    state = MODELS.build(cfg.model).state_dict()
    path = tmp_path / 'model.pth'

    def test_with(state):
        torch.save(dict(state_dict=state), path)
        cfg = load_config(name, {**options, 'model.backbone.weights': '/nowhere/weights.pth'})
        return run_test(cfg, str(path), work_dir=str(tmp_path / 'run'))

    assert 'J' in test_with(state)
    stripped = {key: value for key, value in state.items() if not key.startswith('backbone.')}
    with pytest.raises(MissingWeightsError):
        test_with(stripped)
    first = next(key for key in state if key.startswith('backbone.'))
    with pytest.raises(ValueError, match=r'model\.pth has only a part of model\.backbone'):
        test_with({**stripped, first: state[first]})
