"""Wrong types and arguments in a config are named by their keys before anything is built."""

import sys

import pytest
from mmengine.config import Config
from torch import nn

from mmcoseg.apis import InferenceOptions
from mmcoseg.apis.inference_config import inference_config
from mmcoseg.config_check import config_problems, errors_name_keys, require_sound
from mmcoseg.config_files import find_base
from mmcoseg.engine.run_config import load_config, read_config
from mmcoseg.errors import MMCosegError
from mmcoseg.registry import DATASETS, MODELS

SSNM = 'ssnm_efficientnet-lite0_synthetic'


@pytest.mark.parametrize(
    ('key', 'value', 'hint'),
    [
        ('model.decode_head.in_chanels', 3, "(did you mean 'in_channels'?)"),
        ('model.decode_head.type', 'CoarseToFinHead', "(did you mean 'CoarseToFineHead'?)"),
        ('model.modulators.semantic.num_clases', 3, "(did you mean 'num_classes'?)"),
        ('train_dataloader.dataset.pipeline.0.num_image', 3, "(did you mean 'num_images'?)"),
        ('test_dataloader.dataset.pipeline.0.transforms.0.type', 'LoadCoSegImag', 'SegImage'),
        ('train_dataloader.sampler.type', 'EpisodSampler', "(did you mean 'EpisodeSampler'?)"),
        ('train_dataloader.collate_fn.type', 'group_colate', "(did you mean 'group_collate'?)"),
        ('optim_wrapper.optimizer.weight_decai', 3, "(did you mean 'weight_decay'?)"),
        ('optim_wrapper.optimizer.type', 'Adamm', "(did you mean 'Adam'?)"),
        ('default_hooks.logger.intervall', 3, "(did you mean 'interval'?)"),
        ('train_cfg.max_iter', 3, "(did you mean 'max_iters'?)"),
        ('test_evaluator.protocoll', 'native', "(did you mean 'protocol'?)"),
    ],
)  # fmt: skip
def test_a_typo_is_named_by_its_key_with_the_right_word(key, value, hint):
    with pytest.raises(MMCosegError) as error:
        load_config(SSNM, {key: value})
    (line,) = str(error.value).splitlines()[1:]
    assert line.startswith(f'  {key}: ') and hint in line


@pytest.mark.parametrize(
    ('key', 'hint'),
    [
        ('test_cfg.max_epoch', "(did you mean 'max_epochs'?)"),
        ('test_cfg.optim_wrapper.optimizer.weight_decai', "(did you mean 'weight_decay'?)"),
        ('test_cfg.param_scheduler.step_sise', "(did you mean 'step_size'?)"),
    ],
)
def test_the_optimizer_of_a_test_loop_is_checked(key, hint):
    options = {'test_cfg.param_scheduler': dict(type='StepLR', step_size=1)}
    assert not list(config_problems(load_config('mccoseg/mccoseg_efficientnet-lite2', options)))
    with pytest.raises(MMCosegError) as error:
        load_config('mccoseg/mccoseg_efficientnet-lite2', {**options, key: 3})
    (line,) = str(error.value).splitlines()[1:]
    assert line.startswith(f'  {key}: ') and hint in line


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(MMCosegError) as error:
        load_config(SSNM, {'model.nec': 1, 'visualizer.nam': 1, 'custom_hooks.0.priority': 1})
    lines = str(error.value).splitlines()[1:]
    assert len(lines) == 2
    assert lines[0].startswith('  model.nec: ')
    assert lines[1].startswith('  visualizer.nam: ')


def test_an_argument_that_is_missing_is_named():
    with pytest.raises(MMCosegError, match='custom_hooks.0.out_dir: is missing; SaveMasksHook'):
        load_config(SSNM, {'custom_hooks': [dict(type='SaveMasksHook')]})


def test_the_inferencer_checks_what_it_uses():
    with pytest.raises(MMCosegError, match="model.backbone.wieghts: .* 'weights'"):
        inference_config(InferenceOptions(cfg_options={'model.backbone.wieghts': None}))
    # The rest of a training config is not its business.
    inference_config(InferenceOptions(config=SSNM, cfg_options={'train_cfg.max_iter': 3}))


def test_a_type_of_an_earlier_version_gets_its_new_name():
    with pytest.raises(MMCosegError, match='model.backbone.type: VGG16Pools is now called VGG16'):
        load_config(SSNM, {'model.backbone': dict(type='VGG16Pools')})


class Base(nn.Module):
    def __init__(self, width, depth=1):
        super().__init__()


