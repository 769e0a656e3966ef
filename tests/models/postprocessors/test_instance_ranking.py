import numpy as np
import pytest
import torch

from mmcoseg.models.postprocessors import InstanceRanking
from mmcoseg.registry import TASK_UTILS
from mmcoseg.structures import Proposals

RNG = np.random.default_rng(0)


def case(k=3, n=8, height=9, width=11):
    masks = np.zeros((n, height, width), bool)
    for mask in masks:
        top, left = RNG.integers(0, height - 3), RNG.integers(0, width - 3)
        mask[top : top + RNG.integers(1, 9), left : left + RNG.integers(1, 9)] = True
        mask &= RNG.random(mask.shape) < 0.9
        mask[top, left] = True
    heat, saliency = RNG.random((k, height, width)), RNG.random((height, width))
    return torch.from_numpy(heat), torch.from_numpy(saliency), torch.from_numpy(masks)


def contour(mask):
    """Pixel by pixel."""
    height, width = mask.shape
    out = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if mask[y, x] and 0 <= v < height and 0 <= u < width and not mask[v, u]:
                    out[y, x] = True
    return out


def literal(heat, saliency, mask, measure, beta=0.8, gamma=1e-5):
    """Each measure of one heat map and one mask, as its formula says."""
    heat, saliency, mask = (np.asarray(x, np.float64) for x in (heat, saliency, mask))
    edge = contour(mask > 0)
    both = heat * saliency
    if measure == 'literal':
        inside, around = (both * mask).sum(), (both * edge).sum()
        return beta * inside + around - gamma * ((1 - saliency) * mask).sum()
    soft = np.minimum(1, heat / ((heat**2).sum() / heat.sum())) * saliency
    return (soft * mask).sum() / (soft.sum() + mask.sum() - (soft * mask).sum())


def of(masks):
    return Proposals.from_masks(masks.numpy())


@pytest.mark.parametrize('measure', ['literal', 'soft_iou'])
def test_agrees_with_the_definition(measure):
    for _ in range(4):
        heat, saliency, masks = case()
        indices, scores = InstanceRanking(select=measure)(heat, saliency, of(masks))
        expected = [[literal(h, saliency, m, measure) for m in masks] for h in heat]
        assert indices.dtype == torch.long
        assert scores.dtype == torch.float64
        np.testing.assert_array_equal(indices, np.argmax(expected, axis=1))
        np.testing.assert_allclose(scores, np.max(expected, axis=1), rtol=1e-12)


def test_without_saliency_it_is_one_everywhere():
    heat, saliency, masks = case()
    for measure in ('literal', 'soft_iou'):
        without = InstanceRanking(select=measure, use_saliency=False)(heat, saliency, of(masks))
        ones = InstanceRanking(select=measure)(heat, torch.ones_like(saliency), of(masks))
        assert torch.equal(without[0], ones[0])
        assert torch.equal(without[1], ones[1])


def test_calibrated_scores_do_not_depend_on_the_scale_of_the_heat():
    heat, saliency, masks = case()
    ranking = InstanceRanking(select='soft_iou')
    before, after = ranking(heat, saliency, of(masks)), ranking(1e-6 * heat, saliency, of(masks))
    assert torch.equal(before[0], after[0])
    torch.testing.assert_close(before[1], after[1])


def test_half_precision_is_summed_in_single():
    heat, saliency, masks = case()
    indices, scores = InstanceRanking()(heat.half(), saliency.half(), of(masks))
    assert scores.dtype == torch.float32
    exact = InstanceRanking()(heat.half().double(), saliency.half().double(), of(masks))
    assert torch.equal(indices, exact[0])
    torch.testing.assert_close(scores.double(), exact[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('measure', ['literal', 'soft_iou'])
def test_maps_and_masks_of_nothing(measure):
    ranking = InstanceRanking(select=measure)
    heat, saliency, masks = torch.zeros(2, 4, 5), torch.zeros(4, 5), torch.zeros(3, 4, 5).bool()
    masks[2] = True
    indices, scores = ranking(heat, saliency, of(masks))
    assert indices.shape == scores.shape == (2,)
    assert torch.isfinite(scores).all()
    assert [len(part) for part in ranking(heat[:0], saliency, of(masks))] == [0, 0]


def test_of_equal_proposals_the_first():
    heat, saliency, masks = case(n=2)
    assert InstanceRanking()(heat, saliency, of(masks[[0, 0, 0]]))[0].tolist() == [0, 0, 0]


def test_wrong_use_is_refused():
    heat, saliency, masks = case()
    with pytest.raises(ValueError, match="select must be one of .*, got 'best'"):
        InstanceRanking(select='best')
    with pytest.raises(ValueError, match=r'maps must be \(k, 9, 5\)'):
        InstanceRanking()(heat, saliency, of(masks[..., :5]))


def test_is_registered():
    assert isinstance(TASK_UTILS.build(dict(type='InstanceRanking')), InstanceRanking)
