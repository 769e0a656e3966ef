"""DeepCO3 and the whole group: initial maps, features that are kept; parts as instances."""

import copy

import pytest
import torch
from demo_inputs import make_group_batch
from mmengine.structures import PixelData
from torch import nn
from torch.nn import functional as F

from mmcoseg.errors import MMCosegError
from mmcoseg.models import DeepCO3
from mmcoseg.models.backbones.base import StagedBackbone
from mmcoseg.models.postprocessors import SalientRegions
from mmcoseg.models.segmentors.base import BaseCoSegmentor
from mmcoseg.registry import MODELS, TASK_UTILS
from mmcoseg.structures import Proposals


@MODELS.register_module(name='DeepCO3TestStages')
class TinyStages(StagedBackbone):
    """Stages of strides 1, 2, 4; the last two are the levels."""

    def __init__(self, frozen_stages=0, out_stages=('fine', 'coarse')):
        super().__init__()
        sizes = dict(first=(3, 4, 1, 1), fine=(4, 6, 2, 2), coarse=(6, 8, 2, 4))
        for name, (a, b, step, stride) in sizes.items():
            stage = nn.Sequential(nn.Conv2d(a, b, 3, step, padding=1), nn.ReLU())
            self.add_stage(name, stage, b, stride)
        self.calls = 0
        self.finish(out_stages, frozen_stages, norm_eval=True)

    def forward(self, x, start=None):
        self.calls += len(x)
        return super().forward(x, start)


RAW = dict(
    type='GroupDataPreprocessor', mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0), bgr_to_rgb=False
)


def brightness_of(images):
    """(n, 1, H, W) in [0, 1] of images (n, 3, H, W) in [0, 1], another for each image and place."""
    return images.mean(dim=1, keepdim=True)


@MODELS.register_module(name='DeepCO3TestBrightness')
class Brightness(BaseCoSegmentor):
    loss = _forward = None

    def soft_maps(self, images, group):
        assert not torch.is_grad_enabled()
        assert not any('gt_sem_seg' in sample or 'proposals' in sample for sample in group)
        maps = brightness_of(images.batch())
        for sample, one in zip(group, maps):
            sample.presence = float(one.mean())
        return maps


@TASK_UTILS.register_module(name='DeepCO3TestMeanHeat')
class MeanHeat:
    def __call__(self, heat_maps, saliency, proposals):
        masks = torch.from_numpy(proposals.masks()).flatten(1).float()
        best = ((heat_maps * saliency).flatten(1) @ (masks / masks.sum(1, True)).t()).max(dim=1)
        return best.indices, best.values


@TASK_UTILS.register_module(name='DeepCO3TestRedraw')
class Redraw:
    """Gives every image the same mask of two parts."""

    by_image = True

    def __call__(self, group):
        for sample in group:
            sample.pred_sem_seg = PixelData(data=redrawn(sample.ori_shape)[None].to(torch.uint8))


def redrawn(size):
    mask = torch.zeros(size, dtype=torch.bool)
    mask[5:25, 4:20] = mask[30:40, 30:45] = True
    return mask


LOSSES = dict(
    co_peak=dict(type='CoPeakLoss'),
    affinity=dict(type='AffinityLoss'),
    saliency=dict(type='CoSaliencyLoss'),
)
INITIAL = dict(type='DeepCO3TestBrightness', data_preprocessor=RAW)
EVERYTHING = dict(
    backbone=dict(type='DeepCO3TestStages', frozen_stages=3),
    initial_segmentor=INITIAL,
    feature_cache=100,
    regions=dict(type='SalientRegions'),
    nms=dict(type='MaskNMS'),
    test_cfg=dict(heat_stage='fine'),
)


def build(**kwargs):
    torch.manual_seed(0)
    settings = dict(
        data_preprocessor=RAW,
        backbone=dict(type='DeepCO3TestStages'),
        decode_head=dict(type='CoSaliencyHead', in_channels=[6, 8], strides=[2, 4], normalize=True),
        losses=LOSSES,
        ranking=dict(type='DeepCO3TestMeanHeat'),
    )
    model = DeepCO3(**copy.deepcopy({**settings, **kwargs}))
    nn.init.normal_(model.decode_head.conv.weight, std=3)
    return model


def batch(group_sizes=(4,), size=(32, 40), ori_shape=(50, 60), proposals=12):
    data = make_group_batch(group_sizes, size, ori_shape=ori_shape)
    rng = torch.Generator().manual_seed(1)
    for group in data['data_samples']:
        for sample in group:
            masks = torch.rand(proposals, *ori_shape, generator=rng) < 0.2
            sample.proposals = Proposals.from_masks(masks.numpy())
    return data


def prepared(model, data=None):
    """A group as the model gets it, and has looked at it whole."""
    data = model.data_preprocessor(data or batch())
    (group,) = data['data_samples']
    model.prepare_group(data['inputs'], group)
    return data


