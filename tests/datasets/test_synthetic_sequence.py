"""Drawn sequences: repeatable, and what moves moves smoothly."""

import numpy as np

from mmcoseg.datasets.synthetic import SceneObject, render_sequence

SIZE = 60, 80
OBJECTS = [SceneObject(3, 0.6), SceneObject(7, 0.4)]


def rendered(key=(1, 2), count=12, objects=OBJECTS):
    images, masks = zip(*render_sequence(key, SIZE, objects, count))
    return np.stack(images), np.stack(masks)


def test_depends_on_its_arguments_alone():
    np.random.seed(0)
    images, masks = rendered()
    np.random.seed(1)
    again, same = rendered()
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(masks, same)
    # Further frames change nothing of the first.
    longer, _ = rendered(count=15)
    np.testing.assert_array_equal(images, longer[:12])
    other, _ = rendered(key=(1, 3))
    assert (images != other).mean() > 0.5


def test_masks_are_disjoint_and_move_smoothly():
    images, masks = rendered(count=30)
    assert images.dtype == np.uint8 and images.shape == (30, *SIZE, 3)
    assert masks.dtype == bool and masks.shape == (30, 2, *SIZE)
    assert not masks.all(axis=1).any()
    front = masks[:, 1]
    assert front.any(axis=(1, 2)).all()
    changed = (front[1:] != front[:-1]).sum(axis=(1, 2)) / front[1:].sum(axis=(1, 2))
    assert 0 < changed.mean() < 0.5
    assert (front[0] != front[-1]).sum() > 0.5 * front[0].sum()


def test_masks_are_where_the_object_is():
    """The same sequence without the object differs there, and only by noise elsewhere."""
    [background] = [image for image, _ in render_sequence((5,), SIZE, [], 1)]
    assert background.shape == (*SIZE, 3)
    images, masks = rendered(objects=OBJECTS[1:])
    first, second = images[0].astype(int), images[1].astype(int)
    moved = masks[0, 0] != masks[1, 0]
    change = np.abs(first - second).mean(axis=-1)
    assert change[moved].mean() > 2 * np.median(change)
