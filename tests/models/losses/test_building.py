"""A loss that its name would keep from being trained is an error."""

import pytest
from torch import nn

from mmcoseg.errors import MMCosegError
from mmcoseg.models.losses import BalancedBCELoss, build_loss
from mmcoseg.registry import MODELS


@MODELS.register_module(name='LossTestNameless')
class Nameless(nn.Module):
    def forward(self, logits, target):
        return logits.mean()


KEY = 'model.losses.area'


def test_a_loss_is_built():
    loss = build_loss(dict(type='BalancedBCELoss', loss_name='loss_masks'), KEY)
    assert isinstance(loss, BalancedBCELoss) and loss.loss_name == 'loss_masks'


@pytest.mark.parametrize('name', ['area', 'my_loss', ''])
def test_names_that_are_only_logged_are_refused(name):
    cfg = dict(type='InitialMapLoss', loss_name=name)
    with pytest.raises(ValueError, match=f'^model.losses.area: InitialMapLoss has .*{name!r}'):
        build_loss(cfg, KEY)
    assert build_loss(dict(cfg, loss_weight=0.0), KEY).loss_weight == 0


def test_a_loss_without_a_name_is_refused():
    with pytest.raises(ValueError, match='^model.losses.area: Nameless has no loss_name'):
        build_loss(dict(type='LossTestNameless'), KEY)


@pytest.mark.parametrize('cfg', ["dict(type='InitialMapLoss')", ['InitialMapLoss'], None])
def test_what_is_no_config_is_refused(cfg):
    with pytest.raises(MMCosegError, match=r'^model.losses.area must be the config of a loss'):
        build_loss(cfg, KEY)


SLOTS = {
    'model.decode_head.loss_decode': dict(
        type='CoarseToFineHead',
        in_channels=[8],
        loss_decode=dict(type='BalancedBCELoss', loss_name='masks'),
    ),
    'model.decode_head.loss_decode of cues': dict(
        type='CueHead',
        num_cues=1,
        deep_channels=8,
        fine_channels=[8],
        channels=8,
        loss_decode=dict(type='BalancedJaccardLoss', loss_name='masks'),
    ),
    'model.losses.saliency': dict(
        type='DeepCO3',
        backbone=dict(type='VGG16', weights=None),
        decode_head=dict(type='CoSaliencyHead', in_channels=[8], strides=[16]),
        losses=dict(saliency=dict(type='CoSaliencyLoss', loss_name='masks')),
    ),
    'model.losses.anything': dict(
        type='MultiClassCoSeg',
        num_classes=1,
        backbone=dict(type='VGG16', weights=None),
        decode_head=dict(type='MultiClassHead', in_channels=[8], strides=[16]),
        losses=dict(anything=dict(type='InitialMapLoss', loss_name='masks')),
    ),
}


@pytest.mark.parametrize('key', SLOTS)
def test_every_place_for_a_loss_checks_it(key):
    with pytest.raises(ValueError, match=f"{key.partition(' ')[0]}: .*'masks'"):
        MODELS.build(SLOTS[key])
