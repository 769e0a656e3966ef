"""A group that stays open for hints."""

import warnings

import numpy as np
import pytest
from conftest import make_image, write_images

from mmcoseg.apis import CoSegInferencer
from mmcoseg.errors import MMCosegError
from mmcoseg.structures import Absent, Click, read_object


@pytest.fixture(scope='module')
def inferencer():
    return CoSegInferencer(num_workers=1)


@pytest.fixture
def images():
    return [make_image(seed, (60, 90)) for seed in range(5)]


@pytest.fixture
def session(inferencer, images):
    return inferencer.open(dict(cups=images))


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)


def test_without_hints_it_is_what_the_inferencer_gives(inferencer, images, session):
    [group] = inferencer(dict(cups=images))
    assert_same(session.masks(), {s.file_name: s.pred_sem_seg.data[0].numpy() for s in group})


def test_with_hints_it_is_what_the_inferencer_gives(inferencer, images, session):
    hints = {'0001.png': [Click(5, 6), Click(70, 40, label=0)], '0003.png': [Absent()]}
    session.add_click('0001.png', 5, 6)
    session.add_click('0001.png', 70, 40, object=False)
    session.set_absent('0003.png')
    session.update()
    [group] = inferencer(dict(cups=images), hints=hints)
    assert session.hints() == hints
    assert_same(session.masks(), {s.file_name: s.pred_sem_seg.data[0].numpy() for s in group})
    assert not session.masks(['0003.png'])['0003.png'].any()
    assert session.samples(['0003.png'])[0].absent


def test_hints_change_the_other_images(session):
    before = session.maps()
    for _ in range(2):
        session.add_click('0000.png', 45, 30, object=False)
    session.update()
    after = session.maps()
    assert any(np.abs(after[name] - before[name]).max() > 1e-3 for name in session.names[1:])


def test_undo_takes_back_one_hint_after_the_other(session):
    first = session.masks()
    session.add_click('0000.png', 45, 30)
    session.update()
    second = session.masks()
    session.set_absent('0002.png')
    session.update()
    session.masks()
    assert session.undo() == ('0002.png', Absent())
    session.update()
    assert_same(session.masks(), second)
    assert session.undo() == ('0000.png', Click(45, 30))
    session.update()
    assert_same(session.masks(), first)
    assert session.undo() is None and session.hints() == {}


def test_it_asks_for_the_least_sure_image_without_hints(session):
    sureness = session.sureness()
    assert list(sureness) == session.names and all(0 <= s <= 1 for s in sureness.values())
    asked = []
    while (name := session.next_image()) is not None:
        rest = [other for other in session.names if other not in asked]
        assert session.sureness()[name] == min(session.sureness()[other] for other in rest)
        asked.append(name)
        session.add_click(name, 1, 1, object=False)
        session.update()
    assert sorted(asked) == sorted(session.names)


def test_an_example_comes_back_as_it_was_given(session):
    mask = np.zeros((60, 90), bool)
    mask[10:40, 5:30] = True
    session.add_example('0004.png', mask)
    session.update()
    np.testing.assert_array_equal(session.masks(['0004.png'])['0004.png'], mask)
    session.add_example('0003.png', mask * np.uint8(255))
    np.testing.assert_array_equal(session.masks(['0003.png'])['0003.png'], mask)


def test_classes_have_names(inferencer, images):
    session = inferencer.open(dict(table=images), classes=('cup', 'spoon'))
    session.add_click('0000.png', 5, 5, object='cup')
    session.add_click('0001.png', 80, 50, object='spoon')
    session.update()
    masks = session.masks()
    assert masks['0000.png'][5, 5] == 1 and masks['0001.png'][50, 80] == 2
    assert session.samples(['0000.png'])[0].class_names == ('cup', 'spoon')
    with pytest.raises(MMCosegError, match="no class 'spon'.*did you mean 'spoon'"):
        session.add_click('0000.png', 5, 5, object='spon')


def test_saved_hints_give_the_same_masks(inferencer, tmp_path, photos):
    session = inferencer.open(photos / 'cat')
    name = session.names[0]
    session.add_click(name, 3, 4)
    session.add_box(name, 2, 2, 15, 12)
    session.add_stroke(session.names[1], [(1, 1), (12, 3)], object=False)
    session.update()
    session.save_hints(tmp_path / 'hints.json')
    again = inferencer.open(photos / 'cat', hints=tmp_path / 'hints.json')
    assert again.hints() == session.hints()
    assert_same(again.masks(), session.masks())


