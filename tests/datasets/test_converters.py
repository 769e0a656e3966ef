import runpy
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from mmcoseg.datasets import CoSegDataset
from mmcoseg.datasets.converters import run_folder_converter
from mmcoseg.datasets.named import (
    MSRC7Dataset,
    PASCALCoSegDataset,
)


def picture(path, value, mode='RGB'):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), value).save(path)


def mask(path, values=(0, 255)):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((6, 8), values[0], np.uint8)
    array[2:4, 3:6] = values[1]
    Image.fromarray(array).save(path)


def write_msrc(root):
    for name in MSRC7Dataset.METAINFO['classes']:
        picture(root / 'MSRC' / name / '1_1_s.bmp', 'red')
        mask(root / 'MSRC' / name / 'GroundTruth' / '1_1_s.png', (0, 1))


def write_internet(root):
    for name in ('Airplane100', 'Car100', 'Horse100'):
        picture(root / 'Data' / name / '0001.jpg', 'red')
        picture(root / 'Data' / name / '0002.jpg', 'blue')
        mask(root / 'Data' / name / 'GroundTruth' / '0001.png')
        mask(root / 'Data' / name / 'GroundTruth' / '0002.png', (0, 0))


def write_icoseg(root):
    folders = [
        '021 Elephants-safari June 2008',
        '023 Pandas-Tai-Land',
        '024 Pandas-Zoo',
        '041 Hot Balloons-Skybird Flight 9.27.08',
        'bear2',
        'brown_bear',
        'cheetah',
        'helicopter',
        '015 Ferrari 599',
    ]
    for folder in folders:
        picture(root / 'images' / folder / 'a.jpg', 'red')
        mask(root / 'ground_truth' / folder / 'a.png')


def write_pascal(root):
    for name in PASCALCoSegDataset.METAINFO['classes']:
        picture(root / name / 'img_1001.jpg', 'red')
        mask(root / name / 'GroundTruth' / 'img_1001.png')


ORIGINALS = {
    'msrc': (write_msrc, 7, 7),
    'internet': (write_internet, 3, 6),
    'icoseg': (write_icoseg, 8, 8),
    'pascal_coseg': (write_pascal, 20, 20),
}


@pytest.fixture
def convert(repo, capsys):
    """Run a converter's script in this process: exit status, standard output, standard error."""

    def run(name, *arguments):
        script = runpy.run_path(str(repo / 'tools' / 'dataset_converters' / f'{name}.py'))
        try:
            status = run_folder_converter(
                script['LAYOUT'], script['__doc__'], [*map(str, arguments)]
            )
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.mark.slow
def test_scripts_run_on_their_own(repo, tmp_path):
    write_msrc(tmp_path / 'in')
    script = repo / 'tools' / 'dataset_converters' / 'msrc.py'
    command = [sys.executable, script, tmp_path / 'in', tmp_path / 'out']
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0 and '7 images in' in result.stdout


@pytest.mark.parametrize('name', ORIGINALS)
def test_published_layouts(convert, tmp_path, name):
    write, groups, images = ORIGINALS[name]
    write(tmp_path / 'download')
    for _ in range(2):  # a second time over the first changes nothing
        result = convert(name, tmp_path / 'download', tmp_path / 'out')
        assert result.returncode == 0, result.stderr
        assert f'{images} images in' in result.stdout
    pipeline = [
        dict(
            type='ForEachImage',
            transforms=[dict(type='LoadCoSegImage'), dict(type='LoadCoSegMask')],
        ),
        dict(type='PackGroupInputs'),
    ]
    dataset = CoSegDataset(str(tmp_path / 'out'), pipeline=pipeline, test_mode=True)
    assert len(dataset) == groups
    first, *others = dataset[0]['data_samples']
    assert first.gt_sem_seg.data.sum() == 6
    assert all(other.gt_sem_seg.data.sum() == 0 for other in others)
    assert (dataset[0]['inputs'][0][2] > 200).all()


def test_counts_are_compared_with_the_published_ones(convert, tmp_path):
    write_msrc(tmp_path / 'download')
    output = convert('msrc', tmp_path / 'download', tmp_path / 'out').stdout
    assert output.count('(published: 10)') == 7


def test_pandas_keep_their_order(convert, tmp_path):
    write_icoseg(tmp_path / 'in')
    for folder, value in {'023 Pandas-Tai-Land': 'lime', '024 Pandas-Zoo': 'blue'}.items():
        picture(tmp_path / 'in' / 'images' / folder / 'a.jpg', value)
    assert convert('icoseg', tmp_path / 'in', tmp_path / 'out').returncode == 0
    for group, channel in dict(panda1=1, panda2=2).items():
        pixels = np.asarray(Image.open(tmp_path / 'out' / 'images' / group / 'a.jpg'))
        assert pixels.mean(axis=(0, 1)).argmax() == channel


