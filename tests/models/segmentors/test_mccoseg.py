import copy

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn
from torch.nn import functional as F

from mmcoseg.models import MultiClassCoSeg
from mmcoseg.models.ops import class_discriminants, mask_of_prob, min_max_maps
from mmcoseg.models.segmentors.mccoseg import PRIOR_RIDGE
from mmcoseg.registry import MODELS
from mmcoseg.structures import split_groups
from mmcoseg.testing import make_group_batch

LOSSES = dict(
    co_attention=dict(type='CoAttentionLoss'),
    area=dict(type='MapAreaLoss', smallest=0.5, largest=0.6),
    entropy=dict(type='MapEntropyLoss'),
    prior=dict(type='PriorMapLoss'),
)
CLASSES = 2


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


@MODELS.register_module(name='MultiClassTestPrior')
class BrightChannels(nn.Module):
    """Of each image of a group, which of its colors is bright; and how often it was asked."""

    def __init__(self, num_classes, wrong=False, max_classes=None):
        super().__init__()
        self.num_classes = num_classes
        self.max_classes = max_classes
        self.wrong = wrong
        self.seen = []

    def predict_maps(self, inputs, data_samples):
        assert not torch.is_grad_enabled() and not self.training
        samples = [sample for group in data_samples for sample in group]
        assert len(samples) == len(inputs) and not any('pred_prob' in s for s in samples)
        self.seen.append([sample.identity for sample in samples])
        numbers = []
        for group in data_samples:
            number = self.num_classes
            if number == 'data':
                number = group.num_classes
            if number == 'auto':  # as many as the group has images
                number = len(group)
                group.set_metainfo(dict(class_count=f'{number} of {self.max_classes}'))
            numbers += [number] * len(group)
        return [bright(image, k)[self.wrong :] for image, k in zip(inputs, numbers, strict=True)]


def bright(image, num_classes):
    logits = F.avg_pool2d(image, 4)[:num_classes]
    return torch.cat([torch.zeros_like(logits[:1]), logits]).softmax(dim=0)


def build(num_classes=CLASSES, seed=0, **kwargs):
    torch.manual_seed(seed)
    settings = dict(
        num_classes=num_classes,
        backbone=dict(type='MultiClassTestBackbone'),
        attention=dict(type='GatedAttention', in_channels=8),
        decode_head=dict(type='MultiClassHead', in_channels=[6, 8], strides=[2, 4], lateral=True),
        extractor=dict(type='MultiClassTestBackbone'),
        losses=LOSSES,
        prior=dict(type='MultiClassTestPrior'),
    )
    model = MultiClassCoSeg(**{**settings, **kwargs})
    nn.init.normal_(model.decode_head.conv.weight)
    if model.attention is not None and model.attention.parts:
        nn.init.constant_(model.attention.gamma, 0.5)
    return model


def with_strong_attention(model):
    torch.manual_seed(1)
    for parameter in model.attention.parameters():
        nn.init.normal_(parameter)
    return model


def batch(group_sizes=(3, 2), size=(32, 40), ori_shape=(50, 60)):
    return make_group_batch(group_sizes, size, ori_shape=ori_shape, num_foreground=2)


def prepared(model, data, training=True):
    """The model's input, after it has seen the groups."""
    seen = model.data_preprocessor(copy.deepcopy(data), False)
    model.prepare_group(**seen)
    return model.data_preprocessor(data, training)


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
    coarse = model.attention(coarse, group_sizes)
    return model.decode_head((fine, coarse)).softmax(dim=1)


@pytest.mark.parametrize('num_classes', [1, 2])
def test_the_objective_is_that_of_its_parts(num_classes):
    model, data = build(num_classes).eval(), batch()
    losses = losses_of(model, data)
    names = ['loss_co_attention', 'loss_area', 'loss_entropy', 'loss_prior']
    assert list(losses) == names
    inputs = model.data_preprocessor(batch())['inputs']
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
    for name in ('area', 'entropy'):
        torch.testing.assert_close(losses[f'loss_{name}'], model.losses[name](maps, [3, 2]))
    labels = torch.stack([bright(image, num_classes) for image in inputs])
    labels = F.interpolate(labels, (32, 40), mode='bilinear')
    expected = model.losses['prior'](maps, labels, [3, 2])
    torch.testing.assert_close(losses['loss_prior'], expected)
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
    # What only it has looked at is not there either.
    assert (model.extractor is None) == (removed == 'co_attention')
    assert (model.prior is None) == (removed == 'prior')
    if removed == 'prior':
        for name in part:
            torch.testing.assert_close(part[name], whole[name])


