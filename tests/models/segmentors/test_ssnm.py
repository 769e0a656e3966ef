import numpy as np
import pytest
import torch
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from torch import nn

from mmcoseg.models import SSNM
from mmcoseg.models.necks import Modulation, Modulator
from mmcoseg.models.segmentors import wrap_around_groups
from mmcoseg.registry import MODELS
from mmcoseg.structures import Click, CoSegDataSample, ExampleMask, GroupDataSample


@MODELS.register_module(name='SegmentorTestBackbone')
class TinyBackbone(BaseModule):
    """Four levels of strides 2, 4, 8, 16, batch-independent."""

    def __init__(self):
        super().__init__()
        widths = [3, 6, 8, 10, 12]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride=2, padding=1), nn.ReLU())
            for i, o in zip(widths, widths[1:])
        )

    def forward(self, x):
        levels = []
        for stage in self.stages:
            levels.append(x := stage(x))
        return tuple(levels)


def build(modulators=('spatial', 'semantic'), **kwargs):
    torch.manual_seed(0)
    configs = dict(
        spatial=dict(type='SpatialModulator', in_channels=[6, 8, 10, 12], channels=8),
        semantic=dict(
            type='SemanticModulator',
            in_channels=12,
            channels=16,
            reduced_channels=4,
            num_classes=3,
        ),
    )
    return SSNM(
        backbone=dict(type='SegmentorTestBackbone'),
        neck=dict(type='LevelProjection', in_channels=[6, 8, 10, 12], channels=16),
        modulators={name: configs[name] if name in modulators else None for name in configs},
        decode_head=dict(type='CoarseToFineHead', in_channels=[16] * 4),
        **kwargs,
    )


def batch(group_sizes=(3, 2), size=(32, 32), ori_shape=(50, 40), seed=0):
    """A batch as group_collate gives it: a bright square on noise is the object."""
    rng = torch.Generator().manual_seed(seed)
    inputs, data_samples = [], []
    for number, count in enumerate(group_sizes):
        images, samples = [], []
        for i in range(count):
            image = torch.randint(0, 120, (3, *size), generator=rng, dtype=torch.uint8)
            mask = torch.zeros(1, *size, dtype=torch.long)
            top, left = torch.randint(4, 12, (2,), generator=rng).tolist()
            mask[:, top : top + 14, left : left + 14] = 1
            image[number % 3][mask[0] == 1] += 130
            sample = CoSegDataSample(
                metainfo=dict(group=f'g{number}', stem=str(i), ori_shape=ori_shape, img_shape=size)
            )
            sample.gt_sem_seg = PixelData(data=mask)
            images.append(image)
            samples.append(sample)
        inputs.append(images)
        data_samples.append(
            GroupDataSample(samples, metainfo=dict(group=f'g{number}', label_ids=(number % 3,)))
        )
    return dict(inputs=inputs, data_samples=data_samples)


def probabilities(model, data):
    return [
        torch.stack([sample.pred_prob.data for sample in group]) for group in model.test_step(data)
    ]


def test_joint_loss_has_its_three_parts():
    model = build()
    data = model.data_preprocessor(batch(), training=True)
    losses = model(**data, mode='loss')
    assert set(losses) == {'loss_seg', 'loss_spa', 'loss_sem'}
    total, _ = model.parse_losses(losses)
    assert total.item() == pytest.approx(sum(loss.item() for loss in losses.values()))
    total.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ('modulators', 'losses'),
    [
        ((), {'loss_seg'}),
        (('spatial',), {'loss_seg', 'loss_spa'}),
        (('semantic',), {'loss_seg', 'loss_sem'}),
    ],
)
def test_ablations_train_and_predict(modulators, losses):
    model = build(modulators).train()
    data = model.data_preprocessor(batch(), training=True)
    assert set(model(**data, mode='loss')) == losses
    assert len(probabilities(model.eval(), batch())) == 2


@pytest.mark.slow
def test_overfits_two_groups():
    model = build(test_cfg=dict(grouping='whole'))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(300):
        data = model.data_preprocessor(batch(), training=True)
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    for group in model.test_step(batch(ori_shape=(32, 32))):
        for sample in group:
            pred, gt = sample.pred_sem_seg.data > 0, sample.gt_sem_seg.data > 0
            assert (pred & gt).sum() / (pred | gt).sum() > 0.9


def test_prediction_has_the_promised_fields_and_sizes():
    model = build().eval()
    groups = model.test_step(batch(group_sizes=(3, 1), size=(32, 48), ori_shape=(65, 97)))
    assert [len(group) for group in groups] == [3, 1]
    for group in groups:
        for sample in group:
            assert sample.pred_prob.data.shape == (1, 32, 48)
            assert sample.pred_sem_seg.data.shape == (1, 65, 97)
            assert sample.pred_sem_seg.data.dtype == torch.uint8


