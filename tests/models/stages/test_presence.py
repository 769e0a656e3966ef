"""What users may rely on, whatever the formula."""

import pytest
import torch

from mmcoseg.models import PrototypePresence
from mmcoseg.models.stages import GroupContext
from mmcoseg.structures import CoSegDataSample, GroupDataSample, GroupImages


def scene(num_images=6, size=12, dim=16, foreign=(), seed=0):
    """Descriptors and soft maps of objects of one kind; each foreign image has another kind."""
    rng = torch.Generator().manual_seed(seed)
    kinds = torch.randn(2 + num_images, dim, generator=rng)
    descriptors = kinds[0] + 0.3 * torch.randn(num_images, size, size, dim, generator=rng)
    prob = torch.full((num_images, 1, size, size), 0.1)
    for number in range(num_images):
        top, left = torch.randint(1, size - 6, (2,), generator=rng).tolist()
        there = (number, slice(top, top + 5), slice(left, left + 5))
        descriptors[there] += kinds[2 + number if number in foreign else 1] - kinds[0]
        prob[:, 0][there] = 0.8
    return descriptors.permute(0, 3, 1, 2), prob


def presence_of(descriptors, prob):
    presence = PrototypePresence().presence(prob, descriptors)
    assert presence.shape == (len(descriptors),) and presence.dtype == torch.float32
    assert presence.isfinite().all() and presence.min() >= 0 and presence.max() <= 1
    return presence


def test_what_all_images_show_is_present():
    assert presence_of(*scene()).min() > 0.5


@pytest.mark.parametrize('foreign', [(2,), (0, 5)])
def test_images_that_show_something_else_have_less(foreign):
    presence = presence_of(*scene(foreign=foreign))
    own = [number for number in range(6) if number not in foreign]
    assert presence[list(foreign)].max() < presence[own].min()


def test_a_group_of_one_shows_what_it_shows():
    assert presence_of(*scene(1)).tolist() == [1]


def test_order_changes_nothing():
    descriptors, prob = scene(foreign=(1,))
    expected = presence_of(descriptors, prob)
    assert torch.equal(presence_of(descriptors, prob), expected)
    order = [3, 0, 5, 1, 2, 4]
    torch.testing.assert_close(presence_of(descriptors[order], prob[order]), expected[order])


def test_half_precision_and_finer_maps():
    descriptors, prob = scene(foreign=(1,))
    finer = prob.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    expected = presence_of(descriptors, prob)
    torch.testing.assert_close(presence_of(descriptors.half(), finer), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize('level', [0.0, 1.0])
@pytest.mark.parametrize('flat', [False, True])
def test_nothing_or_all_is_found(level, flat):
    descriptors, prob = scene(3)
    if flat:
        descriptors = torch.full_like(descriptors, 0.25)
    presence_of(descriptors, torch.full_like(prob, level))


def test_two_of_the_same_image():
    descriptors, prob = (x[:1].repeat(2, 1, 1, 1) for x in scene())
    presence = presence_of(descriptors, prob)
    assert presence.min() > 0.5
    torch.testing.assert_close(presence[0], presence[1])


@pytest.mark.parametrize('num_classes', [1, 2])
def test_as_a_stage_it_tells_the_samples_and_leaves_the_maps(num_classes):
    descriptors, prob = scene(foreign=(1,))
    stage = PrototypePresence()
    maps = prob
    if num_classes == 2:
        maps = torch.cat([1 - prob, 0.25 * prob, 0.75 * prob], dim=1)
    group = GroupDataSample([CoSegDataSample() for _ in prob])
    images = GroupImages.of(torch.zeros(6, 3, 8, 8))
    context = GroupContext(images, group, {stage.descriptors: descriptors}, prob=maps)
    assert stage(context) is maps
    assert all(type(sample.presence) is float for sample in group)
    found = torch.tensor([sample.presence for sample in group])
    torch.testing.assert_close(found, presence_of(descriptors, prob))


def test_there_must_be_maps_before_it():
    stage = PrototypePresence()
    context = GroupContext(GroupImages.of(torch.zeros(6, 3, 8, 8)), GroupDataSample([]))
    with pytest.raises(ValueError, match='PrototypePresence refines .* put a cue such as'):
        stage(context)