@pytest.mark.parametrize('num_classes', [1, 2])
@pytest.mark.parametrize('attention', [None, dict(type='GatedAttention', in_channels=8)])
def test_optimizing_a_group_lowers_the_objective(num_classes, attention):
    losses = dict(co_attention=dict(type='CoAttentionLoss', reduction='mean', loss_weight=100.0))
    model = build(num_classes, losses=losses, attention=attention)
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


@pytest.mark.parametrize('size', [16, (24, 20)])
def test_images_and_maps_meet_at_the_extractors_size(size):
    model = build(extractor_size=size, losses={**LOSSES, 'prior': None}).eval()
    height, width = (size, size) if isinstance(size, int) else size
    seen = []
    model.extractor.register_forward_hook(lambda _, args, out: seen.append(args[0]))
    losses = losses_of(model, batch())
    (masked,) = seen
    assert masked.shape == (5 * 3, 3, height, width)
    inputs = model.data_preprocessor(batch())['inputs']
    images = F.interpolate(inputs, (height, width), mode='bilinear', antialias=True)
    # The maps of an image share it out.
    torch.testing.assert_close(masked.view(5, 3, 3, height, width).sum(dim=1), images)
    logits = model.forward(inputs, model.data_preprocessor(batch())['data_samples'])
    maps = F.interpolate(logits, (height, width), mode='bilinear').softmax(dim=1)
    torch.testing.assert_close(losses['loss_entropy'], model.losses['entropy'](maps, [3, 2]))


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
    inputs = model.data_preprocessor(batch((3,)))['inputs']
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


@pytest.mark.parametrize('defer', [False, True])
@pytest.mark.parametrize('chunk_size', [1, 2, 10])
def test_the_result_does_not_depend_on_the_chunks(chunk_size, defer):
    whole = predictions(with_strong_attention(build()))
    preprocessor = dict(type='GroupDataPreprocessor', defer=defer, channels_last=defer)
    parts = build(test_cfg=dict(chunk_size=chunk_size), data_preprocessor=preprocessor)
    assert_same(predictions(with_strong_attention(parts)), whole)