@pytest.mark.parametrize('grouping', ['whole', 'ssnm'])
@pytest.mark.parametrize('chunk_size', [1, 3, 100])
def test_chunks_bound_memory_and_change_nothing(grouping, chunk_size):
    data = batch(group_sizes=(7,))
    reference = build(test_cfg=dict(grouping=grouping, chunk_size=50)).eval()
    chunked = build(test_cfg=dict(grouping=grouping, chunk_size=chunk_size)).eval()
    torch.testing.assert_close(
        probabilities(chunked, data)[0], probabilities(reference, data)[0], atol=1e-5, rtol=1e-4
    )


def test_batching_groups_changes_nothing():
    model = build().eval()
    data = batch(group_sizes=(2, 6, 1))
    together = probabilities(model, data)
    for i, expected in enumerate(together):
        alone = {key: [value[i]] for key, value in data.items()}
        torch.testing.assert_close(probabilities(model, alone)[0], expected, atol=1e-5, rtol=1e-4)


def test_order_of_the_images_does_not_matter_for_whole_groups():
    model = build(test_cfg=dict(grouping='whole')).eval()
    data = batch(group_sizes=(4,))
    expected = probabilities(model, data)[0]
    order = [2, 0, 3, 1]
    shuffled = dict(
        inputs=[[data['inputs'][0][i] for i in order]],
        data_samples=[
            GroupDataSample(
                [data['data_samples'][0][i] for i in order],
                metainfo=data['data_samples'][0].metainfo,
            )
        ],
    )
    torch.testing.assert_close(
        probabilities(model, shuffled)[0], expected[order], atol=1e-5, rtol=1e-4
    )


def test_protocol_ssnm_is_groups_of_five_filled_up_with_the_first_images():
    model = build(test_cfg=dict(grouping='ssnm')).eval()
    data = batch(group_sizes=(7,))
    images = model.data_preprocessor(data)['inputs'].batch()
    with torch.no_grad():
        first = model(images[:5], mode='tensor')
        second = model(images[[5, 6, 0, 1, 2]], mode='tensor')
        expected = model.decode_head.predict_by_feat(torch.cat([first, second[:2]]), (32, 32))
    torch.testing.assert_close(probabilities(model, data)[0], expected, atol=1e-5, rtol=1e-4)


def test_wrap_around():
    assert wrap_around_groups(5, 5) == ([0, 1, 2, 3, 4], [5])
    assert wrap_around_groups(6, 5) == ([0, 1, 2, 3, 4, 5, 0, 1, 2, 3], [5, 5])
    assert wrap_around_groups(2, 5) == ([0, 1, 0, 1, 0], [5])


def test_images_of_different_size_are_padded_and_cut_again():
    model = build().eval()
    small, large = batch((1,), size=(32, 32)), batch((1,), size=(48, 40))
    both = {key: [*small[key], *large[key]] for key in small}
    shapes = [tuple(prob.shape[-2:]) for prob in probabilities(model, both)]
    assert shapes == [(32, 32), (48, 40)]


def test_flip_averages_both_directions():
    model = build(test_cfg=dict(grouping='whole', flip=True)).eval()
    data = batch((3,))
    mirrored = dict(data, inputs=[[image.flip(-1) for image in data['inputs'][0]]])
    torch.testing.assert_close(
        probabilities(model, data)[0],
        probabilities(model, mirrored)[0].flip(-1),
        atol=1e-5,
        rtol=1e-4,
    )


def test_errors_name_the_cause():
    with pytest.raises(ValueError, match="model.test_cfg has no 'group' .*'grouping'"):
        build(test_cfg=dict(group=3))
    with pytest.raises(ValueError, match="grouping must be one of .*'pairs'"):
        build(test_cfg=dict(grouping='pairs'))
    with pytest.raises(ValueError, match='model.test_cfg.group_size must be .* at least 1, got 0'):
        build(test_cfg=dict(group_size=0))
    with pytest.raises(ValueError, match="threshold .*'adaptive'.* from 0 to 1, got 2"):
        build(test_cfg=dict(threshold=2))
    model = build()
    data = model.data_preprocessor(batch(), training=True)
    with pytest.raises(ValueError, match=r"mode must be one of \('loss', 'predict', 'tensor'\)"):
        model(**data, mode='train')
    data['data_samples'][0].set_metainfo(dict(label_ids=(7,)))
    with pytest.raises(ValueError, match='category number 7.*num_classes=3'):
        model(**data, mode='loss')
    del data['data_samples'][1][0].gt_sem_seg
    with pytest.raises(ValueError, match='g1/0 has no ground truth'):
        model(**data, mode='loss')


@MODELS.register_module(name='SegmentorTestGroupHead')
class GroupHead(BaseModule):
    """The mean of a group's coarsest level, for each of its images."""

    def forward(self, levels, group_sizes):
        means = [part.mean(0, True).expand_as(part) for part in levels[-1].split(group_sizes)]
        return torch.cat(means).mean(1, keepdim=True)

    def predict_by_feat(self, logits, size):
        return nn.functional.interpolate(logits.sigmoid(), size=size)


