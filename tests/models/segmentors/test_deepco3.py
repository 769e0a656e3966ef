import pytest
import torch
from demo_inputs import make_group_batch
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from torch import nn

from mmcoseg.errors import MMCosegError
from mmcoseg.models import DeepCO3
from mmcoseg.models.ops import find_peaks, peak_response_maps
from mmcoseg.models.postprocessors import EdgeRefiner
from mmcoseg.registry import MODELS, TASK_UTILS
from mmcoseg.structures import Proposals

LOSSES = dict(
    co_peak=dict(type='CoPeakLoss'),
    affinity=dict(type='AffinityLoss'),
    saliency=dict(type='CoSaliencyLoss'),
)


@MODELS.register_module(name='DeepCO3TestBackbone')
class TinyBackbone(BaseModule):
    """Two levels, of strides 2 and 4."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.coarse = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True))

    def forward(self, x):
        fine = self.fine(x)
        return fine, self.coarse(fine)


@TASK_UTILS.register_module(name='DeepCO3TestRanking')
class MeanHeat:
    """The proposal with the largest mean of heat times saliency."""

    def __call__(self, heat_maps, saliency, proposals):
        assert heat_maps.shape[1:] == saliency.shape == proposals.shape[1:]
        torch.testing.assert_close(heat_maps.sum(dim=(1, 2)), torch.ones(len(heat_maps)))
        masks = torch.from_numpy(proposals.masks()).flatten(1).float()
        scores = (heat_maps * saliency).flatten(1) @ (masks / masks.sum(dim=1, keepdim=True)).t()
        best = scores.max(dim=1)
        return best.indices, best.values


@TASK_UTILS.register_module(name='DeepCO3TestNMS')
class KeepOne:
    def __call__(self, masks, scores):
        assert masks.dtype == torch.bool and len(masks) == len(scores)
        assert (scores.diff() <= 0).all()
        return scores.argmax()[None]


def build(**kwargs):
    torch.manual_seed(0)
    settings = dict(
        backbone=dict(type='DeepCO3TestBackbone'),
        decode_head=dict(type='CoSaliencyHead', in_channels=[6, 8], strides=[2, 4], lateral=True),
        losses=LOSSES,
        ranking=dict(type='DeepCO3TestRanking'),
    )
    model = DeepCO3(**{**settings, **kwargs})
    nn.init.normal_(model.decode_head.conv.weight)
    return model


def batch(group_sizes=(3, 2), size=(32, 40), ori_shape=(50, 60), proposals=12):
    data = make_group_batch(group_sizes, size, ori_shape=ori_shape)
    rng = torch.Generator().manual_seed(1)
    for group in data['data_samples']:
        for sample in group:
            sample.saliency = PixelData(data=sample.gt_sem_seg.data.float()[..., ::2, ::2])
            masks = torch.rand(proposals, *ori_shape, generator=rng) < 0.2
            sample.proposals = Proposals.from_masks(masks.numpy())
    return data


def losses_of(model, data):
    data = model.data_preprocessor(data, training=True)
    return model(**data, mode='loss')


def predictions(model, data=None):
    return [sample for group in model.eval().test_step(data or batch()) for sample in group]


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.pred_prob.data, b.pred_prob.data)
        assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)
        assert torch.equal(a.pred_instances.masks, b.pred_instances.masks)
        torch.testing.assert_close(a.pred_instances.scores, b.pred_instances.scores)


def test_the_objective_is_that_of_its_parts():
    model, data = build(), batch()
    losses = losses_of(model, data)
    assert list(losses) == ['loss_co_peak', 'loss_affinity', 'loss_saliency']
    inputs = model.data_preprocessor(batch())['inputs'].batch()
    feats = model.extract_feat(inputs)
    coarse = model.decode_head.coarse_logits(feats)
    maps = torch.sigmoid(coarse)
    for name in ('co_peak', 'affinity'):
        expected = model.losses[name](feats[-1], maps, [3, 2])
        torch.testing.assert_close(losses[f'loss_{name}'], expected)
    fine = torch.sigmoid(model.decode_head(feats, coarse))
    assert fine.shape == (5, 1, 32, 40)
    saliency = torch.stack([s.saliency.data for g in batch()['data_samples'] for s in g])
    expected = model.losses['saliency'](fine, saliency, [3, 2])
    torch.testing.assert_close(losses['loss_saliency'], expected)

    model.parse_losses(losses)[0].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.backbone.fine[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize('removed', list(LOSSES))
def test_each_loss_can_be_removed(removed):
    whole = losses_of(build(), batch())
    part = losses_of(build(losses={**LOSSES, removed: None}), batch())
    weightless = dict(LOSSES[removed], loss_weight=0.0)
    assert list(losses_of(build(losses={**LOSSES, removed: weightless}), batch())) == list(part)
    assert set(whole) - set(part) == {f'loss_{removed}'}
    for name in part:
        torch.testing.assert_close(part[name], whole[name])


def test_optimizing_a_group_lowers_the_objective():
    model, data = build(), batch((4,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    values = []
    for _ in range(15):
        total = model.parse_losses(losses_of(model, data))[0]
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < 0.8 * values[0]


def test_training_in_half_precision():
    model = build()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        total, _ = model.parse_losses(losses_of(model, batch()))
    total.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_a_mini_batch_of_one_image():
    model = build()
    losses = losses_of(model, batch((1,)))
    assert losses['loss_co_peak'] == 0
    model.parse_losses(losses)[0].backward()


def test_results():
    for sample in predictions(build()):
        assert sample.pred_prob.data.shape == (1, 8, 10)
        assert sample.pred_sem_seg.data.shape == (1, 50, 60)
        instances = sample.pred_instances
        assert len(instances) >= 1
        assert instances.masks.shape[1:] == (50, 60) and instances.masks.dtype == torch.bool
        assert instances.labels.tolist() == [int(sample.group[1])] * len(instances)
        assert (instances.scores.diff() <= 0).all()
        assert len({tuple(m.flatten().tolist()) for m in instances.masks}) == len(instances)
        assert 'chosen_proposals' not in sample


def test_instances_are_those_of_the_peaks():
    model, data = build(), batch((1,))
    sample = predictions(model, data)[0]
    (image,) = model.data_preprocessor(batch((1,)))['inputs'].batch()
    with torch.no_grad():
        feats = model.extract_feat(image[None])
        coarse = model.decode_head.coarse_logits(feats)
        prob = torch.sigmoid(model.decode_head(feats, coarse))[0]
    peaks = find_peaks(torch.sigmoid(coarse[0, 0]))
    heat = peak_response_maps(lambda x: model.decode_head.conv(model.backbone(x)[-1]), image, peaks)
    torch.testing.assert_close(model.heat_maps(image, coarse[0, 0]), heat)
    resize = dict(size=(50, 60), mode='bilinear', antialias=True)
    heat = nn.functional.interpolate(heat[None], **resize)[0].clamp(min=0)
    heat = heat / heat.sum(dim=(1, 2), keepdim=True)
    prob = nn.functional.interpolate(prob[None], **resize)[0, 0]
    proposals = batch((1,))['data_samples'][0][0].proposals
    indices, scores = MeanHeat()(heat, prob, proposals)
    best = {}
    for index, score in zip(indices.tolist(), scores.tolist()):
        best[index] = max(score, best.get(index, 0))
    order = sorted(best, key=best.get, reverse=True)
    assert torch.equal(sample.pred_instances.masks, torch.from_numpy(proposals[order].masks()))
    torch.testing.assert_close(sample.pred_instances.scores, torch.tensor([best[i] for i in order]))


def test_results_do_not_depend_on_chunks_or_on_other_groups():
    expected = predictions(build())
    for chunks in (dict(chunk_size=1), dict(chunk_size=100)):
        assert_same(predictions(build(test_cfg=chunks)), expected)
    alone = batch()
    alone = dict(inputs=alone['inputs'][1:], data_samples=alone['data_samples'][1:])
    assert_same(predictions(build(), alone), expected[3:])


@pytest.mark.parametrize('postprocessors', [(), (dict(type='DeepCO3TestDrawing'),)])
def test_masks_and_instances_are_made_later_and_in_parts(postprocessors):
    expected = predictions(build(postprocessors=postprocessors))
    model = build(postprocessors=postprocessors).eval()
    assert model.by_image
    data = model.data_preprocessor(batch())
    for images, group in zip(data['inputs'].split([3, 2]), data['data_samples']):
        model.segment(images, group)
        for sample in group:
            assert 'pred_prob' in sample
            assert 'pred_instances' not in sample and 'pred_sem_seg' not in sample
        for index in range(len(group)):
            model.finish(group.select([index]))
    found = [sample for group in data['data_samples'] for sample in group]
    assert_same(found, expected)
    for sample, other in zip(found, expected):
        assert torch.equal(sample.pred_instances.labels, other.pred_instances.labels)
        assert 'chosen_proposals' not in sample


@TASK_UTILS.register_module(name='DeepCO3TestDrawing')
class Inverted(EdgeRefiner):
    """Draws the masks anew."""

    def __call__(self, group):
        for sample in group:
            assert 'pred_instances' not in sample
            sample.pred_sem_seg.data = 1 - sample.pred_sem_seg.data

    def refine(self, images, probs):
        raise NotImplementedError


@TASK_UTILS.register_module(name='DeepCO3TestRescoring')
class Halved:
    """Changes the scores of instances."""

    def __call__(self, group):
        for sample in group:
            sample.pred_instances.scores = sample.pred_instances.scores / 2


def test_postprocessors_see_the_instances_once_masks_are_drawn():
    expected = predictions(build())
    steps = [dict(type='DeepCO3TestDrawing'), dict(type='DeepCO3TestRescoring')]
    for sample, before in zip(predictions(build(postprocessors=steps)), expected, strict=True):
        assert torch.equal(sample.pred_sem_seg.data, 1 - before.pred_sem_seg.data)
        torch.testing.assert_close(sample.pred_instances.scores, before.pred_instances.scores / 2)


def test_specks_of_instances_are_cleaned():
    steps = [dict(type='CleanMask', largest=True)]
    before = predictions(build())
    after = predictions(build(postprocessors=steps))
    for sample, old in zip(after, before, strict=True):
        assert len(sample.pred_instances) == len(old.pred_instances) > 0
        for mask, whole in zip(sample.pred_instances.masks, old.pred_instances.masks):
            assert not (mask & ~whole).any() and mask.sum() < whole.sum()


def test_peaks_and_doubles_can_be_limited():
    for sample in predictions(build(test_cfg=dict(max_peaks=1))):
        assert len(sample.pred_instances) == 1
    for sample in predictions(build(nms=dict(type='DeepCO3TestNMS'))):
        assert len(sample.pred_instances) == 1
    for sample in predictions(build(test_cfg=dict(min_peak=1.1))):
        assert sample.pred_instances.masks.shape == (0, 50, 60)


def test_images_without_proposals_found_none():
    for sample in predictions(build(), batch(proposals=0)):
        assert sample.pred_instances.masks.shape == (0, 50, 60)


def test_without_ranking_there_are_no_instances():
    data = batch()
    for group in data['data_samples']:
        for sample in group:
            del sample.proposals
    assert all('pred_instances' not in s for s in predictions(build(ranking=None), data))
    with pytest.raises(ValueError, match=r'g0/0 has no object proposals: put ComputeProposals'):
        predictions(build(), data)


def test_padding_is_cut_off():
    data = batch((2,))
    data['inputs'][0][0] = data['inputs'][0][0][:, :24, :33]
    data['data_samples'][0][0].set_metainfo(dict(img_shape=(24, 33)))
    for sample, shape in zip(predictions(build(), data), ((6, 9), (8, 10))):
        assert sample.pred_prob.data.shape == (1, *shape)
        assert sample.pred_instances.masks.shape[1:] == (50, 60)
    with pytest.raises(ValueError, match=r'g0/0 is \(24, 33\), others of the batch \(32, 40\)'):
        losses_of(build(), data)


def test_tensor_mode():
    model = build()
    images = model.data_preprocessor(batch())['inputs']
    logits = model(images)
    assert logits.shape == (5, 1, 32, 40)
    assert torch.equal(model(images.batch()), logits)


def test_errors():
    with pytest.raises(MMCosegError, match=r"losses has no loss .* got \{'co_peak': None, 'aff"):
        build(losses=dict.fromkeys(LOSSES))
    with pytest.raises(MMCosegError, match=r"model.test_cfg has no 'peaks' \(did you .*max_peaks"):
        build(test_cfg=dict(peaks=3))
    for key in ('chunk_size', 'max_peaks'):
        with pytest.raises(MMCosegError, match=f'{key} must be a whole number, at least 1, got 0'):
            build(test_cfg={key: 0})
    data = batch()
    del data['data_samples'][1][1].saliency
    with pytest.raises(ValueError, match=r'g1/1 has no saliency: put ComputeSaliency'):
        losses_of(build(), data)
    assert 'loss_affinity' in losses_of(build(losses={**LOSSES, 'saliency': None}), data)
