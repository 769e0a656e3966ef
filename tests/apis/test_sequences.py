"""Videos and ordered folders: frames, scenes, overlay videos, and what is wrong with files."""

import json

import cv2
import numpy as np
import pytest
from conftest import write_images

from mmcoseg.apis import CoSegInferencer, read_inputs, segment_to_folder, sequences
from mmcoseg.apis.sequences import choose_frames
from mmcoseg.cli import main
from mmcoseg.datasets.image_io import read_image
from mmcoseg.errors import MMCosegError
from mmcoseg.export import export_results, overlay_video
from mmcoseg.review.results import Results

WIDTH, HEIGHT, RATE = 64, 48, 25


def frame(scene, number):
    """A bright square that swings four pixels a frame; scenes have backgrounds of their own."""
    image = np.full((HEIGHT, WIDTH, 3), [(30, 30, 30), (30, 30, 140)][scene], np.uint8)
    left = abs(4 * number % 96 - 48)
    image[16:32, left : left + 16] = 230
    return image


def write_video(path, scenes=(30, 20), code='mp4v'):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), RATE, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for scene, count in enumerate(scenes):
        for number in range(count):
            writer.write(frame(scene, number))
    writer.release()
    return path


@pytest.fixture
def clip(tmp_path):
    return write_video(tmp_path / 'clip.mp4')


@pytest.fixture
def segment(tmp_path, tiny_config):
    def run(*args):
        out = tmp_path / 'out'
        args = ['segment', *args, '--out', out, '--config', tiny_config]
        return main(list(map(str, args)))

    return run


def coco_images(out):
    return json.loads((out / 'annotations.json').read_text())['images']


