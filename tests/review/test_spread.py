"""Hints spread from features, starting from the soft maps of any method."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmcoseg.review.spread import GroupFeatures, Spreader, spreading_inferencer
from mmcoseg.structures import CoSegDataSample, ExampleMask

SIDE, SIZE = 6, (192, 192)


@pytest.fixture(scope='module')
def inferencer():
    return spreading_inferencer({})


def make_group(prob, number=4):
    """Images whose left half looks one way and whose right half another; maps (C, 12, 12)."""
    kinds = np.zeros((number, SIDE, SIDE, 8), np.float16)
    kinds[:, :, :3, 0], kinds[:, :, 3:, 1] = 1, 1
    kinds += np.random.default_rng(0).normal(0, 0.02, kinds.shape).astype(np.float16)
    names = tuple(f'{number}' for number in range(number))
    features = GroupFeatures(names, kinds, np.zeros((0, 0)), np.full((number, 2), 192), SIZE)
    samples = {}
    for name in names:
        sample = CoSegDataSample(metainfo=dict(stem=name, group='g', ori_shape=SIZE))
        sample.pred_prob = PixelData(data=prob.clone())
        samples[name] = sample
    return features, samples


def halves(left, right):
    prob = torch.full((1, 12, 12), float(left))
    prob[:, :, 6:] = right
    return prob


def test_an_example_turns_the_other_images(inferencer):
    features, samples = make_group(halves(0.6, 0.4))
    spread = Spreader(inferencer, features, samples)
    mask = np.zeros(SIZE, np.uint8)
    mask[:, 96:] = 1
    for name in '01':
        samples[name].hints = (ExampleMask(mask),)
    spread()
    for name, sample in samples.items():
        prob = spread.map_after(name, sample.pred_prob.data)
        assert prob.shape == (1, 12, 12)
        assert prob[:, :, :5].mean() + 0.02 < prob[:, :, 7:].mean()


def test_without_hints_maps_are_the_same(inferencer):
    prob = torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(0))
    features, samples = make_group(prob)
    spread = Spreader(inferencer, features, samples)
    spread()
    for name, sample in samples.items():
        assert torch.equal(spread.map_after(name, sample.pred_prob.data), prob)


def test_the_answer_for_an_odd_image_tells_little_about_the_others(inferencer):
    features, samples = make_group(halves(0.6, 0.4))
    features.descriptors[3] = np.roll(features.descriptors[3], 4, axis=-1)  # like no other image
    samples['2'].pred_prob = PixelData(data=halves(0.99, 0.01))  # nothing to say
    spread = Spreader(inferencer, features, samples)
    told = spread.telling({'0', '1', '2', '3'})
    assert told['0'] == pytest.approx(told['1'], rel=0.05)
    assert told['2'] < 0.3 * told['0'] and told['3'] < 0.5 * told['0']
    alone = spread.telling({'0', '3'})
    assert alone['1'] == alone['2'] == 0 and alone['0'] < 0.5 * told['0']


def test_several_classes(inferencer):
    prob = torch.stack([halves(0.2, 0.2)[0], halves(0.5, 0.3)[0], halves(0.3, 0.5)[0]])
    features, samples = make_group(prob)
    spread = Spreader(inferencer, features, samples)
    mask = np.ones(SIZE, np.uint8)
    mask[:, 96:] = 0
    samples['2'].hints = (ExampleMask(mask),)
    spread()
    for name, sample in samples.items():
        found = spread.map_after(name, sample.pred_prob.data)
        assert found.shape == (3, 12, 12)
        torch.testing.assert_close(found.sum(dim=0), torch.ones(12, 12))
        assert found[1, :, :5].mean() > 0.5 and found[0, :, 7:].mean() > 0.25


def test_features_in_a_file(tmp_path):
    features, _ = make_group(halves(0.6, 0.4))
    features.write(tmp_path / 'f.npz', 'key')
    again = GroupFeatures.read(tmp_path / 'f.npz', 'key')
    assert again.stems == features.stems and again.size == features.size
    np.testing.assert_array_equal(again.descriptors, features.descriptors)
    np.testing.assert_array_equal(again.shapes, features.shapes)
    assert GroupFeatures.read(tmp_path / 'f.npz', 'other') is None
    assert GroupFeatures.read(tmp_path / 'no.npz', 'key') is None
    content = (tmp_path / 'f.npz').read_bytes()
    (tmp_path / 'f.npz').write_bytes(content[: len(content) // 2])
    assert GroupFeatures.read(tmp_path / 'f.npz', 'key') is None
