"""What moves against the background is found, whether the background moves or not."""

import pytest
import torch

from mmcoseg.models import MovingObjects
from mmcoseg.models.stages import GroupContext
from mmcoseg.models.stages.moving_objects import motion
from mmcoseg.structures import GroupDataSample, GroupImages


def scene(pan, count=9, height=10, width=12, dim=16):
    """Descriptors and true masks: a square that moves over a background that moves ``pan``."""
    generator = torch.Generator().manual_seed(0)
    background = torch.randn(dim, height, 4 * width, generator=generator)
    thing = torch.randn(dim, 3, 3, generator=generator)
    frames, masks = [], torch.zeros(count, height, width, dtype=torch.bool)
    for number in range(count):
        start = width + round(pan * number)
        frame = background[:, :, start : start + width].clone()
        place = slice(4, 7), slice(number, number + 3)
        frame[(slice(None), *place)] = thing
        masks[number][place] = True
        frames.append(frame)
    return torch.stack(frames), masks


@pytest.mark.parametrize('pan', [0, 0.4, 0.7])
def test_the_object_moves_and_the_background_does_not(pan):
    descriptors, masks = scene(pan)
    moves = motion(descriptors)
    assert moves.shape == masks.shape and moves.min() >= 0 and moves.max() <= 2
    assert moves[masks].mean() > 0.4
    # What the object hides in some frames is a little unlike itself there.
    assert moves[~masks].median() < 0.01


def test_still_frames_do_not_move():
    descriptors = torch.rand(1, 8, 6, 6).expand(4, -1, -1, -1)
    assert motion(descriptors).abs().max() < 1e-5


def context_of(maps, descriptors, **metainfo):
    images = GroupImages.of(torch.zeros(len(maps), 3, 8, 8))
    stage = MovingObjects([0])
    context = GroupContext(images, GroupDataSample([], metainfo=metainfo))
    context.descriptors[stage.descriptors] = descriptors
    context.prob = maps
    return stage, context


def test_maps_of_sequences_rise_where_something_moves():
    descriptors, masks = scene(0.0)
    maps = torch.full((9, 1, 10, 12), 0.4)
    stage, context = context_of(maps, descriptors.half(), sequence=True)
    found = stage(context)
    assert found.min() >= 0 and found.max() <= 1
    assert found[:, 0][masks].mean() > 0.7 and found[:, 0][~masks].median() < 0.2
    stage, context = context_of(maps, descriptors)
    assert stage(context) is maps


def test_certain_maps_stay():
    descriptors, _ = scene(0.0)
    for value in (0.0, 1.0):
        maps = torch.full((9, 1, 10, 12), value)
        stage, context = context_of(maps, descriptors, sequence=True)
        torch.testing.assert_close(stage(context), maps)


def test_one_frame_stays():
    maps = torch.rand(1, 1, 4, 4)
    stage, context = context_of(maps, torch.rand(1, 3, 4, 4), sequence=True)
    assert stage(context) is maps
