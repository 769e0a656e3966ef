import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mmcoseg.datasets import MultiClassCoSegDataset, MultiClassVOCDataset
from mmcoseg.datasets.converters.common import VOC_CLASSES
from mmcoseg.datasets.converters.voc_groups import convert_voc_groups, voc_groups, voc_values
from mmcoseg.datasets.image_io import BadImageError, read_image, read_mask

#: Classes that each image of the miniature shows.
IMAGES = {
    '2007_000001': ('bicycle', 'person'),
    '2007_000002': ('person', 'bicycle'),
    '2007_000003': ('bicycle', 'car', 'person'),
    '2007_000004': ('aeroplane', 'person'),
    '2007_000005': ('aeroplane', 'person'),
    '2007_000006': ('person',),
    '2007_000007': ('sofa', 'dog'),
}


def voc_palette():
    """The published colors: the bits of a value, spread over the channels from the highest."""
    colors = np.zeros((256, 3), int)
    for value in range(256):
        rest, red, green, blue = value, 0, 0, 0
        for shift in range(7, -1, -1):
            red |= (rest & 1) << shift
            green |= (rest >> 1 & 1) << shift
            blue |= (rest >> 2 & 1) << shift
            rest >>= 3
        colors[value] = red, green, blue
    return colors.ravel().tolist()


@pytest.fixture(scope='module')
def voc(tmp_path_factory):
    """VOC in miniature: a stripe for each class with void around it, as palette images."""
    root = tmp_path_factory.mktemp('voc') / 'VOCdevkit' / 'VOC2012'
    for folder in ('JPEGImages', 'SegmentationClass'):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for stem, classes in IMAGES.items():
        mask = np.zeros((20, 30), np.uint8)
        for i, name in enumerate(classes):
            mask[2 + 6 * i : 7 + 6 * i, 3:20] = 255
            mask[3 + 6 * i : 6 + 6 * i, 4:19] = VOC_CLASSES.index(name) + 1
        picture = Image.fromarray(mask)
        picture.putpalette(voc_palette())
        picture.save(root / 'SegmentationClass' / f'{stem}.png')
        noise = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / 'JPEGImages' / f'{stem}.jpg')
    Image.fromarray(noise).save(root / 'JPEGImages' / '2007_000099.jpg')  # without a mask
    return root


def original(voc, stem):
    return np.asarray(Image.open(voc / 'SegmentationClass' / f'{stem}.png'))


def test_images_of_exactly_the_classes(voc, tmp_path):
    assert Image.open(voc / 'SegmentationClass/2007_000001.png').mode == 'P'
    counts = convert_voc_groups(voc, tmp_path)
    assert list(counts) == list(voc_groups()) and len(counts) == 9
    assert {name: count for name, count in counts.items() if count} == {
        'airplane+person': 2,
        'bicycle+person': 2,
        'sofa+dog': 1,  # too few
    }
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*') if p.is_file()}
    stems = {'bicycle+person': (1, 2), 'airplane+person': (4, 5)}
    assert found == {
        f'{kind}/{name}/2007_00000{i}.{suffix}'
        for name, numbers in stems.items()
        for i in numbers
        for kind, suffix in (('images', 'jpg'), ('masks', 'png'))
    }
    for stem in ('2007_000001', '2007_000002'):  # whichever class stands above
        values = original(voc, stem)
        expected = np.select([values == 2, values == 15, values == 255], [1, 2, 255], 0)
        written = tmp_path / 'masks/bicycle+person' / f'{stem}.png'
        np.testing.assert_array_equal(read_mask(written), expected)
        copy = tmp_path / 'images/bicycle+person' / f'{stem}.jpg'
        assert copy.read_bytes() == (voc / 'JPEGImages' / f'{stem}.jpg').read_bytes()
    dataset = MultiClassVOCDataset(str(tmp_path))
    assert [dataset.get_data_info(i)['group'] for i in range(len(dataset))] == list(stems)[::-1]


def test_values_are_in_the_order_of_the_name(voc, tmp_path):
    counts = convert_voc_groups(voc, tmp_path, ['dog+sofa', 'person+car+bicycle'], min_images=1)
    assert counts == {'dog+sofa': 1, 'person+car+bicycle': 1}
    values = original(voc, '2007_000003')
    expected = np.select([values == 15, values == 7, values == 2, values == 255], [1, 2, 3, 255], 0)
    written = read_mask(tmp_path / 'masks/person+car+bicycle/2007_000003.png')
    np.testing.assert_array_equal(written, expected)
    dataset = MultiClassCoSegDataset(str(tmp_path))
    assert dataset.get_data_info(0)['label_ids'] == (2, 4)
    assert dataset.metainfo['classes'] == ('bicycle', 'car', 'dog', 'person', 'sofa')


