"""The index of COCO's annotations: one for all processes, made once."""

import json
import os
import pickle
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from filelock import FileLock

from mmcoseg.datasets import coco_index
from mmcoseg.datasets.coco_index import open_index

BOX = [[1, 1, 9, 1, 9, 9, 1, 9]]


@pytest.fixture
def file(tmp_path):
    """Three images, the ids of which are not in order; cats, a dog, a crowd."""
    annotations = [
        dict(id=5, image_id=30, category_id=2, segmentation=BOX, area=64, iscrowd=0),
        dict(id=6, image_id=10, category_id=1, segmentation=None, area=9, iscrowd=0),
        dict(id=7, image_id=30, category_id=1, segmentation=BOX, area=50.5, iscrowd=1),
        dict(id=8, image_id=30, category_id=1, segmentation=dict(counts='x'), area=49),
    ]
    images = [dict(id=n, file_name=f'sub/ü{n}.jpg') for n in (30, 10, 20)]
    images[0].update(height=40, width=60)
    images[1].update(height='40', width=60)
    categories = [dict(id=2, name='dog'), dict(id=1, name='cat')]
    path = tmp_path / 'data' / 'instances.json'
    path.parent.mkdir()
    content = dict(images=images, annotations=annotations, categories=categories)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """The other places for an index are this test's own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    (tmp_path / 'temporary').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'temporary'))
    return tmp_path / 'cache', tmp_path / 'temporary'


def folders(file):
    return sorted(path for path in (file.parent / '.mmcoseg_index').iterdir() if path.is_dir())


def test_what_it_knows(file):
    index = open_index(file)
    assert len(index) == 3 and index.names == ['dog', 'cat']
    assert [index.size(i) for i in range(3)] == [None, None, (40, 60)]
    assert [index.file_name(i) for i in range(3)] == [f'sub/ü{n}.jpg' for n in (10, 20, 30)]
    assert [len(list(index.annotations(i))) for i in range(3)] == [1, 0, 3]
    first, second, third = index.annotations(2)
    assert first == ('annotation 5', 0, 64, False, BOX)
    assert second == ('annotation 7', 1, 50.5, True, BOX)
    assert third == ('annotation 8', 1, 49, False, dict(counts='x'))
    assert index.images_with(1, above=8).tolist() == [0, 2]
    assert index.images_with(1, above=9).tolist() == [2]
    assert index.images_with(1, above=49).tolist() == []
    assert index.images_with(0, above=1).dtype == np.int32


def test_it_is_made_once_and_anew_when_the_file_changes(file, monkeypatch):
    open_index(file)
    monkeypatch.setattr(coco_index, 'read_json', lambda file: 1 / 0)
    assert open_index(file).names == ['dog', 'cat']
    monkeypatch.undo()
    old = folders(file)
    file.write_text(file.read_text().replace('"cat"', '"cow"'))
    os.utime(file, ns=(1, 1))
    assert open_index(file).names == ['dog', 'cow']
    assert len(folders(file)) == 1 and folders(file) != old


@pytest.mark.parametrize('name', ['shapes.npy', 'categories.npy', 'file_ends.npy', 'about.json'])
@pytest.mark.parametrize('damage', ['gone', 'cut off', 'empty'])
def test_a_damaged_index_is_made_anew(file, name, damage):
    open_index(file)
    (folder,) = folders(file)
    content = (folder / name).read_bytes()
    if damage == 'gone':
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content[:-4] if damage == 'cut off' else b'')
    index = open_index(file)
    assert [len(list(index.annotations(i))) for i in range(3)] == [1, 0, 3]
    assert (folder / name).read_bytes() == content


def test_nothing_is_left_of_an_index_that_was_not_finished(file, monkeypatch):
    monkeypatch.setattr(np, 'save', lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        open_index(file)
    assert folders(file) == []
    monkeypatch.undo()
    (file.parent / '.mmcoseg_index' / f'{file.name}.unfinished').mkdir()  # of a process killed
    assert len(open_index(file)) == 3


def test_other_places(file, places):
    (file.parent / '.mmcoseg_index').write_text('no folder')
    assert open_index(file).folder.is_relative_to(places[0])
    places[0].rename(places[0].with_name('gone'))
    places[0].write_text('no folder')
    index = open_index(file)
    assert index.folder.is_relative_to(places[1])
    assert pickle.loads(pickle.dumps(index)).file_name(0) == 'sub/ü10.jpg'


def test_without_any_place_the_way_out_is_named(file, places):
    places[1].rmdir()
    for path in (file.parent / '.mmcoseg_index', *places):
        path.write_text('no folder')
    with pytest.raises(ValueError, match=r'instances.json can be written to none of .*set XDG_CAC'):
        open_index(file)


def test_files_of_one_name_do_not_share_a_place(file, tmp_path):
    other = tmp_path / 'other' / file.name
    other.parent.mkdir()
    other.write_text(file.read_text().replace('"cat"', '"cow"'))
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    for path in (file, other):
        (path.parent / '.mmcoseg_index').write_text('no folder')
    assert open_index(file).names == ['dog', 'cat']
    assert open_index(other).names == ['dog', 'cow']


def test_what_is_to_be_said_of_the_file_is_said_at_every_start(file):
    content = json.loads(file.read_text())
    content['categories'].append(dict(id=9, name='dog'))
    file.write_text(json.dumps(content))
    for _ in range(2):
        with pytest.warns(UserWarning, match='instances.json: the categories 2 and 9 are called'):
            assert open_index(file).names == ['dog', 'cat']


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (dict(area=None), 'annotation 6: its area is None, not a number'),
        (dict(area='9'), "annotation 6: its area is '9', not a number"),
        (dict(area=float('nan')), 'annotation 6: its area is nan'),
        (dict(area=10**400), 'annotation 6: its area is 1000'),
        (dict(image_id=77), 'annotation 6: there is no image 77'),
        (dict(category_id='x'), "annotation 6: there is no category 'x'"),
        (dict(iscrowd='0'), "annotation 6: its iscrowd is '0'"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_kept(file, edit, message):
    content = json.loads(file.read_text())
    content['annotations'][1].update(edit)
    file.write_text(json.dumps(content))
    for _ in range(2):
        with pytest.raises(ValueError, match=f'instances.json: {message}'):
            open_index(file)


def test_a_file_without_annotations(file):
    file.write_text('{"images": [], "annotations": [], "categories": []}')
    for _ in range(2):
        assert len(open_index(file)) == 0


def test_pickled_it_is_its_folder(file):
    index = open_index(file)
    assert len(pickle.dumps(index)) < 500
    copy = pickle.loads(pickle.dumps(index))
    assert list(copy.annotations(2)) == list(index.annotations(2))


@pytest.mark.slow
def test_processes_wait_for_the_one_that_makes_it(file, repo_env, tmp_path):
    code = (
        'import sys; from mmcoseg.datasets.coco_index import open_index;'
        f'print(open_index({str(file)!r}).names)'
    )
    place = file.parent / '.mmcoseg_index'
    place.mkdir()
    with FileLock(place / f'{file.name}.lock'):
        waiting = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-c', code],
            env=repo_env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        line = ''
        while 'waiting for another process' not in line:
            line = waiting.stdout.readline()
            assert line, 'the process did not wait'
        assert not folders(file)
    rest = waiting.communicate(timeout=60)[0]
    assert "['dog', 'cat']" in rest and len(folders(file)) == 1
