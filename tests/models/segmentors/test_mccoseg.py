import copy

import pytest
import torch
from demo_inputs import make_group_batch
from mmengine.model import BaseModule
from torch import nn
from torch.nn import functional as F

from mmcoseg.errors import MMCosegError
from mmcoseg.models import MultiClassCoSeg
from mmcoseg.models.ops import mask_of_prob, min_max_maps
from mmcoseg.models.segmentors.base import BaseCoSegmentor
from mmcoseg.registry import MODELS

LOSSES = dict(
    co_attention=dict(type='CoAttentionLoss'),
    initial=dict(type='InitialMapLoss'),
)
CLASSES = 2
ATTENTION = dict(type='AttentionNeck', attention=dict(type='GatedAttention', in_channels=8))


@MODELS.register_module(name='MultiClassTestBackbone')
class TinyBackbone(BaseModule):
    """Two levels, of strides 2 and 4."""

    def __init__(self, frozen=False):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self.coarse = nn.Sequential(
            nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.requires_grad_(not frozen)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        fine = self.fine(x)
        return fine, self.coarse(fine)


@MODELS.register_module(name='MultiClassTestInitial')
class BrightChannels(BaseCoSegmentor):
    """Of each image of a group, which of its colors is bright; and how often it was asked."""

    loss = _forward = None

    def __init__(self, num_classes, wrong=False, max_classes=None, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.max_classes = max_classes
        self.wrong = wrong
        self.seen = []

    def soft_maps(self, images, group):
        assert not torch.is_grad_enabled() and not self.training
        assert len(images) == len(group) and not any('gt_sem_seg' in s for s in group)
        self.seen.append([sample.identity for sample in group])
        number = self.num_classes
        if number == 'data':
            number = group.num_classes
        if number == 'auto':  # as many as the group has images
            number = len(group)
            group.set_metainfo(dict(class_count=f'{number} of {self.max_classes}'))
        return [bright(image, number)[self.wrong :] for image in images.batch()]


def bright(image, num_classes):
    logits = F.avg_pool2d(image, 4)[:num_classes]
    return torch.cat([torch.zeros_like(logits[:1]), logits]).softmax(dim=0)


def build(num_classes=CLASSES, seed=0, **kwargs):
    torch.manual_seed(seed)
    settings = dict(
        num_classes=num_classes,
        backbone=dict(type='MultiClassTestBackbone'),
        neck=ATTENTION,
        decode_head=dict(type='MultiClassHead', in_channels=[6, 8], strides=[2, 4], lateral=True),
        extractor=dict(type='MultiClassTestBackbone'),
        losses=LOSSES,
        initial_segmentor=dict(type='MultiClassTestInitial'),
    )
    model = MultiClassCoSeg(**{**settings, **kwargs})
    nn.init.normal_(model.decode_head.conv.weight)
    if model.neck is not None and model.neck.attention.parts:
        nn.init.constant_(model.neck.attention.gamma, 0.5)
    return model


def with_strong_attention(model):
    torch.manual_seed(1)
    for parameter in model.neck.parameters():
        nn.init.normal_(parameter)
    return model


def batch(group_sizes=(3, 2), size=(32, 40), ori_shape=(50, 60)):
    return make_group_batch(group_sizes, size, ori_shape=ori_shape, num_foreground=2)


def prepared(model, data):
    """The model's input, after it has seen the groups."""
    data = model.data_preprocessor(data)
    sizes = [len(group) for group in data['data_samples']]
    for images, group in zip(data['inputs'].split(sizes), data['data_samples']):
        model.prepare_group(images, group)
    return data


def images_of(model, data):
    """Normalized images (sum N, 3, H, W)."""
    return model.data_preprocessor(data)['inputs'].batch()


def losses_of(model, data):
    return model(**prepared(model, data), mode='loss')


def predictions(model, data=None):
    data = data or batch()
    return [sample for group in model.eval().test_step(data) for sample in group]


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.pred_prob.data, b.pred_prob.data)
        assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)


def literal_maps(model, inputs, group_sizes):
    fine, coarse = model.backbone(inputs)
    coarse = model.neck.attention(coarse, group_sizes)
    return model.decode_head((fine, coarse)).softmax(dim=1)