def losses_of(model, data):
    return model(**data, mode='loss')


def predict(model, data):
    (group,) = model.eval()(**data, mode='predict')
    return list(group)


def predictions(model, data=None):
    return predict(model, prepared(model.eval(), data))


def assert_same(a, b):
    torch.testing.assert_close(a.pred_prob.data, b.pred_prob.data)
    assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)
    assert torch.equal(a.pred_instances.masks, b.pred_instances.masks)
    torch.testing.assert_close(a.pred_instances.scores, b.pred_instances.scores)


# The initial segmentor.


def test_the_saliency_loss_compares_with_the_initial_maps():
    model = build(initial_segmentor=INITIAL)
    data = batch()
    for sample in data['data_samples'][0]:  # the images' own is not looked at
        sample.saliency = PixelData(data=torch.zeros(1, 8, 8))
    data = prepared(model, data)
    (group,) = data['data_samples']
    assert 'pred_prob' not in group[0] and 'pred_sem_seg' not in group[0]
    found = losses_of(model, data)['loss_saliency']
    images = torch.stack(batch()['inputs'][0]) / 255
    expected = F.avg_pool2d(brightness_of(images), 4)  # at a quarter of the network's size
    torch.testing.assert_close(torch.stack([s.initial_maps.data for s in group]), expected)
    expected = F.interpolate(expected, images.shape[-2:], mode='bilinear', align_corners=False)
    feats = model.extract_feat(images)
    fine = torch.sigmoid(model.decode_head(feats, model.decode_head.coarse_logits(feats)))
    torch.testing.assert_close(found, model.losses['saliency'](fine, expected, [4]))
    # Any mini-batch, in any order.
    order = [2, 1]
    part = dict(inputs=data['inputs'].select(order), data_samples=[group.select(order)])
    found = losses_of(model, part)['loss_saliency']
    torch.testing.assert_close(found, model.losses['saliency'](fine[order], expected[order], [2]))


def test_initial_maps_are_of_the_image_without_its_padding():
    data = batch()
    data['inputs'][0][0] = data['inputs'][0][0][:, :24, :33]
    data['data_samples'][0][0].set_metainfo(dict(img_shape=(24, 33)))
    data = prepared(build(initial_segmentor=INITIAL), data)
    shapes = [tuple(sample.initial_maps.shape) for sample in data['data_samples'][0]]
    assert shapes == [(6, 9), (8, 10), (8, 10), (8, 10)]


def test_images_that_were_not_prepared_are_named():
    model = build(initial_segmentor=INITIAL)
    data = batch()
    for sample in data['data_samples'][0]:  # no substitute
        sample.saliency = PixelData(data=torch.zeros(1, 8, 8))
    message = r'g0/0 has no maps of an initial segmentor: .*call prepare_group before'
    with pytest.raises(MMCosegError, match=message):
        losses_of(model, model.data_preprocessor(data))
    assert 'loss_saliency' in losses_of(model, prepared(model))
    # Of a batch of two groups only one of which was seen.
    data = model.data_preprocessor(make_group_batch((2, 2), (32, 40)))
    first, second = data['inputs'].split([2, 2])
    model.prepare_group(second, data['data_samples'][1])
    with pytest.raises(MMCosegError, match=r'g0/0 has no maps of an initial segmentor'):
        losses_of(model, data)
    model.prepare_group(first, data['data_samples'][0])
    assert 'loss_saliency' in losses_of(model, data)


def test_presence_is_handed_on():
    data = batch()
    expected = [float(brightness_of(image[None] / 255).mean()) for image in data['inputs'][0]]
    found = [s.presence for s in predictions(build(initial_segmentor=INITIAL), data)]
    assert found == pytest.approx(expected)
    model = build(initial_segmentor=INITIAL)
    assert not any('presence' in s for s in predict(model, model.data_preprocessor(batch())))
    assert not any('presence' in s for s in predictions(build()))


def test_the_initial_segmentor_is_not_trained_and_adds_nothing_to_what_is_saved():
    model = build(**EVERYTHING)
    state = copy.deepcopy(model.state_dict())
    data = prepared(model)
    model.parse_losses(losses_of(model, data))[0].backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained and all(name.startswith('decode_head.') for name in trained)
    assert list(model.state_dict()) == list(state)


# Features that are kept.


def test_kept_features_change_results_by_their_rounding_only():
    options = dict(
        backbone=EVERYTHING['backbone'], initial_segmentor=EVERYTHING['initial_segmentor']
    )
    plain, kept = build(**options), build(feature_cache=100, **options)
    seen = [prepared(model) for model in (plain, kept)]
    for _ in range(2):  # computed, and kept
        results = []
        for model, data in zip((plain, kept), seen):
            losses = losses_of(model, data)
            results.append((losses, predict(model, data)))
        (losses, there), (others, here) = results
        assert list(losses) == list(others)
        for name, value in losses.items():
            torch.testing.assert_close(others[name], value, rtol=5e-3, atol=1e-3)
        for a, b in zip(there, here, strict=True):
            torch.testing.assert_close(b.pred_prob.data, a.pred_prob.data, rtol=0, atol=5e-3)


