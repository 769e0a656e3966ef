"""The data of DeepCO3's configs."""

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image
from scipy.io import savemat

from mmcoseg.datasets import COCONonVOCDataset, COCOVOCDataset, SOCDataset, VOC12Dataset
from mmcoseg.datasets.converters.instances import select_images, write_instances
from mmcoseg.datasets.converters.sources import read_published
from mmcoseg.engine.run_config import load_config
from mmcoseg.registry import DATASETS, METRICS, MODELS

SETS = {
    'coco-nonvoc': COCONonVOCDataset,
    'coco-voc': COCOVOCDataset,
    'soc': SOCDataset,
    'voc12': VOC12Dataset,
}
NETWORKS = ('efficientnet-lite2', 'vgg16')


def config(name, options=None, data_root=None):
    return load_config(f'deepco3/deepco3_{name}', options, data_root)


@pytest.mark.parametrize('name', SETS)
def test_published_sets_are_chosen_by_their_type(name):
    kind = SETS[name]
    root = f'data/{kind.CONVERTER}'
    cfg = config('vgg16', {'test_dataloader.dataset.type': kind.__name__}, root)
    assert cfg.data_root == cfg.test_dataloader.dataset.data_root == root
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, lazy_init=True))
    assert type(dataset) is kind and dataset.test_mode


@pytest.mark.parametrize('network', NETWORKS)
def test_instances_and_boxes_are_scored(network):
    metrics = [METRICS.build(metric) for metric in config(network).test_evaluator]
    assert [type(metric).__name__ for metric in metrics] == ['InstanceCoSegMetric', 'CorLocMetric']


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
    cfg = config('vgg16-fc6_published', data_root=str(tmp_path / 'data'))
    item = DATASETS.build(cfg.test_dataloader.dataset)[0]
    sample = item['data_samples'][0]
    assert item['inputs'][0].shape == (3, 448, 448)
    assert len(sample.proposals) == 2
    assert sample.proposals[:1].masks().sum() == 36
    saliency = sample.saliency.data
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


@pytest.mark.slow
@pytest.mark.parametrize(('network', 'side'), [('vgg16', 448), ('efficientnet-lite2', 513)])
def test_pipeline_on_photographs(network, side, coseg_data, tmp_path, monkeypatch):
    init_default_scope('mmcoseg')
    root = str((coseg_data / 'voc_instances').resolve())
    cfg = config(network, data_root=root)
    monkeypatch.chdir(tmp_path)  # priors are kept in a folder below
    item = DATASETS.build(dict(cfg.test_dataloader.dataset, groups=['bicycle'], indices=1))[0]
    sample = item['data_samples'][0]
    assert item['inputs'][0].shape == (3, side, side)
    assert sample.gt_instances.masks.shape[1:] == sample.ori_shape != (side, side)
    assert len(sample.proposals) > 50
    assert sample.proposals[:1].masks().shape[1:] == sample.ori_shape
    assert sample.saliency.data.shape == (1, 65, 65)
    assert len([*tmp_path.glob('work_dirs/priors/**/*.npz')]) >= 1
