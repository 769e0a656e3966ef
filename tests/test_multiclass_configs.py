"""The configs of multi-class co-segmentation, and the overrides that their page names."""

import json
import re

import pytest
import torch
from demo_inputs import write_tiny_dataset
from mmengine.config import Config, DictAction
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmcoseg.config_files import config_root, find_config
from mmcoseg.engine.run_config import hand_over_input_size
from mmcoseg.models.backbones.weights import deferred_weights
from mmcoseg.registry import DATASETS, MODELS

NAME = 'mccoseg/mccoseg_vgg16'


def config(name=NAME, **options):
    cfg = Config.fromfile(str(find_config(name)))
    cfg.merge_from_dict(options)
    init_default_scope('mmcoseg')
    return cfg


def build(cfg):
    with deferred_weights():
        return MODELS.build(cfg.model)


def test_published_settings():
    cfg = config()
    assert cfg.test_cfg.batch_size == cfg.model.test_cfg.group_size == 3
    assert cfg.test_cfg.max_epochs == 10
    assert cfg.model.data_preprocessor.size == (384, 384)
    model = build(cfg)
    wrapper = build_optim_wrapper(model, cfg.test_cfg.optim_wrapper)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {}
    for group in wrapper.optimizer.param_groups:
        assert group['weight_decay'] == 5e-4
        for parameter in group['params']:
            if parameter.requires_grad:
                rates.setdefault(names[id(parameter)].split('.')[0], set()).add(group['lr'])
    assert {name: [pytest.approx(rate) for rate in some] for name, some in rates.items()} == dict(
        backbone=[1e-6], neck=[1e-4], decode_head=[1e-4]
    )
    assert set(model.losses) == {'co_attention'} and model.losses['co_attention'].loss_weight == 1
    assert [type(p).__name__ for p in model.postprocessors] == ['DenseCRF']


@pytest.mark.parametrize(
    ('name', 'max_classes'), [(NAME, 3), ('mccoseg/mccoseg_efficientnet-lite2', 6)]
)
def test_the_number_of_classes_is_a_matter_of_the_group(name, max_classes):
    cfg = config(name)
    assert cfg.model.num_classes == 'data' and cfg.model.max_classes == max_classes
    model = build(cfg)
    assert model.decode_head.num_maps == max_classes + 1
    if model.initial_segmentor is not None:
        assert model.initial_segmentor.stages['classes'].num_classes == 'data'
    with pytest.raises(ValueError, match=f'is more than model.max_classes={max_classes}'):
        build(config(name, **{'model.num_classes': max_classes + 1}))


@pytest.mark.parametrize('name', ['consensus', 'consensus-kmeans', 'kmeans'])
def test_methods_without_training_take_the_number_of_the_group(name):
    name = f'mccoseg/{name}_efficientnet-lite2_multiclass'
    for options, number in (({}, 'data'), ({'model.num_classes': 3}, 3)):
        assert build(config(name, **options)).stages['classes'].num_classes == number


def test_one_class():
    cfg = config('mccoseg/coattention_vgg16')
    model = build(cfg)
    assert model.num_classes == 1 and model.neck is None
    assert model.decode_head.num_maps == 2
    assert cfg.test_evaluator == dict(type='CoSegMetric')


def documented_overrides():
    text = (config_root() / 'mccoseg' / 'README.md').read_text()
    return dict(re.findall(r'\.\.\. --cfg-options (\S+=None) +# (.+)', text))


def test_documented_overrides():
    overrides = {what: build_with(option) for option, what in documented_overrides().items()}
    assert len(overrides) == 4
    parts = {
        what: set(model.neck.attention.parts) if model.neck else set()
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
    assert model.max_classes == 3
    logits = model.forward(torch.rand(2, 3, 96, 64))
    assert logits.shape == (2, 4, 96, 64)
    maps = model.decode_head.predict_by_feat(logits, (96, 64))
    assert model.extract_vectors(torch.rand(2, 3, 96, 64), maps).shape == (2, 4, 2048)


@pytest.mark.slow
def test_pipeline_on_photographs(coseg_data):
    cfg = config()
    options = dict(data_root=str(coseg_data / 'voc_multiclass'), groups=['chair+tvmonitor'])
    hand_over_input_size(cfg)
    item = DATASETS.build(dict(cfg.test_dataloader.dataset, **options))[0]
    sample = item['data_samples'][0]
    assert item['inputs'][0].shape == (3, 384, 384)
    assert tuple(sample.gt_sem_seg.data.shape[1:]) == tuple(sample.ori_shape)
    values = set()
    for sample in item['data_samples']:
        values |= set(sample.gt_sem_seg.data.unique().tolist())
    assert {0, 1, 2} <= values <= {0, 1, 2, 255}


@pytest.mark.slow
def test_a_group_is_optimized_predicted_and_scored(tmp_path):
    """Groups of two and of three classes, in one run and one table."""
    root = tmp_path / 'data'
    for number, group in ((2, 'a+b'), (3, 'a+b+c')):
        write_tiny_dataset(root, {group: 4}, size=(40, 64), num_foreground=number)
    net = dict(type='EfficientNetLite', arch='lite0', weights=None, output_stride=16)
    cfg = config(
        **{
            'model.backbone': dict(_delete_=True, **net, out_stages=['stage3', 'stage5']),
            'model.extractor': dict(_delete_=True, **net, out_stages=['stage5']),
            'model.decode_head.in_channels': [40, 112],
            'model.neck.attention.in_channels': 112,
            'model.data_preprocessor.size': (64, 64),
            'test_cfg.max_epochs': 2,
            'test_dataloader.dataset.data_root': str(root),
            'test_evaluator.out_file': str(tmp_path / 'scores.json'),
        }
    )
    hand_over_input_size(cfg)
    cfg.work_dir = str(tmp_path / 'work')
    runner = Runner.from_cfg(cfg)
    seen = []
    runner.model.losses['co_attention'].register_forward_hook(
        lambda _, args, values, loss: seen.append(values['vectors'].shape[:2]), with_kwargs=True
    )
    metrics = runner.test()
    # Two epochs of two mini-batches each, of K + 1 maps.
    assert [tuple(shape) for shape in seen] == [(2, 3)] * 4 + [(2, 4)] * 4
    scores = json.loads((tmp_path / 'scores.json').read_text())['groups']
    assert {name: list(group['classes']) for name, group in scores.items()} == {
        'a+b': ['a', 'b'],
        'a+b+c': ['a', 'b', 'c'],
    }
    assert 0 < metrics['P'] <= 100
    assert 0 <= metrics['J'] <= 100
