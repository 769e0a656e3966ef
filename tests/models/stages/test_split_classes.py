"""The stage that makes several classes of one foreground."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from torch.nn import functional as F

from mmcoseg.models.ops import class_discriminants, cluster_classes, count_classes
from mmcoseg.models.stages import GroupContext, SplitClasses
from mmcoseg.models.stages.split_classes import with_foreground
from mmcoseg.registry import MODELS
from mmcoseg.structures import CoSegDataSample, GroupDataSample, GroupImages


def descriptors_of(n=4, d=6, size=9, seed=0):
    rng = torch.Generator().manual_seed(seed)
    descriptors = 0.1 * torch.randn(n, d, size, size, generator=rng)
    descriptors[:, 0, 1:4, 1:4] += 1
    descriptors[:, 1, 5:8, 4:8] += 1
    descriptors[:, 2] += (descriptors[:, :2].amax(dim=1) < 0.5).float()
    return descriptors


def split(stage, prob, descriptors, group=None):
    """The maps of K + 1 classes that the stage makes of one object's."""
    images = GroupImages.of(torch.zeros(len(prob), 3, 8, 8))
    described = {stage.descriptors: descriptors}
    group = GroupDataSample([]) if group is None else group
    return stage(GroupContext(images, group, described, prob=prob))


@pytest.mark.slow
def test_rounds_of_discriminants_average_with_the_clusters():
    descriptors = descriptors_of()
    prob = torch.rand(4, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    descriptors = descriptors.half()
    clusters = cluster_classes(descriptors, prob[:, 0], 2)
    expected = clusters
    for _ in range(2):
        expected = 0.3 * clusters + 0.7 * class_discriminants(descriptors, expected, 0.1)
    found = split(SplitClasses(2, union=False), prob, descriptors)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(4, 9, 9))
    stage = SplitClasses(2, rounds=0, union=False)
    untouched = split(stage, prob, descriptors)
    torch.testing.assert_close(untouched, clusters)
    union = split(SplitClasses(2), prob, descriptors)
    torch.testing.assert_close(union, with_foreground(expected, prob))


