"""Specks are no objects."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from scipy import ndimage

from mmcoseg.models.postprocessors import CleanMask, EdgeRefiner
from mmcoseg.models.postprocessors.clean_mask import clean_labels
from mmcoseg.registry import TASK_UTILS
from mmcoseg.structures import CoSegDataSample, GroupDataSample

EIGHT = np.ones((3, 3), int)


def sample_of(labels, instances=None):
    sample = CoSegDataSample(metainfo=dict(group='g', stem='a', ori_shape=labels.shape))
    sample.pred_sem_seg = PixelData(data=torch.from_numpy(labels.astype(np.uint8))[None])
    sample.pred_prob = PixelData(data=torch.rand(1, 4, 5))
    if instances is not None:
        masks = torch.from_numpy(instances)
        scores = torch.linspace(1, 0.5, len(masks))
        labels = torch.zeros(len(masks), dtype=torch.long)
        sample.pred_instances = InstanceData(masks=masks, scores=scores, labels=labels)
    return sample


def cleaned(labels, **options):
    sample = sample_of(labels)
    CleanMask(**options)(GroupDataSample([sample]))
    assert sample.pred_sem_seg.data.dtype == torch.uint8
    return sample.pred_sem_seg.data[0].numpy()


def areas(mask):
    return sorted(np.bincount(ndimage.label(mask, EIGHT)[0].ravel())[1:].tolist(), reverse=True)


def test_specks_of_a_large_photograph():
    """The parts that the CRF leaves of an image of 12 megapixels."""
    mask = np.zeros((3000, 4000), np.uint8)
    wanted = 3_469_637
    mask[200 : 200 + wanted // 1800, 100:1900] = 1
    mask[200 + wanted // 1800, 100 : 100 + wanted % 1800] = 1
    mask[10, 10:32] = mask[50, 5:10] = mask[2900, 3000:3005] = mask[2990, 7:9] = 1
    mask[500:510, 300:310] = mask[700, 700] = 0  # pinholes
    assert areas(mask) == [wanted - 101, 22, 5, 5, 2]
    assert areas(cleaned(mask)) == [wanted]


def test_definition_on_random_masks():
    rng = np.random.default_rng(0)
    for _ in range(100):
        size = tuple(rng.integers(1, 25, 2))
        mask = ndimage.uniform_filter(rng.random(size), 2) < rng.uniform(0.4, 0.6)
        share, hole_share = rng.uniform(0, 0.6, 2)
        area = rng.choice([0, 0, 0.05, 3])
        largest = bool(rng.random() < 0.3)
        least_area = area * mask.size if area < 1 else area
        parts, count = ndimage.label(mask, EIGHT)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        biggest = sizes[1:].max(initial=0)
        expected = np.zeros_like(mask)
        for number in range(1, count + 1):
            if sizes[number] >= max(least_area, share * biggest):
                expected |= parts == number
        if largest and count:
            expected &= parts == 1 + sizes[1:].argmax()
        holes = ndimage.binary_fill_holes(expected) & ~expected
        numbers, count = ndimage.label(holes)
        for number in range(1, count + 1):
            hole = numbers == number
            if hole.sum() < max(least_area, hole_share * biggest):
                expected |= hole
        found = cleaned(
            mask, min_share=share, hole_share=hole_share, min_area=area, largest=largest
        )
        np.testing.assert_array_equal(found, expected)


def test_classes_are_cleaned_each_by_itself():
    labels = np.zeros((30, 40), np.uint8)
    labels[2:22, 2:22] = 1
    labels[5:8, 5:8] = 2  # a speck of another class: a hole that is filled
    labels[10:20, 10:20] = 2  # no speck: what it lies in stays
    labels[26:29, 2:5] = 3  # small, but all that there is of its class
    labels[25:27, 35:37] = 1
    labels[15, 15] = 0
    expected = labels.copy()
    expected[5:8, 5:8] = 1
    expected[25:27, 35:37] = 0
    expected[15, 15] = 2
    np.testing.assert_array_equal(cleaned(labels, hole_share=0.1), expected)


def test_background_between_two_classes_is_no_hole():
    labels = np.full((12, 20), 1, np.uint8)
    labels[2:10, 2:18] = 2
    labels[4:8, 4:16] = 0
    labels[5:7, 6:9] = 1
    np.testing.assert_array_equal(cleaned(labels, min_share=0, hole_share=1), labels)


@pytest.mark.parametrize('labels', [np.zeros((5, 6), int), np.ones((5, 6), int), np.ones((1, 1))])
def test_nothing_to_clean(labels):
    np.testing.assert_array_equal(cleaned(labels), labels)
    np.testing.assert_array_equal(cleaned(labels, largest=True, hole_share=1), labels)


def test_other_rules():
    mask = np.zeros((20, 20), np.uint8)
    mask[1:9, 1:9], mask[12:18, 12:18], mask[0, 15:18] = 1, 1, 1
    assert areas(mask) == [64, 36, 3]
    keep_all = dict(min_share=0, hole_share=0)
    assert areas(cleaned(mask)) == [64, 36]
    assert areas(cleaned(mask, largest=True)) == [64]
    assert areas(cleaned(mask, **keep_all)) == [64, 36, 3]
    assert areas(cleaned(mask, **keep_all, min_area=40)) == [64]
    assert areas(cleaned(mask, **keep_all, min_area=1)) == [64, 36, 3]  # a pixel, not the image
    assert areas(cleaned(mask, **keep_all, min_area=0.01)) == [64, 36]
    assert areas(cleaned(mask, **keep_all, min_area=0.5)) == []


def test_instances_likewise():
    masks = np.zeros((3, 20, 30), bool)
    masks[0, 2:12, 2:12], masks[0, 18, 25] = True, True
    masks[1, 5:8, 20:23] = True
    masks[2, 0, 0] = True
    sample = sample_of(masks.any(0), masks)
    before = sample.pred_prob.data.clone()
    CleanMask(min_area=5)(GroupDataSample([sample]))
    found = sample.pred_instances
    assert found.masks.dtype == torch.bool and len(found) == 2  # of the third nothing was left
    assert areas(found.masks[0]) == [100] and areas(found.masks[1]) == [9]
    torch.testing.assert_close(found.scores, torch.tensor([1, 0.75]))
    assert torch.equal(sample.pred_prob.data, before)
    none = sample_of(masks.any(0), masks[:0])
    CleanMask()(GroupDataSample([none]))
    assert none.pred_instances.masks.shape == (0, 20, 30)


def test_it_is_registered_and_checks_its_options():
    step = TASK_UTILS.build(dict(type='CleanMask', min_area=0.01))
    assert step.by_image and not isinstance(step, EdgeRefiner)
    for wrong in (dict(min_share=1.5), dict(hole_share=-1), dict(min_area=-2)):
        with pytest.raises(ValueError, match=f'{next(iter(wrong))}.*got'):
            CleanMask(**wrong)
    with pytest.raises(ValueError, match='min_area'):
        CleanMask(min_area=float('nan'))


def test_the_input_stays():
    labels = np.eye(6, dtype=np.uint8)
    labels[0, 5] = 1
    before = labels.copy()
    assert clean_labels(labels, min_share=0.5)[0, 5] == 0
    np.testing.assert_array_equal(labels, before)
