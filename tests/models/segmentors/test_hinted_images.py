"""Segmentors and hints: what is said is in the result, and the rest of the group follows."""

import numpy as np
import pytest
import torch
from demo_inputs import make_group_batch
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import nn

from mmcoseg.errors import MMCosegError
from mmcoseg.models import TrainingFreeCoSegmentor
from mmcoseg.models.segmentors import BaseCoSegmentor, hinted_images
from mmcoseg.registry import MODELS, TASK_UTILS
from mmcoseg.structures import Absent, Box, Click, ExampleMask, Stroke

#: Of the network's input, and of the original images: height and width.
INPUT, ORIGINAL = (65, 65), (50, 60)
EDGES = [dict(type='DenseCRF', num_workers=0), dict(type='CleanMask', min_area=0.2, hole_share=0.5)]


@MODELS.register_module(name='HintsTestBackbone')
class Backbone(BaseModule):
    """One level at stride 8, corner-aligned."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Conv2d(3, 12, 3, stride=4, padding=1)
        self.second = nn.Conv2d(12, 16, 3, stride=2, padding=1)

    def forward(self, x):
        return (self.second(torch.tanh(self.first(x))),)


class Brightness(BaseCoSegmentor):
    """A method without FollowHints and without presence: bright is object."""

    def loss(self, images, data_samples):
        raise NotImplementedError

    def _forward(self, images, data_samples):
        return torch.sigmoid(images.batch().mean(dim=1, keepdim=True))

    def soft_maps(self, images, group):
        return self._forward(images, [group])

    def add_instances(self, group):
        for sample in group:
            masks = sample.pred_sem_seg.data > 0
            sample.pred_instances = InstanceData(
                masks=masks, labels=torch.zeros(1, dtype=torch.long), scores=torch.ones(1)
            )


@TASK_UTILS.register_module(name='HintsTestStubborn')
class Stubborn:
    """A post-processor that wants all of every image to be object."""

    by_image = True

    def __call__(self, group):
        for sample in group:
            sample.pred_sem_seg.data = torch.ones_like(sample.pred_sem_seg.data)


def build(postprocessors=(), follow=True):
    stages = dict(
        ddt=dict(type='DDTCue', level=0),
        follow_hints=dict(type='FollowHints', levels=[0]) if follow else None,
        presence=dict(type='PrototypePresence', level=0),
    )
    return TrainingFreeCoSegmentor(
        backbone=dict(type='HintsTestBackbone'),
        stages={name: stage for name, stage in stages.items() if stage},
        postprocessors=postprocessors,
    )


def batch(hints, order=None):
    """A group whose images have these hints; ``order``: of its images."""
    data = make_group_batch((len(hints),), INPUT, ori_shape=ORIGINAL)
    [images], [group] = data['inputs'], data['data_samples']
    for image, sample, given in zip(images, group, hints):
        pixels = image.permute(1, 2, 0).numpy()[: ORIGINAL[0], : ORIGINAL[1]]
        sample.set_metainfo(dict(ori_img=np.ascontiguousarray(pixels)))
        if given:
            sample.hints = tuple(given)
    if order is not None:
        data['inputs'] = [[images[i] for i in order]]
        group.samples = [group.samples[i] for i in order]
    return data


def results(model, hints, **kwargs):
    [group] = model.test_step(batch(hints, **kwargs))
    return group.samples


def masks(samples):
    return torch.cat([sample.pred_sem_seg.data for sample in samples])


def probs(samples):
    return [sample.pred_prob.data for sample in samples]


def an_example(label=1):
    """A mask with specks and holes that cleaning would remove."""
    mask = np.zeros(ORIGINAL, np.uint8)
    mask[5:30, 10:40] = label
    mask[12:16, 20:24] = 0
    mask[45, 3] = label
    return mask


NONE = [[], [], [], []]


@pytest.mark.parametrize('postprocessors', [(), EDGES])
def test_without_hints_results_are_those_without_the_stage_bit_for_bit(postprocessors):
    found = results(build(postprocessors), NONE)
    expected = results(build(postprocessors, follow=False), NONE)
    assert torch.equal(masks(found), masks(expected))
    for one, other in zip(found, expected):
        assert torch.equal(one.pred_prob.data, other.pred_prob.data)
        assert one.presence == other.presence and 'warnings' not in one.metainfo


@pytest.mark.parametrize('postprocessors', [(), EDGES, [dict(type='HintsTestStubborn')]])
def test_hints_are_obeyed_where_they_lie(postprocessors):
    example = an_example()
    hints = [
        [ExampleMask(example)],
        [Click(30, 25), Click(2, 2, label=0), Stroke([(40, 40), (50, 45)], label=0)],
        [Absent()],
        [Box(10, 10, 30, 30), Click(20, 20)],
    ]
    found = results(build(postprocessors), hints)
    result = masks(found)
    np.testing.assert_array_equal(result[0].numpy(), example)
    assert result[1, 25, 30] == 1 and result[1, 2, 2] == 0
    assert result[1, 40, 40] == 0 and result[1, 45, 50] == 0
    assert not result[2].any() and found[2].get('absent') is True
    assert result[3, 20, 20] == 1
    outside = torch.ones(ORIGINAL, dtype=torch.bool)
    outside[10:30, 10:30] = False
    assert not result[3][outside].any()
    assert [sample.presence for sample in found] == [1, 1, 0, 1]
    assert not any(sample.get('absent', False) for sample in (found[0], found[1], found[3]))


def test_void_of_an_example_is_left_to_the_method():
    example = an_example()
    example[:, 30:] = 255
    [one, *_] = results(build(EDGES), [[ExampleMask(example)], [], []])
    known = example != 255
    mask = one.pred_sem_seg.data[0].numpy()
    np.testing.assert_array_equal(mask[known], example[known])
    assert set(np.unique(mask)) <= {0, 1}


def test_an_example_is_sure():
    [one, *_] = results(build(), [[ExampleMask(an_example())], [], []])
    prob, mask = one.pred_prob.data[0], one.pred_sem_seg.data[0] == 1
    assert prob[mask].min() > 0.9 and prob[~mask].max() < 0.1


def test_hints_on_one_image_count_for_the_others():
    before = results(build(), NONE)
    after = results(build(), [[ExampleMask(an_example())], [], [], []])
    alone = results(build(follow=False), [[ExampleMask(an_example())], [], [], []])
    for i in (1, 2, 3):
        assert not torch.allclose(after[i].pred_prob.data, before[i].pred_prob.data, atol=1e-3)
        assert torch.equal(alone[i].pred_prob.data, before[i].pred_prob.data)


def test_the_order_of_images_does_not_matter():
    hints = [[Click(30, 25), Click(2, 2, label=0)], [], [Absent()], [ExampleMask(an_example())]]
    order = [2, 0, 3, 1]
    straight, mixed = results(build(), hints), results(build(), hints, order=order)
    for place, i in enumerate(order):
        torch.testing.assert_close(
            mixed[place].pred_prob.data, straight[i].pred_prob.data, atol=1e-4, rtol=0
        )


def test_the_order_of_agreeing_hints_does_not_matter():
    hints = [Click(30, 25), Click(2, 2, label=0), Box(10, 10, 50, 40), Click(12, 12)]
    one = results(build(), [hints, [], []])
    other = results(build(), [hints[::-1], [], []])
    assert torch.equal(masks(one), masks(other))


def test_a_hint_repeated_says_no_more():
    hints = [Click(30, 25), Click(2, 2, label=0)]
    once, thrice = results(build(), [hints, [], []]), results(build(), [hints * 3, [], []])
    for one, three in zip(once, thrice):
        assert torch.equal(one.pred_prob.data, three.pred_prob.data)


@pytest.mark.parametrize('count', [2, 30])
def test_hints_of_several_classes(count):
    clicks = [Click(2 * i, 10, label=i + 1) for i in range(count)]
    example = an_example(label=count)
    found = results(build(EDGES), [clicks, [ExampleMask(example)], [], [Absent()]])
    for sample in found:
        assert len(sample.pred_prob.data) == count + 1
        assert sample.pred_sem_seg.data.max() <= count
    for i in range(count):
        assert found[0].pred_sem_seg.data[0, 10, 2 * i] == i + 1
    np.testing.assert_array_equal(found[1].pred_sem_seg.data[0].numpy(), example)
    assert not found[3].pred_sem_seg.data.any()


def test_contradictions_are_warnings_of_their_image():
    hints = [Click(3, 3), Click(3, 3, label=0)]
    found = results(build(), [hints, [Click(1, 1)], []])
    [text] = found[0].get('warnings')
    assert text == 'the hint at (3, 3) contradicts an earlier one; the later one counts'
    assert found[0].pred_sem_seg.data[0, 3, 3] == 0
    assert not found[1].get('warnings') and not found[2].get('warnings')


def test_of_many_contradictions_a_few_are_spelled_out():
    hints = [Click(x, 3) for x in range(20)] + [Click(x, 3, label=0) for x in range(20)]
    [one, _] = results(build(), [hints, []])
    texts = one.get('warnings')
    most = hinted_images._MOST_SHOWN
    assert len(texts) == most + 1
    assert texts[-1].endswith(' more hints contradict earlier ones')


@pytest.mark.parametrize('hint', [Click(61, 0), Click(0, 51), ExampleMask(np.zeros((4, 4), 'u1'))])
def test_a_hint_that_does_not_fit_names_its_image(hint):
    with pytest.raises(MMCosegError, match='60 x 50'):
        results(build(), [[], [hint]])
    with pytest.raises(MMCosegError, match='^g0/1: .*60 x 50'):
        results(build(follow=False), [[], [hint]])


@pytest.mark.parametrize(
    'hints',
    [
        [[Absent()]],
        [[Click(0, 0)]],
        [[Absent()]] * 3,
        [[ExampleMask(an_example())]] * 3,
        [[ExampleMask(np.ones(ORIGINAL, np.uint8))]] * 3,
        [[ExampleMask(np.full(ORIGINAL, 255, np.uint8))], []],
        [[Click(x, y, label=(x + y) % 2) for x in range(0, 60, 2) for y in range(0, 50, 2)], []],
    ],
)
def test_soft_maps_stay_probabilities_whatever_is_said(hints):
    for sample in results(build(), hints):
        prob = sample.pred_prob.data
        assert torch.isfinite(prob).all() and prob.min() >= 0 and prob.max() <= 1
        assert 0 <= sample.presence <= 1


def test_tiny_and_thin_images():
    for shape in [(1, 1), (1, 60), (60, 1)]:
        data = batch([[Click(0, 0)], [Click(0, 0, label=0)], []])
        for sample in data['data_samples'][0]:
            pixels = np.zeros((*shape, 3), np.uint8)
            sample.set_metainfo(dict(ori_img=pixels, ori_shape=shape))
        [group] = build().test_step(data)
        assert [int(s.pred_sem_seg.data[0, 0, 0]) for s in group][:2] == [1, 0]


# Updates


def set_hints(group, hints):
    for sample, given in zip(group, hints):
        sample.pop('hints', None)
        if given:
            sample.hints = tuple(given)


def test_an_update_is_what_a_fresh_segment_gives():
    said = [
        NONE,
        [[Click(30, 25)], [], [], []],
        [[Click(30, 25), Click(2, 2, label=0)], [], [Absent()], []],
        [[Click(30, 25, label=2)], [Click(10, 10)], [], []],
        [[Click(30, 25)], [], [], []],  # the last ones are taken back
        NONE,
    ]
    model = build()
    data = model.data_preprocessor(batch(NONE), False)
    [group] = data['data_samples']
    update = model.updater(data['inputs'], group)
    for hints in said:
        set_hints(group, hints)
        update()
        fresh = model.data_preprocessor(batch(hints), False)
        [other] = fresh['data_samples']
        model.segment(fresh['inputs'], other)
        for one, expected in zip(group, other):
            assert torch.equal(one.pred_prob.data, expected.pred_prob.data)
            assert one.presence == expected.presence


def test_an_update_does_not_look_at_the_images_again(monkeypatch):
    model = build()
    data = model.data_preprocessor(batch(NONE), False)
    [group] = data['data_samples']
    update = model.updater(data['inputs'], group)

    def refuse(x):
        raise AssertionError('features are there')

    monkeypatch.setattr(model.backbone, 'forward', refuse)
    set_hints(group, [[Click(30, 25)], [], [], []])
    update()
    assert all('pred_prob' in sample for sample in group)


def test_updates_of_a_method_that_follows_no_hints():
    model = Brightness()
    data = model.data_preprocessor(batch(NONE), False)
    [group] = data['data_samples']
    update = model.updater(data['inputs'], group)
    update()
    expected = model.soft_maps(data['inputs'], group)
    for sample, prob in zip(group, expected):
        assert torch.equal(sample.pred_prob.data, prob)


# Methods that do not carry hints over to the group


def test_any_method_obeys_hints_on_their_own_image():
    assert not Brightness().follows_hints and build().follows_hints
    example = an_example()
    hints = [[ExampleMask(example)], [Click(30, 25), Click(2, 2, label=0)], [Absent()], []]
    found, before = results(Brightness(), hints), results(Brightness(), NONE)
    np.testing.assert_array_equal(found[0].pred_sem_seg.data[0].numpy(), example)
    assert found[1].pred_sem_seg.data[0, 25, 30] == 1
    assert found[1].pred_sem_seg.data[0, 2, 2] == 0
    assert not found[2].pred_sem_seg.data.any() and found[2].get('absent') is True
    assert [sample.get('presence') for sample in found] == [1, 1, 0, None]
    assert torch.equal(found[3].pred_prob.data, before[3].pred_prob.data)
    # Instances are made of masks that obey.
    for sample in found:
        assert torch.equal(sample.pred_instances.masks, sample.pred_sem_seg.data > 0)


def test_classes_that_hints_tell_apart_are_not_split_again():
    """Of a method that splits classes by itself: numbers are those of the hints."""
    stages = dict(
        ddt=dict(type='DDTCue', level=0),
        follow_hints=dict(type='FollowHints', levels=[0]),
        classes=dict(type='SplitClasses', levels=[0], num_classes=3, num_clusters=4),
    )
    model = TrainingFreeCoSegmentor(backbone=dict(type='HintsTestBackbone'), stages=stages)
    hints = [[ExampleMask(an_example(label=2))], [Click(30, 25), Click(8, 8, label=2)], [], []]
    follow = dict(stages, classes=None)
    expected = TrainingFreeCoSegmentor(
        backbone=dict(type='HintsTestBackbone'), stages={k: v for k, v in follow.items() if v}
    )
    for one, other in zip(results(model, hints), results(expected, hints)):
        assert torch.equal(one.pred_prob.data, other.pred_prob.data)
    # Hints of one class leave it to the method.
    assert {len(prob) for prob in probs(results(model, [[Click(30, 25)], [], []]))} == {4}
