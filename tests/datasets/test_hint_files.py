"""Hints in files: what is read, and what is named when it is wrong."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from mmcoseg.datasets import hint_files
from mmcoseg.datasets.hint_files import GivenHints, read_examples, read_hints, write_hints
from mmcoseg.errors import MMCosegError
from mmcoseg.structures import Absent, Box, Click, ExampleMask, Stroke

CLASSES = ('mug', 'plate')


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'hints.json'


def write(file, *entries, **others):
    content = dict(version=hint_files.HINTS_VERSION, images={'cat/001.jpg': list(entries)})
    file.write_text(json.dumps({**content, **others}))
    return file


def save_mask(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(np.array(values, np.uint8))
    mask.save(path, **options)


def test_every_kind_of_hint(file):
    write(
        file,
        {'click': [3, 4.5]},
        {'click': [0, 0], 'object': False},
        {'stroke': [[1, 2], [3, 4]], 'object': True},
        {'box': [1, 2, 3, 4], 'object': 'plate'},
        {'absent': True},
        classes=list(CLASSES),
    )
    hints = read_hints(file)
    assert hints.by_image == {
        'cat/001.jpg': [
            Click(3, 4.5),
            Click(0, 0, label=0),
            Stroke([(1, 2), (3, 4)]),
            Box(1, 2, 3, 4, label=2),
            Absent(),
        ]
    }
    assert hints.classes_of('cat') == hints.classes_of('dog') == CLASSES


def test_the_example_in_the_documentation(repo, file):
    page = (repo / 'docs' / 'hints.md').read_text()
    [example] = re.findall(r'```json\n(.*?)```', page, re.DOTALL)
    file.write_text(example)
    hints = read_hints(file)
    assert hints.by_image['kitchen/002.jpg'] == [Box(120, 80, 480, 420)]
    assert [hint.label for hint in hints.by_image['kitchen/001.jpg']] == [1, 0, 2]
    # And its error.
    file.write_text(example.replace('[90.5, 31]', '[90.5]'))
    with pytest.raises(MMCosegError) as error:
        read_hints(file)
    assert f'error: hints.json{str(error.value).removeprefix(str(file))}\n' in page


def test_round_trip(file):
    by_image = {
        'cat/001.jpg': [Click(1.25, 2), Click(0.1, 1e-3, label=0), Absent()],
        'très drôle/☕.png': [Stroke(np.array([[1, 2], [3.5, 4]]), label=2), Box(0, 0, 1, 1)],
        'without': [],
    }
    write_hints(file, by_image, CLASSES)
    hints = read_hints(file)
    assert hints.by_image == by_image and hints.classes_of('') == CLASSES
    write_hints(file, {'a': [Click(1, 2)]})
    assert json.loads(file.read_bytes()) == {
        'version': 1,
        'images': {'a': [{'click': [1, 2], 'object': True}]},
    }
    assert read_hints(file).classes == {}


@pytest.mark.parametrize(
    ('hint', 'classes', 'message'),
    [
        (ExampleMask(np.zeros((2, 2), np.uint8)), (), 'example masks are kept as files of masks'),
        (Click(0, 0, label=2), (), r'a hint is of class 2, but the classes are \[\]'),
        (Click(0, 0, label=3), CLASSES, 'a hint is of class 3'),
    ],
)
def test_what_a_file_cannot_hold_is_not_written(file, hint, classes, message):
    with pytest.raises(MMCosegError, match=f'^cat/1: {message}'):
        write_hints(file, {'cat/1': [hint]}, classes)
    assert not file.exists()


NUMBERS = r'it takes 2 numbers, in pixels, got '


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ({}, 'a hint has exactly one of the keys'),
        ([], 'a hint has exactly one of the keys'),
        (None, 'a hint has exactly one of the keys'),
        ({'clik': [1, 2]}, 'a hint has exactly one of the keys'),
        ({'click': [1, 2], 'absent': True}, 'a hint has exactly one of the keys'),
        ({'click': [1, 2], 'objct': True}, "it has no 'objct' .did you mean 'object'"),
        ({'click': [1]}, NUMBERS),
        ({'click': [1, 2, 3]}, NUMBERS),
        ({'click': None}, NUMBERS),
        ({'click': {'x': 1, 'y': 2}}, NUMBERS),
        ({'click': ['1', 2]}, NUMBERS),
        ({'click': [True, 2]}, NUMBERS),
        ({'click': [[1], 2]}, NUMBERS),
        ({'click': [float('nan'), 2]}, NUMBERS),
        ({'click': [1, float('-inf')]}, NUMBERS),
        ({'click': [10**400, 2]}, NUMBERS),
        ({'click': [1e300, 2]}, NUMBERS),
        ({'stroke': []}, 'a stroke is a list of points'),
        ({'stroke': [1, 2]}, NUMBERS),
        ({'stroke': [[1, 2], [3]]}, NUMBERS),
        ({'stroke': [[[1, 2]]]}, NUMBERS),
        ({'stroke': 'line'}, 'a stroke is a list of points'),
        ({'box': [1, 2, 3]}, 'it takes 4 numbers'),
        ({'box': [3, 2, 1, 4]}, 'a box is left, top, right, bottom'),
        ({'absent': False}, '"absent" can only be true'),
        ({'absent': 1}, '"absent" can only be true'),
        ({'absent': True, 'object': 'mug'}, "it has no 'object'"),
        ({'click': [1, 2], 'object': 'mugg'}, r'"object" is .mugg.; .*did you mean .mug.'),
        ({'click': [1, 2], 'object': 1}, '"object" is 1; it must be true, false, or a name in'),
        ({'click': [1, 2], 'object': None}, '"object" is None'),
        ({'click': [1, 2], 'object': ['mug']}, r'"object" is \[.mug.\]'),
    ],
)
def test_a_wrong_entry_is_named(file, entry, message):
    write(file, {'click': [1, 1]}, entry, classes=list(CLASSES))
    start = re.escape(f'{file}: cat/001.jpg: hint 2: ')
    with pytest.raises(MMCosegError, match=start + message):
        read_hints(file)


@pytest.mark.parametrize('entry', [{'stroke': 'x' * 100_000}, {'click': [7] * 100_000}, [9] * 9999])
def test_messages_do_not_repeat_whole_files(file, entry):
    with pytest.raises(MMCosegError) as error:
        read_hints(write(file, entry))
    assert len(str(error.value)) < 300 + len(str(file))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([], 'hints are {"version": 1'),
        (None, 'hints are {"version": 1'),
        ({'version': 1}, 'hints are {"version": 1'),
        ({'version': 1, 'images': []}, 'hints are {"version": 1'),
        ({'images': {}}, 'its version is None; this version of mmcoseg reads "version": 1'),
        ({'version': '1', 'images': {}}, "its version is '1'"),
        ({'version': 2, 'pictures': {}}, 'its version is 2; this version'),
        ({'version': 1, 'image': {}}, "no 'image' .did you mean 'images'"),
        ({'version': 1, 'images': {'a': {}}}, 'a: the hints of an image are a list, got dict'),
        ({'version': 1, 'images': {}, 'classes': 'ab'}, '"classes" must be a list of names'),
        ({'version': 1, 'images': {}, 'classes': [1]}, '"classes" must be a list of names'),
        ({'version': 1, 'images': {}, 'classes': ['']}, '"classes" must be a list of names'),
        ({'version': 1, 'images': {}, 'classes': ['a', 'a']}, '"classes" has a name twice'),
        ({'version': 1, 'images': {}, 'classes': list(map(str, range(255)))}, 'at most 254'),
    ],
)
def test_a_wrong_file_is_named(file, content, message):
    file.write_text(json.dumps(content))
    with pytest.raises(MMCosegError, match=f'^{re.escape(str(file))}: .*{message}'):
        read_hints(file)


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\0' * 50,
        b'\x89PNG\r\n',
        '{"version": 1, "images": {"\xe9": []}}'.encode('latin1'),
        b'[' * 100_000,
        b'{"version": 1, "images": {"a": [], "a": []}}',
        b'{"version": 1, "images": {"a": [{"click": [1, 1], "click": [2, 2]}]}}',
    ],
)
def test_what_is_no_json_is_named(file, content):
    file.write_bytes(content)
    with pytest.raises(MMCosegError, match=f'^{re.escape(str(file))} is not valid json'):
        read_hints(file)


def test_a_key_twice_would_lose_hints_and_is_named(file):
    file.write_text('{"version": 1, "images": {"a.jpg": [], "a.jpg": []}}')
    with pytest.raises(MMCosegError, match=r"it has 'a.jpg' twice"):
        read_hints(file)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-32'])
def test_encodings_of_windows_are_read(file, encoding):
    file.write_bytes('{"version": 1, "images": {"é": [{"absent": true}]}}'.encode(encoding))
    assert read_hints(file).by_image == {'é': [Absent()]}


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no file'):
        read_hints(tmp_path / 'no.json')


def test_254_classes_and_odd_names(file):
    names = ['a/b\n', '<b>', ' ', 'é☕', *map(str, range(250))]
    write(
        file, {'click': [1, 1], 'object': '<b>'}, {'click': [1, 1], 'object': '249'}, classes=names
    )
    [one, other] = read_hints(file).by_image['cat/001.jpg']
    assert (one.label, other.label) == (2, 254)


# Examples


def test_examples_of_one_class(tmp_path):
    save_mask(tmp_path / 'cat' / '001.png', [[0, 255, 255]])
    save_mask(tmp_path / 'cat' / 'IMG.v2.png', [[0, 1, 0]])
    save_mask(tmp_path / 'loose.png', [[0, 0, 0]])
    hints = read_examples(tmp_path)
    masks = {name: hint.mask.tolist() for name, [hint] in hints.by_image.items()}
    assert masks == {
        'cat/001': [[0, 1, 1]],
        'cat/IMG.v2': [[0, 1, 0]],
        'loose': [[0, 0, 0]],
    }
    assert hints.classes == {}


def test_examples_of_several_classes_and_their_names(tmp_path):
    save_mask(tmp_path / 'cup+plate' / '1.png', [[0, 1, 2, 255]])
    names = {'cup+plate': ['cup', 'plate']}
    (tmp_path / 'classes.json').write_text(json.dumps(names))
    hints = read_examples(tmp_path)
    assert hints.by_image['cup+plate/1'][0].mask.tolist() == [[0, 1, 2, 255]]
    assert hints.classes_of('cup+plate') == ('cup', 'plate') and hints.classes_of('other') == ()


def test_masks_in_a_folder_of_results(tmp_path):
    save_mask(tmp_path / 'masks' / 'cat' / '001.png', [[0, 255]])
    save_mask(tmp_path / 'overlays' / 'cat' / '002.jpg', [[0, 255]])
    assert list(read_examples(tmp_path).by_image) == ['cat/001']


def test_palettes_and_transparency_are_read(tmp_path):
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode='P')
    palette.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    palette.save(tmp_path / 'palette.png')
    Image.fromarray(np.array([[[5, 90, 7, 255], [5, 90, 7, 0]]], np.uint8)).save(
        tmp_path / 'transparent.png'
    )
    Image.fromarray(np.array([[True, False]])).save(tmp_path / 'bits.png')
    hints = read_examples(tmp_path)
    masks = {name: hint.mask.tolist() for name, [hint] in hints.by_image.items()}
    assert masks == {'bits': [[1, 0]], 'palette': [[0, 1, 2]], 'transparent': [[1, 0]]}


@pytest.mark.parametrize(
    ('name', 'image', 'message'),
    [
        ('1.png', np.array([[[1, 2, 3], [250, 3, 4]]], np.uint8), 'a color image, not a mask'),
        ('1.png', np.array([[0, 300]], np.uint16), 'masks hold 0..255'),
        ('1.png', np.arange(256, dtype=np.uint8)[None], 'without smoothing, as png'),
        ('1.jpg', np.array([[0, 255]], np.uint8), 'is no example mask: they are png files'),
        ('1.PNG', np.array([[0, 255]], np.uint8), 'is no example mask: they are png files'),
    ],
)
def test_a_wrong_mask_is_named(tmp_path, name, image, message):
    save_mask(tmp_path / 'cat' / '0.png', [[0, 255]])
    Image.fromarray(image).save(tmp_path / 'cat' / name)
    with pytest.raises(MMCosegError, match=message) as error:
        read_examples(tmp_path)
    assert str(tmp_path / 'cat' / name) in str(error.value)


def test_a_damaged_mask_is_named(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(MMCosegError, match=re.escape(str(tmp_path / 'a.png'))):
        read_examples(tmp_path)


def test_what_lies_beside_masks_is_passed_over(tmp_path):
    save_mask(tmp_path / 'cat' / '1.png', [[0, 255]])
    for name in ('._1.png', '.DS_Store', 'notes.txt', 'Thumbs.db'):
        (tmp_path / 'cat' / name).write_bytes(b'no image')
    assert list(read_examples(tmp_path).by_image) == ['cat/1']


@pytest.mark.parametrize('name', ['empty', 'missing'])
def test_a_folder_without_masks_is_an_error(tmp_path, name):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=f'no example masks in .*{name}'):
        read_examples(tmp_path / name)


# Several sources


def test_later_hints_come_behind_earlier_ones():
    hints = GivenHints({'a': [Click(1, 1)]})
    hints.add(GivenHints({'b': [Absent()], 'a': [Click(2, 2)]}))
    assert hints.by_image == {'a': [Click(1, 1), Click(2, 2)], 'b': [Absent()]}


@pytest.mark.parametrize('groups', [('', ''), ('cat', 'cat'), ('', 'cat'), ('cat', '')])
def test_sources_must_agree_on_the_classes(groups):
    ours, theirs = groups
    GivenHints({}, {ours: CLASSES}).add(GivenHints({}, {theirs: CLASSES}))
    with pytest.raises(
        MMCosegError, match=r"name the classes \['mug', 'plate'\], the hints \['plate'"
    ):
        GivenHints({}, {ours: CLASSES}).add(GivenHints({}, {theirs: CLASSES[::-1]}))


def test_groups_may_have_classes_of_their_own():
    hints = GivenHints({}, {'cat': ('eye', 'ear')})
    hints.add(GivenHints({}, {'dog': CLASSES}))
    assert hints.classes_of('cat') == ('eye', 'ear') and hints.classes_of('dog') == CLASSES


@pytest.mark.parametrize('values', [[128], [2], [1, 3]])
def test_values_that_are_no_classes_are_refused(tmp_path, values):
    mask = np.zeros((4, 6), np.uint8)
    mask[0, : len(values)] = values
    Image.fromarray(mask).save(tmp_path / 'a.png')
    with pytest.raises(MMCosegError, match=r'hold the values .* 0 to K for K classes: name the'):
        read_examples(tmp_path)
