"""The parts of the loop over groups, without a runner."""

import copy

import numpy as np
import pytest
import torch
from constant_segmentor import ConstantSegmentor
from mmengine.structures import InstanceData, PixelData
from torch import nn

from mmcoseg.datasets import CoSegDataset, group_collate
from mmcoseg.engine.group_optimization import (
    GroupBatches,
    InitialState,
    NonFiniteLossError,
    OptimizationSettings,
    optimize_group,
)
from mmcoseg.engine.loops.group_optimization_loop import fingerprint_of, share_out
from mmcoseg.engine.prediction_store import PredictionStore
from mmcoseg.errors import MMCosegError
from mmcoseg.seeding import entropy_of
from mmcoseg.structures import CoSegDataSample, GroupDataSample
from mmcoseg.testing import write_tiny_dataset

PIPELINE = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='RandomFlip', prob=0.5),
        ],
    ),
    dict(type='PackGroupInputs'),
]
SGD = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))


def plain(batch_size, count, **kwargs):
    """Batches of records that go through no pipeline."""
    record = dict(group='cat', images=[dict(stem=i) for i in range(count)])
    return GroupBatches(
        record, lambda r: r, batch_size, collate_fn=lambda items: items[0], **kwargs
    )


def stems(batches, epoch):
    batches.sampler.epoch = epoch
    return [[image['stem'] for image in batch['images']] for batch in batches.loader]


@pytest.mark.parametrize(
    ('count', 'sizes'), [(1, [1]), (6, [6]), (7, [4, 3]), (12, [6, 6]), (13, [5, 4, 4])]
)
def test_an_epoch_has_every_image_once_in_batches_of_like_size(count, sizes):
    batches = plain(6, count)
    assert len(batches) == len(sizes)
    for epoch in range(3):
        found = stems(batches, epoch)
        assert [len(part) for part in found] == sizes
        assert sorted(sum(found, [])) == list(range(count))


def test_batches_are_a_function_of_seed_group_and_epoch():
    epochs = [stems(plain(6, 30), epoch) for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert [stems(plain(6, 30), epoch) for epoch in (0, 1, 2)] == epochs
    assert stems(plain(6, 30, seed=1), 0) != epochs[0]
    other = plain(6, 30)
    other.group = 'dog'
    assert stems(other, 0) != epochs[0]


def test_spares_are_other_images_of_the_group():
    batches = plain(6, 40)
    item = batches[0, 2]
    spares = [image['stem'] for image in item['spares']]
    assert len(spares) == GroupBatches.SPARES
    assert not set(spares) & {image['stem'] for image in item['images']}
    assert plain(6, 6)[0, 0]['spares'] == []


def test_wrong_batches_are_refused():
    with pytest.raises(ValueError, match='batch_size must be a positive whole number, got 0'):
        plain(0, 3)
    with pytest.raises(ValueError, match="the group 'cat' has no image"):
        plain(6, 0)


@pytest.fixture
def dataset(tmp_path):
    root = write_tiny_dataset(tmp_path / 'data', dict(a=5, b=7))
    return CoSegDataset(data_root=str(root), pipeline=PIPELINE)


def batches_of(dataset, place, **kwargs):
    return GroupBatches(dataset.get_data_info(place), dataset.pipeline, 3, **kwargs)


def test_batches_do_not_depend_on_workers_nor_on_what_was_drawn_before(dataset):
    alone = [item['inputs'][0] for item in batches_of(dataset, 1).loader]
    np.random.random(5)
    workers = [item['inputs'][0] for item in batches_of(dataset, 1, num_workers=2).loader]
    for first, second in zip(alone, workers, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_a_group_is_a_function_of_the_initial_weights_alone(dataset):
    model = ConstantSegmentor()
    initial, before = InitialState(model), copy.deepcopy(model)
    settings = OptimizationSettings(
        SGD, [dict(type='StepLR', step_size=2, gamma=0.5, by_epoch=True)], max_epochs=4
    )
    results = []
    for place in (0, 1, 0):
        optimize_group(model, batches_of(dataset, place), settings)
        results.append([copy.deepcopy(model.state_dict()), model.hidden.clone()])
        assert model.value.grad is None
        assert model.hidden.item() == 4 * len(batches_of(dataset, place))
        initial.restore()
        for (name, value), old in zip(model.named_parameters(), before.parameters()):
            assert torch.equal(value, old), name
        for (name, value), old in zip(model.named_buffers(), before.buffers()):
            assert torch.equal(value, old), name
    for name, value in results[0][0].items():
        assert torch.equal(value, results[2][0][name])
    assert not torch.equal(results[0][0]['value'], results[1][0]['value'])


@pytest.mark.parametrize('by_epoch', [True, False])
def test_schedulers_step(dataset, by_epoch):
    schedule = dict(type='StepLR', step_size=1, gamma=1e-9, by_epoch=by_epoch)
    settings = OptimizationSettings(
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.5)), schedule, max_epochs=1
    )
    fast, slow = ConstantSegmentor(), ConstantSegmentor()
    batches = batches_of(dataset, 0)  # two steps
    optimize_group(fast, batches, OptimizationSettings(settings.optim_wrapper, None, 1))
    optimize_group(slow, batches, settings)
    # After the first step, only by_epoch=False has no rate left.
    assert torch.equal(fast.value, slow.value) == by_epoch


