"""The parts of the loop over groups, without a runner."""

import copy
import gzip
import io

import numpy as np
import pytest
import torch
from constant_segmentor import ConstantSegmentor
from demo_inputs import write_tiny_dataset
from mmengine.structures import InstanceData, PixelData
from torch import nn

from mmcoseg.datasets import CoSegDataset, group_collate
from mmcoseg.engine.group_optimization import (
    InitialState,
    OptimizationSettings,
    mini_batches,
    optimize_and_segment,
)
from mmcoseg.engine.loops.group_optimization_loop import fingerprint_of, share_out
from mmcoseg.engine.prediction_store import PredictionStore
from mmcoseg.errors import MMCosegError
from mmcoseg.seeding import entropy_of
from mmcoseg.structures import CoSegDataSample, GroupDataSample

PIPELINE = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=(16, 16), keep_ratio=False),
        ],
    ),
    dict(type='PackGroupInputs'),
]
SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))


@pytest.mark.parametrize(
    ('count', 'sizes'), [(1, [1]), (6, [6]), (7, [4, 3]), (12, [6, 6]), (13, [5, 4, 4])]
)
def test_an_epoch_has_every_image_once_in_batches_of_like_size(count, sizes):
    for epoch in range(3):
        found = mini_batches(count, 6, 0, 'cat', epoch)
        assert [len(part) for part in found] == sizes
        assert sorted(np.concatenate(found)) == list(range(count))


def order(seed=0, group='cat', epoch=0):
    return np.concatenate(mini_batches(30, 6, seed, group, epoch)).tolist()


def test_batches_are_a_function_of_seed_group_and_epoch():
    epochs = [order(epoch=epoch) for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    np.random.random(5)  # nor of what was drawn before
    assert [order(epoch=epoch) for epoch in range(3)] == epochs
    assert order(seed=1) != epochs[0]
    assert order(group='dog') != epochs[0]


@pytest.fixture
def dataset(tmp_path):
    root = write_tiny_dataset(tmp_path / 'data', dict(a=5, b=7))
    return CoSegDataset(data_root=str(root), pipeline=PIPELINE, test_mode=True)


def group_of(model, dataset, place):
    """A group as the preprocessor gives it: its images and its samples."""
    data = model.data_preprocessor(group_collate([dataset[place]]), False)
    return data['inputs'], data['data_samples'][0]


def optimized(model, dataset, place, settings, initial=None, after_epoch=None):
    """The group with soft maps, and why it was not optimized."""
    images, group = group_of(model, dataset, place)
    initial = initial or InitialState(model)
    problem = optimize_and_segment(model, images, group, initial, settings, after_epoch)
    return group, problem


def probs(group):
    return torch.stack([sample.pred_prob.data for sample in group])


def test_a_group_is_a_function_of_the_initial_weights_alone(dataset):
    model = ConstantSegmentor()
    initial, before = InitialState(model), copy.deepcopy(model)
    schedule = [dict(type='StepLR', step_size=2, gamma=0.5, by_epoch=True)]
    settings = OptimizationSettings(SGD, schedule, max_epochs=4, batch_size=3)
    results = []
    for place in (0, 1, 0):
        torch.manual_seed(len(results))
        group, problem = optimized(model, dataset, place, settings, initial)
        assert problem is None and not model.training
        drawn = [sample.drawn for sample in group]
        results.append([copy.deepcopy(model.state_dict()), probs(group), drawn])
        assert model.value.grad is None
        assert model.hidden.item() == 4 * (2, 3)[place]
    first, other, again = results
    for name, value in first[0].items():
        assert torch.equal(value, again[0][name])
    assert torch.equal(first[1], again[1]) and first[2] == again[2]
    assert not torch.equal(first[0]['value'], other[0]['value'])
    initial.restore()
    for (name, value), old in zip(model.named_parameters(), before.named_parameters()):
        assert torch.equal(value, old[1]), name
    for (name, value), old in zip(model.named_buffers(), before.named_buffers()):
        assert torch.equal(value, old[1]), name


def test_only_soft_maps_are_found(dataset):
    group, _ = optimized(ConstantSegmentor(), dataset, 0, OptimizationSettings(SGD, max_epochs=1))
    assert all('pred_prob' in sample and 'pred_sem_seg' not in sample for sample in group)
    assert not any(sample.pred_prob.data.requires_grad for sample in group)


def test_the_mean_losses_of_each_epoch_are_told(dataset):
    told, steps = [], []

    class Noting(ConstantSegmentor):
        def parse_losses(self, losses):
            total, logged = super().parse_losses(losses)
            steps.append(logged['loss'].item())
            return total, logged

    def note(epoch, losses):
        assert set(losses) == {'loss', 'loss_mean'}
        told.append((epoch, len(steps), losses['loss']))

    settings = OptimizationSettings(SGD, max_epochs=2, batch_size=3)
    optimized(Noting(), dataset, 0, settings, after_epoch=note)
    expected = [(0, 2, np.mean(steps[:2])), (1, 4, np.mean(steps[2:]))]
    assert told == [pytest.approx(epoch) for epoch in expected] and len(set(steps)) == 4


@pytest.mark.parametrize('by_epoch', [True, False])
def test_schedulers_step(dataset, by_epoch):
    schedule = dict(type='StepLR', step_size=1, gamma=1e-9, by_epoch=by_epoch)
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5))
    values = []
    for scheduler in (None, schedule):
        model = ConstantSegmentor()
        # Two steps.
        settings = OptimizationSettings(wrapper, scheduler, max_epochs=1, batch_size=3)
        optimized(model, dataset, 0, settings)
        values.append(model.value.item())
    # After the first step, only by_epoch=False has no rate left.
    assert (values[0] == values[1]) == by_epoch