def test_mini_batches_of_a_group_are_filled_up_with_its_first_images():
    model = with_strong_attention(build(test_cfg=dict(group_size=3, min_max=False)))
    samples = predictions(model, batch((4, 2)))
    inputs = model.data_preprocessor(batch((4, 2)))['inputs']
    first, second = split_groups(inputs, [4, 2])
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
    attention = dict(type='GatedAttention', in_channels=8, mutual_attention=None)
    assert_same(
        predictions(with_strong_attention(build(attention=attention, test_cfg=dict(group_size=4)))),
        predictions(with_strong_attention(build(attention=attention, test_cfg=dict(group_size=2)))),
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


def test_the_prior_is_found_once_a_group_and_turned_over_with_the_images():
    model = build(losses=dict(prior=LOSSES['prior'])).eval()
    losses = losses_of(model, batch((3,)))
    assert model.prior.seen == [['g0/0', 'g0/1', 'g0/2']]
    flipped = model.data_preprocessor(batch((3,)), True)
    flipped['inputs'] = flipped['inputs'].flip(-1)
    for sample in flipped['data_samples'][0]:
        sample.set_metainfo(dict(flip=True, flip_direction='horizontal'))
    maps = model.decode_head.predict_by_feat(model(flipped['inputs']), (32, 40))
    labels = torch.cat([model._priors[s.identity] for s in flipped['data_samples'][0]])
    labels = F.interpolate(labels.flip(-1), (32, 40), mode='bilinear')
    value = model(**flipped, mode='loss')['loss_prior']
    torch.testing.assert_close(value, model.losses['prior'](maps, labels, [3]))
    assert value != losses['loss_prior']
    # Another group's images are not known.
    other = model.data_preprocessor(batch((3, 2)), True)
    with pytest.raises(ValueError, match='g1/0 is not of the group that model.prior has seen'):
        model(**other, mode='loss')
    model.prepare_group(**model.data_preprocessor(batch((2,)), False))
    with pytest.raises(ValueError, match='g0/2 is not of the group'):
        model(**model.data_preprocessor(batch((3,)), True), mode='loss')


def test_a_prior_of_another_number_of_maps():
    model = build(prior=dict(type='MultiClassTestPrior', wrong=True)).eval()
    with pytest.raises(ValueError, match='must give 3 maps of each image.* of g0/0'):
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


def test_the_prior_estimates_the_number_of_classes():
    model = build('auto', max_classes=3).eval()
    assert model.prior.num_classes == 'auto' and model.prior.max_classes == 3
    seen = []
    model.losses['entropy'].register_forward_hook(
        lambda _, args, out: seen.append((args[0].shape[1] - 1, args[1]))
    )
    data = prepared(model, batch((3, 2)))
    model(**data, mode='loss')
    # A mini-batch has the number of its group.
    first = data['data_samples'][0].new()
    first.samples = data['data_samples'][0].samples[1:]
    model(data['inputs'][1:3], [first], mode='loss')
    assert seen == [(2, [2]), (3, [3]), (3, [2])]
    groups = model.test_step(batch((3, 2)))
    assert len(model.prior.seen) == 1
    assert [group.class_count for group in groups] == ['3 of 3', '2 of 3']
    for group in groups:
        assert {len(sample.pred_prob.data) - 1 for sample in group} == {len(group)}
        assert 'num_classes' not in group
    # Without optimization the prior is asked when predicting, and nothing is kept.
    fresh = build('auto', max_classes=3).eval()
    again = fresh.test_step(batch((3, 2)))
    assert [len(some) for some in fresh.prior.seen] == [3, 2] and not fresh._priors
    for ours, theirs in zip(again, groups, strict=True):
        assert ours.class_count == theirs.class_count
        assert_same(ours, theirs)


@pytest.mark.parametrize('number', [None, 0, 2.0, True])
def test_a_data_set_that_does_not_say_how_many_classes_there_are(number):
    model = build('data', max_classes=3).eval()
    message = "model.num_classes='data', but .* how many classes the group 'g0' has .*is {!r}"
    with pytest.raises(ValueError, match=message.format(number)):
        predictions(model, batch_with_numbers((number,)))


@pytest.mark.parametrize('losses', [LOSSES, {**LOSSES, 'prior': None}])
def test_more_classes_than_there_are_maps(losses):
    message = "'g1' has 3 classes, but model.max_classes is 2: set model.max_classes=3"
    model = build('data', max_classes=2, losses=losses).eval()
    data = model.data_preprocessor(batch_with_numbers((2, 3, 1)), False)
    with pytest.raises(ValueError, match=message):
        model.prepare_group(**data)
    if model.prior is not None:
        assert not model.prior.seen  # known before anything is computed
    with pytest.raises(ValueError, match=message):
        predictions(model, batch_with_numbers((2, 3, 1)))
    model = build('auto', max_classes=2).eval()
    with pytest.raises(ValueError, match="'g0' has 3 classes, but model.max_classes is 2"):
        predictions(model, batch((3,)))


def test_features_of_a_frozen_backbone_are_computed_once():
    frozen = dict(type='MultiClassTestBackbone', frozen=True)
    model = build(backbone=frozen, feature_cache=10).eval()
    first = losses_of(model, batch())
    calls = model.backbone.calls
    again = model(**model.data_preprocessor(batch(), True), mode='loss')
    predictions(model)
    assert model.backbone.calls == calls
    plain = losses_of(build(backbone=frozen).eval(), batch())
    for name, value in first.items():
        assert torch.equal(value, again[name])
        torch.testing.assert_close(value, plain[name], rtol=1e-2, atol=1e-3)
    model.prepare_group(**model.data_preprocessor(batch(), False))
    assert len(model.feature_cache) == 0
    with pytest.raises(ValueError, match='features can be kept only of a frozen backbone'):
        build(feature_cache=10)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_classes=0), 'model.num_classes must be a positive whole number, .* got 0'),
        (
            dict(losses=dict(saliency=dict(type='CoSaliencyLoss'))),
            'model.losses must have at least',
        ),
        (dict(losses=dict(area=None)), 'model.losses must have at least'),
        (dict(num_classes='many'), "model.num_classes must be .* 'data' .* or 'auto' .*'many'"),
        (dict(num_classes='data'), "model.num_classes='data' needs model.max_classes"),
        (dict(max_classes=1), 'model.num_classes=2 is more than model.max_classes=1'),
        (dict(max_classes=0), 'model.max_classes must be a positive whole number, got 0'),
        (
            dict(num_classes='auto', max_classes=2, prior=None, losses=dict(LOSSES, prior=None)),
            "model.num_classes='auto' needs a prior .* set model.num_classes to",
        ),
        (dict(extractor=None), 'model.losses.co_attention needs model.extractor'),
        (dict(prior=None), 'model.losses.prior needs model.prior'),
        (dict(extractor_size=(1, 2, 3)), 'model.extractor_size must be a side or'),
        (dict(extractor_size=0), 'model.extractor_size must be a side or'),
        (dict(vector_length=0), 'model.vector_length must be above 0, or None, got 0'),
        (dict(test_cfg=dict(prior_weight=2)), 'model.test_cfg.prior_weight must be from 0 to 1'),
        (
            dict(losses={**LOSSES, 'prior': None}, prior=None, test_cfg=dict(prior_weight=0.5)),
            'model.test_cfg.prior_weight takes the maps of model.prior',
        ),
        (
            dict(losses={**LOSSES, 'prior': None}, prior=None, prior_start=True),
            'model.prior_start=True begins with the maps of model.prior',
        ),
        (dict(test_cfg=dict(group=3)), r"unknown keys in model.test_cfg: \['group'\]"),
        (dict(test_cfg=dict(group_size=0)), 'model.test_cfg.group_size must be a positive integer'),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize('max_classes', [None, 4])