@pytest.mark.parametrize('num_classes', [1, 2])
def test_the_objective_is_that_of_its_parts(num_classes):
    model, data = build(num_classes).eval(), batch()
    losses = losses_of(model, data)
    assert list(losses) == ['loss_co_attention', 'loss_initial']
    inputs = images_of(model, batch())
    maps = literal_maps(model, inputs, [3, 2])
    assert maps.shape == (5, num_classes + 1, 32, 40)
    vectors = torch.stack(
        [
            torch.stack([model.extractor(s * image[None])[-1][0].mean(dim=(1, 2)) for s in some])
            for image, some in zip(inputs, maps)
        ]
    )
    expected = model.losses['co_attention'](vectors, [3, 2])
    torch.testing.assert_close(losses['loss_co_attention'], expected, rtol=1e-4, atol=1e-5)
    labels = torch.stack([bright(image, num_classes) for image in inputs])
    labels = F.interpolate(labels, (32, 40), mode='bilinear')
    expected = model.losses['initial'](maps, labels, [3, 2])
    torch.testing.assert_close(losses['loss_initial'], expected)
    assert all(value > 0 for value in losses.values())


def test_derivatives_reach_the_generator_and_not_the_extractor():
    model = build(losses=dict(co_attention=LOSSES['co_attention'])).train()
    assert not model.extractor.training and not model.extractor.coarse[1].training
    assert model.backbone.training
    model.parse_losses(losses_of(model, batch()))[0].backward()
    for name, parameter in model.named_parameters():
        if name.startswith('extractor'):
            assert parameter.grad is None and not parameter.requires_grad
        elif 'bias' not in name:  # biases of queries have no derivative
            assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize('removed', list(LOSSES))
def test_each_loss_can_be_removed(removed):
    whole = losses_of(build().eval(), batch())
    model = build(losses={**LOSSES, removed: None})
    part = losses_of(model.eval(), batch())
    assert set(whole) - set(part) == {f'loss_{removed}'}
    for name in part:
        torch.testing.assert_close(part[name], whole[name])
    # What only it has looked at was not asked.
    assert (model.extractor.calls == 0) == (removed == 'co_attention')


@pytest.mark.parametrize('removed', ['extractor', 'initial_segmentor'])
def test_a_loss_without_what_it_looks_at(removed):
    model = build(**{removed: None}).eval()
    message = dict(
        extractor='vectors of an extractor, but model.extractor is None: give one, or leave',
        initial_segmentor='g0/0 has no maps of an initial segmentor: set model.initial_segmentor',
    )
    with pytest.raises(MMCosegError, match=message[removed]):
        losses_of(model, batch())
    name = dict(extractor='co_attention', initial_segmentor='initial')[removed]
    model = build(**{removed: None}, losses={**LOSSES, name: None}).eval()
    assert len(losses_of(model, batch())) == 1


@pytest.mark.parametrize('num_classes', [1, 2])
@pytest.mark.parametrize('neck', [None, ATTENTION])
def test_optimizing_a_group_lowers_the_objective(num_classes, neck):
    losses = dict(co_attention=dict(type='CoAttentionLoss', reduction='mean', loss_weight=100.0))
    model = build(num_classes, losses=losses, neck=neck)
    with torch.no_grad():
        model.extractor.coarse[0].weight.mul_(10)  # vectors that differ
    data = batch((4,))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    values = []
    for _ in range(20):
        total = model.parse_losses(losses_of(model, copy.deepcopy(data)))[0]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < 0.98 * values[0]


def test_groups_of_a_batch_cost_the_mean_of_each_alone():
    model = build().eval()
    both = losses_of(model, batch((3, 2)))
    data = batch((3, 2))
    alone = [
        losses_of(model, dict(inputs=[images], data_samples=[group]))
        for images, group in zip(data['inputs'], data['data_samples'])
    ]
    for name, value in both.items():
        torch.testing.assert_close(value, (alone[0][name] + alone[1][name]) / 2)


@pytest.mark.parametrize('size', [16, 24])
def test_images_and_maps_meet_at_the_extractors_size(size):
    model = build(extractor_size=size).eval()
    seen = []
    model.extractor.register_forward_hook(lambda _, args, out: seen.append(args[0]))
    losses = losses_of(model, batch())
    assert [len(masked) for masked in seen] == [3 * 3, 2 * 3]
    masked = torch.cat(seen).view(5, 3, 3, size, size)
    inputs = images_of(model, batch())
    images = F.interpolate(inputs, (size, size), mode='bilinear', antialias=True)
    # The maps of an image share it out.
    torch.testing.assert_close(masked.sum(dim=1), images)
    logits = model(**model.data_preprocessor(batch()))
    maps = F.interpolate(logits, (size, size), mode='bilinear').softmax(dim=1)
    labels = torch.stack([bright(image, CLASSES) for image in inputs])
    expected = model.losses['initial'](maps, labels, [3, 2])
    torch.testing.assert_close(losses['loss_initial'], expected)


