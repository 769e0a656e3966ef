"""Hints and examples on their way in: names of images, runs that go on, what is said of them."""

import json
import re

import numpy as np
import pytest
from conftest import make_image, write_images
from PIL import Image

from mmcoseg.apis import CoSegInferencer, hints_from, read_inputs, segment_to_folder
from mmcoseg.apis.hint_inputs import with_hints
from mmcoseg.apis.inputs import ImageItem, InputGroup
from mmcoseg.cli import main
from mmcoseg.datasets.hint_files import GivenHints, write_hints
from mmcoseg.errors import MMCosegError
from mmcoseg.structures import Absent, Box, Click, ExampleMask

pytestmark = pytest.mark.filterwarnings('ignore:the method does not carry hints over')

OUTSIDE = Click(3, 3, label=0)


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'hints.json'


@pytest.fixture
def segment(tmp_path, tiny_config, monkeypatch):
    """Segment into a folder; returns the result and the names of the groups that were computed."""
    computed = []
    segment_group = CoSegInferencer.segment_group

    def noted(self, group, *args, **kwargs):
        computed.append(group.name)
        return segment_group(self, group, *args, **kwargs)

    monkeypatch.setattr(CoSegInferencer, 'segment_group', noted)

    def run(photos, out='out', **options):
        computed.clear()
        result = segment_to_folder(photos, tmp_path / out, config=tiny_config, **options)
        return result, list(computed)

    return run


def groups_of(**groups):
    """Groups of images in memory that are never looked at."""
    found = []
    for name, files in groups.items():
        items = [ImageItem(file.rsplit('.', 1)[0], file) for file in files]
        found.append(InputGroup(name, items))
    return found


def mask_in(out, name):
    with Image.open(out / 'masks' / f'{name}.png') as mask:
        return np.asarray(mask)


def images_in(out):
    summary = json.loads((out / 'summary.json').read_text())
    found = {}
    for group in summary['groups']:
        for image in group['images']:
            found[f'{group["name"]}/{image["stem"]}'] = image
    return found


# Names


@pytest.mark.parametrize('name', ['cat/b.jpg', 'cat/b', 'b.jpg', 'b'])
def test_images_go_by_their_names(name):
    groups = groups_of(cat=['a.jpg', 'b.jpg'], dog=['a.jpg'])
    hinted = with_hints(groups, GivenHints({name: [Click(1, 1)]}))
    found = {(g.name, item.stem): item.hints for g in hinted for item in g.items}
    assert found == {('cat', 'a'): (), ('cat', 'b'): (Click(1, 1),), ('dog', 'a'): ()}
    assert groups == groups_of(cat=['a.jpg', 'b.jpg'], dog=['a.jpg'])  # not written to


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('cat/c.jpg', "the hints: there is no image 'cat/c.jpg' .did you"),
        ('bird/a.jpg', "did you mean '(cat|dog)/a.jpg'"),
        ('', "the hints: there is no image ''"),
        ('photos/cat/a.jpg', 'images are called <group>/<file> or <file>'),
        ('a.jpg', "several images are called 'a.jpg'; call the one that you mean <group>/<file>"),
        ('a', "several images are called 'a'"),
    ],
)
def test_a_name_that_is_not_one_image_is_an_error(name, message):
    groups = groups_of(cat=['a.jpg', 'b.jpg'], dog=['a.jpg'])
    with pytest.raises(MMCosegError, match=message):
        with_hints(groups, GivenHints({name: [Click(1, 1)]}))


def test_images_of_one_stem_keep_their_whole_names(tmp_path):
    write_images(tmp_path / 'cat', ['a.jpg', 'a.png'])
    hinted = with_hints(read_inputs(tmp_path / 'cat'), GivenHints({'a.png': [Absent()]}))
    assert [item.hints for item in hinted[0].items] == [(), (Absent(),)]
    with pytest.raises(MMCosegError, match="several images are called 'a'"):
        with_hints(read_inputs(tmp_path / 'cat'), GivenHints({'a': [Absent()]}))