def test_the_helicopters_are_among_the_airshows(convert, tmp_path):
    write_icoseg(tmp_path / 'in')
    for kind in ('images', 'ground_truth'):
        folder = tmp_path / 'in' / kind
        (folder / 'helicopter').rename(folder / '025 Airshows-helicopter')
    picture(tmp_path / 'in' / 'images' / '026 Airshows-planes' / 'a.jpg', 'lime')
    result = convert('icoseg', tmp_path / 'in', tmp_path / 'out')
    assert result.returncode == 0, result.stderr
    pixels = np.asarray(Image.open(tmp_path / 'out' / 'images' / 'helicopter' / 'a.jpg'))
    assert pixels.mean(axis=(0, 1)).argmax() == 0


def test_bears_under_other_names_are_asked_for(convert, tmp_path):
    # Which of the release's bears are meant, publications do not say.
    write_icoseg(tmp_path / 'in')
    renamed = {'bear2': '002 Bears-one', 'brown_bear': '003 Bears-two'}
    for kind in ('images', 'ground_truth'):
        for old, new in renamed.items():
            (tmp_path / 'in' / kind / old).rename(tmp_path / 'in' / kind / new)
    result = convert('icoseg', tmp_path / 'in', tmp_path / 'out')
    assert result.returncode == 1
    assert "no images for the groups ['bear2', 'brownbear']" in result.stderr
    assert '003 Bears-two' in result.stderr and '--rename' in result.stderr
    pairs = ['--rename', '002 Bears-one=bear2', '003 Bears-two=brownbear']
    assert convert('icoseg', tmp_path / 'in', tmp_path / 'out', *pairs).returncode == 0


def test_folders_of_a_hundred_are_preferred_to_the_whole_sets(convert, tmp_path):
    write_internet(tmp_path / 'in')
    picture(tmp_path / 'in' / 'Data' / 'Car' / '7.jpg', 'red')  # has no ground truth
    result = convert('internet', tmp_path / 'in', tmp_path / 'out')
    assert result.returncode == 0, result.stderr
    assert '6 images in' in result.stdout and '(published: 300)' in result.stdout


@pytest.mark.parametrize(('name', 'ending'), [('msrc', 'bmp'), ('internet', 'jpg')])
def test_sets_in_the_form_that_circulates_with_published_code(convert, tmp_path, name, ending):
    # image/<class>/ beside groundtruth/<class>/, with masks of several formats.
    for group in ('airplane', 'car', 'horse', *MSRC7Dataset.METAINFO['classes']):
        picture(tmp_path / 'in' / 'image' / group / 'a.jpg', 'red')
        mask(tmp_path / 'in' / 'groundtruth' / group / f'a.{ending}')
    # Masks of something else, outside of what is to be converted, are left alone.
    mask(tmp_path / 'masks' / 'a.png', (255, 255))
    assert convert(name, tmp_path / 'in', tmp_path / 'out').returncode == 0
    values = np.asarray(Image.open(tmp_path / 'out' / 'masks' / 'car' / 'a.png'))
    assert set(np.unique(values)) == {0, 255} and (values == 255).sum() < 24


def test_folders_that_are_not_recognized(convert, tmp_path):
    write_internet(tmp_path / 'in')
    (tmp_path / 'in' / 'Data' / 'Car100').rename(tmp_path / 'in' / 'Data' / 'Automobiles')
    result = convert('internet', tmp_path / 'in', tmp_path / 'out')
    assert result.returncode == 1
    assert "no images for the groups ['car']" in result.stderr
    assert 'Automobiles' in result.stderr and 'Traceback' not in result.stderr
    renamed = ['--rename', 'Automobiles=car']
    assert convert('internet', tmp_path / 'in', tmp_path / 'out', *renamed).returncode == 0
    wrong = convert('internet', tmp_path / 'in', tmp_path / 'out', '--rename', 'X=lorry')
    assert wrong.returncode == 2 and 'FOLDER=GROUP' in wrong.stderr


@pytest.mark.parametrize(
    ('renamed', 'message'),
    [
        (['Nowhere=car'], r"no folder of images called ['Nowhere']"),
        (['Car100=car', 'Horse100=car'], 'one group of several folders'),
    ],
)
def test_names_given_by_hand_must_fit(convert, tmp_path, renamed, message):
    write_internet(tmp_path / 'in')
    result = convert('internet', tmp_path / 'in', tmp_path / 'out', '--rename', *renamed)
    assert result.returncode == 1 and message in result.stderr


def test_missing_ground_truth_and_source(convert, tmp_path):
    write_internet(tmp_path / 'in')
    (tmp_path / 'in' / 'Data' / 'Car100' / 'GroundTruth' / '0002.png').unlink()
    result = convert('internet', tmp_path / 'in', tmp_path / 'out')
    assert result.returncode == 1 and '1 images have no ground truth' in result.stderr
    result = convert('internet', tmp_path / 'none', tmp_path / 'out')
    assert result.returncode == 1 and 'there is no folder' in result.stderr