def test_training_in_half_precision():
    model = build().train()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = losses_of(model, batch())
    assert all(value.dtype == torch.float32 for value in losses.values())
    model.parse_losses(losses)[0].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize('num_classes', [1, 2])
def test_predictions(num_classes):
    model = build(num_classes)
    samples = predictions(model, batch((3,)))
    inputs = images_of(model, batch((3,)))
    with torch.no_grad():
        maps = literal_maps(model, inputs, [3])
    for sample, expected in zip(samples, maps, strict=True):
        prob = sample.pred_prob.data
        low, high = expected.amin(dim=(1, 2), keepdim=True), expected.amax(dim=(1, 2), keepdim=True)
        expected = (expected - low) / (high - low)
        expected = F.avg_pool2d(expected / expected.sum(dim=0), 4)
        torch.testing.assert_close(prob, expected)
        assert prob.dtype == torch.float32 and prob.shape == (num_classes + 1, 8, 10)
        assert torch.equal(sample.pred_sem_seg.data, mask_of_prob(prob, (50, 60)))
    plain = predictions(build(num_classes, test_cfg=dict(min_max=False)), batch((3,)))
    torch.testing.assert_close(plain[0].pred_prob.data, F.avg_pool2d(maps[0], 4))


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('chunk_size', [1, 2, 10])
def test_the_result_does_not_depend_on_the_chunks(chunk_size, channels_last):
    whole = predictions(with_strong_attention(build()))
    preprocessor = dict(type='GroupDataPreprocessor', channels_last=channels_last)
    parts = build(test_cfg=dict(chunk_size=chunk_size), data_preprocessor=preprocessor)
    assert_same(predictions(with_strong_attention(parts)), whole)


def test_mini_batches_of_a_group_are_filled_up_with_its_first_images():
    model = with_strong_attention(build(test_cfg=dict(group_size=3, min_max=False)))
    samples = predictions(model, batch((4, 2)))
    first, second = images_of(model, batch((4, 2))).split([4, 2])
    with torch.no_grad():
        expected = [
            *literal_maps(model, first[:3], [3]),
            literal_maps(model, first[[3, 0, 1]], [3])[0],
            *literal_maps(model, second, [2]),
        ]
    assert [s.identity for s in samples] == ['g0/0', 'g0/1', 'g0/2', 'g0/3', 'g1/0', 'g1/1']
    for sample, maps in zip(samples, expected, strict=True):
        torch.testing.assert_close(sample.pred_prob.data, F.avg_pool2d(maps, 4))
    # Mini-batches matter, and only because of mutual attention.
    larger = with_strong_attention(build(test_cfg=dict(group_size=4, min_max=False)))
    larger = predictions(larger, batch((4, 2)))
    assert not torch.allclose(larger[0].pred_prob.data, samples[0].pred_prob.data, atol=1e-4)
    alone = dict(type='GatedAttention', in_channels=8, mutual_attention=None)
    neck = dict(type='AttentionNeck', attention=alone)
    assert_same(
        predictions(with_strong_attention(build(neck=neck, test_cfg=dict(group_size=4)))),
        predictions(with_strong_attention(build(neck=neck, test_cfg=dict(group_size=2)))),
    )


def test_a_group_of_one_image():
    model = build(num_classes=1).eval()
    (sample,) = predictions(model, batch((1,)))
    assert sample.pred_prob.data.isfinite().all()
    assert losses_of(model, batch((1,)))['loss_co_attention'].item() == 0


def test_images_of_different_size():
    model = build(test_cfg=dict(group_size=2))
    data, other = batch((2,)), batch((1,), size=(24, 36))
    data['inputs'][0].append(other['inputs'][0][0])
    sample = other['data_samples'][0][0]
    sample.set_metainfo(dict(stem='small'))
    data['data_samples'][0].samples.append(sample)
    small = predictions(model, copy.deepcopy(data))[2]
    assert small.pred_prob.shape == (6, 9) and small.pred_sem_seg.shape == (50, 60)
    with pytest.raises(ValueError, match=r'g0/small is \(24, 36\), others of the batch \(32, 40\)'):
        losses_of(model, data)