def test_a_group_that_fails_is_segmented_by_the_initial_weights(dataset):
    untouched, problem = optimized(
        ConstantSegmentor(), dataset, 1, OptimizationSettings(SGD, max_epochs=0)
    )
    assert problem is None
    model = ConstantSegmentor(fails=('b',))
    group, problem = optimized(model, dataset, 1, OptimizationSettings(SGD))
    assert problem.startswith("group 'b': the loss is nan in epoch 1, mini-batch 1 (parts: ")
    assert torch.equal(probs(group), probs(untouched))
    assert model.value.item() == 5.0 and model.hidden.item() == 0
    explode = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=float('inf')))
    model = ConstantSegmentor()
    _, problem = optimized(model, dataset, 0, OptimizationSettings(explode, max_epochs=1))
    assert problem.startswith("group 'a': the last step left value with values that are not fin")
    assert model.value.item() == 5.0


def test_settings_are_checked():
    for key, value, least in (('max_epochs', -1, 0), ('batch_size', 0, 1), ('batch_size', 2.0, 1)):
        message = f'test_cfg.{key} must be a whole number, at least {least}, got {value}'
        with pytest.raises(MMCosegError, match=message):
            OptimizationSettings(SGD, **{key: value})
    cfg = dict(type='GroupOptimizationLoop', optim_wrapper=SGD, max_epochs=3, resume=True)
    assert OptimizationSettings.from_test_cfg(cfg, 7) == OptimizationSettings(
        SGD, max_epochs=3, seed=7
    )
    with pytest.raises(MMCosegError, match=r"test_cfg has no 'epochs' \(did .*'max_epochs'\?\)"):
        OptimizationSettings.from_test_cfg(dict(optim_wrapper=SGD, epochs=3), 0)