def test_what_was_learned_can_be_kept(session, images, tmp_path, tiny_config):
    session.add_click('0000.png', 45, 30)
    session.update()
    session.save_object(tmp_path / 'cup.coseg')
    saved = read_object(tmp_path / 'cup.coseg')
    assert saved.classes == ('cups',) and saved.origin['hinted_images'] == 1
    [group] = CoSegInferencer(objects=[tmp_path / 'cup.coseg'], num_workers=1)(images[:1])
    assert group[0].class_names == ('cups',)
    with pytest.warns(UserWarning, match='does not carry hints over'):
        other = CoSegInferencer(config=tiny_config).open(images)
    with pytest.raises(MMCosegError, match='this method has none'):
        other.save_object(tmp_path / 'other.coseg')


def test_an_object_of_nothing_is_not_kept(session, tmp_path):
    for name in session.names:
        session.set_absent(name)
    session.update()
    with pytest.raises(MMCosegError, match='no object was found in the group'):
        session.save_object(tmp_path / 'nothing.coseg')
    with pytest.raises(MMCosegError, match='must end with .coseg'):
        session.save_object(tmp_path / 'nothing.pt')
    assert not any(tmp_path.iterdir())
    assert set(session.sureness().values()) == {1.0}


def test_images_go_by_the_names_that_files_of_hints_use(session):
    for name in ('cups/0001.png', '0001.png', '0001', 'cups/0001'):
        session.add_click(name, 1, 1)
    assert list(session.hints()) == ['0001.png'] and len(session.hints()['0001.png']) == 4
    assert list(session.masks('0001')) == ['0001.png']


def test_examples_are_saved_as_masks(inferencer, photos, tmp_path):
    session = inferencer.open(photos / 'cat')
    name = session.names[0]
    mask = session.masks([name])[name]
    session.add_example(name, mask)
    session.add_click(session.names[1], 2, 2, object=False)
    with pytest.warns(UserWarning, match='1 example masks are not in .*save_examples'):
        session.save_hints(tmp_path / 'hints.json')
    session.save_examples(tmp_path / 'examples')
    again = inferencer.open(photos / 'cat', hints=tmp_path / 'examples')
    np.testing.assert_array_equal(again.masks([name])[name], mask)
    [file] = (tmp_path / 'examples').glob('masks/cat/*.png')
    session.add_example(session.names[2], file)
    np.testing.assert_array_equal(session.hints()[session.names[2]][0].mask, mask)


def test_errors_name_the_image_and_change_nothing(session):
    with pytest.raises(MMCosegError, match="no image '0000.jpg'.*did you mean '0000.png'"):
        session.add_click('0000.jpg', 1, 1)
    with pytest.raises(MMCosegError, match=r'of class 2, but the classes are \[\]'):
        session.add_example('0000.png', np.full((60, 90), 2))
    with pytest.raises(MMCosegError, match='0000.png: .* outside of the image, which is 90 x 60'):
        session.add_click('0000.png', 91, 1)
    assert session.hints() == {} and session.undo() is None


def test_contradictions_are_named_once(session):
    session.add_click('0000.png', 10, 10)
    with pytest.warns(UserWarning, match=r'0000.png: the hint at \(10, 10\) contradicts'):
        session.add_click('0000.png', 10, 10, object=False)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        session.add_click('0000.png', 50, 10)
    session.update()
    assert session.masks(['0000.png'])['0000.png'][10, 10] == 0


def test_one_group_at_a_time_and_files_that_cannot_be_read(inferencer, photos):
    with pytest.raises(MMCosegError, match='the input has 2: cat, dog'):
        inferencer.open(photos)
    (photos / 'cat' / 'broken.png').write_bytes(b'no image')
    session = inferencer.open(photos / 'cat')
    assert [file.file_name for file in session.skipped] == ['broken.png']
    assert 'broken.png' not in session.names


def test_methods_without_the_stage_follow_hints_on_their_image(tiny_config, tmp_path):
    write_images(tmp_path / 'cat', ['a.png', 'b.png'])
    with pytest.warns(UserWarning, match='does not carry hints over'):
        session = CoSegInferencer(config=tiny_config).open(tmp_path / 'cat')
    before = session.masks()
    session.add_click('a.png', 2, 2, object=not before['a.png'][2, 2])
    session.update()
    after = session.masks()
    assert after['a.png'][2, 2] != before['a.png'][2, 2]
    np.testing.assert_array_equal(after['b.png'], before['b.png'])
