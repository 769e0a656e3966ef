"""Every config builds."""

import ast
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcoseg.config_files import METHODS, config_root, find_config, list_configs
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
    if cfg.get('train_dataloader') is None or name in ON_GROUPS:
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
def test_config_is_optimized_on_the_groups_that_it_is_tested_on(name):
    cfg = Config.fromfile(str(find_config(name)))
    assert cfg.train_cfg.type == 'GroupOptimizationLoop'
    assert cfg.test_cfg.type == 'GroupOptimizationTestLoop'
    # A seed: without one no result could be had again, nor finished groups be kept.
    assert cfg.randomness.get('seed') is not None
    (train,) = datasets_of(cfg.train_dataloader)
    (test,) = datasets_of(cfg.test_dataloader)
    for key in ('type', 'data_root', 'ann_file', 'groups'):
        assert train.get(key) == test.get(key), key
    assert test.test_mode and cfg.data_root == test.data_root
    # Nothing of the annotations is seen while optimizing.
    assert 'LoadCoSegMask' not in str(train.pipeline)


@pytest.mark.parametrize('name', CONFIGS)
def test_config_has_at_most_five_levels(name):
    # Fewer forced settings to be written down more than once.
    assert depth(find_config(name)) <= 5


def depth(path: Path) -> int:
    """Number of files from a config to the deepest that it inherits, both counted."""
    bases = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            value = ast.literal_eval(node.value)
            bases = [value] if isinstance(value, str) else value
    return 1 + max((depth((path.parent / base).resolve()) for base in bases), default=0)


def test_the_consensus_has_the_same_settings_wherever_it_stands():
    """It is written down more than once, so the copies must agree."""

    classes = ('classes', 'class_training')

    def settings(model):
        refiners = {name: cfg for name, cfg in model['refiners'].items() if name not in classes}
        backbone = {key: model['backbone'][key] for key in ('arch', 'out_stages', 'output_stride')}
        return backbone, model['cues'], model['cue_weights'], refiners

    def model(name):
        return Config.fromfile(str(find_config(name))).model.to_dict()

    expected = settings(model('consensus/consensus_efficientnet-lite2'))
    for name in ('deepco3/deepco3_efficientnet-lite2', 'mccoseg/mccoseg_efficientnet-lite2'):
        assert settings(model(name)['prior']) == expected
    training_free = model('mccoseg/consensus_efficientnet-lite2_multiclass')
    assert settings(training_free) == expected
    optimized = model('mccoseg/mccoseg_efficientnet-lite2')['prior']
    for name in classes:
        assert optimized['refiners'][name] == training_free['refiners'][name]