def frames_of(path):
    """The frames of a video file, and frames a second."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, image = capture.read()
        if not there:
            break
        frames.append(image)
    return frames, capture.get(cv2.CAP_PROP_FPS)


def test_a_video_becomes_a_group_for_each_scene(clip, tmp_path, segment, capsys):
    assert segment(clip) == 0
    out = tmp_path / 'out'
    said = capsys.readouterr()
    assert 'clip-1: ' in said.err and 'clip-2: ' in said.err
    images = coco_images(out)
    by_group = {}
    for image in images:
        assert image['video'] == 'clip.mp4'
        assert image['time'] == pytest.approx(image['frame'] / RATE, abs=2e-3)
        group, name = image['file_name'].split('/')
        assert name == f'{image["frame"]:06}.jpg'
        by_group.setdefault(group, []).append(image['frame'])
        assert (out / 'masks' / group / name.replace('jpg', 'png')).exists()
        # It is that frame.
        scene = image['frame'] >= 30
        expected = frame(int(scene), image['frame'] - 30 * scene).astype(int)
        assert np.abs(read_image(out / image['source']) - expected).mean() < 8
    assert list(by_group) == ['clip-1', 'clip-2']
    # The first and the last frame of each scene, and those that differ, at most eight a second.
    assert by_group['clip-1'] == [0, 4, 8, 12, 16, 20, 24, 28, 29]
    assert by_group['clip-2'] == [30, 34, 38, 42, 46, 49]
    [first, _] = json.loads((out / 'summary.json').read_text())['groups']
    assert first['images'][1]['frame'] == 4 and first['images'][1]['video'] == 'clip.mp4'


def test_the_overlay_video_is_as_long_as_the_scene(clip, tmp_path, segment):
    assert segment(clip) == 0
    overlays = tmp_path / 'out' / 'overlays'
    for group, first, count in (('clip-1', 0, 30), ('clip-2', 30, 20)):
        frames, rate = frames_of(overlays / f'{group}.mp4')
        assert len(frames) == count and rate == pytest.approx(RATE)
        assert frames[0].shape == (HEIGHT, WIDTH, 3)
        # Each overlay stays until the next one.
        shown = read_image(overlays / group / f'{first + 4:06}.jpg').astype(int)
        for number in (4, 7):
            assert np.abs(frames[number] - shown).mean() < 8
        assert np.abs(frames[8] - shown).mean() > 8
    assert not list(overlays.glob('.*'))


def test_run_again_nothing_is_done_again(clip, tmp_path, segment, monkeypatch):
    assert segment(clip) == 0
    files = [path for path in (tmp_path / 'out').rglob('*.*') if path.suffix in ('.jpg', '.mp4')]
    before = {path: path.stat().st_mtime_ns for path in files}
    monkeypatch.setattr('mmcoseg.apis.segment.CoSegInferencer', None)
    monkeypatch.setattr(sequences, '_decoded', None)
    assert segment(clip) == 0
    assert before == {path: path.stat().st_mtime_ns for path in files}


def test_a_changed_video_is_read_again(clip, tmp_path, segment):
    assert segment(clip) == 0
    write_video(clip, scenes=(12,))
    assert segment(clip) == 0
    frames = tmp_path / 'out' / 'frames' / 'clip'
    assert sorted(path.stem for path in frames.glob('*.jpg')) == [
        '000000',
        '000004',
        '000008',
        '000011',
    ]


def test_every_nth_frame(clip, tmp_path, segment, capsys):
    assert segment(clip, '--every', 10) == 0
    assert [image['frame'] for image in coco_images(tmp_path / 'out')] == [0, 10, 20, 30, 40]
    assert segment(clip, '--every', 5) == 1
    assert 'every is 5 now, but was 10' in capsys.readouterr().err
    frames = tmp_path / 'out' / 'frames' / 'clip'  # as they were
    assert len(list(frames.glob('*.jpg'))) == 5
    assert segment(clip, '--every', 0) == 1
    assert '--every' in capsys.readouterr().err


def test_broken_videos_are_named(clip, tmp_path, segment, capsys):
    cut, text, empty = (tmp_path / f'{name}.mp4' for name in ('cut', 'text', 'empty'))
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    text.write_text('no video\n' * 20)
    empty.touch()
    assert segment(cut, clip, text, empty) == 1
    said = capsys.readouterr()
    for file in (cut, text, empty):
        assert f'skipped {file.stem}/{file.name}: {file} cannot be read as a video: ' in said.err
    assert '3 skipped' in said.out
    assert len(coco_images(tmp_path / 'out')) == 15
    for file in (cut, text, empty):
        file.unlink()
    assert segment(clip) == 0


def test_a_video_that_breaks_off_keeps_its_frames(tmp_path, segment, capsys):
    video = write_video(tmp_path / 'clip.avi', scenes=(40,), code='MJPG')
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    for _ in range(2):  # the second time it is not decoded
        assert segment(video) == 0
        said = capsys.readouterr().err
        assert 'note: ' in said and 'clip.avi breaks off: ' in said and 'of its 40 frames' in said
    assert 0 < coco_images(tmp_path / 'out')[-1]['frame'] < 39


def test_videos_beside_photos(clip, tmp_path, tiny_config):
    folder = write_images(tmp_path / 'phone', ['IMG_1.jpg', 'IMG_2.jpg'])
    for name in ('IMG_1.MOV', 'film.mp4'):
        (folder / name).write_bytes(clip.read_bytes())
    result = segment_to_folder(folder, tmp_path / 'a', config=tiny_config)
    assert result.num_written == 2
    # In a list, a video that is no companion is meant.
    listed = sorted(folder.iterdir())
    segment_to_folder(listed, tmp_path / 'b', config=tiny_config)
    groups = {image['file_name'].split('/')[0] for image in coco_images(tmp_path / 'b')}
    assert groups == {'phone', 'film-1', 'film-2'}


def test_two_videos_of_one_name(clip, tmp_path, tiny_config):
    (tmp_path / 'other').mkdir()
    other = write_video(tmp_path / 'other' / 'clip.mp4', scenes=(10,))
    segment_to_folder([clip, other], tmp_path / 'out', config=tiny_config)
    groups = {image['file_name'].split('/')[0] for image in coco_images(tmp_path / 'out')}
    assert groups == {'clip-1', 'clip-2', 'clip~2'}


def test_folders_of_frames(tmp_path, segment):
    folder = tmp_path / 'frames of a film'
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f'f{number}.png'), frame(0, number))
    for number in range(12, 16):
        cv2.imwrite(str(folder / f'f{number}.png'), frame(1, number))
    (folder / 'f3.png').write_bytes(b'no image')
    assert segment(folder, '--sequence') == 1  # for the damaged image
    images = coco_images(tmp_path / 'out')
    found = {image['file_name']: image['frame'] for image in images}
    expected = {}
    for number in range(16):
        expected[f'{folder.name}-{1 + (number >= 12)}/f{number}.png'] = number
    del expected[f'{folder.name}-1/f3.png']
    assert found == expected
    assert {(image['video'], image['time']) for image in images} == {(None, None)}
    frames, rate = frames_of(tmp_path / 'out' / 'overlays' / f'{folder.name}-1.mp4')
    assert (len(frames), rate) == (12, 10)


def test_only_sequences_are_told_to_be_some(clip, tmp_path, tiny_config, monkeypatch):
    told = {}
    before = CoSegInferencer.segment_group

    def segment_group(self, group, *args, **kwargs):
        for part in before(self, group, *args, **kwargs):
            told[group.name] = part.sequence
            yield part

    monkeypatch.setattr(CoSegInferencer, 'segment_group', segment_group)
    folder = write_images(tmp_path / 'photos', ['a.jpg', 'b.jpg'])
    segment_to_folder([folder, clip], tmp_path / 'out', config=tiny_config)
    assert told == {'photos': False, 'clip-1': True, 'clip-2': True}


def test_without_a_folder_of_results_a_video_is_refused(clip):
    with pytest.raises(MMCosegError, match=r'clip\.mp4 is a video.*segment_to_folder'):
        read_inputs(clip)


def test_review_and_export_open_the_results(clip, tmp_path, segment):
    assert segment(clip) == 0
    out = tmp_path / 'out'
    results = Results(out)
    state = results.states['clip-1']
    assert [image.record.frame for image in state.images][:2] == [0, 4]
    assert all(results.photo(image).is_file() for image in state.images)
    video = out / 'overlays' / 'clip-1.mp4'
    before = video.stat().st_mtime_ns
    assert not export_results(out, ['yolo', 'overlays']).skipped
    assert video.stat().st_mtime_ns > before  # its overlays were written anew
    assert len(frames_of(video)[0]) == 30


def thumbnails(*levels):
    return np.stack([np.full((8, 8, 3), level, np.uint8) for level in levels])


@pytest.mark.parametrize(
    ('levels', 'starts'),
    [
        ([50] * 6 + [120] * 6, [0, 6]),
        ([50] * 6 + [250] + [50] * 6, [0]),  # a flash
        ([50] * 6 + [250] * 2 + [52] * 6, [0]),
        (range(0, 250, 20), [0]),  # all frames change as much
        ([*range(0, 60, 3), 200, 203, 206, 209], [0, 20]),
        ([50], [0]),
        ([50, 120], [0, 1]),
    ],
)
def test_cuts(levels, starts):
    levels = list(levels)
    scenes = choose_frames(thumbnails(*levels), range(len(levels)), every=1)
    assert [scene[0] for scene in scenes] == starts
    assert sum(scenes, []) == list(range(len(levels)))


def test_still_scenes_have_about_a_frame_a_second():
    times = np.arange(101) / 25
    [scene] = choose_frames(thumbnails(*[50] * 101), times)
    assert scene == [0, 25, 50, 75, 100]


def test_odd_sizes_and_other_sizes(tmp_path, segment):
    folder = write_images(tmp_path / 'odd', ['a.png', 'b.png'], size=(31, 45))
    write_images(folder, ['c.png'], size=(20, 50))
    assert segment(folder, '--sequence') == 0
    frames, _ = frames_of(tmp_path / 'out' / 'overlays' / 'odd.mp4')
    assert [image.shape for image in frames] == [(30, 44, 3)] * 3


def test_without_an_encoder_all_else_is_written(clip, tmp_path, segment, monkeypatch):
    monkeypatch.setattr(overlay_video, '_write', lambda *args: False)
    with pytest.warns(UserWarning, match=r'clip-1\.mp4 was not written: OpenCV has no encoder'):
        assert segment(clip) == 0
    assert len(coco_images(tmp_path / 'out')) == 15
    assert not list((tmp_path / 'out' / 'overlays').glob('*.mp4'))
