"""Every config builds."""

import ast
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcoseg.config_files import config_root, find_config, list_configs
from mmcoseg.engine.inspection import check_config

CONFIGS = list_configs()


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
        return  # nothing is trained
    assert 'IterationSeedHook' in [hook['type'] for hook in cfg.get('custom_hooks', [])]
    assert cfg.train_dataloader.sampler.type == 'EpisodeSampler'
    assert cfg.randomness.get('seed') is not None
    # Two kept at least: the last whole one outlives a kill in the middle of saving the next.
    kept = cfg.default_hooks.checkpoint.get('max_keep_ckpts', -1)
    assert kept == -1 or kept >= 2


@pytest.mark.parametrize('name', CONFIGS)
def test_config_has_at_most_three_levels(name):
    assert depth(find_config(name)) <= 3


def depth(path: Path) -> int:
    """Number of files from a config to the deepest that it inherits, both counted."""
    bases = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            value = ast.literal_eval(node.value)
            bases = [value] if isinstance(value, str) else value
    return 1 + max((depth((path.parent / base).resolve()) for base in bases), default=0)
