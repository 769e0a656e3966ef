"""Hints: which pixels each kind tells of, at any resolution."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mmcoseg.datasets.image_io import read_image
from mmcoseg.errors import MMCosegError
from mmcoseg.structures import Absent, Box, Click, ExampleMask, Stroke, hint_map
from mmcoseg.structures import hints as module
from mmcoseg.structures.hints import UNKNOWN

U = UNKNOWN
#: Height and width; so small that a click is one pixel.
SIZE = (4, 6)


def labels(hints, original=SIZE, size=None):
    return hint_map(hints, original, size).labels.tolist()


def sure(hints, original=SIZE, size=None):
    return hint_map(hints, original, size).sure.astype(int).tolist()


def test_nothing_is_known_without_hints():
    known = hint_map([], SIZE)
    assert (known.labels == U).all() and not known.sure.any()
    assert not known.absent and not known.shows_object and known.contradictions == []


def test_a_click_is_its_pixel():
    hints = [Click(1.9, 2.0), Click(4, 0, label=0), Click(5, 3, label=7)]
    assert labels(hints) == [
        [U, U, U, U, 0, U],
        [U, U, U, U, U, U],
        [U, 1, U, U, U, U],
        [U, U, U, U, U, 7],
    ]
    known = hint_map(hints, SIZE)
    assert (known.sure == (known.labels != U)).all()


@pytest.mark.parametrize(
    ('place', 'pixel'),
    [
        ((0, 0), (0, 0)),
        ((6, 0), (0, 5)),
        ((0, 4), (3, 0)),
        ((6, 4), (3, 5)),
        ((5.99, 3.99), (3, 5)),
    ],
)
def test_clicks_on_borders_and_corners_are_the_outermost_pixels(place, pixel):
    rows, columns = np.nonzero(hint_map([Click(*place)], SIZE).labels == 1)
    assert list(zip(rows, columns)) == [pixel]


def test_a_click_at_half_the_size():
    assert labels([Click(3, 3)], size=(2, 3)) == [[U, U, U], [U, 1, U]]


def test_a_click_on_a_large_image_is_a_disk():
    known = hint_map([Click(150, 100)], (200, 300))
    rows, columns = np.nonzero(known.labels == 1)
    radius = round(300 * module._RADIUS)
    assert (rows.min(), rows.max()) == (100 - radius, 100 + radius)
    assert (columns.min(), columns.max()) == (150 - radius, 150 + radius)
    assert ((rows - 100) ** 2 + (columns - 150) ** 2).max() <= (radius + 0.5) ** 2


def test_a_stroke_is_its_line():
    assert labels([Stroke([(0, 0), (3, 0), (3, 3)], label=2)]) == [
        [2, 2, 2, 2, U, U],
        [U, U, U, 2, U, U],
        [U, U, U, 2, U, U],
        [U, U, U, 2, U, U],
    ]
    assert labels([Stroke([(2, 1)])]) == labels([Click(2, 1)])


def test_a_stroke_at_half_the_size():
    assert labels([Stroke([(0, 0), (3, 0), (3, 3)])], size=(2, 3)) == [[1, 1, U], [U, 1, U]]


def test_strokes_are_lists_or_arrays():
    points = [(0.0, 1.0), (2.5, 3.0)]
    assert Stroke(np.array(points)) == Stroke(points) == Stroke(tuple(points))
    assert Stroke(np.array(points)).points == tuple(points)


def test_a_box_tells_what_is_outside_and_what_is_likely_inside():
    box = [Box(1, 1, 3, 4)]
    assert labels(box) == [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
    ]
    assert sure(box) == [
        [1, 1, 1, 1, 1, 1],
        [1, 0, 0, 1, 1, 1],
        [1, 0, 0, 1, 1, 1],
        [1, 0, 0, 1, 1, 1],
    ]
    known = hint_map(box, SIZE)
    assert not known.absent and known.shows_object


def test_a_box_at_half_the_size():
    assert labels([Box(2, 0, 6, 2)], size=(2, 3)) == [[0, 1, 1], [0, 0, 0]]


def test_a_box_over_all_of_the_image():
    known = hint_map([Box(0, 0, 6, 4)], SIZE)
    assert (known.labels == 1).all() and not known.sure.any()


@pytest.mark.parametrize('box', [(2.2, 1.1, 2.4, 1.3), (5.6, 3.6, 6, 4), (5.9, 0, 6, 0.2)])
@pytest.mark.parametrize('size', [None, (2, 3), (1, 1)])
def test_no_box_is_too_narrow_to_be_seen(box, size):
    known = hint_map([Box(*box)], SIZE, size)
    assert (known.labels == 1).sum() == 1 and not known.absent


def test_several_boxes_leave_each_other():
    expected = [[1, 1, 0, 0, 1, 1]]
    assert labels([Box(0, 0, 2, 1), Box(4, 0, 6, 1)], (1, 6)) == expected
    assert labels([Box(4, 0, 6, 1), Box(0, 0, 2, 1)], (1, 6)) == expected


def test_a_box_of_one_class_says_nothing_of_others_outside():
    expected = [[1, 1, U, U, 2, 2]]
    assert labels([Box(0, 0, 2, 1), Box(4, 0, 6, 1, label=2)], (1, 6)) == expected
    assert labels([Box(4, 0, 6, 1, label=2), Box(0, 0, 2, 1)], (1, 6)) == expected
    known = hint_map([Box(0, 0, 2, 1), Click(4, 0)], (1, 6), num_classes=2)
    assert known.labels.tolist() == [[1, 1, U, U, 1, U]] and not known.contradictions


def test_a_box_of_no_object_tells_only_of_its_inside():
    assert labels([Box(1, 0, 3, 1, label=0)], (1, 6)) == [[U, 0, 0, U, U, U]]
    assert sure([Box(1, 0, 3, 1, label=0)], (1, 6)) == [[0, 1, 1, 0, 0, 0]]


@pytest.mark.parametrize('place', [0, 1, 2])
def test_clicks_count_in_a_box_whatever_the_order(place):
    hints = [Click(1, 0), Click(2, 0, label=0)]
    hints.insert(place, Box(1, 0, 4, 1))
    known = hint_map(hints, (1, 6))
    assert known.labels.tolist() == [[0, 1, 0, 1, 0, 0]]
    assert known.sure.tolist() == [[True, True, True, False, True, True]]
    assert known.contradictions == []


def test_a_click_outside_of_its_box_contradicts_it():
    known = hint_map([Box(0, 0, 2, 1), Click(4, 0)], (1, 6))
    assert known.labels.tolist() == [[1, 1, 0, 0, 1, 0]]
    [text] = known.contradictions
    assert text == 'the hint at (4, 0) contradicts an earlier one; the later one counts'


def test_absent_is_all_of_the_image():
    known = hint_map([Absent()], SIZE)
    assert known.absent and not known.shows_object
    assert not known.labels.any() and known.sure.all()


def test_an_example_is_its_mask():
    mask = np.array([[0, 1, 1, 2, U, 0]], np.uint8)
    known = hint_map([ExampleMask(mask)], mask.shape)
    np.testing.assert_array_equal(known.labels, mask)
    np.testing.assert_array_equal(known.sure, mask != U)
    assert ExampleMask(mask).classes == {1, 2} and known.shows_object


def test_an_example_at_half_the_size():
    mask = np.repeat(np.repeat(np.array([[0, 1, 3], [U, 2, 0]], np.uint8), 2, 0), 2, 1)
    assert labels([ExampleMask(mask)], size=(2, 3)) == [[0, 1, 3], [U, 2, 0]]


def test_an_empty_example_says_that_nothing_is_there():
    known = hint_map([ExampleMask(np.zeros(SIZE, np.uint8))], SIZE)
    assert known.absent and not known.shows_object
    unknown = hint_map([ExampleMask(np.full(SIZE, U, np.uint8))], SIZE)
    assert not unknown.absent and ExampleMask(np.full(SIZE, U, np.uint8)).classes == set()


@pytest.mark.parametrize(
    ('hints', 'label', 'what'),
    [
        ([Click(2, 1), Click(2, 1, label=0)], 0, 'the hint at (2, 1)'),
        ([Click(2, 1, label=0), Click(2, 1)], 1, 'the hint at (2, 1)'),
        ([Click(2, 1), Click(2, 1, label=2)], 2, 'the hint at (2, 1)'),
        ([Click(2, 1), Absent()], 0, '"no object"'),
        ([Click(2, 1), ExampleMask(np.zeros(SIZE, np.uint8))], 0, 'the whole mask'),
        ([ExampleMask(np.ones(SIZE, np.uint8)), Absent()], 0, '"no object"'),
        ([ExampleMask(np.ones(SIZE, np.uint8)), Stroke([(2, 1)], label=0)], 0, 'the hint at (2'),
    ],
)
def test_the_later_hint_counts_and_the_contradiction_is_named(hints, label, what):
    known = hint_map(hints, SIZE)
    assert known.labels[1, 2] == label
    [text] = known.contradictions
    assert text.startswith(what) and text.endswith('the later one counts')


@pytest.mark.parametrize('later', [Click(2, 1), ExampleMask(np.ones(SIZE, np.uint8))])
def test_an_absence_does_not_count_where_an_object_is_shown_later(later):
    known = hint_map([Click(0, 0, label=0), Absent(), later], SIZE)
    [text] = known.contradictions[:1]
    assert text.startswith('"no object"') and known.shows_object
    without = hint_map([Click(0, 0, label=0), later], SIZE)
    np.testing.assert_array_equal(known.labels, without.labels)
    assert hint_map([Click(2, 1, label=0), Absent()], SIZE).absent


@pytest.mark.parametrize('wrong', ['a', None])
def test_places_are_numbers(wrong):
    with pytest.raises(MMCosegError, match='a click is x, y in pixels, got'):
        Click(1, wrong)
    with pytest.raises(MMCosegError, match='a box is left, top, right, bottom in pixels, got'):
        Box(0, wrong, 2, 2)


def test_hints_that_agree_do_not_contradict():
    mask = np.zeros(SIZE, np.uint8)
    mask[1, 2] = 1
    hints = [ExampleMask(mask), Click(2, 1), Click(0, 0, label=0), Stroke([(2, 1)])]
    known = hint_map(hints, SIZE)
    assert known.contradictions == []
    np.testing.assert_array_equal(known.labels, mask)


def test_a_hint_repeated_says_no_more():
    hints = [Box(0, 0, 5, 3), Click(2, 1), Stroke([(0, 3), (5, 3)], label=0)]
    once, thrice = hint_map(hints, SIZE), hint_map(hints * 3, SIZE)
    np.testing.assert_array_equal(once.labels, thrice.labels)
    np.testing.assert_array_equal(once.sure, thrice.sure)
    assert once.contradictions == thrice.contradictions == []


@pytest.mark.parametrize(
    'hint',
    [
        Click(-0.1, 0),
        Click(6.1, 0),
        Click(0, 4.1),
        Click(float('nan'), 0),
        Click(float('inf'), 0),
        Stroke([(0, 0), (7, 0)]),
        Stroke([(0, float('nan'))]),
        Box(-1, 0, 2, 2),
        Box(0, 0, 6, 5),
        Box(0, 0, float('inf'), 2),
    ],
)
@pytest.mark.parametrize('size', [None, (2, 3)])
def test_a_hint_outside_of_the_image_is_an_error(hint, size):
    with pytest.raises(MMCosegError, match=r'lies outside of the image, which is 6 x 4 pixels'):
        hint_map([hint], SIZE, size)


def test_an_example_of_another_size_is_an_error():
    with pytest.raises(MMCosegError, match='the mask is 4 x 6, its image 6 x 4'):
        hint_map([ExampleMask(np.zeros((6, 4), np.uint8))], SIZE)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: Click(0, 0, label=-1), 'the label of a hint'),
        (lambda: Click(0, 0, label=U), 'the label of a hint must be below 255'),
        (lambda: Click(0, 0, label=1.5), 'the label of a hint'),
        (lambda: Box(0, 0, 1, 1, label='cat'), 'the label of a hint'),
        (lambda: Box(2, 0, 1, 1), 'a box is left, top, right, bottom'),
        (lambda: Box(0, 1, 1, 1), 'a box is left, top, right, bottom'),
        (lambda: Box(float('nan'), 0, 1, 1), 'a box is left, top, right, bottom'),
        (lambda: Stroke([]), 'at least one'),
        (lambda: Stroke([(1,)]), 'list of points'),
        (lambda: Stroke([(1, 2), (3,)]), 'list of points'),
        (lambda: Stroke(np.zeros((2, 3))), 'list of points'),
        (lambda: Stroke(5), 'list of points'),
        (lambda: ExampleMask(None), 'array'),
        (lambda: ExampleMask(np.zeros((2, 2), bool)), 'uint8, got bool'),
        (lambda: ExampleMask(np.zeros((2, 2, 1), np.uint8)), r'\(H, W\)'),
    ],
)
def test_what_cannot_be_a_hint_is_refused_where_it_is_made(make, message):
    with pytest.raises(MMCosegError, match=message):
        make()


def test_examples_show_their_content_and_not_their_pixels():
    mask = np.zeros((300, 400), np.uint8)
    same, other = ExampleMask(mask.copy()), ExampleMask(mask + 1)
    assert repr(ExampleMask(mask)) == repr(same) != repr(other)
    assert '400 x 300' in repr(same) and len(repr(same)) < 100


def test_a_thousand_hints_on_a_large_image_touch_few_pixels(monkeypatch):
    touched = []

    def counted(canvas, *args):
        touched.append(canvas.size)
        return circle(canvas, *args)

    circle = cv2.circle
    monkeypatch.setattr(module.cv2, 'circle', counted)
    rng = np.random.default_rng(0)
    places = rng.uniform(0, [4000, 3000], (1000, 2))
    hints = [Click(x, y, label=i % 2) for i, (x, y) in enumerate(places.tolist())]
    known = hint_map(hints, (3000, 4000))
    assert len(touched) == 1000
    # A window of each click, and not the whole of the image.
    assert max(touched) <= (2 * round(4000 * module._RADIUS) + 1) ** 2
    for hint in hints[-10:]:
        assert known.sure[int(hint.y), int(hint.x)]
    # Each click that overlaps an earlier one of another label is named.
    assert 0 < len(known.contradictions) < 1000


def test_hints_are_given_in_the_upright_frame(tmp_path):
    """A photograph that its camera turned by 90 degrees: stored 6 x 4, upright 4 x 6."""
    stored = np.zeros((4, 6, 3), np.uint8)
    stored[0, 5] = 255  # upright: the lower right corner
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / 'a.png', exif=exif)
    upright = read_image(tmp_path / 'a.png')
    assert upright.shape == (6, 4, 3)
    y, x = np.argwhere(upright[..., 0] == 255)[0].tolist()
    assert (x, y) == (3, 5)
    known = hint_map([Click(x, y)], upright.shape[:2])
    assert np.argwhere(known.labels == 1).tolist() == [[5, 3]]
    with pytest.raises(MMCosegError, match='4 x 6 pixels'):
        hint_map([Click(5, 0)], upright.shape[:2])
