"""The example projects, copied out of the repository and run in fresh processes."""

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from demo_inputs import write_tiny_dataset

from mmcoseg.datasets.image_io import read_mask
from mmcoseg.structures.rle import encode_masks

pytestmark = pytest.mark.slow


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


@pytest.fixture
def project(tmp_path, repo, repo_env):
    """Runs a tool from a copy of the example project; gives what it says."""
    copy = shutil.copytree(repo / 'projects' / 'example_project', tmp_path / 'mine')
    env = {**repo_env, 'PYTHONPATH': os.pathsep.join([str(copy), repo_env['PYTHONPATH']])}

    def call(tool, *arguments):
        return run([repo / 'tools' / f'{tool}.py', *arguments], copy, env)

    call.folder = copy
    return call


def list_groups(root):
    """Write groups.csv, a line for each image of a tiny data set."""
    lines = []
    for image in sorted(root.glob('images/*/*')):
        mask = root / 'masks' / image.parent.name / f'{image.stem}.png'
        lines.append([image.parent.name, image.relative_to(root), mask.relative_to(root)])
    with open(root / 'groups.csv', 'w', newline='') as file:
        csv.writer(file).writerows(lines)


def list_instances(root):
    """Write instances.json, with one instance in each image of a tiny data set."""
    images, annotations = [], []
    for number, path in enumerate(sorted(root.glob('images/*/*'))):
        mask = read_mask(root / 'masks' / path.parent.name / f'{path.stem}.png') == 255
        (rle,) = encode_masks(mask[None])
        rle['counts'] = rle['counts'].decode()
        common = dict(height=mask.shape[0], width=mask.shape[1])
        images.append(dict(id=number, file_name=f'{path.parent.name}/{path.name}', **common))
        annotation = dict(id=number, image_id=number, category_id=1, segmentation=rle, iscrowd=0)
        annotations.append(dict(annotation, area=int(mask.sum())))
    categories = [dict(id=1, name='thing')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / 'instances.json').write_text(json.dumps(content))


def test_a_modulator_a_head_a_loss_and_a_data_set_of_ones_own(project, tmp_path):
    data = write_tiny_dataset(tmp_path / 'data', dict(a=4, b=4, c=3))
    list_groups(data)
    shutil.move(data / 'images', data / 'pictures')  # only the list says where they are
    text = (data / 'groups.csv').read_text().replace('images/', 'pictures/')
    (data / 'groups.csv').write_text(text)
    common = ['--data-root', data, '--test-groups', 'c', '--cfg-options']
    common += ['model.data_preprocessor.size=(97,97)', 'model.backbone.weights=None']
    steps = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.logger.interval=1']
    config = 'configs/prototype_tiny.py'
    output = project('train', config, '--train-groups', 'a', 'b', *common, *steps)
    assert 'loss_dice' in output
    checkpoint = project.folder / 'work_dirs' / 'prototype_tiny' / 'iter_2.pth'
    output = project('test', config, checkpoint, '--out', 'masks', *common)
    assert 'class mean' in output
    assert len([*project.folder.glob('masks/c/*')]) == 3


def test_a_group_loss_and_a_ranking_of_ones_own(project, tmp_path):
    data = write_tiny_dataset(tmp_path / 'data', dict(a=3, b=2), size=(64, 80))
    list_instances(data)
    options = ['model.data_preprocessor.size=(97,97)', 'test_cfg.max_epochs=1']
    options += ['model.backbone.weights=None', 'model.initial_segmentor.backbone.weights=None']
    options += ['model.postprocessors.1.weight=1']
    config = 'configs/contrast_tiny.py'
    output = project('test', config, '--data-root', data, '--cfg-options', *options)
    assert 'loss_contrast' in output and 'mAP_25' in output
    finished = project.folder / 'work_dirs' / 'contrast_tiny' / 'optimized_groups'
    with gzip.open(finished / 'a.pth.gz') as file:
        kept = torch.load(file, weights_only=True)
    scores = [image['pred_instances']['scores'] for image in kept['images']]
    # Of three objects, the one in the middle has the typical size.
    assert max(one.max() for one in scores) == 1 > min(one.max() for one in scores)


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
