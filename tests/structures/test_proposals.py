"""Proposals as unions of superpixels, against their masks."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from mmcoseg.structures import CoSegDataSample, Proposals


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_masks(rng, n=9, height=13, width=11):
    masks = cv2.resize(rng.random((7, 6, n)), (width, height)).transpose(2, 0, 1) > 0.5
    masks[0], masks[1] = False, True
    return masks


def test_masks_become_superpixels_and_masks_again(rng):
    masks = random_masks(rng)
    proposals = Proposals.from_masks(masks, np.linspace(1, 0, 9))
    np.testing.assert_array_equal(proposals.masks(), masks)
    assert proposals.shape == masks.shape and len(proposals) == 9
    assert len(np.unique(proposals.membership, axis=1).T) == proposals.membership.shape[1]
    again = Proposals.from_arrays(proposals.to_arrays())
    np.testing.assert_array_equal(again.masks(), masks)
    np.testing.assert_array_equal(again.scores, proposals.scores)
    assert again.superpixels.dtype == np.int32 and again.membership.dtype == bool


def test_sums_and_areas_are_those_of_the_masks(rng):
    masks, maps = random_masks(rng), rng.normal(size=(3, 13, 11))
    proposals = Proposals.from_masks(masks)
    expected = [[(m * mask).sum() for mask in masks] for m in maps]
    np.testing.assert_allclose(proposals.sums(maps), expected, atol=1e-12)
    np.testing.assert_allclose(proposals.sums(torch.from_numpy(maps)), expected, atol=1e-12)
    np.testing.assert_array_equal(proposals.areas(), [mask.sum() for mask in masks])


def test_contours_are_pixels_with_a_neighbor_outside(rng):
    masks = random_masks(rng)
    n, height, width = masks.shape
    expected = np.zeros_like(masks)
    for i, y, x in np.argwhere(masks):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < height and 0 <= u < width and not masks[i, v, u]:
                expected[i, y, x] = True
    proposals = Proposals.from_masks(masks)
    maps = rng.normal(size=(2, height, width))
    literal = [[(m * contour).sum() for contour in expected] for m in maps]
    np.testing.assert_allclose(proposals.contour_sums(maps), literal, atol=1e-12)


def test_contour_sums_of_what_has_no_contour():
    proposals = Proposals.from_masks(np.ones((2, 3, 4), bool))
    assert (proposals.contour_sums(np.ones((5, 3, 4))) == np.zeros((5, 2))).all()
    none = Proposals.from_masks(np.zeros((0, 3, 4), bool))
    for sums in (none.sums, none.contour_sums):
        assert sums(np.ones((5, 3, 4))).shape == (5, 0)
    assert none.masks().shape == (0, 3, 4)


@pytest.mark.parametrize(
    'index', [slice(1, 3), [4, 0], np.arange(9) > 5, torch.tensor([2, 2]), [], -1]
)
def test_indexing_is_that_of_the_masks(rng, index):
    masks = random_masks(rng)
    expected = masks[index] if not isinstance(index, int) else masks[[index]]
    expected = masks[:0] if isinstance(index, list) and not index else expected
    np.testing.assert_array_equal(Proposals.from_masks(masks)[index].masks(), expected)


def test_as_a_field_of_a_sample(rng):
    proposals = Proposals.from_masks(random_masks(rng))
    sample = CoSegDataSample(metainfo=dict(group='g', stem='s'))
    sample.proposals = proposals
    assert sample.to('cpu').proposals is proposals
    with pytest.raises(AssertionError):
        sample.proposals = proposals.masks()


def test_masks_of_another_size_than_the_superpixels(rng):
    masks = random_masks(rng)
    proposals = replace(Proposals.from_masks(masks), size=(26, 33))
    larger = masks.repeat(2, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(proposals[[4, 2]].masks(), larger[[4, 2]])
    assert proposals.shape == (9, 26, 33)
    np.testing.assert_array_equal(proposals.areas(), masks.sum(axis=(1, 2)))
    boxes = np.array([[3, 2, 12, 10], [0, 0, 33, 26]])
    small = Proposals.from_masks(masks).box_ious(boxes / [3, 2, 3, 2])
    np.testing.assert_allclose(proposals.box_ious(boxes), small)


def test_ious_with_the_area_of_boxes(rng):
    masks = random_masks(rng)
    boxes = np.array([[0, 0, 11, 13], [1, 2, 5, 6], [-3, 4, 99, 8], [2, 2, 2, 2]])
    expected = np.zeros((4, 9))
    for row, (left, top, right, bottom) in zip(expected, boxes):
        area = np.zeros(masks.shape[1:], bool)
        area[max(0, top) : bottom, max(0, left) : right] = True
        row[:] = [(m & area).sum() / max(1, (m | area).sum()) for m in masks]
    proposals = Proposals.from_masks(masks)
    np.testing.assert_allclose(proposals.box_ious(boxes), expected)
    np.testing.assert_allclose(proposals.box_ious(boxes + 0.2), expected)
    assert proposals.box_ious(boxes[:0]).shape == (0, 9)


def test_files_of_earlier_versions_are_read(rng):
    proposals = Proposals.from_masks(random_masks(rng))
    old = dict(
        atoms=proposals.superpixels.astype(np.uint16),
        members=np.packbits(proposals.membership, axis=1),
        atom_count=np.array(proposals.membership.shape[1]),
        scores=proposals.scores,
    )
    np.testing.assert_array_equal(Proposals.from_arrays(old).masks(), proposals.masks())
    assert set(proposals.to_arrays()) == set(old)


def test_rejects_what_does_not_fit():
    superpixels, membership = np.zeros((2, 3), np.int32), np.ones((4, 1), bool)
    with pytest.raises(ValueError, match=r'scores \(n,\)'):
        Proposals(superpixels, membership, np.ones(3))
    with pytest.raises(ValueError, match='0 to 1'):
        Proposals(superpixels + np.array([0, 0, 1]), membership, np.ones(4))
    with pytest.raises(ValueError, match=r'\(k, 2, 3\), got \(1, 3, 2\)'):
        Proposals(superpixels, membership, np.ones(4)).sums(np.ones((1, 3, 2)))
    with pytest.raises(ValueError, match=r'masks must be \(n, H, W\)'):
        Proposals.from_masks(np.ones((2, 3)))
