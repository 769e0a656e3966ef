import pytest
from torch import nn

from mmcoseg.models.calling import asks_for, call_by_name, call_with_offers


class Module(nn.Module):
    def forward(self, feats, group_sizes=None, scale=1):
        return feats, group_sizes, scale


class Plain(nn.Module):
    def forward(self, feats):
        return feats


class Open(nn.Module):
    def forward(self, maps, **others):
        return maps, others


def test_what_a_module_asks_for():
    assert asks_for(Module(), 'group_sizes') and not asks_for(Plain(), 'group_sizes')


def test_offers_that_are_not_asked_for_are_left_out():
    assert call_with_offers(Module(), 'x', group_sizes=[2], other=3) == ('x', [2], 1)
    assert call_with_offers(Plain(), 'x', group_sizes=[2]) == 'x'


def values(**made):
    return {name: lambda value=value: value for name, value in made.items()}


def test_parameters_are_given_by_their_names():
    given = values(scale=2, feats='x', group_sizes=[3])
    assert call_by_name(Module(), given, 'loss') == ('x', [3], 2)
    # What has a default may be missing.
    assert call_by_name(Module(), values(feats='x'), 'loss') == ('x', None, 1)
    assert call_by_name(Open(), values(maps='m', feats='x'), 'loss') == ('m', {})


def test_what_is_not_asked_for_is_not_made():
    def expensive():
        raise AssertionError('made')

    given = dict(values(feats='x'), maps=expensive)
    assert call_by_name(Plain(), given, 'loss') == 'x'


def test_what_there_is_not_is_named_with_the_nearest_that_there_is():
    message = (
        r"model\.losses\.mine: Plain\.forward asks for 'feats' \(did you mean 'feat'\?\); "
        r"it may ask for \['feat', 'maps'\]"
    )
    with pytest.raises(ValueError, match=message):
        call_by_name(Plain(), values(feat='x', maps='m'), 'model.losses.mine')
