"""Priors of single images, computed in the pipeline."""

import cv2
import numpy as np
import pytest
import torch
from demo_inputs import write_tiny_dataset

from mmcoseg.datasets import CoSegDataset
from mmcoseg.datasets.transforms import priors
from mmcoseg.registry import TRANSFORMS
from mmcoseg.saliency import fused_saliency


def picture(height=80, width=120):
    """A red ellipse on a noisy ground, BGR; and where it is."""
    noise = np.random.default_rng(0).integers(-12, 13, (height, width, 3))
    image = np.full((height, width, 3), (150, 120, 60))
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 3, height // 2), (width // 6, height // 4), 0, 0, 360, 1, -1)
    image[mask > 0] = (40, 50, 190)
    return np.clip(image + noise, 0, 255).astype(np.uint8), mask > 0


def saliency_of(image, size=(65, 65), **results):
    transform = TRANSFORMS.build(dict(type='ComputeSaliency', size=size))
    before = image.copy()
    results = transform(dict(img=image, other=1, **results))
    assert results['img'] is image and results['other'] == 1
    np.testing.assert_array_equal(image, before)
    return results['saliency_map']


def test_is_the_saliency_of_the_image():
    image, mask = picture()
    prior = saliency_of(image, size=(60, 40))
    assert prior.shape == (40, 60) and prior.dtype == np.uint8
    expected = fused_saliency(image).reshape(40, 2, 60, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(prior / 255, expected, atol=1 / 255)
    inside = mask.reshape(40, 2, 60, 2).mean(axis=(1, 3)) == 1
    assert prior[inside].mean() > 200 and prior[~inside].mean() < 60
    np.testing.assert_array_equal(saliency_of(image, size=(60, 40)), prior)


@pytest.mark.parametrize(
    ('shape', 'original', 'seen'),
    [
        ((64, 64), (100, 200), (32, 64)),  # as wide as high in the network only
        ((64, 64), (200, 100), (64, 32)),
        ((60, 90), (60, 90), (60, 90)),
        ((300, 300), (50, 100), (50, 100)),  # never larger than the file's
        ((64, 48), None, (64, 48)),
        ((20, 20), (3000, 2), (20, 1)),
    ],
)
def test_shape_that_it_is_computed_in(shape, original, seen, monkeypatch):
    shapes = []

    def recorded(image):
        shapes.append(image.shape)
        return np.zeros(image.shape[:2], np.float32)

    monkeypatch.setattr(priors, 'fused_saliency', recorded)
    results = {} if original is None else dict(ori_shape=original)
    prior = saliency_of(np.zeros((*shape, 3), np.uint8), **results)
    assert shapes == [(*seen, 3)] and prior.shape == (65, 65)


def test_squeezed_images_have_the_same_saliency():
    image, _ = picture(96, 192)
    squeezed = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    difference = saliency_of(squeezed, ori_shape=(96, 192)) - saliency_of(image).astype(float)
    assert np.abs(difference).mean() < 12


@pytest.mark.parametrize('shape', [(1, 1, 3), (2, 3, 3), (1, 50, 3), (30, 30, 3)])
def test_nothing_to_see(shape):
    assert saliency_of(np.full(shape, 77, np.uint8)).max() == 0


def test_is_the_saliency_of_samples(tmp_path):
    write_tiny_dataset(tmp_path, groups=dict(a=2), size=(40, 50))
    steps = [
        dict(type='LoadCoSegImage'),
        dict(type='Resize', scale=(48, 48), keep_ratio=False),
        dict(type='ComputeSaliency', size=(20, 30)),
    ]
    pipeline = [dict(type='ForEachImage', transforms=steps), dict(type='PackGroupInputs')]
    item = CoSegDataset(str(tmp_path), pipeline=pipeline, test_mode=True)[0]
    for image, sample in zip(item['inputs'], item['data_samples']):
        saliency = sample.saliency.data
        assert saliency.shape == (1, 30, 20) and saliency.dtype == torch.float32
        array = np.ascontiguousarray(image.numpy().transpose(1, 2, 0))
        expected = saliency_of(array, (20, 30), ori_shape=sample.ori_shape)
        np.testing.assert_allclose(saliency[0], expected / 255, atol=1e-6)


@pytest.mark.slow
def test_photographs(coseg_data):
    """More of it on the objects than elsewhere, in most photographs."""
    steps = [
        dict(type='LoadCoSegImage'),
        dict(type='Resize', scale=(257, 257), keep_ratio=False, interpolation='area'),
        dict(type='ComputeSaliency', size=(64, 64)),
        dict(type='LoadCoSegMask'),
    ]
    record = CoSegDataset(
        str(coseg_data / 'pascal_coseg'), groups=['Aero'], pipeline=[], test_mode=True
    ).get_data_info(0)
    record['images'] = record['images'][::8]
    for step in [dict(type='ForEachImage', transforms=steps), dict(type='PackGroupInputs')]:
        record = TRANSFORMS.build(step)(record)
    better = []
    for sample in record['data_samples']:
        truth = cv2.resize(sample.gt_sem_seg.data[0].numpy(), (64, 64), interpolation=0) == 1
        saliency = sample.saliency.data[0].numpy()
        better.append(saliency[truth].mean() > 2 * saliency[~truth].mean())
    assert len(better) > 5 and np.mean(better) > 0.7