def test_several_names_of_one_image_add_up_in_order():
    names = {'cat/b': [Click(1, 1)], 'b.jpg': [Click(2, 2)], 'cat/b.jpg': [Click(3, 3)]}
    [group] = with_hints(groups_of(cat=['b.jpg']), GivenHints(names))
    assert group.items[0].hints == (Click(1, 1), Click(2, 2), Click(3, 3))


def test_classes_are_those_of_groups_with_hints():
    groups = groups_of(cat=['a.jpg'], dog=['b.jpg'])
    hinted = with_hints(groups, GivenHints({'a': [Click(1, 1)]}, {'': ('ear', 'eye')}))
    assert [group.classes for group in hinted] == [('ear', 'eye'), ()]


# Sources


def test_hints_from_files_folders_and_dicts(tmp_path, file):
    write_hints(file, {'cat/a': [Click(1, 1)]}, ['mug'])
    (tmp_path / 'masks').mkdir()
    Image.fromarray(np.full((2, 2), 255, np.uint8)).save(tmp_path / 'masks' / 'a.png')
    hints = hints_from(tmp_path / 'masks', None, str(file), {'cat/a': (Absent(),)})
    assert list(hints.by_image) == ['a', 'cat/a']
    assert hints.by_image['cat/a'] == [Click(1, 1), Absent()]
    assert isinstance(hints.by_image['a'][0], ExampleMask)
    assert hints.classes_of('any') == ('mug',)
    assert hints_from(None, None).by_image == {}


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (5, 'hints are the path of a file of hints or of a folder of masks, or a dict'),
        ([Click(1, 1)], 'hints are the path'),
        ({'a': Click(1, 1)}, "the hints on 'a' must be a list, got Click"),
        ({'a': [(1, 1)]}, "the hints on 'a' must be Click, Stroke, Box, Absent or ExampleMask"),
        ({'a': [Click]}, "the hints on 'a' must be Click"),
        ({7: [Click(1, 1)]}, 'names of images, which are texts, got 7'),
    ],
)
def test_what_are_no_hints_is_named(given, message):
    with pytest.raises(MMCosegError, match=message):
        hints_from(given)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'there is no file .*no\.json'):
        hints_from(tmp_path / 'no.json')


# From Python


def test_hints_of_the_inferencer(photos, tiny_config):
    mask = np.zeros((20, 30), np.uint8)
    mask[3:9, 4:20] = 1
    hints = {
        'cat/001.jpg': [ExampleMask(mask)],
        'cat/002': [Click(29, 19), OUTSIDE],
        'cat/003': [Absent()],
    }
    inferencer = CoSegInferencer(config=tiny_config)
    cat, dog = inferencer(photos, hints=hints)
    np.testing.assert_array_equal(cat[0].pred_sem_seg.data[0], mask)
    assert cat[1].pred_sem_seg.data[0, 19, 29] == 1 and cat[1].pred_sem_seg.data[0, 3, 3] == 0
    assert cat[2].get('absent') is True and not cat[2].pred_sem_seg.data.any()
    assert [sample.presence for sample in cat] == [1, 1, 0]
    # Other groups are as they were.
    _, other = inferencer(photos)
    for one, same in zip(dog, other):
        np.testing.assert_array_equal(one.pred_prob.data, same.pred_prob.data)
    assert inferencer(photos, hints={})[0][0].get('hints') is None


def test_arrays_go_by_their_numbers(tiny_config):
    images = [make_image(seed) for seed in range(2)]
    [group] = CoSegInferencer(config=tiny_config)(images, hints={'0001.png': [Absent()]})
    assert [bool(sample.get('absent')) for sample in group] == [False, True]


def test_photographs_that_a_camera_turned_have_hints_in_the_upright_frame(tmp_path, tiny_config):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored 30 x 20, upright 20 x 30
    Image.fromarray(make_image()).save(tmp_path / 'a.jpg', exif=exif)
    mask = np.zeros((30, 20), np.uint8)
    mask[28, 1] = 1
    inferencer = CoSegInferencer(config=tiny_config)
    for hint in (Click(1, 28), ExampleMask(mask)):
        [[sample]] = inferencer(tmp_path, hints={'a': [hint]})
        assert sample.pred_sem_seg.data.shape == (1, 30, 20)
        assert sample.pred_sem_seg.data[0, 28, 1] == 1
    message = r'^the hints: a: hint 1: \(28, 1\) lies outside .* 20 x 30 pixels'
    with pytest.raises(MMCosegError, match=message):
        inferencer(tmp_path, hints={'a': [Click(28, 1)]})


