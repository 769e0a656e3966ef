"""What is taken for an RLE, and what is never handed to a decoder."""

import numpy as np
import pytest

from mmcoseg.evaluation.functional import instance_overlaps
from mmcoseg.structures.rle import (
    areas_of,
    as_rle,
    decode_rles,
    encode_masks,
    polygons_with_area,
)

H, W = 375, 500
SQUARE = [50, 60, 150, 60, 150, 160, 50, 160]


def box() -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[100:200, 100:300] = True
    return mask


def text() -> str:
    (rle,) = encode_masks(box()[None])
    return rle['counts'].decode()


@pytest.mark.parametrize(
    ('counts', 'message'),
    [
        ([100, 50, 1000], 'its RLE has 1,150 of 187,500 pixels'),
        ([100, 50, H * W], 'its RLE has 187,650 of 187,500 pixels'),
        ([], 'has 0 of 187,500 pixels'),
        ([2**33], 'has more than 268,435,456 of 187,500'),
        ([2**32, H * W], 'has more than'),  # fills the image in 32 bits
        ([10**400], 'has more than'),
        ([100, -50, H * W - 50], 'a negative run, -50'),
        ([100.5, 49.5, H * W - 150.0], 'a run of 100.5, which is no whole number'),
        ([float('nan')], 'a run of nan'),
        ([float('inf')], 'a run of inf'),
        ([True, H * W - 1], 'a run of True'),
        ([None], 'a run of None'),
        (['100', '50'], "a run of '100', which"),
        ([[100, 50, 1]], r'a run of \[100, 50, 1\]'),
        (None, 'counts of its RLE are None, neither list nor text'),
        (5, 'counts of its RLE are 5'),
        ({}, 'counts of its RLE are {}'),
        ('', 'has 0 of 187,500 pixels'),
        (b'', 'has 0 of 187,500 pixels'),
        ("b'" + text() + "'", r"text of a Python object, b'.*counts\.decode\(\)"),
        ('b"' + text() + '"', 'text of a Python object'),
        (text() + '\n', r"the character '\\n', which none has"),
        (text()[:5] + '\x00' + text()[5:], 'the character'),
        ('\u00e9' + text(), "the character '\u00e9'"),
        ('\ud800', 'the character'),
        (b'\xff' + text().encode(), 'the character'),
        (text() + '0', 'pixels'),
        (text() * 2, 'pixels'),
        ('o' * 100000, 'cut off after 100000 characters'),
        ('o' * 50 + '0', 'a number of 51 characters'),
        ('not an rle', "the character 't'"),
    ],
)
def test_runs_that_do_not_fill_the_image_are_refused(counts, message):
    rle = dict(size=[H, W], counts=counts)
    with pytest.raises(ValueError, match=message):
        as_rle(rle, H, W)
    # Nor does anything else take it.
    with pytest.raises(ValueError):
        decode_rles([rle], H, W)
    with pytest.raises(ValueError):
        instance_overlaps(encode_masks(box()[None]), [rle])


@pytest.mark.parametrize('cut', range(1, 12))
def test_a_text_that_was_cut_off_is_refused(cut):
    for counts in (text()[:-cut], text()[:-cut].encode()):
        with pytest.raises(ValueError, match='cut off after|of 187,500 pixels'):
            as_rle(dict(size=[H, W], counts=counts), H, W)


@pytest.mark.parametrize(
    'size', [None, [H], 'x', [H, W, 1], [str(H), str(W)], [True, W], {}, [None, None], [[H], [W]]]
)
def test_sizes_that_are_none_are_refused(size):
    with pytest.raises(ValueError, match='an RLE is of the size'):
        as_rle(dict(size=size, counts=text()), H, W)


def test_sizes_of_other_images_are_refused():
    with pytest.raises(ValueError, match=r'an RLE is of the size .500, 375., its image .375, 500.'):
        as_rle(dict(size=[W, H], counts=text()), H, W)
    with pytest.raises(ValueError, match='there is no segmentation'):
        as_rle(None, H, W)
    with pytest.raises(ValueError, match='has no RLE'):
        as_rle(dict(size=[2**16, 2**16], counts=[2**32]), 2**16, 2**16)
    # Its mask alone would be half a gigabyte; Pillow reads no such image.
    with pytest.raises(ValueError, match='of more than can be read'):
        as_rle([[0, 0, 9, 0, 9, 9]], 2**15, 2**14)


def test_every_sound_form_means_the_same():
    (rle,) = encode_masks(box()[None])
    runs = [100 * H + 100, 100, *[275, 100] * 199, H * W - 100 * H - 200 - 199 * 375]
    for counts in (rle['counts'], text(), runs, tuple(runs), np.array(runs), [*map(float, runs)]):
        assert as_rle(dict(size=[H, W], counts=counts), H, W) == rle
    assert as_rle(dict(size=[float(H), float(W)], counts=text()), H, W) == rle


def test_random_masks_come_back():
    rng = np.random.default_rng(0)
    for _ in range(50):
        height, width = rng.integers(1, 40, 2).tolist()
        mask = rng.random((1, height, width)) < rng.random()
        (rle,) = encode_masks(mask)
        assert as_rle(rle, height, width) == rle
        np.testing.assert_array_equal(decode_rles([rle], height, width), mask)


def test_empty_runs_do_not_end_a_comparison_early():
    plain = as_rle(dict(size=[4, 4], counts=[5, 2, 9]), 4, 4)
    empty = as_rle(dict(size=[4, 4], counts=[0, 0, 5, 0, 0, 1, 0, 1, 9, 0]), 4, 4)
    assert empty == plain
    assert instance_overlaps([plain], [empty])[0] == 1
    nothing = as_rle(dict(size=[4, 4], counts=[0, 0, 0, 0, 16]), 4, 4)
    assert areas_of([nothing, plain]).tolist() == [0, 2]


@pytest.mark.parametrize(
    'idle',
    [
        [30, 40, 200, 220],
        [30, 40],
        [],
        [10, 10, 10, 10, 10, 10],
        [10, 10, 20, 20, 90, 90],
        [30, 40, 200, 220, 30, 40, 200, 220],
        SQUARE[:-1],
        [float('nan'), *SQUARE[1:]],
        [float('inf'), *SQUARE[1:]],
        [1e300, *SQUARE[1:]],  # so long that it is a line
    ],
)
def test_parts_without_area_count_for_nothing_wherever_they_stand(idle):
    alone = as_rle([SQUARE], H, W)
    assert areas_of([alone]) == 10000
    for parts in ([idle, SQUARE], [SQUARE, idle], [idle, SQUARE, idle]):
        assert as_rle(parts, H, W) == alone
        assert polygons_with_area(parts)[1] == len(parts) - 1
    assert areas_of([as_rle([idle], H, W)]) == 0


def test_a_polygon_that_crosses_itself_has_an_area():
    assert areas_of([as_rle([[10, 10, 20, 20, 10, 20, 20, 10]], H, W)]) > 0


@pytest.mark.parametrize(
    'parts',
    [
        SQUARE,
        [[[50, 60], [150, 60], [150, 160]]],
        [[[50, 60], [150]]],
        [['50', '60', '150', '60', '150', '160']],
        ['x'],
        [None],
        [[None] * 6],
        [[True] * 6],
        [dict(size=[H, W], counts=[H * W])],
        [[10**400] * 6],
        [[*SQUARE, 1e9, 5]],
        [[*SQUARE, 5, -1e8]],
    ],
)
def test_polygons_that_are_none_are_refused(parts):
    with pytest.raises(ValueError, match='polygons cannot be read'):
        as_rle(parts, H, W)
