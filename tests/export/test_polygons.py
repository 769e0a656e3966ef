import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from mmcoseg.datasets.image_io import read_mask
from mmcoseg.export import mask_to_polygons
from mmcoseg.export.polygons import join_parts


def by_opencv(polygons, shape):
    """How YOLO's readers make masks."""
    out = np.zeros(shape, bool)
    for polygon in polygons:
        canvas = np.zeros(shape, np.uint8)
        cv2.fillPoly(canvas, [polygon.astype(np.int32)], 1)
        out |= canvas > 0
    return out


def by_pillow(polygons, shape):
    """How labelme makes masks."""
    out = np.zeros(shape, bool)
    for polygon in polygons:
        canvas = Image.fromarray(np.zeros(shape, np.uint8))
        ImageDraw.Draw(canvas).polygon([tuple(xy) for xy in polygon.tolist()], outline=1, fill=1)
        out |= np.asarray(canvas) > 0
    return out


def by_coco(polygons, shape):
    if not polygons:
        return np.zeros(shape, bool)
    rles = coco_mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *shape)
    return coco_mask.decode(coco_mask.merge(rles)) > 0


#: Rasterizer, and whether its polygons lie on the edges of pixels.
RASTERIZERS = [(by_opencv, False), (by_pillow, False), (by_coco, True)]


def iou(a, b):
    return (a & b).sum() / max(1, (a | b).sum())


def special_masks():
    mask = np.zeros((40, 50), bool)
    yield 'empty', mask
    yield 'full', ~mask
    one = mask.copy()
    one[7, 9] = True
    yield 'one pixel', one
    yield 'all but one pixel', ~one
    corners = mask.copy()
    corners[0, 0] = corners[-1, -1] = corners[0, -1] = corners[-1, 0] = True
    yield 'corners', corners
    line = mask.copy()
    line[5, 3:30] = True
    yield 'line', line
    diagonal = np.eye(40, 50, dtype=bool)
    yield 'diagonal', diagonal
    rings = mask.copy()
    rings[2:38, 2:48] = True
    rings[6:34, 6:44] = False
    rings[10:30, 10:40] = True
    rings[14:26, 14:24] = rings[14:26, 26:36] = False
    rings[18:20, 17:19] = True
    yield 'rings in rings, two holes side by side', rings
    yield 'chequerboard', np.indices((40, 50)).sum(axis=0) % 2 == 0
    yield 'one pixel wide image', (np.arange(30) % 7 < 3)[:, None]
    yield 'one pixel high image', (np.arange(30) % 7 < 3)[None]
    yield 'an image of one pixel', np.ones((1, 1), bool)


@pytest.mark.parametrize(('name', 'mask'), list(special_masks()))
@pytest.mark.parametrize(('rasterize', 'edges'), RASTERIZERS)
def test_exact_polygons_give_special_masks_back(name, mask, rasterize, edges):
    polygons = mask_to_polygons(mask, edges=edges, tolerance=0)
    assert all(polygon.shape[0] >= 3 and polygon.shape[1] == 2 for polygon in polygons)
    np.testing.assert_array_equal(rasterize(polygons, mask.shape), mask)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 50), st.floats(0.3, 6))
def test_exact_polygons_give_any_mask_back(seed, height, width, scale):
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), scale)
    mask = field > np.quantile(field, rng.random())
    for rasterize, edges in RASTERIZERS:
        polygons = mask_to_polygons(mask, edges=edges, tolerance=0)
        np.testing.assert_array_equal(rasterize(polygons, mask.shape), mask)


def test_every_part_is_a_polygon_from_top_to_bottom():
    mask = np.zeros((20, 20), bool)
    mask[10:14, 2:6] = mask[1:4, 12:18] = mask[16:19, 9:12] = True
    polygons = mask_to_polygons(mask)
    assert [polygon.min(axis=0).tolist() for polygon in polygons] == [[12, 1], [2, 10], [9, 16]]


def test_tolerance_makes_outlines_short_and_stays_close():
    yy, xx = np.mgrid[:300, :300]
    angle, radius = np.arctan2(yy - 150, xx - 150), np.hypot(yy - 150, xx - 150)
    flower = radius < 90 + 30 * np.sin(5 * angle)
    exact, simple = (mask_to_polygons(flower, tolerance=t)[0] for t in (0, 1))
    assert len(simple) < len(exact) / 4
    for rasterize, edges in RASTERIZERS:
        back = rasterize(mask_to_polygons(flower, edges=edges), flower.shape)
        assert 0.98 < iou(back, flower) < 1


@pytest.mark.parametrize(('rasterize', 'edges'), RASTERIZERS)
def test_objects_of_photographs_keep_98_per_cent(coseg_data, rasterize, edges):
    files = sorted((coseg_data / 'pascal_coseg/masks').glob('*/*.png'))[::12]
    assert len(files) > 30
    count = 0
    for file in files:
        mask = read_mask(file) == 255
        number, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        for part in range(1, number):
            polygons = mask_to_polygons(labels == part, edges=edges)
            assert len(polygons) == 1
            if (labels == part).sum() >= 1024:
                count += 1
                assert iou(rasterize(polygons, mask.shape), labels == part) >= 0.98, file
    assert count > 30


def test_joined_parts_differ_from_the_mask_by_thin_bridges():
    mask = np.zeros((60, 80), bool)
    mask[5:25, 5:30] = mask[30:55, 40:70] = mask[40:50, 3:12] = True
    mask[10:15, 10:20] = False
    joined = join_parts(mask_to_polygons(mask, tolerance=0))
    back = by_opencv([joined], mask.shape)
    assert back[mask].all()
    bridges = (back & ~mask).astype(np.uint8)
    assert 0 < bridges.sum() < 60
    assert not cv2.erode(bridges, np.ones((3, 3))).any()
