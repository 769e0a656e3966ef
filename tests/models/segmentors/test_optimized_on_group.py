"""What segmentors share that are optimized on a group: plug-in losses, necks, heads, backbones."""

import pytest
import torch
from demo_inputs import make_group_batch
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from torch import nn

from mmcoseg.errors import MMCosegError
from mmcoseg.models import CoSaliencyHead, DeepCO3, MultiClassCoSeg, MultiClassHead
from mmcoseg.models.backbones.base import StagedBackbone
from mmcoseg.models.segmentors.base import BaseCoSegmentor
from mmcoseg.models.stages import Descriptors, GroupStage
from mmcoseg.registry import MODELS


@MODELS.register_module(name='OptimizedTestBackbone')
class TinyBackbone(StagedBackbone):
    """Two levels, of strides 2 and 4."""

    def __init__(self, frozen_stages=2, out_stages=('fine', 'coarse')):
        super().__init__()
        fine = nn.Sequential(nn.Conv2d(3, 6, 3, 2, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        coarse = nn.Sequential(nn.Conv2d(6, 8, 3, 2, padding=1), nn.ReLU())
        self.add_stage('fine', fine, 6, 2)
        self.add_stage('coarse', coarse, 8, 4)
        self.finish(out_stages, frozen_stages, norm_eval=True)


@MODELS.register_module(name='OptimizedTestInitial')
class Brightness(BaseCoSegmentor):
    """K + 1 maps of brightness, or one for K = None."""

    loss = _forward = None

    def __init__(self, num_classes=None, max_classes=None, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def soft_maps(self, images, group):
        bright = torch.sigmoid(images.batch().mean(dim=1, keepdim=True))
        if self.num_classes is None:
            return bright
        others = bright.expand(-1, self.num_classes, -1, -1) / self.num_classes
        return torch.cat([1 - bright, others], dim=1)


class NotingLoss(nn.Module):
    """Keeps what it was called with."""

    def __init__(self, loss_name='loss_noting', loss_weight=1.0):
        super().__init__()
        self.loss_name, self.loss_weight = loss_name, loss_weight
        self.seen = []

    def note(self, **values):
        self.seen.append(values)
        return self.loss_weight * sum(v.mean() for v in values.values() if torch.is_tensor(v))


@MODELS.register_module(name='OptimizedTestEverything')
class AsksForEverything(NotingLoss):
    def forward(
        self, group_sizes, images, initial_maps, saliency, maps, coarse_maps, features, scale=2.0
    ):
        assert scale == 2.0
        return self.note(
            group_sizes=group_sizes,
            images=images,
            initial_maps=initial_maps,
            saliency=saliency,
            maps=maps,
            coarse_maps=coarse_maps,
            features=features,
        )


@MODELS.register_module(name='OptimizedTestVectors')
class AsksForVectors(NotingLoss):
    def forward(self, vectors, maps, initial_maps, saliency, features, images, group_sizes):
        return self.note(
            vectors=vectors,
            maps=maps,
            initial_maps=initial_maps,
            saliency=saliency,
            features=features,
            images=images,
            group_sizes=group_sizes,
        )


@MODELS.register_module(name='OptimizedTestContrast')
class AsksForLittle(NotingLoss):
    def forward(self, features, **others):
        assert not others
        return self.note(features=features)


@MODELS.register_module(name='OptimizedTestMisspelt')
class Misspelt(NotingLoss):
    def forward(self, feature, group_sizes):
        raise NotImplementedError


@MODELS.register_module(name='OptimizedTestNeck')
class NotingNeck(BaseModule):
    """Takes the group's mean off the last level, and keeps the sizes of groups."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, feats, group_sizes):
        self.seen.append(list(group_sizes))
        return *feats[:-1], _off_the_mean(feats[-1], group_sizes)


@MODELS.register_module(name='OptimizedTestCoSaliencyHead')
class NotingCoSaliencyHead(CoSaliencyHead):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def forward(self, levels, coarse, group_sizes):
        self.seen.append(list(group_sizes))
        return super().forward(levels, _off_the_mean(coarse, group_sizes))


@MODELS.register_module(name='OptimizedTestMultiClassHead')
class NotingMultiClassHead(MultiClassHead):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def forward(self, levels, num_classes, group_sizes):
        self.seen.append(list(group_sizes))
        levels = (*levels[:-1], _off_the_mean(levels[-1], group_sizes))
        return super().forward(levels, num_classes=num_classes)


def _off_the_mean(values, group_sizes):
    groups = values.split(group_sizes)
    return torch.cat([group - group.mean(dim=0, keepdim=True) for group in groups])


@MODELS.register_module(name='OptimizedTestStage')
class FirstChannel(GroupStage):
    descriptors = Descriptors((1,))

    def forward(self, context):
        return torch.sigmoid(context.descriptors[self.descriptors][:, :1].float())


BACKBONE = dict(type='OptimizedTestBackbone')
INITIAL = dict(type='OptimizedTestInitial')
CONTRAST = dict(contrast=dict(type='OptimizedTestContrast'))


def deepco3(losses=None, head='CoSaliencyHead', **kwargs):
    torch.manual_seed(0)
    head = dict(type=head, in_channels=[6, 8], strides=[2, 4], lateral=True)
    model = DeepCO3(kwargs.pop('backbone', BACKBONE), head, losses or CONTRAST, **kwargs)
    nn.init.normal_(model.decode_head.conv.weight)
    return model


def multi_class(losses=None, head='MultiClassHead', **kwargs):
    torch.manual_seed(0)
    head = dict(type=head, in_channels=[6, 8], strides=[2, 4], lateral=True)
    kwargs = dict(dict(num_classes=2, extractor=BACKBONE), **kwargs)
    model = MultiClassCoSeg(
        backbone=BACKBONE, decode_head=head, losses=losses or CONTRAST, **kwargs
    )
    nn.init.normal_(model.decode_head.conv.weight)
    return model


def prepared(model, group_sizes=(4,), saliency=False):
    """A batch as the model gets it, whose groups it has seen."""
    batch = make_group_batch(group_sizes, (32, 40), num_foreground=2)
    if saliency:
        for group in batch['data_samples']:
            for sample in group:
                sample.saliency = PixelData(data=torch.rand(1, 16, 20))
    data = model.data_preprocessor(batch)
    for images, group in zip(data['inputs'].split(group_sizes), data['data_samples']):
        model.prepare_group(images, group)
    return data


# Losses.


def test_a_loss_under_any_name_is_called_with_what_its_forward_names():
    losses = dict(
        whatever=dict(type='OptimizedTestEverything', loss_name='loss_mine'),
        contrast=dict(type='OptimizedTestContrast', loss_name='loss_contrast', loss_weight=2.0),
    )
    model = deepco3(losses, initial_segmentor=INITIAL).eval()
    data = prepared(model, (3, 2))
    found = model(**data, mode='loss')
    assert list(found) == ['loss_mine', 'loss_contrast']
    (seen,) = model.losses['whatever'].seen
    images = data['inputs'].batch()
    feats = model.extract_feat(images)
    coarse = model.decode_head.coarse_logits(feats)
    assert seen['group_sizes'] == [3, 2]
    assert torch.equal(seen['images'], images)
    torch.testing.assert_close(seen['features'], feats[-1])
    torch.testing.assert_close(seen['coarse_maps'], coarse.sigmoid())
    torch.testing.assert_close(seen['maps'], model.decode_head(feats, coarse).sigmoid())
    small = torch.stack([s.initial_maps.data for g in data['data_samples'] for s in g])
    assert small.shape == (5, 1, 8, 10)
    expected = nn.functional.interpolate(small, (32, 40), mode='bilinear')
    torch.testing.assert_close(seen['initial_maps'], expected)
    torch.testing.assert_close(seen['saliency'], expected)
    torch.testing.assert_close(found['loss_contrast'], 2 * feats[-1].mean())


def test_what_losses_of_several_classes_may_ask_for():
    losses = dict(whatever=dict(type='OptimizedTestVectors'))
    model = multi_class(losses, initial_segmentor=INITIAL, extractor_size=16).eval()
    data = prepared(model, (3,), saliency=True)
    assert list(model(**data, mode='loss')) == ['loss_noting']
    (seen,) = model.losses['whatever'].seen
    shapes = {name: tuple(value.shape) for name, value in seen.items() if name != 'group_sizes'}
    assert seen['group_sizes'] == [3]
    assert shapes == dict(
        vectors=(3, 3, 8),
        maps=(3, 3, 16, 16),
        initial_maps=(3, 3, 16, 16),
        saliency=(3, 1, 32, 40),
        features=(3, 8, 8, 10),
        images=(3, 3, 32, 40),
    )
    # Several maps are no saliency: it is the images' own.
    own = torch.stack([sample.saliency.data for sample in data['data_samples'][0]])
    own = nn.functional.interpolate(own, (32, 40), mode='bilinear')
    torch.testing.assert_close(seen['saliency'], own)


@pytest.mark.parametrize('build', [deepco3, multi_class])
def test_what_no_loss_asks_for_is_not_made(build, monkeypatch):
    model = build()
    for name in ('_saliency_of', 'initial_maps_at', 'extract_vectors'):
        if hasattr(model, name):
            monkeypatch.setattr(model, name, None)
    assert 'loss_noting' in model(**prepared(model), mode='loss')


@pytest.mark.parametrize(
    ('build', 'kind', 'initial'),
    [
        (deepco3, 'OptimizedTestEverything', INITIAL),
        (multi_class, 'OptimizedTestVectors', dict(INITIAL, num_classes=2)),
    ],
)
def test_no_ground_truth_reaches_a_loss(build, kind, initial):
    model = build(dict(all=dict(type=kind)), initial_segmentor=initial).eval()
    data = prepared(model, saliency=True)
    expected = model(**data, mode='loss')
    for sample in data['data_samples'][0]:
        del sample.gt_sem_seg
    again = model(**data, mode='loss')
    torch.testing.assert_close(again, expected, rtol=0, atol=0)
    first, second = model.losses['all'].seen
    assert first.keys() == second.keys() and not any('gt' in name for name in first)


def test_losses_of_one_name_are_summed():
    one = deepco3().eval()
    two = deepco3(dict(CONTRAST, again=dict(CONTRAST['contrast'], loss_weight=3.0))).eval()
    data = prepared(one)
    expected = 4 * one(**data, mode='loss')['loss_noting']
    torch.testing.assert_close(two(**data, mode='loss')['loss_noting'], expected)


@pytest.mark.parametrize('build', [deepco3, multi_class])
def test_a_loss_that_asks_for_what_there_is_not(build):
    model = build(dict(contrast=dict(type='OptimizedTestMisspelt')))
    message = (
        r"model\.losses\.contrast: Misspelt\.forward asks for 'feature' "
        r"\(did you mean 'features'\?\); it may ask for \[.*'group_sizes', 'images', .*'saliency'"
    )
    with pytest.raises(MMCosegError, match=message):
        model(**prepared(model), mode='loss')


# Necks and heads that look at groups.


def with_neck(build, **kwargs):
    model = build(neck=dict(type='OptimizedTestNeck'), **kwargs)
    return model, model.neck


def with_head(build, **kwargs):
    kind = 'CoSaliency' if build is deepco3 else 'MultiClass'
    model = build(head=f'OptimizedTest{kind}Head', **kwargs)
    return model, model.decode_head


@pytest.mark.parametrize('part', [with_neck, with_head])
@pytest.mark.parametrize('build', [deepco3, multi_class])
def test_a_neck_or_a_head_sees_mini_batches_of_a_group(build, part):
    results = []
    for chunk_size in (1, 2, 10):
        model, noting = part(build, test_cfg=dict(chunk_size=chunk_size))
        model.group_size = 3
        data = prepared(model.eval(), (5, 2))
        model(**data, mode='predict')
        assert noting.seen == [[3], [3], [2]]
        results.append([s.pred_prob.data for group in data['data_samples'] for s in group])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])
    # The last mini-batch of the first group is filled up with its first image.
    images, group = data['inputs'].select([3, 4, 0]), data['data_samples'][0].select([3, 4, 0])
    model.segment(images, group)
    for sample, expected in zip(group, results[0][3:5]):
        torch.testing.assert_close(sample.pred_prob.data, expected)
    # Others of the group matter.
    alone = data['data_samples'][0].select([3])
    model.segment(data['inputs'].select([3]), alone)
    assert not torch.allclose(alone[0].pred_prob.data, results[0][3], atol=1e-3)


@pytest.mark.parametrize('build', [deepco3, multi_class])
def test_a_neck_sees_the_mini_batches_that_a_loss_is_of(build):
    model, noting = with_neck(build)
    data = prepared(model, (3, 2))
    model(**data, mode='loss')
    assert sum(noting.seen, []) == [3, 2]
    noting.seen.clear()
    model(data['inputs'], data['data_samples'])
    assert noting.seen == [[3, 2]]


def test_attention_in_deepco3():
    attention = dict(type='GatedAttention', in_channels=8)
    model = deepco3(
        dict(saliency=dict(type='CoSaliencyLoss')),
        neck=dict(type='AttentionNeck', attention=attention),
        initial_segmentor=INITIAL,
    )
    for parameter in model.neck.parameters():
        nn.init.normal_(parameter)
    data = prepared(model, (4,))
    model.parse_losses(model(**data, mode='loss'))[0].backward()
    trained = [p.grad.abs().sum() > 0 for n, p in model.neck.named_parameters() if 'bias' not in n]
    assert trained and all(trained)
    whole = [s.pred_prob.data for group in model.eval()(**data, mode='predict') for s in group]
    feats = model.extract_feat(data['inputs'].batch())
    feats = (feats[0], model.neck.attention(feats[1], [4]))
    maps = model.decode_head(feats, model.decode_head.coarse_logits(feats)).sigmoid()
    expected = nn.functional.avg_pool2d(maps, 4).detach()
    torch.testing.assert_close(torch.stack(whole), expected)


# The initial segmentor's backbone.


def training_free(backbone):
    stage = dict(type='OptimizedTestStage')
    return dict(type='TrainingFreeCoSegmentor', backbone=backbone, stages=dict(first=stage))


def test_the_initial_segmentor_shares_a_frozen_backbone_of_the_same_config():
    model = deepco3(initial_segmentor=training_free(dict(BACKBONE)))
    initial = model.initial_segmentor
    assert initial.backbone is model.backbone
    model.train()
    assert not initial.training and not model.backbone.stages['fine'][1].training
    assert model.decode_head.training
    # As if it had its own.
    own = MODELS.build(training_free(BACKBONE))
    own.backbone.load_state_dict(model.backbone.state_dict())
    data = prepared(model)
    (group,) = data['data_samples']
    found = torch.stack([sample.initial_maps.data for sample in group])
    own.segment(data['inputs'], group)
    expected = torch.stack([sample.pred_prob.data for sample in group])
    torch.testing.assert_close(found, nn.functional.adaptive_avg_pool2d(expected, (8, 10)))


@pytest.mark.parametrize(
    ('backbone', 'other'),
    [
        (dict(BACKBONE, frozen_stages=1), dict(BACKBONE, frozen_stages=1)),
        (BACKBONE, dict(BACKBONE, out_stages=['coarse', 'coarse'])),
        (BACKBONE, dict(BACKBONE, frozen_stages=1)),
    ],
    ids=['trained', 'other-levels', 'other-freezing'],
)
def test_other_backbones_are_not_shared(backbone, other):
    model = deepco3(backbone=backbone, initial_segmentor=training_free(other))
    assert model.initial_segmentor.backbone is not model.backbone
    # What the model trains is none of the initial segmentor's.
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert any(name.startswith('backbone') for name in trained) == (backbone is not BACKBONE)
    assert not any(name.startswith('initial_segmentor') for name in trained)
