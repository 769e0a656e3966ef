"""What every segmentor does: the modes, soft maps, masks and post-processors."""

import pytest
import torch
from demo_inputs import make_group_batch
from mmengine.structures import InstanceData
from torch import nn

from mmcoseg.errors import MMCosegError
from mmcoseg.models.ops import mask_of_prob
from mmcoseg.models.postprocessors import EdgeRefiner
from mmcoseg.models.segmentors import BaseCoSegmentor
from mmcoseg.registry import TASK_UTILS
from mmcoseg.structures import GroupImages


class Brightness(BaseCoSegmentor):
    """Bright is object; an instance is the mask."""

    def __init__(self, losses=None, **kwargs):
        super().__init__(**kwargs)
        self.weight = nn.Parameter(torch.ones(()))
        self.losses = losses or {}
        self.seen = []

    def loss(self, images, data_samples):
        return {name: factor * self.weight for name, factor in self.losses.items()}

    def _forward(self, images, data_samples):
        self.seen.append([len(group) for group in data_samples])
        return self.weight * images.batch().mean(dim=1, keepdim=True)

    def soft_maps(self, images, group):
        assert not torch.is_grad_enabled()
        self.seen.append([sample.identity for sample in group])
        return torch.sigmoid(self._forward(images, [group]))

    def add_instances(self, group):
        for sample in group:
            sample.pred_instances = InstanceData(masks=sample.pred_sem_seg.data == 1)


@TASK_UTILS.register_module(name='BaseTestRefiner')
class Inverting(EdgeRefiner):
    def __call__(self, group):
        for sample in group:
            assert 'pred_instances' not in sample
            sample.pred_sem_seg.data = 1 - sample.pred_sem_seg.data

    def refine(self, images, probs):
        raise NotImplementedError


@TASK_UTILS.register_module(name='BaseTestInstances')
class Counting:
    """Sees instances."""

    by_image = True

    def __call__(self, group):
        for sample in group:
            sample.set_metainfo(dict(area=int(sample.pred_instances.masks.sum())))


@TASK_UTILS.register_module(name='BaseTestEmptying')
class Emptying:
    """Replaces masks, looking at the whole group."""

    def __call__(self, group):
        for sample in group:
            sample.pred_sem_seg.data = torch.zeros_like(sample.pred_sem_seg.data)


def batch(model, group_sizes=(3, 2), **kwargs):
    return model.data_preprocessor(make_group_batch(group_sizes, ori_shape=(50, 60), **kwargs))


def test_a_group_is_segmented_and_then_finished():
    model = Brightness()
    data = batch(model)
    first, second = data['data_samples']
    images = data['inputs'].split([3, 2])
    model.segment(images[1], second)
    for sample in second:
        assert sample.pred_prob.data.shape == (1, 32, 32)
        assert not sample.pred_prob.data.requires_grad
        assert 'pred_sem_seg' not in sample and 'pred_instances' not in sample
    assert not any('pred_prob' in sample for sample in first)
    model.finish(second)
    for sample in second:
        assert sample.pred_sem_seg.data.shape == (1, 50, 60)
        assert sample.pred_sem_seg.data.dtype == torch.uint8
        mask = mask_of_prob(sample.pred_prob.data, (50, 60), model.threshold)
        assert torch.equal(sample.pred_sem_seg.data, mask)


def test_predicting_is_both_for_each_group():
    model = Brightness()
    data = batch(model)
    groups = model(**data, mode='predict')
    assert groups is data['data_samples']
    assert model.seen == [['g0/0', 'g0/1', 'g0/2'], [3], ['g1/0', 'g1/1'], [2]]
    other = batch(model)
    for images, group in zip(other['inputs'].split([3, 2]), other['data_samples']):
        model.segment(images, group)
        model.finish(group)
    for group, expected in zip(other['data_samples'], groups):
        for sample, same in zip(group, expected):
            assert torch.equal(sample.pred_prob.data, same.pred_prob.data)
            assert torch.equal(sample.pred_sem_seg.data, same.pred_sem_seg.data)
            assert torch.equal(sample.pred_instances.masks, same.pred_instances.masks)


def test_images_in_parts_have_the_same_results():
    steps = [dict(type='BaseTestRefiner'), dict(type='BaseTestInstances')]
    model = Brightness(postprocessors=steps)
    assert model.by_image
    (whole,) = model(**batch(model, (4,)), mode='predict')
    data = batch(model, (4,))
    (group,) = data['data_samples']
    model.segment(data['inputs'], group)
    for part in (group.select([2, 3]), group.select([0, 1])):
        model.finish(part)
    for sample, same in zip(group, whole):
        assert sample.area == same.area > 0
        assert torch.equal(sample.pred_sem_seg.data, same.pred_sem_seg.data)


def test_instances_are_of_the_mask_as_it_is_in_the_end():
    for steps in (['Refiner'], ['Refiner', 'Instances'], ['Instances', 'Emptying']):
        model = Brightness(postprocessors=[dict(type=f'BaseTest{name}') for name in steps])
        assert model.by_image == ('Emptying' not in steps)
        (group,) = model(**batch(model, (2,)), mode='predict')
        for sample in group:
            mask = sample.pred_sem_seg.data == 1
            assert torch.equal(sample.pred_instances.masks, mask)
            assert mask.any() == ('Emptying' not in steps)
            if 'Instances' in steps:
                assert sample.area > 0


def test_padding_is_cut_off():
    model = Brightness()
    data = make_group_batch((2,), ori_shape=(50, 60))
    data['inputs'][0][0] = data['inputs'][0][0][:, :24, :30]
    data['data_samples'][0][0].set_metainfo(dict(img_shape=(24, 30)))
    (group,) = model(**model.data_preprocessor(data), mode='predict')
    assert [tuple(sample.pred_prob.shape) for sample in group] == [(24, 30), (32, 32)]
    assert all(sample.pred_sem_seg.shape == (50, 60) for sample in group)


def test_a_tensor_is_taken_as_normalized():
    model = Brightness()
    data = batch(model)
    expected = model(**data)
    tensor = data['inputs'].batch()
    assert torch.equal(model(tensor, data['data_samples']), expected)
    assert torch.equal(model(GroupImages.of(tensor)), expected)
    assert model.seen == [[3, 2], [3, 2], [5]]
    groups = model(tensor, data['data_samples'], mode='predict')
    assert all('pred_sem_seg' in sample for group in groups for sample in group)


def test_losses_that_would_not_be_trained_are_refused():
    data = batch(Brightness())
    message = "the loss 'contrast' would be logged but not trained.*return it as 'loss_contrast'"
    with pytest.raises(MMCosegError, match=message):
        Brightness(dict(contrast=2.0))(**data, mode='loss')
    assert set(Brightness(dict(loss_a=2.0, b=0.0))(**data, mode='loss')) == {'loss_a', 'b'}


def test_unknown_mode():
    model = Brightness()
    with pytest.raises(
        MMCosegError, match=r"mode must be one of \('loss', 'predict', 'tensor'\), got 'test'"
    ):
        model(**batch(model), mode='test')


def test_a_group_without_images():
    model = Brightness()
    data = batch(model)
    nothing = data['data_samples'][0].select([])
    model.segment(data['inputs'].select([]), nothing)
    model.finish(nothing)
    assert not model.seen
