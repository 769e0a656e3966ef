"""A person's hints start, split and join instances."""

import numpy as np
import torch
from demo_inputs import make_group_batch
from mmengine.structures import PixelData

from mmcoseg.models.postprocessors import InstancesFromMask
from mmcoseg.models.postprocessors.instances_from_mask import parts_around
from mmcoseg.models.segmentors import BaseCoSegmentor
from mmcoseg.structures import Click, CoSegDataSample, GroupDataSample, Stroke

SIZE = (60, 100)


class Given(BaseCoSegmentor):
    """Has its answer already."""

    def loss(self, images, data_samples):
        return {}

    def _forward(self, images, data_samples):
        return images.batch()

    def soft_maps(self, images, group):
        return []


def finished(squares, hints=(), missed=()):
    """Instances of an image whose mask is squares (top, left, bottom, right).

    Those that were missed are on the image alone.
    """
    prob = torch.full((1, *SIZE), 0.1)
    for top, left, bottom, right in squares:
        prob[0, top:bottom, left:right] = 0.9
    image = np.random.default_rng(0).integers(0, 60, (*SIZE, 3), dtype=np.uint8)
    image[prob[0].numpy() > 0.5] += 150
    for top, left, bottom, right in missed:
        image[top:bottom, left:right] = 255
    sample = CoSegDataSample(metainfo=dict(group='g', stem='x', ori_shape=SIZE, ori_img=image))
    sample.pred_prob = PixelData(data=prob)
    if hints:
        sample.hints = tuple(hints)
    segmentor = Given(postprocessors=[dict(type='InstancesFromMask')])
    segmentor.finish(GroupDataSample([sample], metainfo=dict(group='g')))
    return sample.pred_instances, sample.pred_sem_seg.data[0]


def test_hints_split_a_part():
    squares = [(10, 10, 30, 30), (15, 28, 25, 40), (10, 38, 30, 60)]
    found, _ = finished(squares)
    assert len(found) == 1
    found, mask = finished(squares, [Click(18, 20), Click(50, 20)])
    assert len(found) == 2
    assert torch.equal(found.masks.any(dim=0), mask != 0)
    assert not (found.masks[0] & found.masks[1]).any()
    left, right = found.masks
    assert left[20, 18] and right[20, 50]
    # They are cut half way, at the neck.
    assert not left[:, 40:].any() and not right[:, :30].any()


def test_one_hint_splits_nothing():
    found, mask = finished([(10, 10, 30, 60)], [Click(18, 20)])
    assert len(found) == 1 and torch.equal(found.masks[0], mask != 0)


def test_a_stroke_joins_parts():
    squares = [(10, 10, 30, 30), (10, 40, 30, 60)]
    assert len(finished(squares)[0]) == 2
    found, _ = finished(squares, [Stroke([(20, 20), (50, 20)])])
    [joined] = found.masks
    assert joined[20, 20:50].all()
    for top, left, bottom, right in squares:
        assert joined[top:bottom, left:right].float().mean() > 0.95


def test_a_click_outside_starts_an_instance():
    squares = [(5, 5, 50, 60)]
    found, mask = finished(squares, [Click(85, 30)], missed=[(26, 81, 34, 89)])
    assert len(found) == 2
    # It is smaller than parts without hints may be.
    small = found.masks[0]
    assert small[30, 85] and 20 < small.sum() < 0.1 * mask.sum()


def test_what_is_no_object_splits_nothing():
    found, _ = finished([(10, 10, 30, 60)], [Click(80, 50, label=0)])
    assert len(found) == 1


def test_without_hints_nothing_changes():
    sample = make_group_batch((1,), (32, 32))['data_samples'][0][0]
    sample.pred_sem_seg = PixelData(data=sample.gt_sem_seg.data.to(torch.uint8))
    sample.pred_prob = PixelData(data=sample.gt_sem_seg.data.float())
    InstancesFromMask()(GroupDataSample([sample], metainfo=dict(label_ids=(1,))))
    assert torch.equal(sample.pred_instances.masks, sample.gt_instances.masks)
    torch.testing.assert_close(sample.pred_instances.scores, torch.ones(1))


def test_parts_are_shared_out():
    mask = np.zeros((9, 20), bool)
    mask[1:8, 1:9] = mask[1:8, 11:19] = mask[4, 9:11] = True
    seeds = np.zeros(mask.shape, int)
    seeds[4, 3], seeds[4, 16] = 1, 2
    parts = parts_around(seeds, mask)
    assert ((parts > 0) == mask).all()
    assert (parts[:, :9][mask[:, :9]] == 1).all() and (parts[:, 11:][mask[:, 11:]] == 2).all()
