from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmengine.visualization import Visualizer
from PIL import Image

from mmcoseg.engine.hooks import GroupVisualizationHook
from mmcoseg.errors import MMCosegError
from mmcoseg.registry import HOOKS
from mmcoseg.structures import CoSegDataSample, GroupDataSample
from mmcoseg.visualization import GroupVisualizer


def make_batch(names, tmp_path=None):
    """Groups of two images: blue for the network; red in their files, if there are any."""
    inputs, groups = [], []
    for name in names:
        samples = []
        for i in range(2):
            sample = CoSegDataSample(metainfo=dict(group=name, stem=str(i), img_path=None))
            if tmp_path is not None:
                path = tmp_path / f'{name}_{i}.png'
                Image.new('RGB', (40, 30), (255, 0, 0)).save(path)
                sample.set_metainfo(dict(img_path=str(path)))
            mask = torch.zeros(1, 30, 40, dtype=torch.uint8)
            sample.pred_sem_seg = PixelData(data=mask)
            samples.append(sample)
        groups.append(GroupDataSample(samples, metainfo=dict(group=name)))
        bgr = torch.zeros(3, 15, 20, dtype=torch.uint8)
        bgr[0] = 255
        inputs.append([bgr, bgr])
    return dict(inputs=inputs), groups


@pytest.fixture
def runner(tmp_path):
    return SimpleNamespace(visualizer=GroupVisualizer(), iter=3, log_dir=str(tmp_path / 'log'))


def has_color(path, rgb):
    with Image.open(path) as sheet:
        return (np.abs(np.asarray(sheet).astype(int) - rgb).max(axis=-1) < 12).any()


def test_every_group_is_drawn_whatever_the_batch_size(runner, tmp_path):
    for batch_size in (1, 2, 4):
        out = tmp_path / str(batch_size)
        hook = HOOKS.build(dict(type='GroupVisualizationHook', draw=True, out_dir=str(out)))
        for start in range(0, 4, batch_size):
            batch, groups = make_batch('abcd'[start : start + batch_size])
            hook.after_test_iter(runner, start, batch, groups)
        assert sorted(path.name for path in out.iterdir()) == [f'{name}.jpg' for name in 'abcd']


def test_files_are_preferred_to_the_batch(runner, tmp_path):
    for folder, files, color in (('f', tmp_path, (255, 0, 0)), ('b', None, (0, 0, 255))):
        hook = GroupVisualizationHook(draw=True, out_dir=str(tmp_path / folder))
        hook.after_val_iter(runner, 0, *make_batch(['cat'], files))
        other = color[::-1]
        assert has_color(tmp_path / folder / 'cat.jpg', color)
        assert not has_color(tmp_path / folder / 'cat.jpg', other)


def test_default_folder_and_switch(runner, tmp_path):
    GroupVisualizationHook().after_test_iter(runner, 0, *make_batch(['cat']))
    assert not (tmp_path / 'log').exists()
    GroupVisualizationHook(draw=True).after_test_iter(runner, 0, *make_batch(['cat']))
    assert (tmp_path / 'log' / 'groups' / 'cat.jpg').is_file()


def test_mistakes_are_explained(runner):
    runner.visualizer = Visualizer()
    with pytest.raises(MMCosegError, match='visualizer is Visualizer: set .*GroupVisualizer'):
        GroupVisualizationHook(draw=True).after_test_iter(runner, 0, *make_batch(['cat']))