def test_features_are_computed_once_an_image():
    model = build(backbone=EVERYTHING['backbone'], feature_cache=100, ranking=None)
    model.losses.pop('saliency')
    data = prepared(model)
    for _ in range(3):
        losses_of(model, data)
    predict(model, data)
    assert model.backbone.calls == 4 and len(model.feature_cache) == 4
    # Those of other groups are not needed any more.
    data = prepared(model)
    assert len(model.feature_cache) == 0 and model.feature_cache.capacity == 100
    losses_of(model, data)
    assert model.backbone.calls == 8


def test_features_that_do_not_fit_are_computed_again():
    small = build(**{**EVERYTHING, 'feature_cache': 1})
    for a, b in zip(predictions(small), predictions(build(**EVERYTHING)), strict=True):
        assert_same(a, b)
    assert len(small.feature_cache) == 1


def test_features_of_a_trained_backbone_are_not_kept():
    with pytest.raises(ValueError, match=r'frozen backbone: set model\.feature_cache=0'):
        build(feature_cache=10)
    with pytest.raises(ValueError, match='frozen backbone'):
        build(feature_cache=10, backbone=dict(type='DeepCO3TestStages', frozen_stages=2))


# Parts of the mask as instances.


def test_instances_are_proposals_and_parts_of_the_drawn_mask():
    redraw = [dict(type='DeepCO3TestRedraw')]
    plain = predictions(build(postprocessors=redraw))
    both = predictions(build(postprocessors=redraw, regions=dict(type='SalientRegions')))
    mask = redrawn((50, 60))
    regions = SalientRegions()
    for one, other in zip(plain, both, strict=True):
        instances = other.pred_instances
        saliency = F.interpolate(
            one.pred_prob.data[None], (50, 60), mode='bilinear', antialias=True
        )[0, 0]
        # After the post-processors: parts are of what they have drawn.
        masks, scores = regions(one.pred_instances.masks, mask, saliency.clamp(0, 1))
        assert len(masks) == len(one.pred_instances) + 2 >= 3
        order = scores.argsort(descending=True, stable=True)
        assert torch.equal(instances.masks, masks[order])
        torch.testing.assert_close(instances.scores, scores[order])
        assert (instances.scores.diff() <= 0).all() and instances.scores.dtype == torch.float32
        assert instances.labels.tolist() == [0] * len(masks)
        assert instances.labels.dtype == torch.int64


def test_parts_stand_alone_where_no_proposal_was_found():
    model = build(
        postprocessors=[dict(type='DeepCO3TestRedraw')], regions=dict(type='SalientRegions')
    )
    for sample in predictions(model, batch(proposals=0)):
        assert len(sample.pred_instances) == 2
        assert torch.equal(sample.pred_instances.masks.any(dim=0), redrawn((50, 60)))


def test_doubles_go_by_the_common_scores():
    options = dict(
        postprocessors=[dict(type='DeepCO3TestRedraw')], regions=dict(type='SalientRegions')
    )
    model = build(nms=dict(type='MaskNMS', iou=0.4), **options)
    data = batch(proposals=1)
    part = redrawn((50, 60))
    part[25:] = part[5] = False  # the first part but for a row: a proposal that it beats
    for sample in data['data_samples'][0]:
        sample.proposals = Proposals.from_masks(part[None].numpy())
    for sample in predictions(model, data):
        assert len(sample.pred_instances) == 2
        assert not any(torch.equal(one, part) for one in sample.pred_instances.masks)


# Where peaks go back to.


@pytest.mark.parametrize('stage', ['first', 'fine'])
def test_heat_maps_at_a_stage(stage):
    model = build(test_cfg=dict(heat_stage=stage)).eval()
    whole = build().eval()
    image = batch()['inputs'][0][0] / 255
    with torch.no_grad():
        coarse = model.decode_head.coarse_logits(model.extract_feat(image[None]))[0, 0]
        heat, expected = model.heat_maps(image, coarse), whole.heat_maps(image, coarse)
    assert len(heat) >= 2 and heat.shape == expected.shape == (len(heat), 32, 40)
    assert (heat >= 0).all()
    torch.testing.assert_close(heat.sum(dim=(1, 2)), torch.ones(len(heat)))
    if stage == 'first':
        torch.testing.assert_close(heat, expected)
    else:
        assert not torch.allclose(heat, expected)
        # The first convolution's windows reach one pixel further, and no more.
        reach = F.max_pool2d((heat > 0).float(), 3, stride=1, padding=1)
        assert (reach[expected > 0] == 1).all()
        assert (reach.mean(dim=(1, 2)) < 0.2).all()


