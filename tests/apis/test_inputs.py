"""Every form of input, and what is left out of it."""

import os

import numpy as np
import pytest
from conftest import make_image, write_images
from PIL import Image

from mmcoseg.apis.inputs import ImageItem, ImageLimits, read_inputs
from mmcoseg.datasets.image_io import BadImageError
from mmcoseg.errors import MMCosegError


def names(groups):
    return {group.name: [item.file_name for item in group.items] for group in groups}


def stems(groups):
    return {group.name: [item.stem for item in group.items] for group in groups}


def test_a_folder_of_images_is_a_group(photos, monkeypatch):
    assert names(read_inputs(photos / 'cat')) == {'cat': ['001.jpg', '002.png', '003.jpg']}
    monkeypatch.chdir(photos / 'dog')
    groups = read_inputs('.')
    assert stems(groups) == {'dog': ['001', '002']}
    assert groups[0].items[0].path.is_file() and groups[0].items[0].image is None


def test_a_folder_of_folders_is_a_group_each(photos):
    assert {name: len(items) for name, items in names(read_inputs(str(photos))).items()} == {
        'cat': 3,
        'dog': 2,
    }


def test_loose_images_beside_folders_are_a_group_of_their_own(photos):
    write_images(photos, ['x.jpg'])
    assert {name: len(items) for name, items in names(read_inputs(photos)).items()} == {
        'photos': 1,
        'cat': 3,
        'dog': 2,
    }
    write_images(photos / 'photos', ['y.jpg'])
    assert [group.name for group in read_inputs(photos)] == ['photos', 'cat', 'dog', 'photos~2']


def test_what_is_left_out_is_noted(photos):
    write_images(photos / 'cat' / 'deep', ['x.jpg'])
    write_images(photos / '.hidden', ['x.jpg'])
    write_images(photos / 'cat', ['.hidden.jpg', '._001.jpg'])
    for name in ('notes.txt', 'Thumbs.db', 'boxes.json', '.DS_Store', 'clip.mp4', 'README'):
        (photos / 'cat' / name).touch()
    (photos / 'empty').mkdir()
    notes = []
    assert len(names(read_inputs(photos, notes=notes))['cat']) == 3
    assert len(notes) == 2
    assert notes[0].endswith('cat: no images by their suffix: README, clip.mp4')
    assert 'not looked into' in notes[1] and os.path.join('cat', 'deep') in notes[1]


def test_no_image_is_one_clear_error(tmp_path, photos):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'empty holds no image \(\.jpg, .*nor does a folder'):
        read_inputs(tmp_path / 'empty')
    with pytest.raises(FileNotFoundError, match='no file or folder .*nowhere'):
        read_inputs(tmp_path / 'nowhere')
    photos.rename(tmp_path / 'data' if (tmp_path / 'data').mkdir() else tmp_path / 'data/images')
    with pytest.raises(ValueError, match=r'further down: give .*data/images$'):
        read_inputs(tmp_path / 'data')


def test_upper_case_and_strange_names(tmp_path):
    wanted = ['A.JPG', 'with space .Png', "quote'.jpeg", 'umläut.webp', '[red]x.tiff']
    write_images(tmp_path / 'g', wanted)
    raw = os.path.join(os.fsencode(tmp_path / 'g'), b'caf\xe9.gif')
    try:
        os.rename(os.fsencode(write_images(tmp_path / 'g', ['t.gif']) / 't.gif'), raw)
        wanted.append('caf\udce9.gif')
    except OSError:  # a file system that knows only UTF-8
        os.unlink(tmp_path / 'g' / 't.gif')
    (group,) = read_inputs(tmp_path / 'g')
    assert sorted(item.file_name for item in group.items) == sorted(wanted)
    for item in group.items:
        assert item.check(ImageLimits()) == 600


def test_two_suffixes_of_one_stem(tmp_path):
    write_images(tmp_path / 'g', ['a.jpg', 'a.png', 'b.jpg', 'a.jpg.png'])
    notes = []
    groups = read_inputs(tmp_path / 'g', notes=notes)
    assert dict(zip(names(groups)['g'], stems(groups)['g'])) == {
        'a.jpg': 'a.jpg',
        'a.jpg.png': 'a.jpg~2',
        'a.png': 'a.png',
        'b.jpg': 'b',
    }
    assert notes == ['go by their whole names, since their stems are the same: a.jpg, a.png']


