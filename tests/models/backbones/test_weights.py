"""Weights of backbones that a checkpoint has, has in part, or leaves out."""

import pytest
import torch
from torch import nn

from mmcoseg.models.backbones import MissingWeightsError
from mmcoseg.models.backbones.weights import deferred_weights, load_unless_stored
from mmcoseg.registry import MODELS

NOWHERE = '/nowhere/weights.pth'
BACKBONES = [
    dict(type='EfficientNetLite', arch='lite0', weights=NOWHERE),
    dict(type='VGG16', weights=NOWHERE),
    dict(type='TimmModel', model_name='resnet18', weights=NOWHERE),
]


@pytest.fixture(params=BACKBONES, ids=[cfg['type'] for cfg in BACKBONES])
def built(request):
    """A model with a backbone whose pretrained weights cannot be had, and how to load them."""
    with deferred_weights() as noted:
        model = nn.ModuleDict(dict(backbone=MODELS.build(request.param), head=nn.Linear(2, 1)))
    with pytest.raises(MissingWeightsError):  # outside, all is as ever
        MODELS.build(request.param)
    return model, noted


def test_nothing_is_asked_for_that_the_checkpoint_has(built):
    model, noted = built
    load_unless_stored(model, noted, model.state_dict(), 'a.pth')
    without_head = {k: v for k, v in model.state_dict().items() if k.startswith('backbone')}
    load_unless_stored(model, noted, without_head, 'a.pth')


def test_a_backbone_that_was_left_out_is_the_pretrained_one(built):
    model, noted = built
    with pytest.raises(MissingWeightsError, match=NOWHERE):
        load_unless_stored(model, noted, model.head.state_dict(prefix='head.'), 'a.pth')


def test_a_part_of_a_backbone_is_refused(built):
    model, noted = built
    state = model.state_dict()
    key = next(key for key in state if key.endswith('weight'))
    for wrong in ({}, {key: torch.zeros(1)}):
        part = {k: v for k, v in state.items() if k != key} | wrong
        with pytest.raises(
            ValueError, match=f'^a.pth has only a part of model.backbone: 1 .*{key}'
        ):
            load_unless_stored(model, noted, part, 'a.pth')
    counts = {k: v for k, v in state.items() if not k.endswith('num_batches_tracked')}
    load_unless_stored(model, noted, counts, 'a.pth')  # PyTorch fills these in