def test_foreground_of_both():
    rng = torch.Generator().manual_seed(0)
    shares = torch.rand(2, 3, 4, 4, generator=rng).softmax(dim=1)
    shares[0, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
    foreground = torch.rand(2, 1, 4, 4, generator=rng)
    found = with_foreground(shares, foreground)
    for n, y, x in np.ndindex(2, 4, 4):
        b, *classes = shares[n, :, y, x].tolist()
        f = foreground[n, 0, y, x].item()
        is_object = 1 - (1 - f) * b  # not both say no
        each = [is_object * c / sum(classes) if sum(classes) else is_object / 2 for c in classes]
        assert found[n, :, y, x].tolist() == pytest.approx([1 - is_object, *each], abs=1e-6)
    torch.testing.assert_close(with_foreground(shares, 0 * foreground), shares)


def test_levels_are_normalized_each_by_itself():
    feats = (torch.rand(2, 3, 5, 5), 100 * torch.rand(2, 4, 5, 5))
    descriptors = SplitClasses(levels=[0, 1]).descriptors(feats)
    expected = torch.cat([F.normalize(feats[0], dim=1), F.normalize(feats[1], dim=1)], dim=1)
    torch.testing.assert_close(descriptors, expected)


def test_as_many_classes_as_the_data_set_says():
    prob = torch.rand(4, 1, 9, 9, generator=torch.Generator().manual_seed(1))

    def maps(stage, **metainfo):
        group = GroupDataSample([], metainfo=dict(group='g', **metainfo))
        return split(stage, prob, descriptors_of(), group)

    stage = SplitClasses('data', num_clusters=4)
    for number in (2, 3):
        found = maps(stage, num_classes=number)
        assert torch.equal(found, maps(SplitClasses(number, num_clusters=4)))
    with pytest.raises(ValueError, match="how many classes the group 'g' has"):
        maps(stage)
    message = "'g' has 4 classes, too many for num_clusters=4 .* set it to 5 or more"
    with pytest.raises(ValueError, match=message):
        maps(stage, num_classes=4)


def test_one_class_is_the_foreground():
    prob = torch.rand(4, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    found = split(SplitClasses(1), prob, descriptors_of())
    assert torch.equal(found, torch.cat([1 - prob, prob], dim=1))
    # What clusters everything does not look at it.
    clustered = split(SplitClasses(1, method='all'), prob, descriptors_of())
    assert len(clustered[0]) == 2
    assert not torch.equal(clustered[:, 1:], prob)


def test_an_estimate_is_told_to_the_group():
    descriptors = 0.01 * torch.randn(6, 6, 9, 9, generator=torch.Generator().manual_seed(0))
    prob = torch.zeros(6, 1, 9, 9)
    prob[..., 2:6, 2:6] = 1
    for image in range(6):  # each shows one of two objects
        descriptors[image, image % 2, 2:6, 2:6] += 1
    group = GroupDataSample([], metainfo=dict(group='g'))
    found = split(SplitClasses('auto'), prob, descriptors, group)
    assert group.class_count == count_classes(descriptors, prob[:, 0])
    assert group.class_count.num_classes == 2 == len(found[0]) - 1
    assert torch.equal(found, split(SplitClasses(2), prob, descriptors, group))
    limited = GroupDataSample([], metainfo=dict(group='g'))
    found = split(SplitClasses('auto', max_classes=1), prob, descriptors, limited)
    assert limited.class_count.shares == (1,) and len(found[0]) == 2


def test_maps_of_another_resolution():
    found = split(SplitClasses(3), torch.rand(4, 1, 36, 36), descriptors_of())
    assert found.shape == (4, 4, 9, 9)


def test_the_models_numbers_replace_its_own():
    stage = SplitClasses(2, num_clusters=4)
    stage.choose_classes(None, 3)
    assert (stage.num_classes, stage.max_classes) == (2, 3)
    stage.choose_classes('auto', None)
    assert (stage.num_classes, stage.max_classes) == ('auto', 3)
    with pytest.raises(ValueError, match='num_clusters=4 of SplitClasses must be more .*auto'):
        stage.choose_classes(None, 4)


@pytest.mark.parametrize(
    'options',
    [
        dict(num_classes=0),
        dict(num_classes='many'),
        dict(num_classes=8),
        dict(max_classes=0),
        dict(rounds=-1),
        dict(method='magic'),
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SplitClasses(**options)


@MODELS.register_module(name='SplitClassesTestBackbone')
class Colors(torch.nn.Module):
    def forward(self, x):
        return (F.avg_pool2d(x, 4),)


def test_a_segmentor_gives_one_map_a_class():
    """Red and green squares on changing ground; found, told apart, and with the whole group's K."""
    rng = torch.Generator().manual_seed(0)
    images = 0.15 * torch.randn(5, 3, 64, 64, generator=rng)
    images[:, 2] += 1  # blue ground
    truth = torch.zeros(5, 64, 64, dtype=torch.long)
    truth[:, 12:28, 12:28], truth[:, 36:56, 32:52] = 1, 2
    for label in (1, 2):
        inside = (truth == label)[:, None].expand(-1, 3, -1, -1)
        color = torch.zeros(3)
        color[label - 1] = 1.5
        images[inside] = (images + color.view(3, 1, 1))[inside]
        images[:, 2][truth == label] -= 1
    model = MODELS.build(
        dict(
            type='TrainingFreeCoSegmentor',
            data_preprocessor=dict(type='GroupDataPreprocessor', mean=None, std=None),
            backbone=dict(type='SplitClassesTestBackbone'),
            stages=dict(
                saliency=dict(type='SaliencyCue'),
                classes=dict(type='SplitClasses', num_classes=7),
                presence=dict(type='PrototypePresence'),
            ),
            num_classes=2,
        )
    )
    samples = []
    for i in range(5):
        meta = dict(group='g', stem=str(i), img_shape=(64, 64), ori_shape=(64, 64))
        sample = CoSegDataSample(metainfo=meta)
        saliency = (truth[i] > 0).float()[None] * 0.8
        sample.saliency = PixelData(data=saliency)
        samples.append(sample)
    group = GroupDataSample(samples, metainfo=dict(group='g'))
    images = GroupImages.of(images)
    model.segment(images, group)
    assert all(len(sample.pred_prob.data) == 3 for sample in group)
    assert 'pred_sem_seg' not in group[0]
    (found,) = model.predict(images, [group])
    masks = torch.stack([sample.pred_sem_seg.data[0].long() for sample in found])
    swapped = torch.tensor([0, 2, 1])[masks]
    agreement = max((masks == truth).float().mean(), (swapped == truth).float().mean())
    assert agreement > 0.9
    assert all(0 <= sample.presence <= 1 for sample in found)