class Preparing(ConstantSegmentor):
    """Notes what it was prepared with, and in which state."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.notes = []

    def prepare_group(self, images, group):
        self.notes.append(
            dict(
                stems=[sample.stem for sample in group],
                images=images.batch(),
                training=self.training or self.norm.training,
                gradients=torch.is_grad_enabled(),
                steps=len(self.seen),
                random=torch.rand(3),
                value=float(self.value),
            )
        )


def test_the_whole_group_is_seen_once_before_the_first_step(dataset):
    model = Preparing()
    model.train()
    images, _ = group_of(model, dataset, 1)
    settings = OptimizationSettings(SGD, max_epochs=3, batch_size=3)
    optimized(model, dataset, 1, settings)
    (note,) = model.notes
    assert note['stems'] == [f'{i:03}' for i in range(7)]
    assert torch.equal(note['images'], images.batch())
    assert (note['training'], note['gradients']) == (False, False)
    assert (note['steps'], note['value']) == (0, 5.0) and len(model.seen) == 9


def test_preparing_is_a_function_of_the_group_and_changes_no_step(dataset):
    settings, results = OptimizationSettings(SGD, max_epochs=2, batch_size=3), []
    for place, kind in ((0, Preparing), (1, Preparing), (0, Preparing), (0, ConstantSegmentor)):
        torch.manual_seed(len(results))
        model = kind()
        optimized(model, dataset, place, settings)
        results.append(model)
    first, other, again, without = results
    assert torch.equal(first.notes[0]['random'], again.notes[0]['random'])
    assert not torch.equal(first.notes[0]['random'], other.notes[0]['random'])
    for (name, a), b, c in zip(
        first.state_dict().items(), again.state_dict().values(), without.state_dict().values()
    ):
        assert torch.equal(a, b) and torch.equal(a, c), name


def test_names_that_are_no_text_have_keys_of_their_own():
    names = ['cat', 'c\udce4t', 'c\udcf6t', 'cät']
    assert len({entropy_of(0, name) for name in names}) == 4


class WithBuffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer('shared', torch.zeros(2))
        self.register_buffer('late', None)


def test_initial_state_covers_more_than_checkpoints():
    model = nn.ModuleList([WithBuffers(), WithBuffers(), nn.Linear(2, 2)])
    model[1].shared = model[0].shared
    model[2].bias.requires_grad_(False)
    model[2].eval()
    initial = InitialState(model)
    model[0].shared += 1
    model[0].late = torch.ones(3)
    model[0].register_buffer('new', torch.ones(1))
    model.train().requires_grad_(True)
    model[2].weight.data.zero_()
    initial.restore()
    assert model[0].shared is model[1].shared
    assert model[0].shared.tolist() == [0, 0]
    assert model[0].late is None
    assert 'new' not in dict(model[0].named_buffers())
    assert [model[2].training, model[2].bias.requires_grad] == [False, False]
    assert model[2].weight.abs().sum() > 0


def test_groups_are_shared_out_evenly_and_completely():
    rng = np.random.default_rng(0)
    for world_size in (1, 2, 3, 50):
        sizes = rng.integers(1, 40, 20).tolist()
        shares = share_out(sizes, world_size)
        assert sorted(sum(shares, [])) == list(range(20))
        loads = [sum(sizes[i] for i in share) for share in shares]
        assert max(loads) <= sum(sizes) / world_size + max(sizes)
    assert share_out([], 2) == [[], []]


def predicted():
    generator = torch.Generator().manual_seed(0)
    group = []
    for stem in ('x', 'y'):
        sample = CoSegDataSample(metainfo=dict(group='g', stem=stem))
        sample.pred_prob = PixelData(data=torch.rand(1, 3, 5, generator=generator))
        sample.pred_sem_seg = PixelData(data=torch.ones(1, 7, 9, dtype=torch.uint8))
        sample.pred_instances = InstanceData(
            masks=torch.rand(2, 7, 9, generator=generator) > 0.5,
            labels=torch.tensor([3, 4]),
            scores=torch.rand(2, generator=generator),
        )
        group.append(sample)
    group[1].pred_instances = group[1].pred_instances[:0]
    group[0].presence = 0.25
    return GroupDataSample(group, metainfo=dict(group='g'))


def empty(*names):
    return GroupDataSample([CoSegDataSample(metainfo=dict(group='g', stem=s)) for s in names])


def test_predictions_come_back_as_they_were(tmp_path):
    store, group, back = PredictionStore(tmp_path / 'kept', 'abc'), predicted(), empty('x', 'y')
    store.save('a/b: ü', group, failure=None, losses=[{'loss': 1.5}])
    assert len(list((tmp_path / 'kept').iterdir())) == 1
    assert store.load('a/b: ü', back) == dict(failure=None, losses=[{'loss': 1.5}])
    for old, new in zip(group, back):
        for field in ('pred_prob', 'pred_sem_seg'):
            assert old.get(field).data.dtype == new.get(field).data.dtype
            assert torch.equal(old.get(field).data, new.get(field).data)
        for key, value in old.pred_instances.items():
            assert value.dtype == new.pred_instances[key].dtype
            assert torch.equal(value, new.pred_instances[key])
    assert back[0].presence == 0.25
    assert 'presence' not in back[1]


def test_arrays_come_back_as_tensors(tmp_path):
    store, group = PredictionStore(tmp_path, 'abc'), predicted()
    store.save('g', group.numpy())
    back = empty('x', 'y')
    assert store.load('g', back) == {}
    assert torch.equal(back[0].pred_instances.scores, predicted()[0].pred_instances.scores)


def test_what_does_not_hold_is_not_used(tmp_path):
    store = PredictionStore(tmp_path, 'abc')
    assert store.load('g', empty('x', 'y')) is None
    store.save('g', predicted())
    other = PredictionStore(tmp_path, 'other settings')
    assert other.load('g', empty('x', 'y')) is None
    assert store.load('g', empty('x', 'z')) is None
    assert store.load('g', empty('x', 'y')) == {}
    content = store.path('g').read_bytes()
    for damaged in (b'', content[: len(content) // 2], content[:200] + bytes(50) + content[250:]):
        store.path('g').write_bytes(damaged)
        samples = empty('x', 'y')
        assert store.load('g', samples) is None
        assert 'pred_prob' not in samples[0]
    for other in ({}, [], dict(fingerprint='abc')):
        buffer = io.BytesIO()
        torch.save(other, buffer)
        store.path('g').write_bytes(gzip.compress(buffer.getvalue()))
        assert store.load('g', empty('x', 'y')) is None
    store.forget('g')
    store.forget('g')
    assert not store.path('g').exists()


def test_the_fingerprint_knows_what_matters():
    cfg = dict(
        model=dict(type='M', depth=3),
        test_cfg=dict(max_epochs=4, resume=False),
        test_dataloader=dict(num_workers=0, dataset=dict(data_root='x', groups=['a'])),
        custom_hooks=[dict(type='IterationSeedHook')],
    )
    reference = fingerprint_of(cfg)
    for same in (
        dict(test_cfg=dict(max_epochs=4, resume=True)),
        dict(test_dataloader=dict(num_workers=2, dataset=dict(data_root='x', groups=['b']))),
        dict(custom_hooks=[dict(type='IterationSeedHook'), dict(type='SaveMasksHook')]),
        dict(work_dir='elsewhere'),
    ):
        assert fingerprint_of({**cfg, **same}) == reference
    for different in (
        dict(model=dict(type='M', depth=4)),
        dict(test_cfg=dict(max_epochs=5)),
        dict(test_dataloader=dict(dataset=dict(data_root='y'))),
        dict(load_from='weights.pth'),
    ):
        assert fingerprint_of({**cfg, **different}) != reference