def test_links_and_loops(tmp_path, photos):
    (photos / 'again').symlink_to(photos / 'cat')
    (photos / 'up').symlink_to(photos)
    (photos / 'further_up').symlink_to(tmp_path)
    (photos / 'cat' / 'self.jpg').symlink_to(photos / 'cat' / 'self.jpg')
    (photos / 'cat' / 'broken.jpg').symlink_to(photos / 'nowhere.jpg')
    (photos / 'cat' / 'good.jpg').symlink_to(photos / 'dog' / '001.jpg')
    notes = []
    groups = read_inputs(photos, notes=notes)
    # The first of two links to one folder is taken.
    assert sorted(names(groups)) == ['again', 'dog']
    assert len(notes) == 3 and all('links to a folder that is taken' in note for note in notes)
    items = {item.file_name: item for item in groups[0].items}
    assert items['good.jpg'].check(ImageLimits()) == 600
    with pytest.raises(BadImageError, match='self.jpg cannot be read'):
        items['self.jpg'].check(ImageLimits())
    with pytest.raises(
        FileNotFoundError, match='broken.jpg is gone, or is a link to a file that is not there'
    ):
        items['broken.jpg'].check(ImageLimits())


def test_a_single_file(photos):
    assert names(read_inputs(photos / 'cat' / '001.jpg')) == {'cat': ['001.jpg']}


def test_text_file(photos, tmp_path):
    file = photos / 'list.txt'
    file.write_text('\ufeff# cats\n\ncat/002.png\r\n  cat/001.jpg \ncat/002.png\ncat/none.jpg\n')
    notes = []
    groups = read_inputs(file, notes=notes)
    assert names(groups) == {'list': ['002.png', '001.jpg', 'none.jpg']}
    assert notes == [f'{file} names 1 images more than once; each is taken once']
    with pytest.raises(FileNotFoundError):
        groups[0].items[2].check(ImageLimits())
    file.write_text(f'{photos}/cat/002.png\ndog/001.jpg\ncat/001.jpg\n')
    assert names(read_inputs(file)) == {'cat': ['002.png', '001.jpg'], 'dog': ['001.jpg']}
    file.write_text('cat/001.jpg\tpets\ndog/001.jpg\tpets\ncat/002.png\n')
    groups = read_inputs(file)
    assert names(groups) == {'cat': ['002.png'], 'pets': ['001.jpg', '001~2.jpg']}
    assert stems(groups)['pets'] == ['001', '001~2']
    file.write_text('# nothing\n')
    with pytest.raises(ValueError, match='names no image'):
        read_inputs(file)
    (tmp_path / 'x.bin').write_bytes(b'\0\1')
    with pytest.raises(ValueError, match='neither an image'):
        read_inputs(tmp_path / 'x.bin')


def test_text_file_with_bytes_and_spaces(tmp_path):
    write_images(tmp_path / 'g', [' a .jpg'])
    (tmp_path / 'l.txt').write_bytes(b'g/ a .jpg\ng/caf\xe9.jpg\n')
    (group,) = read_inputs(tmp_path / 'l.txt')
    assert [item.file_name for item in group.items] == [' a .jpg', 'caf\udce9.jpg']
    assert group.items[0].check(ImageLimits()) == 600


def test_lists_of_paths(photos):
    cat, dog = photos / 'cat', photos / 'dog'
    assert names(read_inputs([cat / '003.jpg', str(cat / '001.jpg')])) == {
        'cat': ['003.jpg', '001.jpg']
    }
    groups = read_inputs([cat / '001.jpg', dog / '001.jpg', dog / '002.jpg'])
    assert names(groups) == {'images': ['001.jpg', '001~2.jpg', '002.jpg']}
    assert [group.name for group in read_inputs([dog, cat])] == ['dog', 'cat']