def test_what_is_not_finite_names_the_group(dataset):
    with pytest.raises(NonFiniteLossError, match=r"group 'b': the loss is nan in epoch 1, .* 1"):
        optimize_group(
            ConstantSegmentor(fails=('b',)), batches_of(dataset, 1), OptimizationSettings(SGD)
        )
    explode = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=float('inf')))
    settings = OptimizationSettings(explode, max_epochs=1)
    batches = GroupBatches(dataset.get_data_info(0), dataset.pipeline, 5)
    with pytest.raises(NonFiniteLossError, match="group 'a': the last step left value"):
        optimize_group(ConstantSegmentor(), batches, settings)


def test_settings_are_configs():
    with pytest.raises(MMCosegError, match='optim_wrapper must be a config'):
        OptimizationSettings(object())
    with pytest.raises(ValueError, match='max_epochs must be a whole number >= 0, got -1'):
        OptimizationSettings(SGD, max_epochs=-1)


class Preparing(ConstantSegmentor):
    """Notes what it was prepared with, and in which state."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.notes = []

    def prepare_group(self, inputs, data_samples):
        (group,) = data_samples
        self.notes.append(
            dict(
                stems=[sample.stem for sample in group],
                inputs=inputs,
                training=self.training or self.norm.training,
                gradients=torch.is_grad_enabled(),
                steps=len(self.seen),
                random=torch.rand(3),
                value=float(self.value),
            )
        )


def whole_of(dataset, place):
    record = dataset.get_data_info(place)
    steps = [dict(type='LoadCoSegImage'), dict(type='Resize', scale=(16, 16), keep_ratio=False)]
    pipeline = [dict(type='ForEachImage', transforms=steps), dict(type='PackGroupInputs')]
    dataset = CoSegDataset(
        data_root=dataset.data_root, groups=[record['group']], pipeline=pipeline, test_mode=True
    )
    return group_collate([dataset[0]])


def test_the_whole_group_is_seen_once_before_the_first_step(dataset):
    model = Preparing()
    model.train()
    whole = whole_of(dataset, 1)
    keys = [set(sample.keys()) for sample in whole['data_samples'][0]]
    optimize_group(
        model, batches_of(dataset, 1), OptimizationSettings(SGD, max_epochs=3), whole=whole
    )
    (note,) = model.notes
    assert note['stems'] == [f'{i:03}' for i in range(7)]
    assert torch.equal(note['inputs'], model.data_preprocessor(whole, False)['inputs'])
    assert (note['training'], note['gradients']) == (False, False)
    assert (note['steps'], note['value']) == (0, 5.0) and len(model.seen) == 9
    assert [set(sample.keys()) for sample in whole['data_samples'][0]] == keys
    # Left out where there is nothing to see, or nobody to see it.
    optimize_group(model, batches_of(dataset, 1), OptimizationSettings(SGD, max_epochs=0))
    assert len(model.notes) == 1
    settings = OptimizationSettings(SGD, max_epochs=0)
    optimize_group(nn.Linear(1, 1), batches_of(dataset, 1), settings, whole=whole)


def test_preparing_is_a_function_of_the_group_and_changes_no_step(dataset):
    settings, results = OptimizationSettings(SGD, max_epochs=2), []
    for place, whole in ((0, True), (1, True), (0, True), (0, False)):
        torch.manual_seed(len(results))
        model = Preparing()
        optimize_group(
            model,
            batches_of(dataset, place),
            settings,
            whole=whole_of(dataset, place) if whole else None,
        )
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


class WithExtraState(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer('shared', torch.zeros(2))
        self.register_buffer('late', None)
        self.notes = ['first']

    def get_extra_state(self):
        return self.notes

    def set_extra_state(self, state):
        self.notes = state


def test_initial_state_covers_more_than_checkpoints():
    model = nn.ModuleList([WithExtraState(), WithExtraState(), nn.Linear(2, 2)])
    model[1].shared = model[0].shared
    model[2].bias.requires_grad_(False)
    model[2].eval()
    initial = InitialState(model)
    model[0].shared += 1
    model[0].late = torch.ones(3)
    model[0].register_buffer('new', torch.ones(1))
    model[0].notes.append('second')
    model.train().requires_grad_(True)
    model[2].weight.data.zero_()
    initial.restore()
    assert model[0].shared is model[1].shared
    assert model[0].shared.tolist() == [0, 0]
    assert model[0].late is None
    assert 'new' not in dict(model[0].named_buffers())
    assert model[0].notes == ['first']
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
    assert store.notes('a/b: ü') == dict(failure=None, losses=[{'loss': 1.5}])
    assert [path.suffix for path in (tmp_path / 'kept').iterdir()] == ['.npz']
    assert store.load('a/b: ü', back)
    for old, new in zip(group, back):
        for field in ('pred_prob', 'pred_sem_seg'):
            assert old.get(field).data.dtype == new.get(field).data.dtype
            assert torch.equal(old.get(field).data, new.get(field).data)
        for key, value in old.pred_instances.items():
            assert value.dtype == new.pred_instances[key].dtype
            assert torch.equal(value, new.pred_instances[key])
    assert back[0].presence == 0.25
    assert 'presence' not in back[1]


def test_what_does_not_hold_is_not_used(tmp_path):
    store = PredictionStore(tmp_path, 'abc')
    assert store.notes('g') is None
    store.save('g', predicted())
    other = PredictionStore(tmp_path, 'other settings')
    assert other.notes('g') is None
    assert not other.load('g', empty('x', 'y'))
    assert not store.load('g', empty('x', 'z'))
    content = store.path('g').read_bytes()
    for damaged in (b'', content[: len(content) // 2], content[:200] + bytes(50) + content[250:]):
        store.path('g').write_bytes(damaged)
        samples = empty('x', 'y')
        assert not store.load('g', samples)
        assert 'pred_prob' not in samples[0]
    store.forget('g')
    store.forget('g')
    assert not store.path('g').exists()


def test_the_fingerprint_knows_what_matters():
    cfg = dict(
        model=dict(type='M', depth=3),
        train_cfg=dict(max_epochs=4, resume=False),
        test_dataloader=dict(num_workers=0, dataset=dict(data_root='x', groups=['a'])),
        custom_hooks=[dict(type='IterationSeedHook')],
    )
    reference = fingerprint_of(cfg)
    for same in (
        dict(train_cfg=dict(max_epochs=4, resume=True)),
        dict(test_dataloader=dict(num_workers=2, dataset=dict(data_root='x', groups=['b']))),
        dict(custom_hooks=[dict(type='IterationSeedHook'), dict(type='SaveMasksHook')]),
        dict(work_dir='elsewhere'),
    ):
        assert fingerprint_of({**cfg, **same}) == reference
    for different in (
        dict(model=dict(type='M', depth=4)),
        dict(train_cfg=dict(max_epochs=5)),
        dict(test_dataloader=dict(dataset=dict(data_root='y'))),
        dict(load_from='weights.pth'),
    ):
        assert fingerprint_of({**cfg, **different}) != reference