@pytest.mark.parametrize(
    ('hint', 'message'),
    [
        (Click(31, 0), r'\(31, 0\) lies outside of the image, which is 30 x 20 pixels'),
        (Box(0, 0, 30, 21), r'\(30, 21\) lies outside of the image'),
        (ExampleMask(np.zeros((30, 20), np.uint8)), 'the mask is 20 x 30, its image 30 x 20'),
    ],
)
def test_hints_that_do_not_fit_name_their_image(photos, tiny_config, hint, message):
    with pytest.raises(MMCosegError, match=rf'^the hints: cat/002: hint 1: {message}'):
        CoSegInferencer(config=tiny_config)(photos, hints={'cat/002': [hint]})


def test_a_method_without_the_stage_says_so(photos, tiny_config):
    inferencer = CoSegInferencer(config=tiny_config)
    with pytest.warns(UserWarning, match='does not carry hints over to other images'):
        inferencer(photos, hints={'cat/002': [OUTSIDE]})


# Into a folder


def test_changed_hints_recompute_their_group_alone(photos, tmp_path, segment):
    assert segment(photos)[1] == ['cat', 'dog']
    before = mask_in(tmp_path / 'out', 'cat/001')
    hints = {'cat/001': [ExampleMask(np.ones((20, 30), np.uint8))]}
    result, computed = segment(photos, hints=hints)
    assert computed == ['cat'] and (result.num_written, result.num_kept) == (3, 2)
    assert (mask_in(tmp_path / 'out', 'cat/001') == 255).all()
    # The same ones, though made anew.
    again = {'cat/001': [ExampleMask(np.ones((20, 30), np.uint8))]}
    result, computed = segment(photos, hints=again)
    assert computed == [] and (result.num_written, result.num_kept) == (0, 5)
    assert segment(photos, hints={**again, 'dog/001': [OUTSIDE]})[1] == ['dog']
    assert segment(photos, hints={'dog/001': [OUTSIDE]})[1] == ['cat']
    np.testing.assert_array_equal(mask_in(tmp_path / 'out', 'cat/001'), before)


@pytest.mark.parametrize(
    'hints',
    [
        {'cat/001': [Click(3, 3.5, label=0)]},
        {'cat/001': [Click(3, 3, label=1)]},
        {'cat/001': [OUTSIDE, OUTSIDE]},
        {'cat/002': [OUTSIDE]},
    ],
)
def test_any_change_of_a_hint_counts(photos, segment, hints):
    segment(photos, hints={'cat/001': [OUTSIDE]})
    assert segment(photos, hints={'cat/001': [OUTSIDE]})[1] == []
    assert segment(photos, hints=hints)[1] == ['cat']


def test_a_changed_name_of_a_class_counts(photos, segment, file):
    for classes, computed in [(['mug'], ['cat', 'dog']), (['cup'], ['cat']), (['cup'], [])]:
        write_hints(file, {'cat/001': [Click(3, 3)]}, classes)
        assert segment(photos, hints=file)[1] == computed


def test_results_are_examples(photos, tmp_path, segment):
    segment(photos, 'first')
    result, _ = segment(photos, 'second', examples=tmp_path / 'first')
    assert result.num_written == 5
    for name in ('cat/001', 'cat/002', 'dog/002'):
        np.testing.assert_array_equal(
            mask_in(tmp_path / 'first', name), mask_in(tmp_path / 'second', name)
        )


