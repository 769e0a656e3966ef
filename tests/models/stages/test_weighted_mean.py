import pytest
import torch
from torch.nn import functional as F

from mmcoseg.models import WeightedMean
from mmcoseg.models.stages import GroupContext
from mmcoseg.structures import GroupDataSample, GroupImages


def context_of(**maps):
    images = GroupImages.of(torch.zeros(2, 3, 8, 8))
    return GroupContext(images, GroupDataSample([]), maps=maps)


def test_is_the_literal_mean_whatever_was_found_last():
    a, b, c = torch.rand(3, 2, 1, 4, 5)
    context = context_of(a=a, b=b, c=c)
    context.prob = c
    found = WeightedMean(dict(a=3, b=1, c=0))(context)
    torch.testing.assert_close(found, (3 * a + b) / 4)


def test_is_at_the_finest_resolution():
    coarse, fine = torch.rand(2, 1, 3, 4), torch.rand(2, 1, 9, 12)
    finer = F.interpolate(coarse, size=(9, 12), mode='bilinear', align_corners=False)
    for maps in (dict(a=coarse, b=fine), dict(b=fine, a=coarse)):
        found = WeightedMean(dict(a=1, b=1))(context_of(**maps))
        torch.testing.assert_close(found, (finer + fine) / 2)


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        (dict(a=-1, b=2), r'weights\.a must be a number at least 0, got -1'),
        (dict(a=0, b=0), 'must not all be 0'),
        ({}, 'must not all be 0'),
    ],
)
def test_wrong_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        WeightedMean(weights)


def test_a_stage_that_has_not_acted_is_named():
    mean = WeightedMean(dict(norm=1))
    with pytest.raises(ValueError, match=r"has no 'norm' \(did you mean 'norms'\?\); it has"):
        mean(context_of(norms=torch.rand(2, 1, 3, 3)))