@MODELS.register_module(name='SegmentorTestGroupNeck')
class GroupNeck(BaseModule):
    """Takes the mean of the other images away from all levels."""

    def forward(self, feats, group_sizes):
        levels = []
        for level in feats:
            parts = [part - part.mean(0, True) for part in level.split(group_sizes)]
            levels.append(torch.cat(parts)[:, :6])
        return tuple(levels)


LEVEL_NECK = dict(type='LevelProjection', in_channels=[6, 8, 10, 12], channels=6)
GROUP_PARTS = {
    'neck': dict(
        neck=dict(type='SegmentorTestGroupNeck'),
        decode_head=dict(type='CoarseToFineHead', in_channels=[6] * 4),
    ),
    'head': dict(neck=LEVEL_NECK, decode_head=dict(type='SegmentorTestGroupHead')),
}


@pytest.mark.parametrize('parts', GROUP_PARTS.values(), ids=GROUP_PARTS)
def test_a_neck_or_head_that_asks_for_it_sees_the_whole_group(parts):
    data = batch(group_sizes=(7, 2))
    expected = None
    for chunk_size in (1, 3, 100):
        torch.manual_seed(0)
        test_cfg = dict(grouping='whole', chunk_size=chunk_size)
        model = SSNM(dict(type='SegmentorTestBackbone'), **parts, test_cfg=test_cfg).eval()
        found = probabilities(model, data)
        if expected is None:
            with torch.no_grad():
                logits = model(**model.data_preprocessor(data))
            expected = model.decode_head.predict_by_feat(logits, (32, 32)).split([7, 2])
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@MODELS.register_module(name='SegmentorTestModulator')
class LearnedShift(Modulator):
    """One number that is added everywhere, with a loss of any name."""

    def __init__(self, loss_name, factor=1.0):
        super().__init__()
        self.loss_name, self.factor = loss_name, factor
        self.shift = nn.Parameter(torch.ones(1, 1, 1, 1))

    def encode(self, feats):
        return feats[-1].new_zeros(len(feats[-1]), 1)

    def modulate_group(self, descriptors, group_sizes, previous):
        return Modulation(shift=self.shift.expand(len(descriptors), 1, 1, 1))

    def loss(self, modulation, group_sizes, labels):
        value = self.factor * self.shift.square().sum()
        return {self.loss_name: value, 'shift': value.detach()}


def build_shifted(*names, factor=1.0):
    modulators = {
        str(i): dict(type='SegmentorTestModulator', loss_name=name, factor=factor)
        for i, name in enumerate(names)
    }
    return SSNM(
        backbone=dict(type='SegmentorTestBackbone'),
        neck=dict(type='LevelProjection', in_channels=[6, 8, 10, 12], channels=16),
        modulators=modulators,
        decode_head=dict(type='CoarseToFineHead', in_channels=[16] * 4),
    )


def losses_of(model):
    return model(**model.data_preprocessor(batch(), training=True), mode='loss')


def test_a_modulators_loss_that_would_not_be_trained_is_refused():
    for name in ('shift_loss', 'area'):
        with pytest.raises(ValueError, match=f"the loss '{name}' would be logged but not trained"):
            losses_of(build_shifted(name))
    # Figures for the log may have any name; one of weight 0 has no derivative to miss.
    losses = losses_of(build_shifted('area', factor=0.0))
    assert losses['area'] == 0
    assert losses['shift'] == 0


def test_losses_of_one_name_are_added_up():
    losses = losses_of(build_shifted('loss_shift', 'loss_shift'))
    assert losses['loss_shift'].item() == 2
    together = losses_of(build_shifted('loss_seg'))
    assert together['loss_seg'] > losses_of(build_shifted('loss_shift'))['loss_seg'] + 0.99


def test_hints_are_obeyed_on_their_own_image():
    data = batch((3,))
    [group] = data['data_samples']
    for sample in group:
        sample.set_metainfo(dict(ori_img=np.zeros((50, 40, 3), np.uint8)))
    mask = np.zeros((50, 40), np.uint8)
    mask[5:20, 10:30] = 1
    group[0].hints = (ExampleMask(mask),)
    group[1].hints = (Click(30, 25), Click(2, 2, label=0))
    expected = build().eval().test_step(batch((3,)))[0]
    [found] = build().eval().test_step(data)
    np.testing.assert_array_equal(found[0].pred_sem_seg.data[0].numpy(), mask)
    assert found[1].pred_sem_seg.data[0, 25, 30] == 1
    assert found[1].pred_sem_seg.data[0, 2, 2] == 0
    assert torch.equal(found[2].pred_prob.data, expected[2].pred_prob.data)
