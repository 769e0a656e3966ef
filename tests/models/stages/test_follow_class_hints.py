"""Hints of several classes, on maps of one object and on maps of classes without names."""

import numpy as np
import torch
from demo_inputs import make_group_batch

from mmcoseg.models.ops.hints import order_classes
from mmcoseg.models.stages import FollowHints, GroupContext, SplitClasses
from mmcoseg.structures import Box, Click, ExampleMask, GroupImages

SIZE = (32, 32)


def make_group(count=4):
    """A group of two classes, and descriptors that tell them apart: (N, 3, 8, 8)."""
    [group] = make_group_batch((count,), SIZE, num_foreground=2)['data_samples']
    labels = torch.cat([sample.gt_sem_seg.data for sample in group])[:, 2::4, 2::4]
    descriptors = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    noise = torch.randn(descriptors.shape, generator=torch.Generator().manual_seed(0))
    return group, labels, descriptors + 0.05 * noise


def follow(group, descriptors, prob):
    stage = FollowHints()
    images = GroupImages.of(torch.zeros(len(group), 3, *SIZE))
    return stage(GroupContext(images, group, {stage.descriptors: descriptors}, prob=prob))


def example(sample):
    return (ExampleMask(sample.gt_sem_seg.data[0].numpy().astype(np.uint8)),)


def right(maps, labels):
    return float((maps.argmax(dim=1) == labels).float().mean())


def test_classes_without_names_get_those_of_the_hints():
    group, labels, descriptors = make_group()
    sure = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    prob = 0.7 * sure + 0.1
    swapped = prob[:, [0, 2, 1]]
    assert right(swapped, labels) < 0.9
    group[1].hints = example(group[1])
    assert right(follow(group, descriptors, prob), labels) == 1
    assert right(follow(group, descriptors, swapped), labels) == 1


def test_one_click_is_enough_for_a_name():
    group, labels, descriptors = make_group()
    sure = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    swapped = (0.7 * sure + 0.1)[:, [0, 2, 1]]
    row, column = (labels[2] == 2).nonzero()[0].tolist()
    group[2].hints = (Click(4 * column + 2.0, 4 * row + 2.0, label=2),)
    assert right(follow(group, descriptors, swapped), labels) > 0.95


def test_clicks_name_classes_before_boxes_do():
    group, labels, descriptors = make_group()
    sure = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    prob = 0.7 * sure + 0.1
    for label in (1, 2):
        row, column = (labels[2] == label).nonzero()[0].tolist()
        click = Click(4 * column + 2.0, 4 * row + 2.0, label=label)
        group[2].hints = (*group[2].get('hints', ()), click)
    # Around class 1, but most of what is in it is of class 2.
    rows, columns = (labels[1] > 0).nonzero().t()
    edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    group[1].hints = (Box(*[4.0 * int(edge) for edge in edges], label=1),)
    for maps in (prob, prob[:, [0, 2, 1]]):
        assert right(follow(group, descriptors, maps)[[0, 3]], labels[[0, 3]]) > 0.95


def test_one_object_becomes_the_classes_of_the_hints():
    group, labels, descriptors = make_group()
    prob = 0.8 * (labels > 0).float()[:, None] + 0.1
    group[0].hints = example(group[0])
    maps = follow(group, descriptors, prob)
    assert maps.shape[1] == 3
    torch.testing.assert_close(maps.sum(dim=1), torch.ones_like(maps[:, 0]))
    assert right(maps[1:], labels[1:]) > 0.95


def test_classes_beyond_the_hints_stay():
    group, labels, descriptors = make_group()
    shares = torch.rand(4, 5, 8, 8, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    group[0].hints = example(group[0])
    assert follow(group, descriptors, shares).shape[1] == 5


def test_order_by_hand():
    prob = torch.tensor([0.1, 0.2, 0.6, 0.1]).view(1, 4, 1, 1).repeat(2, 1, 1, 1)
    prob[1] = torch.tensor([0.1, 0.1, 0.2, 0.6]).view(4, 1, 1)
    labels, weights = torch.zeros(2, 4, 1, 1), torch.ones(2, 1, 1)
    labels[0, 1] = labels[1, 2] = 1
    found = order_classes(prob, labels, weights)
    assert torch.equal(found, prob[:, [0, 2, 3, 1]])
    assert torch.equal(order_classes(prob, 0 * labels, weights), prob)
    assert torch.equal(order_classes(prob[:, :1], labels[:, :1], weights), prob[:, :1])


def test_split_classes_passes_on_what_is_told_apart():
    prob = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    stage = SplitClasses(5)
    images = GroupImages.of(torch.zeros(2, 3, *SIZE))
    group, _, descriptors = make_group(2)
    context = GroupContext(images, group, {stage.descriptors: descriptors}, prob=prob)
    torch.testing.assert_close(stage(context), prob)