def test_the_head_can_begin_with_what_the_prior_says(max_classes):
    """Its posteriors are those of linear discriminant analysis, at the features' locations."""
    head = dict(type='MultiClassHead', in_channels=[6, 8], strides=[2, 4])
    model = build(
        decode_head=head, prior_start=True, max_classes=max_classes, test_cfg=dict(chunk_size=2)
    ).eval()
    data = make_group_batch((5,), (32, 40), num_foreground=2)
    before = copy.deepcopy(model.decode_head.conv)
    inputs = prepared(model, data, training=False)['inputs']
    coarse = model.backbone(inputs)[1]
    shares = torch.stack([bright(image, CLASSES) for image in inputs])
    expected = class_discriminants(coarse, shares, PRIOR_RIDGE)
    logits = model.decode_head.conv(coarse)
    found = logits[:, : CLASSES + 1].softmax(dim=1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert logits.shape[1] == (max_classes or CLASSES) + 1
    untouched = model.decode_head.conv.weight[CLASSES + 1 :]
    assert torch.equal(untouched, before.weight[CLASSES + 1 :])


@pytest.mark.parametrize('was_prepared', [True, False])
def test_maps_averaged_with_the_priors(was_prepared):
    """Whether the group was optimized, or the model is only asked to predict."""
    found = {}
    for weight in (0.0, 0.25, 1.0):
        model = build(test_cfg=dict(prior_weight=weight, min_max=False)).eval()
        if was_prepared:
            model.prepare_group(**model.data_preprocessor(batch((3,)), False))
        samples = predictions(model, batch((3,)))
        found[weight] = torch.stack([sample.pred_prob.data for sample in samples])
        assert len(model.prior.seen) == (was_prepared or weight > 0)
        assert bool(model._priors) == was_prepared
    torch.testing.assert_close(found[0.25], 0.75 * found[0.0] + 0.25 * found[1.0])
    inputs = model.data_preprocessor(batch((3,)))['inputs']
    expected = torch.stack([bright(image, CLASSES) for image in inputs])
    assert (found[1.0] - expected).abs().mean() < 0.05


def test_vectors_of_what_a_map_shows():
    model = build(vector_length=1.5).eval()
    images = torch.rand(2, 3, 32, 40) - 0.5
    maps = torch.rand(2, 3, 32, 40).requires_grad_()
    found = model.extract_vectors(images, maps)
    assert found.shape == (2, 3, 8)
    nothing = model.extractor(torch.zeros(1, 3, 32, 40))[-1].mean(dim=(2, 3))[0]
    for n in range(2):
        for k in range(3):
            seen = model.extractor((maps[n, k] * images[n])[None])[-1].mean(dim=(2, 3))[0]
            seen = (seen - nothing) / (seen - nothing).norm()
            torch.testing.assert_close(found[n, k], 1.5 * 8**0.5 * seen, atol=1e-5, rtol=1e-4)
    # An empty map has no direction: no vector, and derivatives that are finite.
    empty = torch.zeros(1, 3, 32, 40, requires_grad=True)
    vectors = model.extract_vectors(images[:1], empty)
    assert vectors.abs().max() < 1e-3
    vectors.sum().backward()
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
