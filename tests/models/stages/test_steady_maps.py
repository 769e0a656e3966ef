"""Maps of a sequence are means over what looks alike nearby in space and time."""

import math

import pytest
import torch

from mmcoseg.models import SteadyMaps
from mmcoseg.models.stages import GroupContext
from mmcoseg.models.stages.steady_maps import FADING, FRAMES, RADIUS, TEMPERATURE, steady
from mmcoseg.structures import GroupDataSample, GroupImages


def literal(maps, descriptors):
    """The formula of the docstring, location by location, in float64."""
    maps, descriptors = maps.double(), descriptors.double()
    units = descriptors / descriptors.norm(dim=1, keepdim=True)
    count, channels, height, width = maps.shape
    found = torch.zeros_like(maps)
    for t in range(count):
        for y in range(height):
            for x in range(width):
                total, weights = torch.zeros(channels).double(), 0.0
                for s in range(max(0, t - FRAMES), min(count, t + FRAMES + 1)):
                    for v in range(max(0, y - RADIUS), min(height, y + RADIUS + 1)):
                        for u in range(max(0, x - RADIUS), min(width, x + RADIUS + 1)):
                            cosine = float(units[t, :, y, x] @ units[s, :, v, u])
                            weight = FADING ** abs(s - t) * math.exp((cosine - 1) / TEMPERATURE)
                            total += weight * maps[s, :, v, u]
                            weights += weight
                found[t, :, y, x] = total / weights
    return found


def context_of(maps, descriptors, **metainfo):
    images = GroupImages.of(torch.zeros(len(maps), 3, 8, 8))
    stage = SteadyMaps([0])
    context = GroupContext(images, GroupDataSample([], metainfo=metainfo))
    context.descriptors[stage.descriptors] = descriptors
    context.prob = maps
    return stage, context


@pytest.mark.parametrize('channels', [1, 3])
def test_is_the_literal_mean(channels):
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(6, channels, 4, 7, generator=generator)
    # Alike enough that several locations count.
    descriptors = 3 + torch.rand(6, 5, 4, 7, generator=generator)
    found = steady(maps, descriptors)
    torch.testing.assert_close(found, literal(maps, descriptors).float(), atol=1e-5, rtol=1e-5)
    assert (found - maps).abs().max() > 0.1


def test_one_noisy_map_of_still_frames_becomes_like_the_others():
    descriptors = torch.nn.functional.one_hot(torch.arange(36)).T.reshape(1, 36, 6, 6)
    maps = torch.zeros(5, 1, 6, 6)
    maps[:, :, :3] = 1
    maps[2] = 1 - maps[2]
    stage, context = context_of(maps, descriptors.expand(5, -1, -1, -1).half(), sequence=True)
    found = stage(context)
    assert ((found > 0.5) == (maps[1] > 0.5)).all()


def test_what_moves_keeps_its_map():
    """Its descriptor moves along, one column a frame."""
    descriptors = torch.zeros(5, 2, 5, 7)
    descriptors[:, 1] = 1
    maps = torch.zeros(5, 1, 5, 7)
    for number in range(5):
        descriptors[number, :, 2, number + 1] = torch.tensor([1.0, 0.0])
        maps[number, 0, 2, number + 1] = 1
    torch.testing.assert_close(steady(maps, descriptors), maps, atol=1e-4, rtol=0)


def test_other_groups_stay_as_they_are():
    maps, descriptors = torch.rand(4, 1, 5, 5), torch.ones(4, 3, 5, 5)
    for metainfo in ({}, dict(sequence=False)):
        stage, context = context_of(maps, descriptors, **metainfo)
        assert stage(context) is maps
    stage, context = context_of(maps, descriptors, sequence=True)
    assert not torch.allclose(stage(context), maps)


def test_one_frame():
    maps = torch.rand(1, 1, 3, 3)
    descriptors = torch.nn.functional.one_hot(torch.arange(9)).T.reshape(1, 9, 3, 3)
    torch.testing.assert_close(steady(maps, descriptors), maps)