def test_what_arrives_at_a_coarser_stage_is_laid_over_the_image():
    options = dict(
        backbone=dict(type='DeepCO3TestStages', out_stages=['coarse']),
        decode_head=dict(type='CoSaliencyHead', in_channels=[8], strides=[4]),
    )
    model = build(test_cfg=dict(heat_stage='coarse'), **options).eval()
    whole = build(**options).eval()
    image = batch()['inputs'][0][0] / 255
    with torch.no_grad():
        assert model.backbone.input_of(image[None], 'coarse').shape[-2:] == (16, 20)
        coarse = model.decode_head.coarse_logits(model.extract_feat(image[None]))[0, 0]
        heat, expected = model.heat_maps(image, coarse), whole.heat_maps(image, coarse)
    assert heat.shape == expected.shape and heat.shape[1:] == (32, 40)
    torch.testing.assert_close(heat.sum(dim=(1, 2)), torch.ones(len(heat)))
    rows, columns = torch.arange(32.0)[:, None] + 0.5, torch.arange(40.0) + 0.5
    for axis in (rows, columns):
        # Pixels of the same places, within the windows of two convolutions.
        apart = ((heat - expected) * axis).sum(dim=(1, 2)).abs()
        assert (apart < 2).all()


def test_stages_must_be_the_backbones():
    with pytest.raises(
        ValueError, match=r"heat_stage must be .* one of \['first', 'fine'\].*coars"
    ):
        build(test_cfg=dict(heat_stage='coarse'))


# Invariances.


def reordered(data, order):
    (images,), (group,) = data['inputs'], data['data_samples']
    return dict(inputs=[[images[i] for i in order]], data_samples=[group.select(order)])


def test_the_order_of_images_does_not_matter():
    expected = {s.identity: s for s in predictions(build(**EVERYTHING))}
    found = predictions(build(**EVERYTHING), reordered(batch(), [2, 0, 3, 1]))
    assert [s.stem for s in found] == ['2', '0', '3', '1']
    for sample in found:
        assert_same(sample, expected[sample.identity])
        assert sample.presence == pytest.approx(expected[sample.identity].presence)


@pytest.mark.parametrize('chunks', [dict(chunk_size=1), dict(chunk_size=3)])
def test_chunks_do_not_matter(chunks):
    expected = predictions(build(**EVERYTHING))
    options = {**EVERYTHING, 'test_cfg': {**EVERYTHING['test_cfg'], **chunks}}
    for a, b in zip(predictions(build(**options)), expected, strict=True):
        assert_same(a, b)


def test_a_group_of_one_image():
    whole = predictions(build(**EVERYTHING))
    model = build(**EVERYTHING)
    (alone,) = predictions(model, reordered(batch(), [1]))
    assert_same(alone, whole[1])  # before anything was optimized, images are by themselves
    losses = losses_of(model, prepared(model, reordered(batch(), [1])))
    assert losses['loss_co_peak'] == 0
    model.parse_losses(losses)[0].backward()


def test_identical_images():
    data = reordered(batch(), [0] * 4)
    copies = [copy.deepcopy(sample) for sample in data['data_samples'][0]]
    for number, sample in enumerate(copies):
        sample.set_metainfo(dict(stem=f'copy{number}'))
    data['data_samples'][0].samples = copies
    model = build(**EVERYTHING)
    first, *others = predictions(model, data)
    for sample in others:
        assert_same(sample, first)
    assert len(model.feature_cache) == 1
    total, _ = model.parse_losses(losses_of(model, prepared(model, data)))
    assert total.isfinite()
    total.backward()
    assert all(
        p.grad.isfinite().all() for p in model.decode_head.parameters() if p.grad is not None
    )


@TASK_UTILS.register_module(name='DeepCO3TestRescore')
class Rescore:
    """Gives all instances one score."""

    by_image = True

    def __call__(self, group):
        for sample in group:
            sample.pred_instances.scores = torch.full_like(sample.pred_instances.scores, 0.25)


def test_post_processors_see_the_instances_and_may_change_them():
    redraw, rescore = dict(type='DeepCO3TestRedraw'), dict(type='DeepCO3TestRescore')
    regions = dict(type='SalientRegions')
    for before in ([], [redraw]):
        plain = predictions(build(postprocessors=before, regions=regions))
        found = predictions(build(postprocessors=[*before, rescore], regions=regions))
        for one, other in zip(plain, found, strict=True):
            assert torch.equal(one.pred_instances.masks, other.pred_instances.masks)
            assert (other.pred_instances.scores == 0.25).all() and len(other.pred_instances)
            assert 'chosen_proposals' not in other
