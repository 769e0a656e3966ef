"""The data of DeepCO3's configs."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from scipy.io import savemat

from mmcoseg.config_files import find_config, list_configs
from mmcoseg.datasets import COCONonVOCDataset, COCOVOCDataset, SOCDataset, VOC12Dataset
from mmcoseg.datasets.converters.instances import select_images, write_instances
from mmcoseg.datasets.converters.sources import read_published
from mmcoseg.registry import DATASETS, METRICS, MODELS

SETS = {
    'coco-nonvoc': COCONonVOCDataset,
    'coco-voc': COCOVOCDataset,
    'soc': SOCDataset,
    'voc12': VOC12Dataset,
}


NETWORKS = ('efficientnet-lite2', 'vgg16')


def config(name):
    return Config.fromfile(str(find_config(f'deepco3/deepco3_{name}')))


def test_each_set_has_its_config_with_each_network():
    names = {name for name in list_configs() if name.startswith('deepco3/deepco3_')}
    expected = {f'deepco3/deepco3_{network}_{name}' for network in NETWORKS for name in SETS}
    # Besides, one for any other set.
    assert expected | {f'deepco3/deepco3_{network}' for network in NETWORKS} <= names


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('name', SETS)
def test_named_sets(name, network):
    cfg = config(f'{network}_{name}')
    assert cfg.data_root == f'data/{SETS[name].CONVERTER}'
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        assert loader.dataset.type == SETS[name].__name__
        assert loader.dataset.data_root == cfg.data_root
        assert type(DATASETS.build(dict(loader.dataset, lazy_init=True))) is SETS[name]
    assert cfg.test_dataloader.dataset.test_mode
    # Only the data differ from those of the config for any set.
    general = config(network)
    for key in ('model', 'train_cfg', 'optim_wrapper', 'train_pipeline', 'test_pipeline'):
        assert cfg[key] == general[key]
    for loader in ('train_dataloader', 'test_dataloader'):
        assert cfg[loader].dataset.pipeline == general[loader].dataset.pipeline
    assert [type(METRICS.build(m)).__name__ for m in cfg.test_evaluator] == [
        'InstanceCoSegMetric',
        'CorLocMetric',
    ]


def write_release(root):
    """A set as published with DeepCO3: one class of two images, each with one object."""
    masks = np.zeros((12, 16, 2), np.uint8)
    masks[2:8, 3:9, 0] = masks[:, :4, 1] = 1
    folders = ('Image', 'Mask', 'MCG_fast', 'SalRes_ZhangICCV17')
    image, mask, proposals, saliency = (root / folder / 'cow' for folder in folders)
    for folder in (image, mask, proposals, saliency):
        folder.mkdir(parents=True)
    for stem in ('a', 'b'):
        Image.new('RGB', (16, 12), 'green').save(image / f'{stem}.jpg')
        Image.fromarray(255 * masks[:, :, 0]).save(mask / f'{stem}_InstID_1.png')
        savemat(proposals / f'{stem}.mat', dict(masks=masks, scores=np.array([0.9, 0.5])))
        savemat(saliency / f'{stem}.mat', dict(SalMap=masks[:, :, 0].astype(float)))


def test_the_release_from_its_files_to_the_networks_inputs(tmp_path):
    init_default_scope('mmcoseg')
    write_release(tmp_path / 'release')
    images = select_images(read_published(tmp_path / 'release'), min_images=2)
    write_instances(tmp_path / 'data', images)
    cfg = config('vgg16-fc6_published')
    root = str(tmp_path / 'data')
    test = DATASETS.build(dict(cfg.test_dataloader.dataset, data_root=root))[0]
    sample = test['data_samples'][0]
    assert test['inputs'][0].shape == (3, 448, 448)
    assert len(sample.proposals) == 2
    assert sample.proposals[:1].masks[0].sum() == 36
    train = DATASETS.build(dict(cfg.train_dataloader.dataset, data_root=root))[0]
    saliency = train['data_samples'][0].saliency.data
    assert saliency.shape == (1, 112, 112)
    assert saliency[0, 40, 40] == 1 and saliency[0, 100, 100] == 0


def test_the_published_network_begins_undecided():
    init_default_scope('mmcoseg')
    cfg = config('vgg16-fc6')
    cfg.merge_from_dict({'model.backbone.weights': None, 'model.backbone.frozen_stages': 6})
    model = MODELS.build(cfg.model)
    model.init_weights()
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 64, 64))
    assert logits.shape == (1, 1, 64, 64) and not logits.any()


@pytest.mark.parametrize(('network', 'side'), [('vgg16', 448), ('efficientnet-lite2', 513)])
def test_pipelines_on_photographs(network, side, coseg_data, tmp_path, monkeypatch):
    init_default_scope('mmcoseg')
    cfg = config(network)
    root = str((coseg_data / 'voc_instances').resolve())
    monkeypatch.chdir(tmp_path)  # priors are kept in a folder below
    options = dict(data_root=root, groups=['bicycle'], indices=1)
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, **options))
    item = dataset[0]
    sample = item['data_samples'][0]
    assert item['inputs'][0].shape == (3, side, side)
    assert sample.gt_instances.masks.shape[1:] == sample.ori_shape != (side, side)
    assert len(sample.proposals) > 50
    assert sample.proposals[:1].masks.shape[1:] == sample.ori_shape
    assert len([*tmp_path.glob('work_dirs/priors/**/*.npz')]) >= 1
    pipeline = cfg.train_pipeline
    pipeline.insert(0, dict(type='SampleGroup', num_images=1))
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, **options, pipeline=pipeline))
    item = dataset[0]
    (sample,) = item['data_samples']
    assert item['inputs'][0].shape == (3, side, side)
    assert 'saliency' in sample  # a prior of the group takes its place, but may be left out
    assert 'gt_instances' not in sample and 'proposals' not in sample