def test_initial_maps_are_found_once_a_group():
    model = build(losses=dict(initial=LOSSES['initial'])).eval()
    data = prepared(model, batch((3,)))
    (group,) = data['data_samples']
    model(**data, mode='loss')
    # Any mini-batch of the group.
    order = [2, 0]
    part = dict(inputs=data['inputs'].select(order), data_samples=[group.select(order)])
    found = model(**part, mode='loss')['loss_initial']
    assert model.initial_segmentor.seen == [['g0/0', 'g0/1', 'g0/2']]
    maps = model.decode_head.predict_by_feat(model(**part), (32, 40))
    labels = torch.stack([group[index].initial_maps.data for index in order])
    labels = F.interpolate(labels, (32, 40), mode='bilinear')
    torch.testing.assert_close(found, model.losses['initial'](maps, labels, [2]))
    # Another group's images are not known.
    other = model.data_preprocessor(batch((3, 2)))
    model.prepare_group(other['inputs'].split([3, 2])[0], other['data_samples'][0])
    with pytest.raises(MMCosegError, match='g1/0 has no maps of an initial .*call prepare_group'):
        model(**other, mode='loss')


def test_an_initial_segmentor_of_another_number_of_maps():
    initial = dict(type='MultiClassTestInitial', wrong=True)
    model = build(initial_segmentor=initial).eval()
    message = "initial_segmentor must give 3 maps of each image of 'g0', .*; got 2 of g0/0"
    with pytest.raises(MMCosegError, match=message):
        losses_of(model, batch())


def batch_with_numbers(numbers, group_sizes=(3, 2, 4)):
    data = batch(group_sizes)
    for group, number in zip(data['data_samples'], numbers):
        group.set_metainfo(dict(num_classes=number))
    return data


def alone(data, place):
    return dict(inputs=[data['inputs'][place]], data_samples=[data['data_samples'][place]])


def test_each_group_has_the_number_of_classes_that_the_data_set_says():
    numbers = (2, 1, 2)
    options = dict(max_classes=3)
    model = build('data', **options).eval()
    assert model.decode_head.num_maps == 4
    both = losses_of(model, batch_with_numbers(numbers))
    total = {}
    for place, number in enumerate(numbers):
        fixed = build(number, **options).eval()
        for name, value in losses_of(fixed, alone(batch_with_numbers(numbers), place)).items():
            total[name] = total.get(name, 0) + value / 3
    assert list(both) == list(total)
    for name, value in both.items():
        torch.testing.assert_close(value, total[name])
    samples = predictions(model, batch_with_numbers(numbers))
    assert [len(sample.pred_prob.data) - 1 for sample in samples] == [2] * 3 + [1] * 2 + [2] * 4
    for place, number in enumerate(numbers):
        fixed = predictions(build(number, **options), alone(batch_with_numbers(numbers), place))
        assert_same([s for s in samples if s.group == f'g{place}'], fixed)


def test_unused_maps_are_as_if_they_were_not_there():
    model, small = build('data', max_classes=3), build(2)
    state = model.state_dict()
    for name, value in small.state_dict().items():
        value.copy_(state[name][: len(value)] if value.dim() else state[name])
    data = batch_with_numbers((2, 2, 2))
    assert_same(predictions(model, copy.deepcopy(data)), predictions(small, data))


def test_the_initial_segmentor_estimates_the_number_of_classes():
    model = build('auto', max_classes=3).eval()
    initial = model.initial_segmentor
    assert initial.num_classes == 'auto' and initial.max_classes == 3
    seen = []
    model.losses['initial'].register_forward_hook(
        lambda _, args, given, out: seen.append((given['maps'].shape[1] - 1, given['group_sizes'])),
        with_kwargs=True,
    )
    data = prepared(model, batch((3, 2)))
    model(**data, mode='loss')
    # A mini-batch has the number of its group.
    part = data['data_samples'][0].select([1, 2])
    model(data['inputs'].select([1, 2]), [part], mode='loss')
    assert seen == [(3, [3]), (2, [2]), (3, [2])]
    groups = model(**data, mode='predict')
    assert len(initial.seen) == 2
    assert [group.class_count for group in groups] == ['3 of 3', '2 of 3']
    for group in groups:
        assert {len(sample.pred_prob.data) - 1 for sample in group} == {len(group)}
        assert 'num_classes' not in group
    # Without optimization it is asked when predicting.
    fresh = build('auto', max_classes=3).eval()
    again = fresh.test_step(batch((3, 2)))
    assert [len(some) for some in fresh.initial_segmentor.seen] == [3, 2]
    for ours, theirs in zip(again, groups, strict=True):
        assert ours.class_count == theirs.class_count
        assert_same(ours, theirs)


@pytest.mark.parametrize('number', [None, 0, 2.0, True])
def test_a_data_set_that_does_not_say_how_many_classes_there_are(number):
    model = build('data', max_classes=3).eval()
    message = "model.num_classes='data', but .* how many classes the group 'g0' has .*is {!r}"
    with pytest.raises(ValueError, match=message.format(number)):
        predictions(model, batch_with_numbers((number,)))


