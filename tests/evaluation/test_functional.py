import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score

from mmcoseg.evaluation.functional import (
    binarize_adaptive,
    flicker,
    image_scores,
    resize_ground_truth,
)


def test_by_hand():
    pred = np.array([[1, 1, 0], [0, 1, 0]])
    gt = np.array([[1, 0, 0], [1, 1, 255]])
    # 5 valid pixels, 3 right; intersection 2, union 4.
    assert image_scores(pred, gt) == (3 / 5, 2 / 4)


@pytest.mark.parametrize('seed', range(20))
def test_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    pred = rng.random((9, 7)) < 0.4
    gt = rng.choice([0, 1, 2, 255], size=(9, 7))
    valid = gt != 255
    precision, jaccard = image_scores(pred, gt)
    truth = (gt != 0)[valid]
    assert precision == pytest.approx(accuracy_score(truth, pred[valid]))
    assert jaccard == pytest.approx(jaccard_score(truth, pred[valid]))


def test_empty_ground_truth():
    empty, some = np.zeros((3, 3), int), np.eye(3, dtype=int)
    assert image_scores(empty, empty) == (1, 1)
    assert image_scores(some, empty) == (6 / 9, 0)
    assert image_scores(empty, some) == (6 / 9, 0)


def test_void_counts_nowhere():
    gt = np.full((2, 2), 255)
    assert image_scores(np.ones((2, 2)), gt) == (1, 1)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r'the prediction is \(2, 2\), the ground truth \(3, 2\)'):
        image_scores(np.ones((2, 2)), np.ones((3, 2)))


def test_adaptive_threshold_is_mean_plus_deviation_up_to_a_limit():
    rng = np.random.default_rng(0)
    prob = rng.random((50, 40)) * 0.3
    np.testing.assert_array_equal(binarize_adaptive(prob), prob > prob.mean() + prob.std())
    bright = 0.7 + rng.random((50, 40)) * 0.3
    assert bright.mean() + bright.std() > 0.8
    np.testing.assert_array_equal(binarize_adaptive(bright), bright > 0.8)


@pytest.mark.parametrize('shape', [(100, 60), (375, 500), (1200, 900)])
def test_ground_truth_is_resized_as_torchvision_does_and_cut_at_one_half(shape):
    rng = np.random.default_rng(0)
    gt = np.kron(rng.integers(0, 3, (25, 20)), np.ones((48, 45)))[: shape[0], : shape[1]]
    gt = gt.astype(np.uint8)
    gt[0, 0] = 255
    objects = torch.from_numpy((gt == 1) | (gt == 2)).double()[None, None]
    soft = torch.nn.functional.interpolate(
        objects, (224, 224), mode='bilinear', antialias=True, align_corners=False
    )[0, 0].numpy()
    result = resize_ground_truth(gt, (224, 224))
    clear = abs(soft - 0.5) > 1 / 255  # the other values are rounded to 8 bits
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(result[clear], soft[clear] > 0.5)


def test_map_without_contrast_gives_an_empty_mask():
    for value in (0.0, 0.1, 0.3, 0.79):
        assert not binarize_adaptive(np.full((224, 224), value, np.float32)).any()


def column(labels):
    """A sequence of one pixel."""
    return np.array(labels).reshape(-1, 1, 1)


@pytest.mark.parametrize(
    ('pred', 'gt', 'share'),
    [
        ([0, 1, 0, 0, 0], [0] * 5, 1 / 3),
        ([0, 1, 1, 1, 0], [0] * 5, 1 / 3),  # back after three frames
        ([0, 1, 1, 1, 1, 0], [0] * 6, 0),  # after four
        ([0, 1, 0, 1, 0], [0] * 5, 1),
        ([0, 0, 1, 1, 1], [0] * 5, 0),  # it does not change back
        ([0, 1, 0, 0, 0], [0, 1, 0, 0, 0], 0),  # as the truth does
        ([0, 1, 0, 0, 0], [0, 1, 1, 1, 1], 1 / 3),  # the truth does not change back
        ([0, 0, 0, 1, 0], [0] * 5, 1 / 3),
        ([0, 0, 0, 0, 1], [0] * 5, 0),  # nobody knows
        ([0, 2, 0, 0, 0], [0, 1, 0, 0, 0], 0),
        ([0, 1], [0, 0], 0),
    ],
)
def test_flicker(pred, gt, share):
    assert flicker(column(pred), column(gt)) == pytest.approx(share)


def test_flicker_is_a_mean_over_pixels():
    pred = np.zeros((5, 2, 2), int)
    pred[1, 0, 0] = 1
    assert flicker(pred, np.zeros_like(pred)) == pytest.approx(1 / 12)
    with pytest.raises(ValueError, match='ground truth'):
        flicker(pred, np.zeros((4, 2, 2), int))
