"""Instances of methods that find a mask of the image as a whole."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmcoseg.models.postprocessors import InstancesFromMask, SalientRegions
from mmcoseg.registry import TASK_UTILS
from mmcoseg.structures import CoSegDataSample, GroupDataSample, Proposals


def sample_of(mask, prob, proposals=None, stem='x'):
    sample = CoSegDataSample(metainfo=dict(group='g', stem=stem, ori_shape=tuple(mask.shape)))
    sample.pred_sem_seg = PixelData(data=mask[None].to(torch.uint8))
    sample.pred_prob = PixelData(data=prob[None].float())
    if proposals is not None:
        sample.proposals = Proposals.from_masks(proposals.numpy())
    return sample


def instances(*samples, labels=(3,), **options):
    InstancesFromMask(**options)(GroupDataSample(list(samples), metainfo=dict(label_ids=labels)))
    return [sample.pred_instances for sample in samples]


def two_parts():
    """Of 4 and 2 pixels of 6."""
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[:2, :2] = mask[0, 4:] = True
    prob = torch.full((3, 6), 0.1)
    prob[:2, :2], prob[0, 4:] = 0.6, 0.9
    return mask, prob


def test_by_hand():
    mask, prob = two_parts()
    (found,) = instances(sample_of(mask, prob))
    assert found.masks.dtype == torch.bool and found.masks.shape == (2, 3, 6)
    assert torch.equal(found.masks[0], mask & (prob < 0.8))
    assert torch.equal(found.masks[1], mask & (prob > 0.8))
    torch.testing.assert_close(found.scores, torch.tensor([0.6 * 4 / 6, 0.9 * 2 / 6]))
    assert found.labels.tolist() == [3, 3] and found.labels.dtype == torch.int64
    (unlabeled,) = instances(sample_of(mask, prob), labels=())
    assert unlabeled.labels.tolist() == [0, 0]
    assert len(instances(sample_of(mask, prob), min_share=0.4)[0]) == 1


def test_definition_on_random_masks():
    rng = np.random.default_rng(0)
    for _ in range(20):
        shape = tuple(rng.integers(2, 14, 2))
        mask = torch.from_numpy(rng.random(shape) < 0.5)
        prob = torch.from_numpy(rng.random(shape))
        (found,) = instances(sample_of(mask, prob), min_share=0.05)
        assert torch.equal(found.masks, SalientRegions(0.05).regions_of(mask))
        scores = [float(prob[one].mean() * one.sum() / mask.sum()) for one in found.masks]
        torch.testing.assert_close(found.scores, torch.tensor(scores, dtype=torch.float32))


@pytest.mark.parametrize('shape', ['mask', 'box'])
def test_an_empty_mask_has_no_instances(shape):
    mask, prob = two_parts()
    # Proposals are not even asked for.
    (found,) = instances(sample_of(mask & False, prob), shape=shape)
    assert found.masks.shape == (0, 3, 6)
    assert found.scores.shape == found.labels.shape == (0,)


def random_proposals(count=30, size=(20, 25)):
    rng = np.random.default_rng(1)
    masks = np.zeros((count, *size), bool)
    for one in masks:
        top, left = rng.integers(0, size[0] - 4), rng.integers(0, size[1] - 4)
        one[top : top + rng.integers(2, 12), left : left + rng.integers(2, 12)] = True
        one &= rng.random(size) < 0.8
    return torch.from_numpy(masks)


def test_a_box_stands_for_the_proposal_that_fits_it_best():
    proposals = random_proposals()
    mask = torch.zeros(20, 25, dtype=torch.bool)
    mask[2:9, 3:11] = mask[12:17, 15:22] = True
    mask[2, 3] = mask[12, 21] = False  # boxes, not the parts, are compared
    prob = torch.rand(20, 25)
    (found,) = instances(sample_of(mask, prob, proposals), shape='box')
    boxes = torch.tensor([[3, 2, 11, 9], [15, 12, 22, 17]])
    for (left, top, right, bottom), one in zip(boxes.tolist(), found.masks):
        box = torch.zeros_like(mask)
        box[top:bottom, left:right] = True
        ious = (proposals & box).sum((1, 2)) / (proposals | box).sum((1, 2))
        assert torch.equal(proposals[ious.argmax()], one)
    # The score is that of the part, by whichever shape it is shown.
    (as_masks,) = instances(sample_of(mask, prob))
    torch.testing.assert_close(found.scores, as_masks.scores)


def test_images_without_proposals():
    mask, prob = two_parts()
    with pytest.raises(ValueError, match=r'g/odd has no object proposals: put ComputeProposals'):
        instances(sample_of(mask, prob, stem='odd'), shape='box')
    # Looked for, and none found, as in an image without any contrast.
    (found,) = instances(sample_of(mask, prob, proposals=mask[None][:0]), shape='box')
    assert found.masks.shape == (0, 3, 6) and len(found.scores) == len(found.labels) == 0


def test_soft_maps_of_another_resolution():
    mask = torch.zeros(8, 12, dtype=torch.bool)
    mask[:, 6:] = True
    coarse = torch.tensor([[0.1, 0.3, 0.5], [0.2, 0.4, 0.9]])
    (found,) = instances(sample_of(mask, coarse))
    resize = dict(size=(8, 12), mode='bilinear', align_corners=False)
    full = torch.nn.functional.interpolate(coarse[None, None], **resize)[0, 0]
    torch.testing.assert_close(found.scores, full[mask].mean()[None])
    assert not torch.isclose(found.scores, coarse[:, 1:].mean())


def test_images_do_not_see_each_other():
    assert InstancesFromMask.by_image
    mask, prob = two_parts()
    alone = instances(sample_of(mask.flip(1), prob.flip(1)))[0]
    together = instances(sample_of(mask, prob), sample_of(mask.flip(1), prob.flip(1)))[1]
    assert torch.equal(alone.masks, together.masks) and torch.equal(alone.scores, together.scores)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('shape', ['mask', 'box'])
def test_on_a_gpu(shape):
    mask, prob = two_parts()
    sample = sample_of(mask, prob, mask[None])
    (here,) = instances(sample_of(mask, prob, mask[None]), shape=shape)
    (there,) = instances(sample.to('cuda'), shape=shape)
    for key, value in there.items():
        assert value.is_cuda
        torch.testing.assert_close(value.cpu(), here[key])


def test_options():
    assert TASK_UTILS.build(dict(type='InstancesFromMask')).shape == 'mask'
    with pytest.raises(ValueError, match=r"shape must be one of \('mask', 'box'\), got 'ring'"):
        InstancesFromMask(shape='ring')
    with pytest.raises(ValueError, match='min_share must be a number from 0 to 1, got 2'):
        InstancesFromMask(min_share=2)
