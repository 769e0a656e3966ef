"""The data of DeepCO3's configs."""

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmcoseg.config_files import config_root
from mmcoseg.datasets import COCONonVOCDataset, COCOVOCDataset, SOCDataset, VOC12Dataset
from mmcoseg.registry import DATASETS, METRICS

SETS = {
    'coco-nonvoc': COCONonVOCDataset,
    'coco-voc': COCOVOCDataset,
    'soc': SOCDataset,
    'voc12': VOC12Dataset,
}


def config(name):
    return Config.fromfile(str(config_root() / '_base_' / 'datasets' / f'{name}.py'))


def test_each_set_has_its_file():
    files = config_root().glob('_base_/datasets/instances_*.py')
    assert {file.stem.removeprefix('instances_') for file in files} == set(SETS)


@pytest.mark.parametrize('name', SETS)
def test_named_sets(name):
    cfg = config(f'instances_{name}')
    dataset = cfg.test_dataloader.dataset
    assert dataset.type == SETS[name].__name__ and dataset.data_root == cfg.data_root
    assert cfg.data_root == f'data/{SETS[name].CONVERTER}' and dataset.test_mode
    built = DATASETS.build(dict(dataset, lazy_init=True))
    assert type(built) is SETS[name]
    assert [type(METRICS.build(m)).__name__ for m in cfg.test_evaluator] == [
        'InstanceCoSegMetric',
        'CorLocMetric',
    ]


def test_pipelines_on_photographs(coseg_data):
    init_default_scope('mmcoseg')
    cfg = config('instances')
    options = dict(data_root=str(coseg_data / 'voc_instances'), groups=['bicycle'], indices=1)
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, **options))
    item = dataset[0]
    sample = item['data_samples'][0]
    assert item['inputs'][0].shape == (3, 448, 448)
    assert sample.gt_instances.masks.shape[1:] == sample.ori_shape != (448, 448)
    pipeline = cfg.train_pipeline
    pipeline.insert(0, dict(type='SampleGroup', num_images=1))
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, **options, pipeline=pipeline))
    (sample,) = dataset[0]['data_samples']
    assert sample.saliency.data.shape == (1, 448, 448) and 'gt_instances' not in sample
