"""The stage that follows hints: what it is told of locations, and what it makes of the maps."""

import numpy as np
import pytest
import torch
from demo_inputs import make_group_batch

from mmcoseg.errors import MMCosegError
from mmcoseg.models.ops.hints import HintPosterior, match_best_overlap
from mmcoseg.models.stages import FollowHints, GroupContext
from mmcoseg.models.stages.follow_hints import (
    IMAGE_WEIGHT,
    LIKELY,
    LOCATION_WEIGHT,
    known_at_locations,
    split_object,
)
from mmcoseg.structures import Absent, Box, Click, ExampleMask, GroupImages, num_named_classes

#: Of the network's input, of the feature map, and of the original images: height and width.
INPUT, SHAPE, ORIGINAL = (32, 48), (4, 6), (64, 96)


def make_group(hints, size=INPUT):
    """A group of as many images as there are entries in ``hints``."""
    [group] = make_group_batch((len(hints),), size, ori_shape=ORIGINAL)['data_samples']
    for sample, given in zip(group, hints):
        if given:
            sample.hints = tuple(given)
    return group


def run(hints, channels=1, stage=None, seed=0, names=()):
    """The maps before and after the stage."""
    stage = stage or FollowHints()
    group = make_group(hints)
    for sample in group:
        sample.set_metainfo(dict(class_names=names))
    generator = torch.Generator().manual_seed(seed)
    descriptors = torch.randn(len(group), 8, *SHAPE, generator=generator).half()
    prob = torch.rand(len(group), channels, *SHAPE, generator=generator) * 0.6 + 0.2
    if channels > 1:
        prob = prob / prob.sum(dim=1, keepdim=True)
    images = GroupImages.of(torch.zeros(len(group), 3, *INPUT))
    context = GroupContext(images, group, {stage.descriptors: descriptors}, prob=prob)
    return prob, stage(context), context


def test_without_hints_maps_stay_bit_for_bit():
    before, after, context = run([[], [], []])
    assert after is before and context.kept == {}


def test_the_maps_are_those_of_the_posterior_at_the_same_area():
    hints = [[Click(10, 10), Click(80, 50, label=0)], [], [Absent()]]
    before, after, context = run(hints)
    labels, weights, _ = known_at_locations(context.group, 1, SHAPE, INPUT)
    posterior = HintPosterior(context.descriptors[FollowHints().descriptors])
    expected = match_best_overlap(posterior.maps(before, labels, weights), before)
    torch.testing.assert_close(after, expected, rtol=0, atol=0)
    assert not torch.allclose(after, before, atol=1e-3)


def test_a_click_counts_at_its_location():
    # A location covers 16 x 16 pixels of the original.
    group = make_group([[Click(40, 24)], [], [Click(40, 24, label=0)]])
    labels, weights, _ = known_at_locations(group, 1, SHAPE, INPUT)
    assert labels.shape == (3, 1, *SHAPE) and weights.shape == (3, *SHAPE)
    where = torch.zeros(SHAPE, dtype=torch.bool)
    where[1, 2] = True
    for number, label in [(0, 1.0), (2, 0.0)]:
        assert torch.equal(weights[number] > 0, where)
        assert weights[number, 1, 2] == pytest.approx(min(LOCATION_WEIGHT, IMAGE_WEIGHT))
        assert labels[number, 0, 1, 2] == label
    assert not weights[1].any()


def test_a_whole_mask_counts_no_more_than_an_image_may():
    mask = np.zeros(ORIGINAL, np.uint8)
    mask[:, 48:] = 1
    labels, weights, _ = known_at_locations(make_group([[ExampleMask(mask)]]), 1, SHAPE, INPUT)
    assert weights.sum().item() == pytest.approx(min(IMAGE_WEIGHT, 24 * LOCATION_WEIGHT))
    assert torch.equal(labels[0, 0], torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(SHAPE))


def test_what_is_likely_counts_less_than_what_is_sure():
    # Locations 0 to 2 of each row are in the box.
    [weights] = known_at_locations(make_group([[Box(0, 0, 48, 64)]]), 1, SHAPE, INPUT)[1]
    assert (weights[:, 3:] / weights[:, :3]).mean().item() == pytest.approx(1 / LIKELY)


def test_padding_says_nothing():
    group = make_group([[Absent()]], size=INPUT)
    group[0].set_metainfo(dict(img_shape=(32, 32)))
    [weights] = known_at_locations(group, 1, SHAPE, INPUT)[1]
    assert (weights[:, :4] > 0).all() and not weights[:, 4:].any()


