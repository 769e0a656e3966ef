from types import SimpleNamespace

import pytest
import torch
from demo_inputs import make_group_batch, write_tiny_dataset
from mmengine.model import BaseModule
from torch import nn

from mmcoseg.datasets import CoSegDataset
from mmcoseg.engine.hooks import GroupMapHook
from mmcoseg.models import ClassAgnosticSSNM
from mmcoseg.models.segmentors.feature_cache import FeatureCache
from mmcoseg.registry import MODELS


@MODELS.register_module(name='FrozenTestBackbone')
class FrozenBackbone(BaseModule):
    """Levels of strides 2, 4 and twice 8, frozen."""

    def __init__(self, frozen=True):
        super().__init__()
        torch.manual_seed(1)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride=s, padding=1), nn.Tanh())
            for i, o, s in [(3, 6, 2), (6, 8, 2), (8, 12, 2), (12, 10, 1)]
        )
        self.requires_grad_(not frozen)
        self.calls = 0

    def forward(self, x):
        self.calls += len(x)
        levels = []
        for stage in self.stages:
            levels.append(x := stage(x))
        return tuple(levels)


def build(modulators=('spatial', 'semantic'), frozen=True, **kwargs):
    configs = dict(
        spatial=dict(
            type='CueModulator',
            cue=dict(type='ConsensusCue', level=-1, num_clusters=(2, 3), num_seeds=2),
        ),
        semantic=dict(type='DiscriminantModulator', level=-1),
    )
    torch.manual_seed(0)
    model = ClassAgnosticSSNM(
        backbone=dict(type='FrozenTestBackbone', frozen=frozen),
        neck=dict(
            type='FeatureWhitening', in_channels=[6, 8, 12, 10], fine=[0, 1], deep=[2, 3],
            channels=7,
        ),
        modulators={name: configs[name] if name in modulators else None for name in configs},
        decode_head=dict(
            type='CueHead', deep_channels=7, fine_channels=[6, 8], channels=8, bottleneck=3
        ),
        **kwargs,
    )  # fmt: skip
    data = model.data_preprocessor(make_group_batch((4, 4), (48, 48)))
    with torch.no_grad():
        model.neck.fit([model.neck.sample(model.extract_feat(data['inputs'].batch()), stride=1)])
    return model


def probabilities(model, data):
    return [torch.stack([s.pred_prob.data for s in group]) for group in model.test_step(data)]


def test_whitened_features_have_the_promised_statistics():
    model = build()
    data = model.data_preprocessor(make_group_batch((4, 4), (48, 48)))
    feats = model.extract_feat(data['inputs'].batch())
    *fine, deep = model.neck(feats)
    for level in fine:
        assert level.mean((0, 2, 3)).abs().max() < 0.01
        assert (level.std((0, 2, 3)) - 1).abs().max() < 0.02
    # Softly whitened: uncorrelated, and of like variances.
    points = deep[:, :, 1:, 1:].permute(0, 2, 3, 1).reshape(-1, 7)
    correlation = torch.corrcoef(points.t()) - torch.eye(7)
    assert correlation.abs().max() < 0.15
    assert points.var(dim=0).max() < 2 * points.var(dim=0).min()


@pytest.mark.parametrize('modulators', [(), ('spatial',), ('semantic',), ('spatial', 'semantic')])
def test_ablations_train_and_predict(modulators):
    model = build(modulators).train()
    data = model.data_preprocessor(make_group_batch((3, 2), (48, 48)), training=True)
    losses = model(**data, mode='loss')
    assert set(losses) == {'loss_seg'}
    losses['loss_seg'].backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained and all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    probs = probabilities(model.eval(), make_group_batch((3, 2), (48, 48), ori_shape=(60, 50)))
    assert [tuple(p.shape) for p in probs] == [(3, 1, 48, 48), (2, 1, 48, 48)]


@pytest.mark.slow
def test_overfits_two_groups():
    model = build(test_cfg=dict(grouping='whole')).train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    batch = make_group_batch((3, 3), (48, 48))
    for _ in range(150):
        data = model.data_preprocessor(batch, training=True)
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = []
    for group in model.eval().test_step(batch):
        for sample in group:
            pred, gt = sample.pred_sem_seg.data > 0, sample.gt_sem_seg.data > 0
            scores.append((pred & gt).sum() / (pred | gt).sum())
    assert sum(scores) / len(scores) > 0.9


@pytest.mark.parametrize('grouping', ['whole', 'ssnm'])
@pytest.mark.parametrize('flip', [False, True])
def test_chunks_and_kept_features_change_nothing(grouping, flip):
    batch = make_group_batch((7,), (48, 48))
    options = dict(grouping=grouping, flip=flip)
    reference = build(test_cfg=dict(options, chunk_size=50)).eval()
    chunked = build(test_cfg=dict(options, chunk_size=1)).eval()
    torch.testing.assert_close(
        probabilities(chunked, batch)[0], probabilities(reference, batch)[0], atol=1e-4, rtol=1e-3
    )