class PassesOn(Base):
    def __init__(self, color='red', **kwargs):
        super().__init__(**kwargs)


class Uses(Base):
    def __init__(self, **kwargs):
        self.name = kwargs.pop('name', '')
        super().__init__(**kwargs)


class Holds(nn.Module):
    def __init__(self, part):
        super().__init__()


def problems(model) -> list[str]:
    return [key for key, _ in config_problems(Config(dict(model=model)), ('model',))]


def test_arguments_that_are_passed_on_are_those_of_the_base_class():
    assert problems(dict(type=PassesOn, color='blue', width=3, depth=2)) == []
    assert problems(dict(type=PassesOn, width=3, colour='blue')) == ['model.colour']
    assert problems(dict(type=Uses, name='any', whatever=3)) == []


def test_a_component_of_others_may_give_types_a_meaning_of_its_own():
    assert problems(dict(type=Holds, part=dict(type='cosine'))) == []
    assert problems(dict(type=Holds, part=dict(type='GroupDataPreprocessor', men=1))) == [
        'model.part.men'
    ]
    assert problems(dict(type='SSNM', neck=dict(type='cosine'))) == ['model.neck.type']
    # mmcv's own kind of dicts.
    assert problems(dict(type='ResNet', depth=18, norm_cfg=dict(type='BN', other=1))) == []


def test_types_of_other_scopes_are_found():
    cfg = dict(default_scope='mmseg', model=dict(type='FCNHead', num_convs=1, no_such=3))
    assert [key for key, _ in config_problems(Config(cfg), ('model',))] == ['model.no_such']
    assert problems(dict(type='mmseg.FCNHead', num_convs=1)) == []


@pytest.mark.parametrize(
    ('cfg', 'text'),
    [
        (dict(type=Holds, part=dict(type=PassesOn)), r"model\.part .*missing .*'width'"),
        (dict(type=Holds, part=dict(type='NoSuch')), r'model\.part .*NoSuch is not in the'),
    ],
)
def test_errors_in_building_get_the_key(cfg, text):
    def build():
        MODELS.build(cfg['part'])

    with pytest.raises(MMCosegError, match=text), errors_name_keys(Config(dict(model=cfg))):
        build()


@pytest.mark.parametrize('bug', [lambda: None + 1, lambda: {}['x'], lambda: Base()])
def test_errors_of_programs_stay_what_they_are(bug):
    cfg = Config(dict(model=dict(type=Holds, part=dict(type='NoSuch'))))
    with pytest.raises((TypeError, KeyError)), errors_name_keys(cfg):
        bug()


def test_a_component_of_ones_own_is_checked_as_ours_are(tmp_path, monkeypatch):
    (tmp_path / 'my_head.py').write_text(
        'from mmcoseg.registry import DATASETS\n'
        '@DATASETS.register_module()\n'
        'class MyGroups:\n'
        '    def __init__(self, folder, size=3): pass\n'
    )
    config = tmp_path / 'mine.py'
    config.write_text(
        "custom_imports = dict(imports=['my_head'])\n"
        "test_dataloader = dict(dataset=dict(type='MyGroups', sizes=3))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(MMCosegError) as error:
            load_config(str(config))
    finally:
        DATASETS.module_dict.pop('MyGroups', None)
        sys.modules.pop('my_head', None)
    text = str(error.value)
    assert (
        "test_dataloader.dataset.sizes: MyGroups has no such argument (did you mean 'size'?)"
        in text
    )
    assert 'test_dataloader.dataset.folder: is missing' in text


@pytest.mark.parametrize(
    'base',
    [
        "'mmcoseg::ssnm/ssnm_hrnet_cocoseg.py'",
        "['mmcoseg::ssnm/ssnm_hrnet_cocoseg']",
        "['mmcoseg::_base_/models/ssnm_hrnet.py', 'mmcoseg::_base_/default_runtime', './mine.py']",
    ],
)
def test_a_config_anywhere_inherits_one_of_the_toolbox(base, tmp_path):
    (tmp_path / 'mine.py').write_text('mine = 3\n')
    config = tmp_path / 'child.py'
    config.write_text(f'_base_ = {base}\nmodel = dict(backbone=dict(weights=None))\n')
    cfg = read_config(str(config))
    expected = read_config('ssnm/ssnm_hrnet_cocoseg').model
    expected.backbone.weights = None
    assert cfg.model == expected and cfg.default_scope == 'mmcoseg'
    require_sound(cfg)


def test_a_base_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match=r'mmcoseg::ssnm/ssnm_hrnet_coco.*_cocoseg'):
        find_base('ssnm/ssnm_hrnet_coco')