def test_labels_of_several_classes_are_shares():
    mask = np.zeros(ORIGINAL, np.uint8)
    mask[:, :24], mask[:, 24:32] = 2, 1
    labels, weights, _ = known_at_locations(make_group([[ExampleMask(mask)]]), 3, SHAPE, INPUT)
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(1, *SHAPE))
    assert labels[0, :, 0, 0].tolist() == [0, 0, 1]
    assert labels[0, :, 0, 1].tolist() == pytest.approx([0, 0.5, 0.5])
    assert labels[0, :, 0, 2].tolist() == [1, 0, 0]
    # The object alone is what is left without the background.
    only, same, sure = known_at_locations(
        make_group([[ExampleMask((mask > 0).astype('u1'))]]), 1, SHAPE, INPUT
    )
    torch.testing.assert_close(only[:, 0], 1 - labels[:, 0])
    torch.testing.assert_close(same, weights)
    assert torch.equal(sure, torch.ones(1, *SHAPE))


def test_a_hint_repeated_says_no_more():
    hints = [Click(10, 10), Box(0, 0, 50, 50), Click(80, 50, label=0)]
    _, once, _ = run([hints, [], [Absent()]])
    _, thrice, _ = run([hints * 3, [], [Absent()] * 3])
    assert torch.equal(once, thrice)


def test_the_order_of_agreeing_hints_does_not_matter():
    hints = [Click(10, 10), Box(0, 0, 50, 50), Click(80, 50, label=0), Click(40, 40)]
    _, one, _ = run([hints, []])
    _, other, _ = run([hints[::-1], []])
    assert torch.equal(one, other)


@pytest.mark.parametrize('count', [1, 2, 5])
def test_hints_of_several_classes_make_maps_of_several_classes(count):
    clicks = [Click(8 + 16 * i, 8, label=i + 1) for i in range(count)]
    _, after, context = run([clicks, [], []])
    assert num_named_classes(context.group) == count
    if count == 1:
        assert after.shape[1] == 1
        return
    assert after.shape == (3, count + 1, *SHAPE)
    torch.testing.assert_close(after.sum(dim=1), torch.ones(3, *SHAPE))
    for i in range(count):  # more likely there than any other class
        assert after[0, 1:, 0, i].argmax().item() == i


def test_a_class_that_has_a_name_but_no_hint_is_not_found():
    _, after, _ = run([[Click(8, 8, label=3)], []], names=('a', 'b', 'c'))
    assert after.shape[1] == 4
    labels = after.argmax(dim=1)
    assert set(labels.unique().tolist()) <= {0, 3}
    assert after[0, :, 0, 0].argmax() == 3


def test_classes_that_the_method_found_stay():
    before, after, _ = run([[Click(8, 8, label=1)], []], channels=4)
    assert after.shape == before.shape
    torch.testing.assert_close(after.sum(dim=1), torch.ones(2, *SHAPE))


def test_what_was_object_stays_object_however_many_classes_there_are():
    prob = torch.tensor([0.9, 0.3]).view(1, 1, 1, 2)
    assert split_object(prob, 1) is prob
    found = split_object(prob, 3)
    expected = torch.tensor([[0.1, 0.7], [0.9, 0.3], [0.9, 0.3], [0.9, 0.3]])
    torch.testing.assert_close(found[0, :, 0], expected / expected.sum(dim=0))
    # A new class is as likely as the first.
    classes = torch.tensor([0.2, 0.5, 0.3]).view(1, 3, 1, 1)
    torch.testing.assert_close(
        split_object(classes, 3).flatten(), torch.tensor([0.2, 0.5, 0.3, 0.5]) / 1.5
    )
    assert split_object(classes, 2) is classes and split_object(classes, 1) is classes


@pytest.mark.parametrize(
    'hints',
    [
        [[Absent()]],
        [[Absent()], [Absent()], [Absent()]],
        [[ExampleMask(np.ones(ORIGINAL, np.uint8))]] * 3,
        [[ExampleMask(np.full(ORIGINAL, 255, np.uint8))], []],
        [[ExampleMask(np.full(ORIGINAL, 255, np.uint8))], [Click(0, 0)]],
        [[ExampleMask(np.full(ORIGINAL, value, np.uint8))] for value in (0, 1, 1, 255)],
        [[Click(0, 0)]],
        [[Click(0, 0, label=0)], [Click(96, 64, label=0)]],
        [[Click(8, 8, label=254)], []],
    ],
)
def test_maps_stay_probabilities_whatever_is_said(hints):
    _, after, _ = run(hints)
    assert torch.isfinite(after).all() and after.min() >= 0 and after.max() <= 1
    if after.shape[1] > 1:
        torch.testing.assert_close(after.sum(dim=1), torch.ones(len(hints), *SHAPE))


def test_a_thousand_hints_are_as_many_as_there_are_pixels_of_them():
    places = np.random.default_rng(0).uniform(0, (96, 64), (1000, 2)).tolist()
    _, after, context = run([[Click(x, y, label=int(x < 48)) for x, y in places], []])
    _, weights, _ = known_at_locations(context.group, 1, SHAPE, INPUT)
    assert weights.sum().item() <= IMAGE_WEIGHT + 1e-4
    left, right = after[0, 0, :, :2].mean(), after[0, 0, :, 4:].mean()
    assert left > right


def test_a_hint_outside_of_the_image_is_an_error():
    with pytest.raises(MMCosegError, match='lies outside of the image, which is 96 x 64'):
        run([[Click(97, 0)]])