def test_order_of_the_images_does_not_matter():
    model = build(test_cfg=dict(grouping='whole', flip=True)).eval()
    batch = make_group_batch((5,), (48, 48))
    expected = probabilities(model, batch)[0]
    order = [3, 1, 4, 0, 2]
    group = batch['data_samples'][0]
    shuffled = dict(
        inputs=[[batch['inputs'][0][i] for i in order]],
        data_samples=[type(group)([group[i] for i in order], metainfo=group.metainfo)],
    )
    torch.testing.assert_close(
        probabilities(model, shuffled)[0], expected[order], atol=1e-3, rtol=1e-3
    )


def test_mirrored_images_get_mirrored_masks():
    model = build(test_cfg=dict(grouping='whole', flip=True)).eval()
    batch = make_group_batch((4,), (48, 48))
    mirrored = dict(batch, inputs=[[image.flip(-1) for image in batch['inputs'][0]]])
    torch.testing.assert_close(
        probabilities(model, mirrored)[0].flip(-1), probabilities(model, batch)[0],
        atol=1e-3, rtol=1e-3,
    )  # fmt: skip


def test_features_of_a_frozen_backbone_are_computed_once():
    model = build(feature_cache=20).train()
    data = model.data_preprocessor(make_group_batch((3, 2), (48, 48), seed=5), training=True)
    before = model.backbone.calls
    torch.manual_seed(0)
    first = model(**data, mode='loss')['loss_seg']
    assert model.backbone.calls == before + 5
    torch.manual_seed(0)
    a = model(**data, mode='loss')['loss_seg']
    torch.manual_seed(0)
    b = model(**data, mode='loss')['loss_seg']
    assert model.backbone.calls == before + 5
    assert a == b and first.isfinite()
    with pytest.raises(ValueError, match='only of a frozen backbone'):
        build(frozen=False, feature_cache=10)


def test_cache_knows_images_by_content_and_its_capacity():
    seen = []

    class Means(nn.Module):
        def forward(self, images):
            seen.append(len(images))
            return (images.mean(dim=(2, 3), keepdim=True), images[:, :1])

    cache = FeatureCache(Means(), capacity=2)
    images = torch.rand(3, 3, 4, 4)
    first = cache(images)
    again = cache(images.clone().contiguous(memory_format=torch.channels_last))
    assert seen == [3, 1] and len(cache) == 2
    for a, b in zip(first, again):
        assert torch.equal(a, b)
    changed = images.flip(-1)
    torch.testing.assert_close(cache(changed)[1], changed[:, :1], atol=1e-3, rtol=1e-3)


def test_hook_fits_the_neck_and_finds_maps_of_whole_groups(tmp_path):
    write_tiny_dataset(tmp_path, groups=dict(a=4, b=3), size=(40, 56))
    dataset = CoSegDataset(
        str(tmp_path),
        pipeline=[
            dict(type='SampleGroup', num_images=2),
            dict(
                type='ForEachImage',
                transforms=[
                    dict(type='LoadCoSegImage'),
                    dict(type='LoadCoSegMask'),
                    dict(type='LoadGroupMap'),
                    dict(type='mmseg.Resize', scale=(48, 48), keep_ratio=False),
                    dict(type='mmseg.RandomFlip', prob=0.5),
                ],
            ),
            dict(type='PackGroupInputs'),
        ],
    )

    preprocessor = dict(type='GroupDataPreprocessor', size=(48, 48))
    model = build(test_cfg=dict(chunk_size=3), data_preprocessor=preprocessor).train()
    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))
    model.neck.fitted.fill_(False)
    before = model.neck.projection.clone()
    GroupMapHook().before_train(runner)
    assert model.neck.fitted and not torch.equal(model.neck.projection, before)
    assert len(dataset.group_maps) == 7
    samples = dataset[0, 1]['data_samples']
    assert all(sample.saliency.data.shape == (1, 48, 48) for sample in samples)

    fitted = model.neck.projection.clone()
    dataset.group_maps.clear()
    GroupMapHook().before_train(runner)  # as on resuming
    assert torch.equal(model.neck.projection, fitted) and len(dataset.group_maps) == 7


def test_errors_name_the_cause():
    with pytest.raises(ValueError, match='model.rounds must be .* at least 1, got 0'):
        build(rounds=0)
    with pytest.raises(ValueError, match="ClassAgnosticSSNM has no 'other'.*'semantic', 'spatial'"):
        ClassAgnosticSSNM({}, {}, decode_head={}, modulators=dict(other=None))


def test_modulators_whose_own_loss_it_would_not_train_are_refused():
    def with_loss(**options):
        spatial = dict(type='SpatialModulator', in_channels=[6, 8, 12, 10], channels=4, **options)
        return ClassAgnosticSSNM(
            backbone=dict(type='FrozenTestBackbone'),
            neck=dict(type='FeatureWhitening', in_channels=[6], fine=[], deep=[0], channels=3),
            modulators=dict(spatial=spatial),
            decode_head=dict(type='CueHead', deep_channels=3, fine_channels=[6], channels=8),
        )

    with pytest.raises(ValueError, match=r'^model.modulators.spatial: SpatialModulator has a loss'):
        with_loss()
    assert with_loss(loss_weight=0).modulators['spatial'].loss_weight == 0
