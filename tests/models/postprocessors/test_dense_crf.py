import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmcoseg.datasets.image_io import read_image, read_mask
from mmcoseg.mean_field import dense_crf
from mmcoseg.models.postprocessors import DenseCRF
from mmcoseg.registry import TASK_UTILS
from mmcoseg.structures import CoSegDataSample, GroupDataSample


def scene(seed=0, size=(60, 80)):
    """A textured rectangle, and a soft map of low resolution that is too large for it."""
    rng = np.random.default_rng(seed)
    image = rng.normal(60, 8, (*size, 3))
    mask = np.zeros(size, bool)
    mask[15:45, 20:60] = True
    image[mask] += 90
    soft = cv2.resize(mask.astype(np.float32), (10, 8), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(soft, (0, 0), 0.8)
    return image.clip(0, 255).astype(np.uint8), mask, (0.2 + 0.7 * soft)[None]


def group_of(scenes):
    samples = []
    for number, (image, _, prob) in enumerate(scenes):
        sample = CoSegDataSample(
            metainfo=dict(group='g', stem=str(number), ori_img=image, ori_shape=image.shape[:2])
        )
        sample.pred_prob = PixelData(data=torch.from_numpy(np.asarray(prob)))
        samples.append(sample)
    return GroupDataSample(samples, metainfo=dict(group='g'))


def overlap(found, mask):
    found = np.asarray(found, bool)
    return (found & mask).sum() / (found | mask).sum()


def test_masks_take_on_the_edges():
    scenes = [scene(seed) for seed in range(3)]
    group = group_of(scenes)
    # The images are small: widths of 60, 2 and more pixels.
    cfg = dict(type='DenseCRF', bilateral=(375, 8, 5), gaussian=(12.5, 3))
    TASK_UTILS.build(cfg)(group)
    for sample, (_, mask, prob) in zip(group, scenes, strict=True):
        before = cv2.resize(prob[0], (80, 60), interpolation=cv2.INTER_LINEAR) >= 0.5
        after = sample.pred_sem_seg.data
        assert after.shape == (1, 60, 80) and after.dtype == torch.uint8
        assert sample.pred_prob.data.shape == (1, 60, 80)
        assert sample.pred_prob.data.dtype == torch.float32
        assert overlap(after[0], mask) > overlap(before, mask) + 0.02


def test_resolution_to_work_at():
    for options, size in (
        (dict(max_side=40), (30, 40)),
        (dict(max_side=20), (15, 20)),
        (dict(max_side=500), (60, 80)),
        (dict(max_side=None), (60, 80)),
    ):
        group = group_of([scene()])
        DenseCRF(**options)(group)
        prob, mask = group[0].pred_prob.data, group[0].pred_sem_seg.data
        assert prob.shape == (1, *size)
        assert mask.shape == (1, 60, 80)


def test_several_labels():
    image, mask, prob = scene()
    right = np.zeros_like(prob)
    right[..., 5:] = prob[..., 5:]
    group = group_of([(image, mask, np.concatenate([1 - prob, prob - right, right]))])
    DenseCRF(num_workers=0)(group)
    found = group[0]
    assert found.pred_prob.data.shape == (3, 60, 80)
    assert set(found.pred_sem_seg.data.unique().tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(
        found.pred_sem_seg.data[0], found.pred_prob.data.argmax(dim=0).to(torch.uint8)
    )


def test_threshold_and_precision():
    for dtype in (torch.float16, torch.float64):
        group = group_of([scene()])
        group[0].pred_prob = PixelData(data=group[0].pred_prob.data.to(dtype))
        DenseCRF(threshold=0.9, num_workers=0)(group)
        prob = group[0].pred_prob.data
        assert prob.dtype == torch.float32
        np.testing.assert_array_equal(group[0].pred_sem_seg.data, prob >= 0.9)


def test_number_of_workers_does_not_matter():
    scenes = [scene(seed, (60 + seed, 80)) for seed in range(7)]
    images, _, probs = zip(*scenes)
    options = dict(bilateral=(20, 20, 3), logit_shift=0.3)
    alone = list(DenseCRF(num_workers=0, **options).refine(images, probs))
    for workers in (1, 2, 3, None):
        together = DenseCRF(num_workers=workers, **options).refine(images, probs)
        for one, other in zip(alone, together, strict=True):
            assert one.tobytes() == other.tobytes() and one.shape == other.shape
    # And it is dense_crf, of maps brought to the size of the image.
    large = cv2.resize(probs[0][0], (80, 60), interpolation=cv2.INTER_LINEAR)[None]
    np.testing.assert_array_equal(dense_crf(images[0], large, **options), alone[0])


def test_iterables_of_any_kind():
    image, _, prob = scene()
    alone, together = DenseCRF(num_workers=0), DenseCRF(num_workers=2)
    (expected,) = alone.refine([image], [prob])
    (found,) = together.refine(iter([image]), torch.from_numpy(prob)[None])
    np.testing.assert_array_equal(found, expected)
    assert list(DenseCRF().refine([], [])) == []
    with pytest.raises(ValueError, match='argument'):
        list(alone.refine([image, image], [prob]))
    with pytest.raises(ValueError, match=r'lie in \[0, 1\]'):
        list(together.refine([image] * 3, [prob, prob + 1, prob]))


def test_samples_that_cannot_be_refined():
    group = group_of([scene()])
    group[0].set_metainfo(dict(ori_shape=(61, 80)))
    with pytest.raises(ValueError, match='image of g/0 is 60 x 80 .* made for 61 x 80'):
        DenseCRF(num_workers=0)(group)


@pytest.mark.parametrize(
    'options',
    [
        dict(max_side=0),
        dict(threshold=1),
        dict(num_workers=-1),
        dict(iterations=0.5),
        dict(bilateral=(1, 2)),
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f'{next(iter(options))}.* must be'):
        DenseCRF(**options)


def test_photographs(coseg_data):
    """On photographs, of blurred and disturbed true masks, the CRF makes better masks."""
    rng = np.random.default_rng(0)
    files = sorted((coseg_data / 'pascal_coseg' / 'images').glob('*/*.jpg'))[::60]
    if not files:
        pytest.skip(f'no pascal_coseg in {coseg_data}')
    scenes = []
    for file in files:
        mask = file.parents[2] / 'masks' / file.parent.name / f'{file.stem}.png'
        mask = read_mask(mask) == 255
        soft = cv2.resize(mask.astype(np.float32), (25, 25), interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(soft, (0, 0), 1.5)
        noise = cv2.GaussianBlur(rng.standard_normal((25, 25)).astype(np.float32), (0, 0), 1.5)
        logit = 8 * (soft / soft.max() - 0.4) + noise / noise.std()
        scenes.append((read_image(file), mask, 1 / (1 + np.exp(-logit))[None]))
    means = {}
    for name, refine in dict(before=None, crf=DenseCRF(max_side=250)).items():
        group = group_of(scenes)
        if refine is None:
            masks = [
                cv2.resize(p[0], m.shape[::-1], interpolation=cv2.INTER_LINEAR) >= 0.5
                for _, m, p in scenes
            ]
        else:
            refine(group)
            masks = [sample.pred_sem_seg.data[0].numpy() for sample in group]
        means[name] = np.mean([overlap(m, truth) for m, (_, truth, _) in zip(masks, scenes)])
    assert means['crf'] > means['before'] + 0.04
