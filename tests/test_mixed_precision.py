"""Every config that trains or optimizes takes steps in the mixed precision of --amp on CPUs."""

import pytest
import torch
from demo_inputs import make_group_batch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData

from mmcoseg.config_files import find_config, list_configs
from mmcoseg.engine import InitialState, OptimizationSettings, optimize_and_segment
from mmcoseg.models.backbones.weights import deferred_weights
from mmcoseg.registry import MODELS

pytestmark = pytest.mark.slow


def _config(name: str) -> Config:
    return Config.fromfile(str(find_config(name)))


TRAINED = [name for name in list_configs() if _config(name).get('train_cfg')]
OPTIMIZED = [
    name for name in list_configs() if _config(name).test_cfg.type == 'GroupOptimizationLoop'
]


def _batch() -> dict:
    """Two images of one group, with all that a config may ask of its pipeline."""
    batch = make_group_batch((2,), size=(65, 65))
    (images,), (group,) = batch['inputs'], batch['data_samples']
    group.set_metainfo(dict(num_classes=1))
    for image, sample in zip(images, group):
        sample.set_metainfo(dict(ori_img=image.permute(1, 2, 0).numpy()))
        sample.saliency = PixelData(data=sample.gt_sem_seg.data.float())
    return batch


def _model(cfg):
    with deferred_weights():
        return MODELS.build(cfg).to(get_device())


@pytest.mark.parametrize('name', TRAINED)
def test_two_steps_in_mixed_precision(name):
    cfg = _config(name)
    init_default_scope('mmcoseg')
    cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
    model = _model(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    model.train()
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    for _ in range(2):
        losses = model.train_step(_batch(), wrapper)
        assert losses['loss'].isfinite()
    assert any((p != before[name]).any() for name, p in model.named_parameters() if name in before)


@pytest.mark.parametrize('name', OPTIMIZED)
def test_a_group_is_optimized_in_mixed_precision(name):
    cfg = _config(name)
    init_default_scope('mmcoseg')
    cfg.test_cfg.optim_wrapper.type = 'BFloat16OptimWrapper'
    # Of what it takes to find instances, a batch for training has nothing.
    model = _model({**cfg.model, 'ranking': None} if 'ranking' in cfg.model else cfg.model)
    initial = InitialState(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    settings = OptimizationSettings.from_test_cfg(dict(cfg.test_cfg, max_epochs=2), seed=0)
    data = model.data_preprocessor(_batch(), False)
    (group,) = data['data_samples']
    assert optimize_and_segment(model, data['inputs'], group, initial, settings) is None
    assert any((p != before[name]).any() for name, p in model.named_parameters() if name in before)
    for sample in group:
        assert sample.pred_prob.data.dtype == torch.float32
        assert sample.pred_prob.data.isfinite().all()