@pytest.mark.parametrize(('others', 'value'), [('background', 0), ('void', 255)])
def test_images_with_further_classes(voc, tmp_path, others, value):
    groups = ['bicycle+person', 'car']
    counts = convert_voc_groups(voc, tmp_path, groups, others, min_images=1)
    assert counts == {'bicycle+person': 3, 'car': 1}
    values = original(voc, '2007_000003')
    expected = np.select(
        [values == 2, values == 15, values == 7, values == 255], [1, 2, value, 255], 0
    )
    assert (values == 7).any()
    written = read_mask(tmp_path / 'masks/bicycle+person/2007_000003.png')
    np.testing.assert_array_equal(written, expected)
    assert not (tmp_path / 'masks/airplane+person').exists()


def test_names_of_classes():
    assert voc_values('aeroplane+tvmonitor') == voc_values('airplane+tv') == (1, 20)
    assert 'ball+dog' not in voc_groups()
    with pytest.raises(ValueError, match=r"VOC has no class \['ball'\] of the group 'ball\+dog'"):
        voc_values('ball+dog')
    with pytest.raises(ValueError, match='twice'):
        voc_values('tv+tvmonitor')
    with pytest.raises(ValueError, match='must name each class'):
        voc_values('dog+')


def test_what_is_wrong_is_named(voc, tmp_path):
    with pytest.raises(FileNotFoundError, match='no folder .*nowhere'):
        convert_voc_groups(tmp_path / 'nowhere', tmp_path)
    with pytest.raises(FileNotFoundError, match='SegmentationClass.*VOC2012'):
        convert_voc_groups(tmp_path, tmp_path)
    with pytest.raises(ValueError, match="others must be .*'white'"):
        convert_voc_groups(voc, tmp_path, others='white')
    with pytest.raises(
        ValueError, match=r"none of the groups \['cat\+cow'\] has 2 images.* 7 masks"
    ):
        convert_voc_groups(voc, tmp_path, ['cat+cow'])
    copy = tmp_path / 'VOC2012'
    for folder in ('JPEGImages', 'SegmentationClass'):
        (copy / folder).mkdir(parents=True)
    mask = copy / 'SegmentationClass/a.png'
    Image.fromarray(np.full((4, 5), 21, np.uint8)).save(mask)
    with pytest.raises(ValueError, match=r'a\.png has the values \[21\]'):
        convert_voc_groups(copy, tmp_path / 'out')
    Image.fromarray(np.array([[18, 12]], np.uint8)).save(mask)
    options = dict(groups=['sofa+dog'], min_images=1)
    with pytest.raises(FileNotFoundError, match=r'a\.jpg'):
        convert_voc_groups(copy, tmp_path / 'out', **options)
    Image.new('RGB', (5, 4)).save(copy / 'JPEGImages/a.jpg')
    with pytest.raises(ValueError, match=r'a\.jpg is 4 x 5, its mask .*a\.png is 1 x 2'):
        convert_voc_groups(copy, tmp_path / 'out', **options)


@pytest.mark.slow
def test_command(voc, tmp_path, repo, repo_env):
    program = str(repo / 'tools/dataset_converters/voc_multiclass.py')
    command = [sys.executable, program, str(voc.parents[1]), str(tmp_path / 'out')]
    done = subprocess.run(command, env=repo_env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if ' images' in line]
    counts = {line[0]: int(line[1]) for line in lines}
    assert counts['bicycle+person'] == 2 and counts['total'] == 4
    assert 'too few' in next(line for line in done.stdout.splitlines() if 'sofa+dog' in line)
    image = next((tmp_path / 'out/images/bicycle+person').iterdir())
    assert read_image(image).shape == (20, 30, 3)
    failed = subprocess.run(
        [*command, '--groups', 'ball+dog'], env=repo_env, capture_output=True, text=True
    )
    assert failed.returncode == 1 and "no class ['ball']" in failed.stderr
    assert 'Traceback' not in failed.stderr


def test_masks_in_colors_are_named(voc, tmp_path):
    source = tmp_path / 'VOC2012'
    shutil.copytree(voc, source)
    file = source / 'SegmentationClass' / '2007_000001.png'
    Image.open(file).convert('RGB').save(file)
    with pytest.raises(BadImageError, match=r'000001\.png is RGB, expected palette or gray'):
        convert_voc_groups(source, tmp_path / 'out')