def test_hints_come_after_examples(photos, tmp_path, segment):
    (tmp_path / 'masks' / 'cat').mkdir(parents=True)
    mask = np.full((20, 30), 255, np.uint8)
    Image.fromarray(mask).save(tmp_path / 'masks' / 'cat' / '001.png')
    segment(photos, examples=tmp_path / 'masks', hints={'cat/001.jpg': [OUTSIDE]})
    mask[3, 3] = 0
    np.testing.assert_array_equal(mask_in(tmp_path / 'out', 'cat/001'), mask)
    [text] = images_in(tmp_path / 'out')['cat/001']['warnings']
    assert text == 'the hint at (3, 3) contradicts an earlier one; the later one counts'


def test_contradictions_are_shown(photos, tmp_path, tiny_config, file, capsys):
    write_hints(file, {'cat/001': [Click(3, 3), OUTSIDE], 'dog/002': [Click(5, 5)]})
    args = ['segment', photos, '--out', tmp_path / 'out', '--config', tiny_config, '--hints', file]
    assert main(list(map(str, args))) == 0
    said = capsys.readouterr().err
    assert re.findall(r'^note: (.*contradicts.*)$', said, re.MULTILINE) == [
        'cat/001: the hint at (3, 3) contradicts an earlier one; the later one counts'
    ]
    assert len(images_in(tmp_path / 'out')['cat/001']['warnings']) == 1
    assert images_in(tmp_path / 'out')['dog/002']['warnings'] == []


def test_a_hinted_image_that_cannot_be_read_is_skipped(photos, tmp_path, segment):
    (photos / 'cat' / '004.jpg').write_bytes(b'no image')
    hints = {'cat/004': [Click(1, 1)], 'cat/001': [Absent()]}
    result, _ = segment(photos, hints=hints)
    assert [(group, file) for group, file, _ in result.skipped] == [('cat', '004.jpg')]
    assert result.num_absent == 1
    assert segment(photos, hints=hints)[1] == []


def test_a_group_that_shows_nothing(photos, tmp_path, segment):
    result, _ = segment(photos, hints={f'cat/00{i}': [Absent()] for i in (1, 2, 3)})
    assert result.num_absent == 3
    found = images_in(tmp_path / 'out')
    assert [found[f'cat/00{i}']['presence'] for i in (1, 2, 3)] == [0, 0, 0]
    assert not mask_in(tmp_path / 'out', 'cat/001').any()


def test_a_hinted_object_is_present_whatever_the_threshold(photos, tmp_path, segment):
    hints = {'cat/001': [Click(3, 3)], 'cat/002': [Box(2, 2, 28, 18)]}
    result, _ = segment(photos, hints=hints, presence_threshold=0.99)
    found = images_in(tmp_path / 'out')
    assert not found['cat/001']['absent'] and not found['cat/002']['absent']
    assert result.num_absent == 3 and mask_in(tmp_path / 'out', 'cat/001')[3, 3] == 255


def test_a_group_of_one_image(tmp_path, segment):
    write_images(tmp_path / 'one', ['x.jpg'])
    segment(tmp_path / 'one', hints={'x': [Click(0, 0), OUTSIDE]})
    mask = mask_in(tmp_path / 'out', 'one/x')
    assert mask[0, 0] == 255 and mask[3, 3] == 0


ODD = ['a/b', '<b>&"', ' ', '☕', "d'é"]


@pytest.mark.parametrize('classes', [ODD, [f'c{number}' for number in range(30)]])
def test_classes_have_their_names_in_all_results(photos, tmp_path, segment, file, classes):
    clicks = [Click(i % 30, 2, label=i + 1) for i in range(len(classes))]
    write_hints(file, {'cat/001.jpg': clicks}, classes)
    formats = ('masks', 'overlays', 'coco', 'labelme', 'yolo')
    segment(photos, hints=file, formats=formats)
    mask = mask_in(tmp_path / 'out', 'cat/001')
    assert [mask[2, i] for i in range(len(classes))] == list(range(1, len(classes) + 1))
    coco = json.loads((tmp_path / 'out' / 'annotations.json').read_text())
    # The other group has no hints, and its object is the group's.
    assert [category['name'] for category in coco['categories']] == [*classes, 'dog']
    assert '<b>&"' not in (tmp_path / 'out' / 'report.html').read_text()
