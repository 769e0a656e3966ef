"""Files that are damaged, absurd or merely unusual: one never keeps the others from being done."""

import json
import os
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from conftest import HERE, make_image, write_images
from PIL import Image

from mmcoseg.cli import main
from mmcoseg.datasets.image_io import read_image

RGB = make_image(0)
GOOD = ('good1.jpg', 'good2.png', 'good3.jpg')


def png_of_size(width, height):
    """The head of a PNG file that claims to be of this size."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))

    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', head)
        + chunk(b'IDAT', zlib.compress(b'\0'))
        + chunk(b'IEND', b'')
    )


def truncated(path, format, keep=0.5):
    Image.fromarray(make_image(3, (200, 300))).save(path, format)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])


def flipped(path):
    """A PNG whose data are damaged in the middle."""
    Image.fromarray(make_image(3, (100, 100))).save(path)
    data = bytearray(path.read_bytes())
    for position in range(len(data) // 2, len(data) // 2 + 40):
        data[position] ^= 0xFF
    path.write_bytes(bytes(data))


def save(path, image, **kwargs):
    image.save(path, **kwargs)


BAD = {
    'truncated.jpg': lambda path: truncated(path, 'JPEG'),
    'head_only.jpg': lambda path: truncated(path, 'JPEG', 0.01),
    'truncated.png': lambda path: truncated(path, 'PNG'),
    'truncated.gif': lambda path: truncated(path, 'GIF', 0.3),
    'truncated.tif': lambda path: truncated(path, 'TIFF'),
    'truncated.webp': lambda path: truncated(path, 'WEBP'),
    'truncated.bmp': lambda path: truncated(path, 'BMP'),
    'flipped.png': flipped,
    'empty.jpg': lambda path: path.touch(),
    'text.jpg': lambda path: path.write_text('I am a poem\n' * 50),
    'zeros.png': lambda path: path.write_bytes(bytes(5000)),
    'wide.png': lambda path: save(path, Image.new('RGB', (30_000, 20))),
    'high.png': lambda path: save(path, Image.new('L', (3, 2_000))),
    'vast.png': lambda path: path.write_bytes(png_of_size(20_000, 20_000)),
    'bomb.png': lambda path: path.write_bytes(png_of_size(2_000_000, 2_000_000)),
    'no_area.png': lambda path: path.write_bytes(png_of_size(0, 20)),
    'loop.jpg': lambda path: path.symlink_to(path),
    'broken.jpg': lambda path: path.symlink_to(path.parent / 'nowhere.jpg'),
    'pipe.jpg': os.mkfifo,
}


def exif_gone_wrong(path):
    exif = Image.Exif()
    exif[0x0112] = 3
    data = exif.tobytes()
    save(path, Image.fromarray(RGB), exif=data[:12] + b'\xff' * 9 + data[21:])


UNUSUAL = {
    'cmyk.jpg': lambda path: save(path, Image.fromarray(RGB).convert('CMYK')),
    'deep.png': lambda path: save(path, Image.fromarray(RGB[:, :, 0].astype(np.uint16) * 257)),
    'deep.tif': lambda path: save(path, Image.fromarray(RGB[:, :, 0].astype(np.uint16) * 257)),
    'float.tif': lambda path: save(path, Image.fromarray((RGB[:, :, 0] / 255).astype(np.float32))),
    'moving.gif': lambda path: save(
        path,
        Image.fromarray(RGB),
        save_all=True,
        append_images=[Image.fromarray(255 - RGB), Image.new('RGB', (30, 20))],
    ),
    'moving.webp': lambda path: save(
        path,
        Image.fromarray(RGB),
        save_all=True,
        append_images=[Image.fromarray(255 - RGB)],
        lossless=True,
    ),
    'palette.png': lambda path: save(path, Image.fromarray(RGB).quantize(32)),
    'gray_alpha.png': lambda path: save(path, Image.fromarray(RGB).convert('LA')),
    'one_bit.png': lambda path: save(path, Image.fromarray(RGB[:, :, 0] > 100)),
    'turned.jpg': lambda path: save(path, Image.fromarray(RGB), exif=_turned()),
    'exif.jpg': exif_gone_wrong,
    'really_a_png.jpg': lambda path: save(path, Image.fromarray(RGB), format='PNG'),
    'one_pixel.png': lambda path: save(path, Image.new('RGB', (1, 1), 'white')),
    'one_wide.png': lambda path: save(path, Image.new('RGB', (1, 50), 'white')),
    'UPPER.JPEG': lambda path: save(path, Image.fromarray(RGB)),
    ' spaces  in it .png': lambda path: save(path, Image.fromarray(RGB)),
    'new\nline.png': lambda path: save(path, Image.fromarray(RGB)),
    '<b>&"quotes\'.png': lambda path: save(path, Image.fromarray(RGB)),
    '.png.png': lambda path: None,
    '%s{}$x;.png': lambda path: save(path, Image.fromarray(RGB)),
    '-rf.png': lambda path: save(path, Image.fromarray(RGB)),
    '猫\u202e.png': lambda path: save(path, Image.fromarray(RGB)),
    'caf\udce9.png': lambda path: save(path, Image.fromarray(RGB)),
    'x' * 251 + '.png': lambda path: save(path, Image.fromarray(RGB)),
}


def _turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def make(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, write in files.items():
        try:
            write(folder / name)
        except OSError:  # a file system that does not know such names
            continue
        made.append(name)
    return [name for name in made if not name.startswith('.')]


@pytest.fixture
def segment(tmp_path, tiny_config):
    def run(source, *options):
        out = str(tmp_path / 'out')
        return main(['segment', str(source), '--out', out, '--config', tiny_config, *options])

    return run


def summary(tmp_path):
    return json.loads((tmp_path / 'out' / 'summary.json').read_text())


def test_only_we_speak_of_damaged_files(tmp_path, segment):
    folder = write_images(tmp_path / 'cat', GOOD)
    (folder / 'bad.tif').write_bytes(b'II*\0xxxxx')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        assert segment(folder) == 1
    assert not [each for each in caught if 'PIL' in each.filename]


def test_bad_files_are_named_skipped_and_listed(tmp_path, segment, capsys):
    bad = make(write_images(tmp_path / 'photos' / 'cat', GOOD), BAD)
    write_images(tmp_path / 'photos' / 'dog', ['1.jpg'], first=9)
    assert len(bad) == len(BAD)
    for again in (False, True):
        assert segment(tmp_path / 'photos') == 1
        said = capsys.readouterr()
        assert f'{len(bad)} skipped' in said.out
        assert ('4 finished before' if again else '4 written') in said.out
        for name in bad:
            assert f'skipped cat/{name}: ' in said.err
        cat, dog = summary(tmp_path)['groups']
        assert {file['file_name'] for file in cat['skipped']} == set(bad)
        assert all(file['reason'] for file in cat['skipped'])
        assert sorted(image['stem'] for image in cat['images']) == ['good1', 'good2', 'good3']
        assert dog['num_images'] == 1 and not dog['skipped']
    reasons = {file['file_name']: file['reason'] for file in cat['skipped']}
    for name, words in {
        'empty.jpg': 'is empty',
        'wide.png': '30000 x 20, longer than 60 times its shorter side',
        'vast.png': '400000000 pixels',
        'text.jpg': 'cannot be read as an image',
        'truncated.jpg': 'truncated',
        'pipe.jpg': 'not a regular file',
    }.items():
        assert words in reasons[name]
    assert sorted(path.name for path in (tmp_path / 'out/masks/cat').iterdir()) == [
        'good1.png',
        'good2.png',
        'good3.png',
    ]
    report = (tmp_path / 'out' / 'report.html').read_text()
    assert all(name in report for name in bad)


def test_the_others_are_as_if_the_bad_ones_were_not_there(tmp_path, segment):
    photos = write_images(tmp_path / 'photos' / 'cat', GOOD)
    assert segment(photos) == 0
    masks = {path.name: path.read_bytes() for path in (tmp_path / 'out/masks/cat').iterdir()}
    make(photos, BAD)
    assert segment(photos, '--overwrite', '--workers', '3') == 1
    assert masks == {
        path.name: path.read_bytes() for path in (tmp_path / 'out/masks/cat').iterdir()
    }


def test_nothing_but_bad_files(tmp_path, segment, capsys):
    make(tmp_path / 'photos', BAD)
    assert segment(tmp_path / 'photos') == 1
    assert f'0 written, {len(BAD)} skipped' in capsys.readouterr().out
    assert (tmp_path / 'out' / 'report.html').is_file()
    assert json.loads((tmp_path / 'out' / 'annotations.json').read_text())['images'] == []


def test_photographs_that_cannot_be_read_are_skipped_files(tmp_path, segment, capsys):
    photos = write_images(tmp_path / 'photos' / 'cat', GOOD)
    for name in ('w.dng', 'x.CR2', 'y.jxl'):
        (photos / name).write_bytes(b'unreadable')
    (photos / 'clip.mov').write_bytes(b'no photograph')
    for _ in range(2):
        assert segment(tmp_path / 'photos') == 1
        said = capsys.readouterr()
        assert '3 skipped' in said.out and '3 files were skipped' in said.err
        assert 'skipped cat/w.dng: ' in said.err and 'develop it to JPEG' in said.err
        (group,) = summary(tmp_path)['groups']
        assert [file['file_name'] for file in group['skipped']] == ['w.dng', 'x.CR2', 'y.jxl']
        assert all('which is not read: ' in file['reason'] for file in group['skipped'])
        assert [image['stem'] for image in group['images']] == ['good1', 'good2', 'good3']
    report = (tmp_path / 'out' / 'report.html').read_text()
    assert 'x.CR2' in report and 'save it as JPEG or PNG' in report


@pytest.mark.slow
def test_without_pillow_heif_heic_files_are_skipped(tmp_path, tiny_config, repo_env):
    """In a process of its own, in which the package is not there."""
    photos = tmp_path / 'photos'
    write_images(photos / 'cat', GOOD)
    heic = struct.pack('>I', 24) + b'ftypheic' + bytes(400)
    (photos / 'dog').mkdir()
    for name in ('cat/IMG_9.HEIC', 'dog/1.heic', 'dog/2.HEIC'):
        (photos / name).write_bytes(heic)
    program = (
        'import sys\n'
        'sys.modules["pillow_heif"] = None\n'
        'from mmcoseg.cli import main\n'
        'options = ["--out", sys.argv[2], "--config", sys.argv[3], "--workers", "1"]\n'
        'sys.exit(main(["segment", sys.argv[1], *options]))\n'
    )
    env = repo_env | dict(PYTHONPATH=os.pathsep.join([repo_env['PYTHONPATH'], str(HERE)]))

    def run(source, out):
        arguments = [sys.executable, '-c', program, str(source), str(tmp_path / out), tiny_config]
        return subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=300)

    ran = run(photos, 'out')
    assert ran.returncode == 1, ran.stderr
    assert '3 files were skipped' in ran.stderr
    cat, dog = summary(tmp_path)['groups']
    assert cat['num_images'] == 3 and dog['num_images'] == 0
    (skipped,) = cat['skipped']
    assert skipped['file_name'] == 'IMG_9.HEIC' and 'pip install pillow-heif' in skipped['reason']
    assert len(dog['skipped']) == 2
    # Nothing else: said before anything is computed.
    ran = run(photos / 'dog', 'other')
    assert ran.returncode == 1 and not (tmp_path / 'other').exists()
    assert '2 files): 1.heic is a HEIC photo: `pip install pillow-heif`' in ran.stderr


def test_heic_photographs_are_segmented(tmp_path, segment):
    pytest.importorskip('pillow_heif', reason='extra heif not installed')
    photos = write_images(tmp_path / 'photos' / 'cat', GOOD)
    Image.fromarray(make_image(7, (64, 96))).save(photos / 'IMG_9.HEIC', 'HEIF')
    assert segment(photos, '--format', 'masks', 'overlays', 'coco', 'labelme', 'yolo') == 0
    with Image.open(tmp_path / 'out/masks/cat/IMG_9.png') as mask:
        assert mask.size == (96, 64)
    with Image.open(tmp_path / 'out/yolo/images/cat/IMG_9.png') as picture:
        assert picture.size == (96, 64)


def test_repaired_and_raised_limits(tmp_path, segment, capsys):
    photos = write_images(tmp_path / 'photos' / 'cat', GOOD)
    make(photos, {name: BAD[name] for name in ('wide.png', 'truncated.png')})
    assert segment(photos) == 1
    Image.fromarray(RGB).save(photos / 'truncated.png')
    assert segment(photos) == 1
    assert '1 written, 3 finished before, 1 skipped' in capsys.readouterr().out
    assert segment(photos, '--max-aspect', '2000') == 0
    assert '1 written, 4 finished before' in capsys.readouterr().out
    with Image.open(tmp_path / 'out' / 'masks' / 'cat' / 'wide.png') as mask:
        assert mask.size == (30_000, 20)


def test_limit_of_pixels(tmp_path, segment, capsys):
    photos = write_images(tmp_path / 'photos' / 'cat', GOOD)
    write_images(photos, ['large.png'], size=(300, 400))
    assert segment(photos, '--max-pixels', '0.1') == 1
    assert 'is 400 x 300, more than 0 million pixels (--max-pixels' in capsys.readouterr().err
    assert segment(photos, '--max-pixels', '400') == 0


def test_unusual_files_work(tmp_path, segment):
    photos = tmp_path / 'photos' / 'odd "group" <i>'
    names = make(write_images(photos, GOOD), UNUSUAL)
    assert len(names) >= 20
    assert segment(tmp_path / 'photos') == 0
    (group,) = summary(tmp_path)['groups']
    records = {image['file_name'].split('/', 1)[1]: image for image in group['images']}
    assert set(records) == {*names, *GOOD}
    for name, record in records.items():
        image = read_image(photos / name)
        assert (record['height'], record['width']) == image.shape[:2]
        with Image.open(tmp_path / 'out' / record['files']['masks']) as mask:
            assert mask.size == image.shape[1::-1]
            assert set(np.unique(np.asarray(mask))) <= {0, 255}
        with Image.open(tmp_path / 'out' / record['files']['overlays']) as overlay:
            overlay.load()
    # One file each.
    assert len({record['files']['masks'] for record in records.values()}) == len(records)
    assert len([*(tmp_path / 'out' / 'masks').rglob('*.png')]) == len(records)
    assert segment(tmp_path / 'photos') == 0


def test_unusual_files_are_read_as_they_look(tmp_path):
    make(tmp_path / 'g', UNUSUAL)
    bgr = RGB[:, :, ::-1]
    gray = np.repeat(RGB[:, :, :1], 3, axis=2)
    for name in ('deep.png', 'deep.tif', 'float.tif'):
        np.testing.assert_array_equal(read_image(tmp_path / 'g' / name), gray)
    for name, error in {'moving.gif': 40, 'moving.webp': 0, 'cmyk.jpg': 45, 'exif.jpg': 40}.items():
        image = read_image(tmp_path / 'g' / name).astype(int)
        assert image.shape == bgr.shape and np.abs(image - bgr).mean() <= error
    assert read_image(tmp_path / 'g' / 'turned.jpg').shape == (30, 20, 3)


def test_evaluate_says_what_was_skipped(tmp_path, segment, capsys):
    photos = tmp_path / 'photos'
    make(write_images(photos / 'cat', GOOD), {'empty.jpg': BAD['empty.jpg']})
    truth = tmp_path / 'truth'
    (truth / 'cat').mkdir(parents=True)
    for name in (*GOOD, 'empty.jpg'):
        mask = Image.fromarray((make_image(1)[:, :, 0] > 110).astype(np.uint8) * 255)
        mask.save(truth / 'cat' / (name.split('.')[0] + '.png'))
    assert segment(photos) == 1
    capsys.readouterr()
    assert main(['evaluate', str(tmp_path / 'out'), str(truth)]) == 1
    said = capsys.readouterr().err
    assert '1 of 4 predictions are missing' in said and 'masks/cat/empty.png' in said
    assert 'summary.json says what `mmcoseg segment` skipped' in said and '--missing empty' in said
    for folder in ('out', 'out/masks'):
        file = str(tmp_path / 'scores' / 'all.json')
        options = ['--missing', 'empty', '--groups', 'cat', '--json']
        command = ['evaluate', str(tmp_path / folder), str(truth), *options]
        assert main([*command, file]) == 0
        table = capsys.readouterr().out
        assert 'class mean' in table and 'cat' in table
        assert main([*command, '-']) == 0
        scores = json.loads(capsys.readouterr().out)
        with open(file) as stream:
            assert scores == json.load(stream)
        assert scores['native']['groups']['cat']['images']['cat/empty']['J'] == 0
        assert scores['native']['num_images'] == 4
