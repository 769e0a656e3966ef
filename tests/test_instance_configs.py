"""The data of DeepCO3's configs."""

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcoseg.config_files import find_config, list_configs
from mmcoseg.datasets import COCONonVOCDataset, COCOVOCDataset, SOCDataset, VOC12Dataset
from mmcoseg.registry import DATASETS, METRICS

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
