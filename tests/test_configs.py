"""Every config builds."""

import pytest
from mmengine.config import Config

from mmcoseg.config_files import METHODS, config_root, find_config, list_configs
from mmcoseg.engine.group_optimization import OptimizationSettings
from mmcoseg.engine.inspection import check_config
from mmcoseg.engine.run_config import datasets_of, optimizes_groups

CONFIGS = list_configs()
ON_GROUPS = [name for name in CONFIGS if optimizes_groups(Config.fromfile(str(find_config(name))))]


def test_there_are_configs():
    assert len(CONFIGS) >= 1
    # None is overlooked: every file below configs/ is run or inherited.
    files = {path for path in config_root().rglob('*.py') if '_base_' not in path.parts}
    assert files == {find_config(name) for name in CONFIGS}


@pytest.mark.parametrize('name', CONFIGS)
def test_config_builds(name):
    cfg = Config.fromfile(str(find_config(name)))
    assert cfg.default_scope == 'mmcoseg'
    wrong = {part: problem for part, problem in check_config(cfg) if problem}
    assert not wrong


@pytest.mark.parametrize('name', CONFIGS)
def test_config_keeps_what_resuming_rests_on(name):
    # custom_hooks is a list: a config that sets its own replaces the inherited one.
    cfg = Config.fromfile(str(find_config(name)))
    if cfg.get('train_dataloader') is None:
        return  # nothing is trained, or finished groups are kept instead of checkpoints
    assert 'IterationSeedHook' in [hook['type'] for hook in cfg.get('custom_hooks', [])]
    assert cfg.train_dataloader.sampler.type == 'EpisodeSampler'
    assert cfg.randomness.get('seed') is not None
    # Two kept at least: the last whole one outlives a kill in the middle of saving the next.
    kept = cfg.default_hooks.checkpoint.get('max_keep_ckpts', -1)
    assert kept == -1 or kept >= 2


def test_methods_that_are_optimized_on_each_group_are_found():
    assert METHODS['deepco3'] in ON_GROUPS
    published = ('deepco3/deepco3_', 'mccoseg/')
    assert not [name for name in ON_GROUPS if not name.startswith(published)]


@pytest.mark.parametrize('name', ON_GROUPS)
def test_config_that_optimizes_groups_is_described_once(name):
    cfg = Config.fromfile(str(find_config(name)))
    settings = OptimizationSettings.from_test_cfg(cfg.test_cfg, cfg.randomness.seed)
    assert settings.max_epochs >= 1 and settings.optim_wrapper['optimizer']['lr'] > 0
    # Nothing else to train by: training and testing are the same.
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        assert cfg.get(key) is None, key
    (dataset,) = datasets_of(cfg.test_dataloader)
    assert dataset.test_mode and cfg.data_root == dataset.data_root
