"""The example projects, copied out of the repository and run in fresh processes."""

import os
import shutil
import subprocess
import sys

import pytest

from mmcoseg.testing import write_tiny_dataset


@pytest.fixture
def data(tmp_path):
    return write_tiny_dataset(tmp_path / 'data', dict(a=4, b=4, c=3))


def run(command, folder, env):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *map(str, command)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout + done.stderr


def test_example_project_trains_from_a_copy(tmp_path, data, repo, repo_env):
    copy = shutil.copytree(repo / 'projects' / 'example_project', tmp_path / 'mine')
    env = {**repo_env, 'PYTHONPATH': os.pathsep.join([str(copy), repo_env['PYTHONPATH']])}
    options = ['train_cfg.max_iters=3', 'train_cfg.val_interval=3', 'model.backbone.weights=None']
    groups = ['--train-groups', 'a', 'b', '--test-groups', 'c']
    output = run(
        [
            repo / 'tools' / 'train.py',
            'configs/prototype_tiny.py',
            '--data-root',
            data,
            *groups,
            '--cfg-options',
            *options,
            'default_hooks.logger.interval=1',
        ],
        copy,
        env,
    )
    assert 'loss_dice' in output
    assert (copy / 'work_dirs' / 'prototype_tiny' / 'iter_3.pth').is_file()


def test_installed_plugin_is_found_by_its_entry_point(tmp_path, repo, repo_env):
    copy = shutil.copytree(repo / 'projects' / 'example_plugin', tmp_path / 'plugin')
    site = tmp_path / 'site'
    pip = ['-m', 'pip', 'install', '-q', '--no-deps', '--no-build-isolation', '--no-index']
    run([*pip, '--target', site, copy], tmp_path, repo_env)
    env = {**repo_env, 'PYTHONPATH': os.pathsep.join([str(site), repo_env['PYTHONPATH']])}
    code = (
        'from mmcoseg.registry import MODELS; import torch;'
        'm = MODELS.build(dict(type="CenterBiasModulator"));'
        'print(m((torch.rand(3, 4, 5, 6),), [3]).shift.shape)'
    )
    assert 'torch.Size([3, 1, 5, 6])' in run(['-c', code], tmp_path, env)
    assert 'CenterBiasModulator' in run(['-m', 'mmcoseg.cli', 'list', 'components'], tmp_path, env)


def test_broken_plugin_is_reported_and_left_out(tmp_path, repo_env):
    info = tmp_path / 'broken-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n')
    (info / 'entry_points.txt').write_text('[mmcoseg.plugins]\nbroken = broken_plugin\n')
    (tmp_path / 'broken_plugin.py').write_text('raise RuntimeError("no luck")\n')
    env = {**repo_env, 'PYTHONPATH': os.pathsep.join([str(tmp_path), repo_env['PYTHONPATH']])}
    code = (
        'import warnings; warnings.simplefilter("always");'
        'from mmcoseg.registry import MODELS; print(MODELS.get("SSNM").__name__)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == 'SSNM'
    assert "plugin 'broken' (broken_plugin) could not be imported" in done.stderr
    assert 'no luck' in done.stderr
