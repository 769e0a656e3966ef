import numpy as np
import pytest
import torch

from mmcoseg.models.ops import mask_iou
from mmcoseg.models.ops import masks as masks_module
from mmcoseg.models.postprocessors import MaskNMS
from mmcoseg.registry import TASK_UTILS

RNG = np.random.default_rng(0)


def rectangles(k, height=12, width=14):
    masks = np.zeros((k, height, width), bool)
    for mask in masks:
        top, left = RNG.integers(0, height - 2), RNG.integers(0, width - 2)
        mask[top : top + RNG.integers(3, 9), left : left + RNG.integers(3, 9)] = True
    return torch.from_numpy(masks)


def literal(masks, scores, iou):
    order = sorted(range(len(masks)), key=lambda i: -scores[i])  # a stable sort
    kept = []
    for i in order:
        overlaps = [
            (masks[i] & masks[j]).sum().item() / max(1, (masks[i] | masks[j]).sum().item())
            for j in kept
        ]
        if all(value <= iou for value in overlaps):
            kept.append(i)
    return kept


@pytest.mark.parametrize('iou', [0.0, 0.2, 0.4, 1.0])
def test_agrees_with_the_definition(iou):
    for k in (0, 1, 2, 30):
        masks = rectangles(k)
        scores = torch.from_numpy(RNG.integers(0, 5, k) / 4)  # with equal ones
        assert MaskNMS(iou)(masks, scores).tolist() == literal(masks, scores.tolist(), iou)


def test_some_of_each_go_and_stay():
    masks = rectangles(30)
    kept = MaskNMS()(masks, torch.rand(30))
    assert 1 < len(kept) < 30
    assert (mask_iou(masks[kept]) - torch.eye(len(kept))).max() <= 0.4


def test_iou_in_pieces(monkeypatch):
    masks = rectangles(7)
    whole = mask_iou(masks)
    expected = [[(a & b).sum() / (a | b).sum() for b in masks] for a in masks]
    torch.testing.assert_close(whole, torch.tensor(expected).double(), rtol=1e-6, atol=0)
    monkeypatch.setattr(masks_module, '_CHUNK', 7 * 5)
    assert torch.equal(mask_iou(masks), whole)


def test_empty_masks_overlap_with_nothing():
    masks = torch.zeros(2, 3, 3).bool()
    assert MaskNMS(0.0)(masks, torch.tensor([1.0, 2.0])).tolist() == [1, 0]


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match=r'iou must be a number from 0 to 1, got 1\.5'):
        MaskNMS(1.5)


def test_is_registered():
    assert TASK_UTILS.build(dict(type='MaskNMS', iou=0.3)).iou == 0.3


def test_parts_of_a_better_mask_go():
    whole = torch.zeros(1, 10, dtype=torch.bool)
    whole[0, :8] = True
    part, beside = torch.zeros_like(whole), torch.zeros_like(whole)
    part[0, 6:9] = True  # two thirds of it in the whole, an IoU of 2 / 9
    beside[0, 7:10] = True  # one third
    masks, scores = torch.stack([whole, part, beside]), torch.tensor([0.9, 0.5, 0.3])
    assert MaskNMS(0.6)(masks, scores).tolist() == [0, 1, 2]
    assert MaskNMS(0.6, containment=0.5)(masks, scores).tolist() == [0, 2]
    assert MaskNMS(0.6, containment=0.2)(masks, scores).tolist() == [0]
    # The part first: the whole is not contained in it.
    assert MaskNMS(0.6, containment=0.5)(masks, scores.flip(0)[[1, 2, 0]]).tolist()[:1] == [1]
    with pytest.raises(ValueError, match='containment'):
        MaskNMS(containment=1.5)