@pytest.mark.parametrize('initial', [dict(type='MultiClassTestInitial'), None])
def test_more_classes_than_there_are_maps(initial):
    message = "'g1' has 3 classes, but model.max_classes is 2: set model.max_classes=3"
    model = build('data', max_classes=2, initial_segmentor=initial).eval()
    data = model.data_preprocessor(batch_with_numbers((2, 3, 1)))
    with pytest.raises(ValueError, match=message):
        model.prepare_group(data['inputs'].split([3, 2, 4])[1], data['data_samples'][1])
    if initial is not None:
        assert not model.initial_segmentor.seen  # known before anything is computed
    with pytest.raises(ValueError, match=message):
        predictions(model, batch_with_numbers((2, 3, 1)))
    model = build('auto', max_classes=2).eval()
    with pytest.raises(ValueError, match="'g0' has 3 classes, but model.max_classes is 2"):
        predictions(model, batch((3,)))


def test_features_of_a_frozen_backbone_are_computed_once():
    frozen = dict(type='MultiClassTestBackbone', frozen=True)
    model = build(backbone=frozen, feature_cache=10).eval()
    data = prepared(model, batch((3,)))
    first = model(**data, mode='loss')
    calls = model.backbone.calls
    again = model(**data, mode='loss')
    model(**data, mode='predict')
    assert model.backbone.calls == calls
    plain = losses_of(build(backbone=frozen).eval(), batch((3,)))
    for name, value in first.items():
        assert torch.equal(value, again[name])
        torch.testing.assert_close(value, plain[name], rtol=1e-2, atol=1e-3)
    prepared(model, batch((3,)))
    assert len(model.feature_cache) == 0
    with pytest.raises(ValueError, match='features can be kept only of a frozen backbone'):
        build(feature_cache=10)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_classes=0), "model.num_classes, if not 'data' or 'auto', must be .*, got 0"),
        (dict(losses=dict(initial=None)), r"losses has no loss .* got \{'initial': None\}"),
        (dict(num_classes='many'), "model.num_classes, if not 'data' or 'auto', must be .*'many'"),
        (dict(num_classes='data'), "model.num_classes='data' needs model.max_classes"),
        (dict(max_classes=1), 'model.num_classes=2 is more than model.max_classes=1'),
        (dict(max_classes=0), 'model.max_classes must be a whole number, at least 1, got 0'),
        (
            dict(num_classes='auto', max_classes=2, initial_segmentor=None),
            "model.num_classes='auto' needs an initial segmentor .* set model.num_classes to",
        ),
        (dict(extractor_size=(1, 2)), r'model.extractor_size must be a whole .* got \(1, 2\)'),
        (dict(extractor_size=0), 'model.extractor_size must be a whole number, at least 1, got 0'),
        (
            dict(test_cfg=dict(group=3)),
            r"model.test_cfg has no 'group' \(did you mean 'group_size'\?\)",
        ),
        (
            dict(test_cfg=dict(group_size=0)),
            'model.test_cfg.group_size must be a whole number, at least 1, got 0',
        ),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(MMCosegError, match=message):
        build(**options)


def test_vectors_of_what_a_map_shows():
    model = build().eval()
    images = torch.rand(2, 3, 32, 40) - 0.5
    maps = torch.rand(2, 3, 32, 40).requires_grad_()
    found = model.extract_vectors(images, maps)
    assert found.shape == (2, 3, 8) and found.dtype == torch.float32
    for n in range(2):
        for k in range(3):
            seen = model.extractor((maps[n, k] * images[n])[None])[-1].mean(dim=(2, 3))[0]
            torch.testing.assert_close(found[n, k], seen, atol=1e-5, rtol=1e-4)
    # Derivatives of an empty map are finite.
    empty = torch.zeros(1, 3, 32, 40, requires_grad=True)
    model.extract_vectors(images[:1], empty).sum().backward()
    assert torch.isfinite(empty.grad).all()


def test_a_map_without_contrast_says_nothing():
    prob = torch.tensor([[0.6, 0.5], [0.2, 0.3], [0.2, 0.2]])[:, None]
    stretched = min_max_maps(prob)
    torch.testing.assert_close(stretched[:, 0], torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    flat = torch.full((3, 2, 2), 1 / 3)
    torch.testing.assert_close(min_max_maps(flat), flat)
    prob = torch.rand(4, 5, 6).softmax(dim=0)
    expected = torch.stack([(p - p.min()) / (p.max() - p.min()) for p in prob])
    assert torch.equal(min_max_maps(prob).argmax(dim=0), expected.argmax(dim=0))
    torch.testing.assert_close(min_max_maps(prob).sum(dim=0), torch.ones(5, 6))
