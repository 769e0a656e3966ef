import tracemalloc

import cv2
import numpy as np
import pytest

from mmcoseg.visualization import PALETTE, SheetEntry, contact_sheet, overlay


@pytest.fixture
def image():
    return np.full((40, 60, 3), 200, np.uint8)


def test_overlay_tints_objects_and_dims_the_rest(image):
    mask = np.zeros((20, 30), np.uint8)  # half the image's resolution
    mask[5:15, 5:12] = 1
    mask[5:15, 18:25] = 2
    mask[0, :] = 255
    out = overlay(image, mask)
    assert out.shape == image.shape and out.dtype == np.uint8
    for value, (y, x) in {1: (20, 16), 2: (20, 42)}.items():
        expected = np.rint(0.6 * 200 + 0.4 * np.array(PALETTE[value - 1]))
        np.testing.assert_array_equal(out[y, x], expected)
    np.testing.assert_array_equal(out[38, 58], [90] * 3)
    np.testing.assert_array_equal(out[0, 30], [175] * 3)  # void
    np.testing.assert_allclose(out[10, 16], PALETTE[0], atol=30)  # the outline, smoothed
    np.testing.assert_array_equal(image, 200)


def test_overlay_gives_every_instance_its_color(image):
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 5:30, 5:25] = True
    masks[1, 5:30, 20:50] = True
    out = overlay(image, masks)
    first, second = (np.rint(0.6 * 200 + 0.4 * np.array(color)) for color in PALETTE[:2])
    np.testing.assert_array_equal(out[15, 10], first)
    np.testing.assert_array_equal(out[15, 22], second)
    np.testing.assert_array_equal(out[15, 40], second)


def test_overlay_of_nothing_is_dark_and_other_masks_are_refused(image):
    assert (overlay(image, np.zeros((40, 60), bool)) == 90).all()
    assert (overlay(image, np.zeros((0, 40, 60), bool)) == 90).all()
    with pytest.raises(ValueError, match=r'\(40,\)'):
        overlay(image, np.zeros(40))


def test_overlay_is_its_definition_in_whole_numbers():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (300, 400, 3), np.uint8)
    mask = np.kron(rng.choice([0, 0, 1, 2, 255], (6, 8)), np.ones((50, 50), int))
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(float)
    expected = 0.45 * (0.5 * image + 0.5 * gray)
    for value, color, share in (1, PALETTE[0], 0.4), (2, PALETTE[1], 0.4), (255, [150] * 3, 0.5):
        tinted = (1 - share) * image + share * np.array(color)
        expected = np.where(mask[..., None] == value, tinted, expected)
    difference = np.abs(overlay(image, mask) - expected)
    off_outlines = np.kron(np.ones((6, 8), int), np.pad(np.ones((44, 44), bool), 3))
    assert difference[off_outlines == 1].max() <= 1


def test_overlay_takes_little_memory():
    image = np.zeros((1000, 1000, 3), np.uint8)
    mask = np.zeros((1000, 1000), np.uint8)
    mask[200:800, 200:800] = 1
    overlay(image[:9, :9], mask[:9, :9])
    tracemalloc.start()
    overlay(image, mask)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * mask.size


def test_sheet_wraps_and_stays_within_its_width(image):
    entries = [SheetEntry(image, caption=f'{i}') for i in range(7)]
    one_row, two_rows = contact_sheet(entries[:5], 'cat'), contact_sheet(entries, 'cat')
    assert one_row.shape[1] < 1400 and two_rows.shape[1] <= 1400
    assert one_row.shape[0] < 240 < two_rows.shape[0]


def test_lines_that_no_image_has_are_left_out(image):
    mask = np.ones((4, 6), int)
    heights = [
        contact_sheet(entries).shape[0]
        for entries in (
            [SheetEntry(image)],
            [SheetEntry(image), SheetEntry(image, prediction=mask)],
            [SheetEntry(image, truth=mask), SheetEntry(image, prediction=mask)],
        )
    ]
    assert np.diff(heights).tolist() == [156, 156]


@pytest.mark.parametrize('size', [(10, 2000), (2000, 10), (1, 1)])
def test_images_of_odd_form(size):
    entry = SheetEntry(np.zeros((*size, 3), np.uint8), truth=np.ones(size, int), caption='x' * 200)
    assert contact_sheet([entry] * 4, 'y' * 500).shape[1] <= 1400


def test_legend_shows_colors(image):
    sheet = contact_sheet([SheetEntry(image)], 'a+b', legend=['a', 'b'])
    for color in PALETTE[:2]:
        assert (sheet == color).all(axis=-1).any()


def test_bad_input_is_refused(image):
    with pytest.raises(ValueError, match='at least one image'):
        contact_sheet([])
    with pytest.raises(ValueError, match=r'\(40, 60\) uint8'):
        contact_sheet([SheetEntry(image[..., 0])])
    with pytest.raises(ValueError, match='float64'):
        contact_sheet([SheetEntry(image / 255)])
