"""Necks that let any segmentor's images look at their group."""

import pytest
import torch

from mmcoseg.models.necks import AttentionNeck, Modulation, ModulationNeck, modulate
from mmcoseg.registry import MODELS

ATTENTION = dict(type='GatedAttention', in_channels=6)
SPATIAL = dict(type='SpatialModulator', in_channels=[6, 6], channels=4, level=1)
SEMANTIC = dict(type='SemanticModulator', in_channels=6, channels=6, reduced_channels=3)


def levels():
    rng = torch.Generator().manual_seed(0)
    return (
        torch.randn(5, 6, 8, 8, generator=rng),
        torch.randn(5, 6, 4, 4, generator=rng),
    )


def attention_neck():
    torch.manual_seed(0)
    neck = AttentionNeck(ATTENTION)
    torch.nn.init.constant_(neck.attention.gamma, 0.5)
    return neck


def modulation_neck(**removed):
    torch.manual_seed(0)
    return ModulationNeck(dict(dict(spatial=SPATIAL, semantic=SEMANTIC), **removed))


def test_attention_is_on_the_last_level():
    neck, feats = attention_neck(), levels()
    fine, coarse = neck(feats, [3, 2])
    assert fine is feats[0]
    torch.testing.assert_close(coarse, neck.attention(feats[1], [3, 2]))
    assert (coarse - feats[1]).abs().max() > 0.01


def test_modulators_act_on_all_levels_one_after_the_other():
    neck, feats = modulation_neck(), levels()
    spatial = neck.modulators['spatial'](feats, [3, 2], Modulation())
    semantic = neck.modulators['semantic'](feats, [3, 2], spatial)
    both = Modulation(scale=semantic.scale, shift=spatial.shift)
    found = neck(feats, [3, 2])
    assert len(found) == 2
    for level, given in zip(found, feats):
        torch.testing.assert_close(level, modulate(given, both))


@pytest.mark.parametrize('build', [attention_neck, modulation_neck])
def test_groups_do_not_see_each_other(build):
    neck, feats = build(), levels()
    together = neck(feats, [3, 2])
    apart = [neck(tuple(x[:3] for x in feats), [3]), neck(tuple(x[3:] for x in feats), [2])]
    for number, level in enumerate(together):
        torch.testing.assert_close(level, torch.cat([part[number] for part in apart]))
    one_group = neck(feats, [5])
    assert (one_group[1] - together[1]).abs().max() > 1e-3


def test_a_modulator_may_be_removed():
    assert list(modulation_neck(semantic=None).modulators) == ['spatial']
    feats = levels()
    for level, given in zip(modulation_neck(spatial=None, semantic=None)(feats, [5]), feats):
        assert torch.equal(level, given)


def test_they_are_known_to_configs():
    neck = MODELS.build(dict(type='AttentionNeck', attention=ATTENTION))
    assert isinstance(neck, AttentionNeck)
    neck = MODELS.build(dict(type='ModulationNeck', modulators=dict(spatial=SPATIAL)))
    assert isinstance(neck, ModulationNeck)
