"""The configs of multi-class co-segmentation, and the overrides that their page names."""

import re

import pytest
import torch
from mmengine.config import Config, DictAction
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmcoseg.config_files import config_root, find_config
from mmcoseg.engine.inspection import without_weights
from mmcoseg.registry import DATASETS, MODELS
from mmcoseg.testing import write_tiny_dataset

NAME = 'mccoseg/mccoseg_vgg16'


def config(name=NAME, **options):
    cfg = Config.fromfile(str(find_config(name)))
    cfg.merge_from_dict(options)
    init_default_scope('mmcoseg')
    return cfg


def build(cfg):
    return MODELS.build(without_weights(cfg.model))


def test_published_settings():
    cfg = config()
    assert cfg.train_dataloader.batch_size == cfg.model.test_cfg.group_size == 3
    assert cfg.train_cfg.max_epochs == 10
    assert [step.get('scale') for step in cfg.train_pipeline[0].transforms][1] == (384, 384)
    model = build(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {}
    for group in wrapper.optimizer.param_groups:
        assert group['weight_decay'] == 5e-4
        for parameter in group['params']:
            if parameter.requires_grad:
                rates.setdefault(names[id(parameter)].split('.')[0], set()).add(group['lr'])
    assert {name: [pytest.approx(rate) for rate in some] for name, some in rates.items()} == dict(
        backbone=[1e-6], attention=[1e-4], decode_head=[1e-4]
    )
    assert set(model.losses) == {'co_attention'} and model.losses['co_attention'].loss_weight == 1
    assert [type(p).__name__ for p in model.postprocessors] == ['DenseCRF']


def test_one_class():
    cfg = config('mccoseg/coattention_vgg16')
    model = build(cfg)
    assert model.num_classes == 1 and model.attention is None
    assert model.decode_head.num_maps == 2
    assert cfg.test_evaluator == dict(type='CoSegMetric')


def documented_overrides():
    text = (config_root() / 'mccoseg' / 'README.md').read_text()
    return dict(re.findall(r'\.\.\. --cfg-options (\S+=None) +# (.+)', text))


def test_documented_overrides():
    overrides = {what: build_with(option) for option, what in documented_overrides().items()}
    assert len(overrides) == 4
    parts = {
        what: set(model.attention.parts) if model.attention else set()
        for what, model in overrides.items()
    }
    assert parts == {
        'self attention only': {'self'},
        'mutual attention only': {'mutual'},
        'no attention': set(),
        'argmax instead of the dense CRF': {'self', 'mutual'},
    }
    assert {what for what, model in overrides.items() if not model.postprocessors} == {
        'argmax instead of the dense CRF'
    }


def build_with(option):
    key, value = option.split('=')
    return build(config(**{key: DictAction._parse_iterable(value)}))


@torch.no_grad()
def test_the_network_fits_together():
    cfg = config(**{'model.num_classes': 3})
    model = build(cfg).eval()
    logits = model.forward(torch.rand(2, 3, 96, 64))
    assert logits.shape == (2, 4, 96, 64)
    maps = model.decode_head.predict_by_feat(logits, (96, 64))
    assert model.extract_vectors(torch.rand(2, 3, 96, 64), maps).shape == (2, 4, 2048)


def test_pipelines_on_photographs(coseg_data):
    cfg = config()
    options = dict(data_root=str(coseg_data / 'voc_multiclass'), groups=['chair+tvmonitor'])
    item = DATASETS.build(dict(cfg.test_dataloader.dataset, **options))[0]
    sample = item['data_samples'][0]
    assert item['inputs'][0].shape == (3, 384, 384)
    assert tuple(sample.gt_sem_seg.data.shape[1:]) == tuple(sample.ori_shape)
    values = set()
    for sample in item['data_samples']:
        values |= set(sample.gt_sem_seg.data.unique().tolist())
    assert {0, 1, 2} <= values <= {0, 1, 2, 255}


def test_a_group_is_optimised_predicted_and_scored(tmp_path):
    root = write_tiny_dataset(tmp_path / 'data', {'a+b': 4}, size=(40, 64), num_foreground=2)
    net = dict(type='EfficientNetLite', arch='lite0', weights=None, output_stride=16)
    cfg = config(
        **{
            'model.backbone': dict(_delete_=True, **net, taps=['stage3', 'stage5']),
            'model.extractor': dict(_delete_=True, **net, taps=['stage5']),
            'model.decode_head.in_channels': [40, 112],
            'model.attention.in_channels': 112,
            'train_cfg.max_epochs': 2,
        }
    )
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = str(root)
        loader.dataset.pipeline[0].transforms[1].scale = (64, 64)
    cfg.work_dir = str(tmp_path / 'work')
    runner = Runner.from_cfg(cfg)
    seen = []
    runner.model.losses['co_attention'].register_forward_hook(
        lambda _, args, value: seen.append(args[0].shape[:2])
    )
    runner.train()
    # Two epochs of two mini-batches each, of K + 1 = 3 maps.
    assert [tuple(shape) for shape in seen] == [(2, 3)] * 4
    assert 0 < runner.train_loop.metrics['P'] <= 100
    assert 0 <= runner.train_loop.metrics['J'] <= 100
