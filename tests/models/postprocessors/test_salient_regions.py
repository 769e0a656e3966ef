"""Parts of the mask as instances, and the scores that they share with proposals."""

import numpy as np
import pytest
import torch

from mmcoseg.models.postprocessors import SalientRegions, salient_regions
from mmcoseg.registry import TASK_UTILS


def parts_of(mask):
    """Connected parts by filling, pixel by pixel: sets of places, in reading order."""
    rest = {tuple(place) for place in np.argwhere(mask)}
    parts = []
    for place in map(tuple, np.argwhere(mask)):
        if place not in rest:
            continue
        part, new = set(), [place]
        while new:
            y, x = here = new.pop()
            if here in rest:
                rest.remove(here)
                part.add(here)
                new += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        parts.append(part)
    return parts


def literal_scores(masks, mask, saliency):
    masks, mask = masks.numpy(), mask.numpy()
    saliency = saliency.double().numpy()
    scores = []
    for one in masks:
        union = (one | mask).sum()
        inside = saliency[one].mean() if one.any() else 0
        scores.append((one & mask).sum() / union * inside if union else 0)
    return torch.tensor(scores, dtype=torch.float32)


def test_by_hand():
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[:2, :2] = True  # 4 pixels
    mask[2, 2] = True  # touches it by a corner only: another part
    mask[0, 4:] = True  # 2 pixels
    saliency = torch.full((3, 6), 0.5)
    saliency[0, 4:] = 1.0
    proposal = torch.zeros(1, 3, 6, dtype=torch.bool)
    proposal[0, :2] = True  # 12 pixels, 6 of them in the mask of 7
    masks, scores = SalientRegions(min_share=0.2)(proposal, mask, saliency)
    assert masks.dtype == torch.bool and masks.shape == (3, 3, 6)
    assert torch.equal(masks[0], proposal[0])
    assert [int(m.sum()) for m in masks] == [12, 4, 2]
    assert torch.equal(masks[2], mask & (saliency == 1))
    expected = torch.tensor([6 / 13 * (10 * 0.5 + 2) / 12, 4 / 7 * 0.5, 2 / 7 * 1.0])
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected)
    # The pixel is an eighth of the mask at least.
    assert len(SalientRegions(min_share=1 / 8)(proposal, mask, saliency)[0]) == 4


def test_definition_on_random_masks(monkeypatch):
    rng = np.random.default_rng(0)
    for _ in range(30):
        shape = rng.integers(1, 12, 2)
        mask = torch.from_numpy(rng.random(shape) < rng.choice([0.2, 0.5, 0.8]))
        saliency = torch.from_numpy(rng.random(shape))
        proposals = torch.from_numpy(rng.random((int(rng.integers(0, 4)), *shape)) < 0.4)
        min_share, most = float(rng.choice([0.0, 0.1, 0.4])), int(rng.integers(1, 5))
        monkeypatch.setattr(salient_regions, 'MAX_REGIONS', most)
        masks, scores = SalientRegions(min_share)(proposals, mask, saliency)
        parts = sorted(parts_of(mask.numpy()), key=len, reverse=True)[:most]
        parts = [part for part in parts if len(part) >= min_share * int(mask.sum())]
        assert torch.equal(masks[: len(proposals)], proposals)
        found = [{tuple(p) for p in m.nonzero().tolist()} for m in masks[len(proposals) :]]
        assert found == parts
        torch.testing.assert_close(scores, literal_scores(masks, mask, saliency))
        assert ((scores >= 0) & (scores <= 1)).all()


def test_all_of_the_mask_is_above_any_proposal():
    rng = torch.Generator().manual_seed(0)
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[2:9, 3:8] = True
    saliency = 0.9 * mask + 0.05
    proposals = torch.rand(20, 12, 12, generator=rng) < 0.5
    masks, scores = SalientRegions()(proposals, mask, saliency)
    assert torch.equal(masks[-1], mask) and scores.argmax() == len(proposals)
    # Proposals that cut it in two follow.
    halves = torch.stack([mask.clone(), mask.clone()])
    halves[0, 5:] = halves[1, :5] = False
    scores = SalientRegions()(halves, mask, saliency)[1]
    torch.testing.assert_close(scores, torch.tensor([3 / 7, 4 / 7, 1.0]) * 0.95)


@pytest.mark.parametrize('count', [0, 2])
def test_an_empty_mask_has_no_parts(count):
    proposals = torch.ones(count, 4, 5, dtype=torch.bool)
    empty = torch.zeros(4, 5, dtype=torch.bool)
    for min_share in (0, 0.1, 1):
        masks, scores = SalientRegions(min_share)(proposals, empty, torch.ones(4, 5))
        assert torch.equal(masks, proposals)
        assert scores.tolist() == [0] * count


def test_an_empty_proposal_scores_nothing():
    masks, scores = SalientRegions()(
        torch.zeros(1, 2, 2, dtype=torch.bool), torch.ones(2, 2).bool(), torch.ones(2, 2)
    )
    assert scores.tolist() == [0, 1]


def test_only_the_largest_parts_count(monkeypatch):
    mask = torch.zeros(1, 41, dtype=torch.bool)
    mask[0, ::2] = True
    mask[0, 9] = True  # joins two
    regions = SalientRegions(min_share=0)
    every = regions.regions_of(mask)
    assert len(every) == 20
    for most in (1, 3):
        monkeypatch.setattr(salient_regions, 'MAX_REGIONS', most)
        parts = regions.regions_of(mask)
        assert len(parts) == most and int(parts[0].sum()) == 3
        # Of equal ones the first.
        assert torch.equal(parts, every[:most])


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_on_a_gpu():
    rng = torch.Generator().manual_seed(0)
    args = [
        torch.rand(3, 9, 9, generator=rng) < 0.5,
        torch.rand(9, 9, generator=rng) < 0.5,
        torch.rand(9, 9, generator=rng),
    ]
    masks, scores = SalientRegions(0)(*args)
    there = SalientRegions(0)(*(arg.cuda() for arg in args))
    assert all(one.is_cuda for one in there)
    assert torch.equal(there[0].cpu(), masks)
    torch.testing.assert_close(there[1].cpu(), scores)


def test_options():
    assert TASK_UTILS.build(dict(type='SalientRegions', min_share=0.2)).min_share == 0.2
    for share in (-0.1, 1.1, float('nan')):
        with pytest.raises(ValueError, match='min_share must be a number from 0 to 1, got'):
            SalientRegions(share)