def test_arrays_and_pillow_images(photos):
    color, gray = make_image(0), make_image(1)[:, :, 0]
    picture = Image.fromarray(make_image(2))
    opened = Image.open(photos / 'cat' / '002.png')
    (group,) = read_inputs([color, gray, gray[:, :, None], picture, opened, color])
    assert group.name == 'images'
    assert [item.stem for item in group.items] == ['0000', '0001', '0002', '0003', '002', '0005']
    loaded = [item.record()['ori_img'] for item in group.items]
    np.testing.assert_array_equal(loaded[0], color)
    np.testing.assert_array_equal(loaded[1], np.repeat(gray[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(loaded[2], loaded[1])
    np.testing.assert_array_equal(loaded[3], make_image(2)[:, :, ::-1])
    np.testing.assert_array_equal(loaded[5], color)
    ((item,),) = (group.items for group in read_inputs(color, channel_order='rgb'))
    np.testing.assert_array_equal(item.record()['ori_img'], color[:, :, ::-1])
    assert names(read_inputs(picture)) == {'images': ['0000.png']}


def test_files_of_one_name_keep_their_suffix(tmp_path):
    paths = [
        write_images(tmp_path / folder, [name]) / name
        for folder, name in (
            ('mon', 'a.jpg'),
            ('tue', 'a.jpg'),
            ('wed', 'a~2.jpg'),
            ('thu', 'a.png'),
            ('fri', 'a.jpg'),
        )
    ]
    notes = []
    groups = read_inputs(paths, notes=notes)
    assert names(groups)['images'] == ['a.jpg', 'a~3.jpg', 'a~2.jpg', 'a.png', 'a~4.jpg']
    assert stems(groups)['images'] == ['a.jpg', 'a~3', 'a~2', 'a.png', 'a~4']
    assert notes[0].startswith(f'of files of one name: {paths[1]} is called a~3.jpg, ')


def test_photographs_that_cannot_be_read_are_taken_to_be_skipped(tmp_path):
    folder = write_images(tmp_path / 'g', ['a.jpg', 'b.jpg'])
    for name in ('d.DNG', 'e.nef', 'c.jxl', 'IMG.Cr2', 'clip.mov'):
        (folder / name).write_bytes(b'unreadable')
    notes = []
    (group,) = read_inputs(folder, notes=notes)
    assert len(notes) == 1 and notes[0].endswith('no images by their suffix: clip.mov')
    assert {item.file_name: item.stem for item in group.items} == {
        'IMG.Cr2': 'IMG.Cr2',
        'a.jpg': 'a',
        'b.jpg': 'b',
        'c.jxl': 'c.jxl',
        'd.DNG': 'd.DNG',
        'e.nef': 'e.nef',
    }
    for item in group.items:
        if item.path.suffix == '.jpg':
            assert item.check(ImageLimits()) == 600
            continue
        with pytest.raises(BadImageError, match='(JPEG XL image|raw file), which is not read'):
            item.check(ImageLimits())


def paths_in(folder):
    return sorted(folder.iterdir())


def text_file_of(folder):
    file = folder.parent / 'list.txt'
    file.write_text(''.join(f'{path}\n' for path in paths_in(folder)))
    return file


@pytest.mark.parametrize('form', [str, paths_in, text_file_of])
def test_what_a_camera_puts_beside_a_photograph_is_none(tmp_path, form):
    folder = write_images(tmp_path / 'phone', ['IMG_1.jpg', 'img_2.jpg'])
    for name in ('IMG_1.DNG', 'IMG_2.cr2', 'IMG_2.jxl', 'IMG_3.DNG'):
        (folder / name).write_bytes(b'unreadable')
    if form is not text_file_of:
        for name in ('IMG_1.MOV', 'IMG_1.AAE', 'IMG_3.MOV', 'IMG_4.mp4'):
            (folder / name).write_bytes(b'no image')
    notes = []
    (group,) = read_inputs(form(folder), notes=notes)
    # A raw file that stands alone is still seen to be skipped.
    assert {item.file_name: item.stem for item in group.items} == {
        'IMG_1.jpg': 'IMG_1',
        'img_2.jpg': 'img_2',
        'IMG_3.DNG': 'IMG_3.DNG',
    }
    assert notes[-1].endswith('of the same name are read: IMG_1.DNG, IMG_2.cr2, IMG_2.jxl')
    videos = [note for note in notes if 'IMG_4.mp4' in note]
    assert len(videos) == (form is not text_file_of)
    assert not any('IMG_1.MOV' in note or 'AAE' in note for note in notes)


def test_photographs_of_another_folder_are_no_companions(tmp_path):
    write_images(tmp_path / 'a', ['IMG_1.jpg'])
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / 'IMG_1.DNG').write_bytes(b'unreadable')
    groups = read_inputs([tmp_path / 'a/IMG_1.jpg', tmp_path / 'b/IMG_1.DNG'])
    assert names(groups)['images'] == ['IMG_1.jpg', 'IMG_1.DNG']


def test_lists_as_shells_make_them(tmp_path):
    folder = write_images(tmp_path / 'g', ['a.jpg', 'b.jpg'])
    for name in ('Thumbs.db', 'clip.mov', 'x.zip', 'strange'):
        (folder / name).write_bytes(b'no image')
    notes = []
    paths = [*paths_in(folder), folder / 'a.jpg', folder / '../g/b.jpg']
    groups = read_inputs(paths, notes=notes)
    # What may be an image under any name is looked at.
    assert names(groups)['g'] == ['a.jpg', 'b.jpg', 'strange']
    twice, left_out = notes
    assert twice.startswith('given more than once, taken once: ') and 'b.jpg' in twice
    for name in ('Thumbs.db', 'clip.mov', 'x.zip'):
        assert name in left_out
    (folder.parent / 'link').symlink_to(folder)
    assert len(read_inputs([folder, folder.parent / 'link'])) == 1


def test_archives_and_other_files_are_named(tmp_path):
    (tmp_path / 'g').mkdir()
    (tmp_path / 'g' / 'photos.zip').write_bytes(b'PK')
    with pytest.raises(ValueError, match=r'holds no image .*; it holds photos\.zip \(unpack'):
        read_inputs(tmp_path / 'g')
    (tmp_path / 'g' / 'photos.zip').write_bytes(b'PK\3\4\n\0')
    with pytest.raises(ValueError, match=r'photos\.zip is neither an image .*; unpack archives'):
        read_inputs(tmp_path / 'g' / 'photos.zip')
    (tmp_path / 'g' / 'letter.pdf').write_bytes(b'%PDF-1.4\nDear photographs\n')
    with pytest.raises(ValueError, match=r'letter\.pdf .* none of the 2 .* first is .*%PDF-1\.4'):
        read_inputs(tmp_path / 'g' / 'letter.pdf')


@pytest.mark.parametrize('form', [str, lambda path: [path / 'x.ARW', path / 'y.jxl']])
def test_nothing_but_photographs_that_cannot_be_read(tmp_path, form):
    for name in ('x.ARW', 'y.jxl', 'x.xmp'):
        (tmp_path / name).write_bytes(b'unreadable')
    with pytest.raises(ValueError, match=r'2 files.*x\.ARW is a camera.*y\.jxl is a JPEG XL'):
        read_inputs(form(tmp_path))
    with pytest.raises(ValueError, match=r'1 files.*x\.ARW is a camera'):
        read_inputs(tmp_path / 'x.ARW')


def test_dict_of_groups(photos):
    image = make_image()
    groups = read_inputs(
        dict(a=[image, photos / 'cat' / '001.jpg'], b=photos / 'dog', c=photos, d=iter([image]))
    )
    assert {group.name: len(group) for group in groups} == dict(a=2, b=2, c=5, d=1)


@pytest.mark.parametrize(
    ('wrong', 'error', 'match'),
    [
        (3, MMCosegError, 'got int'),
        ([3], MMCosegError, 'got int'),
        (dict(a=dict(b=1)), MMCosegError, 'got dict'),
        ([], ValueError, 'without any image'),
        ({}, ValueError, 'without any image'),
        (dict(a=[]), ValueError, "the group 'a' is without any image"),
        ({'': make_image()}, ValueError, "not empty, got ''"),
        ({1: make_image()}, ValueError, 'not empty, got 1'),
        (make_image() / 255, ValueError, r'\(20, 30, 3\) of float64'),
        ([np.zeros((5, 5, 4), np.uint8)], ValueError, r'image 0 is an array \(5, 5, 4\)'),
    ],
)
def test_anything_else_is_refused(wrong, error, match):
    with pytest.raises(error, match=match):
        read_inputs(wrong)
    with pytest.raises(ValueError, match="'bgr', 'rgb'.* got 'xyz'"):
        read_inputs(make_image(), channel_order='xyz')


def test_limits():
    def check(height, width, **limits):
        image = np.broadcast_to(np.uint8(0), (height, width, 3))
        return ImageItem('a', 'a.png', image=image).check(ImageLimits(**limits))

    assert check(1000, 30_000) == 30_000_000
    for height, width, match in (
        (100, 30_000, '30000 x 100, longer than 60 times'),
        (15_000, 15_000, 'more than 179 million pixels'),
        (0, 5, 'it has no pixels'),
    ):
        with pytest.raises(BadImageError, match=match):
            check(height, width)
    check(100, 30_000, max_aspect=300)
    check(15_000, 15_000, max_pixels=225_000_000)


def test_results_are_never_taken_for_input(photos):
    def leave(folder):
        (folder / '.mmcoseg' / 'groups').mkdir(parents=True)
        for kind in ('masks', 'overlays'):
            write_images(folder / kind / 'cat', ['001.png'])

    before = names(read_inputs(photos))
    leave(photos / 'out')
    leave(photos / 'cat' / 'out')
    leave(photos)
    notes = []
    assert names(read_inputs(photos, notes=notes)) == before
    assert notes == []
