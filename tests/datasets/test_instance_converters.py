"""The converters of DeepCO3's sets, on miniature originals."""

import json
import re
import runpy
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmcoseg.datasets import InstanceCoSegDataset
from mmcoseg.datasets.checks import check_data
from mmcoseg.datasets.converters.instances import write_instances
from mmcoseg.datasets.converters.sources import SourceImage, read_published
from mmcoseg.structures.rle import encode_masks

H, W = 18, 26
BOXES = ((1, 1, 9, 9), (12, 3, 20, 15), (21, 1, 25, 17))


def mask_of(number):
    mask = np.zeros((H, W), bool)
    left, top, right, bottom = BOXES[number]
    mask[top:bottom, left:right] = True
    return mask


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(path.name.encode())).integers(0, 255, (H, W, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def convert(repo, capsys):
    """Run a converter's script in this process."""

    def run(name, *arguments):
        script = runpy.run_path(str(repo / 'tools' / 'dataset_converters' / f'{name}.py'))
        try:
            status = script['main']([*map(str, arguments)])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run


def counts_of(folder):
    """Images and instances of every group, as the data set sees them."""
    dataset = InstanceCoSegDataset(str(folder))
    result = {}
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        instances = [j for image in info['images'] for j in image['instances'] if not j['crowd']]
        result[info['group']] = (len(info['images']), len(instances))
    assert not check_data(folder, progress=False).errors
    return result


def write_published(root, mats=True):
    for name, number in dict(cow=2, bus=1).items():
        for i in range(number):
            picture(root / 'Image' / name / f'{i}.jpg')
            for k in range(i + 1):
                path = root / 'Mask' / name / f'{i}_InstID_{k + 1}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask_of(k)).save(path)
            if mats:
                for folder in ('MCG_fast', 'SalRes_ZhangICCV17'):
                    path = root / folder / name / f'{i}.mat'
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b'mat')


@pytest.mark.parametrize('name', ['coco_voc', 'coco_nonvoc', 'voc12', 'soc'])
def test_published_layout(convert, tmp_path, name):
    write_published(tmp_path / 'release')
    for _ in range(2):  # a second time over the first changes nothing
        result = convert(name, tmp_path / 'release', tmp_path / 'out')
        assert result.returncode == 0, result.stderr
    assert counts_of(tmp_path / 'out') == dict(cow=(2, 3), bus=(1, 1))
    assert '2 classes (published: ' in result.stdout and '4 instances (pub' in result.stdout
    image = InstanceCoSegDataset(str(tmp_path / 'out'), groups=['cow']).get_data_info(0)
    for kind, folder in (('proposals', 'MCG_fast'), ('saliency', 'SalRes_ZhangICCV17')):
        with open(image['images'][1][f'{kind}_path'], 'rb') as file:
            assert file.read() == b'mat'
        assert folder in image['images'][1][f'{kind}_path']
    (rle,) = encode_masks(mask_of(1)[None])
    assert image['images'][1]['instances'][1]['mask']['counts'].encode() == rle['counts']


def test_published_layout_that_lacks_something_is_named(tmp_path):
    write_published(tmp_path, mats=False)
    assert all(not image.extras for image in read_published(tmp_path))
    (tmp_path / 'Mask' / 'cow' / '0_InstID_1.png').rename(tmp_path / 'Mask/cow/9_InstID_1.png')
    with pytest.raises(ValueError, match=r"without masks \['0'\], masks without images \['9'\]"):
        list(read_published(tmp_path))
    (tmp_path / 'Mask' / 'cow' / '9_InstID_1.png').rename(tmp_path / 'Mask/cow/9.png')
    with pytest.raises(ValueError, match='_InstID_<number>'):
        list(read_published(tmp_path))


def write_coco(root):
    """Of each rule an example, in two splits; `zebra` and `couch` stay."""
    content = {
        'train2017': [
            ['zebra', 'zebra'],
            ['zebra', 'zebra', 'zebra'],
            ['zebra'],  # one instance only
            ['zebra', 'couch', 'couch'],  # two categories
            ['zebra', 'zebra', 'person crowd'],  # a crowd of another category
            ['zebra', 'zebra crowd'],  # one instance and a crowd
            ['couch', 'couch', 'couch crowd'],
            ['tv', 'tv'],  # too few images
            [],
        ],
        'val2017': [['couch', 'couch'], ['zebra', 'zebra']],
    }
    names = ['person', 'couch', 'tv', 'zebra']
    for split, lists in content.items():
        images, annotations = [], []
        for number, objects in enumerate(lists):
            name = f'{split}_{number:03d}.jpg'
            picture(root / split / name)
            images.append(dict(id=number, file_name=name, height=H, width=W))
            for k, item in enumerate(objects):
                category, _, crowd = item.partition(' ')
                left, top, right, bottom = BOXES[k]
                shape = [[left, top, right, top, right, bottom, left, bottom]]
                if crowd:
                    flat = mask_of(k).T.ravel().astype(int)
                    edges = np.flatnonzero(np.diff(flat)) + 1
                    counts = np.diff([0, *edges.tolist(), flat.size]).tolist()
                    shape = dict(size=[H, W], counts=counts)
                annotations.append(
                    dict(
                        id=len(annotations),
                        image_id=number,
                        category_id=10 + names.index(category),
                        segmentation=shape,
                        area=50,
                        iscrowd=int(bool(crowd)),
                    )
                )
        categories = [dict(id=10 + i, name=name) for i, name in enumerate(names)]
        file = root / 'annotations' / f'instances_{split}.json'
        file.parent.mkdir(exist_ok=True)
        document = dict(images=images, annotations=annotations, categories=categories)
        file.write_text(json.dumps(document))


def test_coco_by_the_papers_rules(convert, tmp_path):
    write_coco(tmp_path / 'coco')
    result = convert('coco_nonvoc', tmp_path / 'coco', tmp_path / 'non', '--min-images', 2)
    assert result.returncode == 0, result.stderr
    assert counts_of(tmp_path / 'non') == dict(zebra=(3, 7))
    assert '3 images (published: 3130)' in result.stdout
    result = convert('coco_voc', tmp_path / 'coco', tmp_path / 'voc', '--min-images', 2)
    assert counts_of(tmp_path / 'voc') == dict(couch=(2, 4))
    (record,) = (
        image
        for image in InstanceCoSegDataset(str(tmp_path / 'voc')).get_data_info(0)['images']
        if len(image['instances']) == 3
    )
    assert [i['crowd'] for i in record['instances']] == [False, False, True]
    result = convert(
        'coco_nonvoc',
        tmp_path / 'coco',
        tmp_path / 'all',
        *('--min-images', 1, '--min-instances', 1),
    )
    assert counts_of(tmp_path / 'all') == dict(zebra=(5, 9))
    result = convert('coco_nonvoc', tmp_path / 'coco', tmp_path / 'none')
    assert result.returncode == 1 and 'no category has 10 images' in result.stderr


def write_voc(root):
    """Of each rule an example; cats in three images of VOC and two of SBD, dogs in one."""
    voc = root / 'VOCdevkit' / 'VOC2012'
    scenes = {
        '2007_1': ['cat', 'cat'],
        '2007_2': ['cat'],
        '2007_3': ['cat', 'dog'],  # two categories
        '2007_4': ['cat'],  # and a person that is annotated only
        '2007_5': ['dog'],
    }
    for stem, names in scenes.items():
        picture(voc / 'JPEGImages' / f'{stem}.jpg')
        labels, objects = np.zeros((2, H, W), np.uint8)
        for k, name in enumerate(names):
            objects[mask_of(k)] = k + 1
            labels[mask_of(k)] = dict(cat=8, dog=12)[name]
        for array in (labels, objects):
            array[0, :5] = 255  # the border
        for folder, array in (('SegmentationClass', labels), ('SegmentationObject', objects)):
            (voc / folder).mkdir(exist_ok=True)
            image = Image.fromarray(array)
            image.putpalette([i for i in range(256) for _ in range(3)])
            image.save(voc / folder / f'{stem}.png')
        annotated = [*names, 'person'] if stem == '2007_4' else names
        (voc / 'Annotations').mkdir(exist_ok=True)
        text = ''.join(
            f'<object><name>{n}</name><part><name>head</name></part></object>' for n in annotated
        )
        (voc / 'Annotations' / f'{stem}.xml').write_text(f'<annotation>{text}</annotation>')
    sbd = root / 'sbd' / 'dataset'
    (sbd / 'inst').mkdir(parents=True)
    for stem, numbers in {
        '2008_1': [8, 8],
        '2008_2': [8],
        '2008_3': [8, 15],
        '2007_1': [8],
    }.items():
        if stem == '2008_2':
            picture(sbd / 'img' / f'{stem}.jpg')
        else:
            picture(voc / 'JPEGImages' / f'{stem}.jpg')
        segmentation = np.zeros((H, W), np.uint8)
        for k in range(len(numbers)):
            segmentation[mask_of(k)] = k + 1
        annotation = dict(
            Segmentation=segmentation, Categories=np.array(numbers, np.uint8)[:, None]
        )
        savemat(sbd / 'inst' / f'{stem}.mat', dict(GTinst=annotation))
    return voc, root / 'sbd'


@pytest.mark.parametrize('folder', ['SegmentationObject', 'SegmentationClass'])
@pytest.mark.parametrize('mode', ['RGB', 'RGBA'])
def test_masks_in_colors_are_named(convert, tmp_path, folder, mode):
    voc, _ = write_voc(tmp_path)
    file = next(iter(sorted((voc / folder).glob('*.png'))))
    values = np.asarray(Image.open(file))
    colors = np.zeros((*values.shape, 3), np.uint8)
    colors[values > 0] = 128, 0, 0
    Image.fromarray(colors).convert(mode).save(file)
    result = convert('voc12', voc, tmp_path / 'out', '--min-images', 1)
    assert result.returncode == 1
    assert f'{file} is {mode}, expected palette or gray' in result.stderr


def test_class_masks_of_another_size_are_named(convert, tmp_path):
    voc, _ = write_voc(tmp_path)
    file = next(iter(sorted((voc / 'SegmentationClass').glob('*.png'))))
    Image.new('L', (3, 4)).save(file)
    result = convert('voc12', voc, tmp_path / 'out', '--min-images', 1)
    assert result.returncode == 1 and f'{file} is 4 x 3, that of Segment' in result.stderr


def test_published_masks_in_colors_are_named(convert, tmp_path):
    write_published(tmp_path / 'release')
    file = tmp_path / 'release' / 'Mask' / 'cow' / '0_InstID_1.png'
    Image.new('RGB', (W, H), (128, 0, 0)).save(file)
    result = convert('voc12', tmp_path / 'release', tmp_path / 'out')
    assert result.returncode == 1
    assert f'{file} is RGB, expected palette or gray' in result.stderr


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (
            dict(segmentation=dict(size=[H, W], counts=[1, 2])),
            r'val2017_001.jpg: annotation \S+: its RLE',
        ),
        (dict(segmentation=None), r'annotation \S+: there is no segmentation'),
        (dict(image_id='x'), r"annotation \S+: there is no image 'x'"),
        (dict(category_id=None), r'annotation \S+ has no category_id'),
    ],
)
def test_a_bad_annotation_is_named(convert, tmp_path, edit, message):
    write_coco(tmp_path / 'coco')
    file = tmp_path / 'coco' / 'annotations' / 'instances_val2017.json'
    content = json.loads(file.read_text())
    for annotation in content['annotations']:
        annotation.update(edit)
    file.write_text(json.dumps(content))
    result = convert('coco_nonvoc', tmp_path / 'coco', tmp_path / 'out', '--min-images', 1)
    assert result.returncode == 1
    assert re.search(message, result.stderr)
    assert str(file) in result.stderr


def test_a_missing_image_is_named(convert, tmp_path):
    write_coco(tmp_path / 'coco')
    (tmp_path / 'coco' / 'val2017' / 'val2017_001.jpg').unlink()
    result = convert('coco_nonvoc', tmp_path / 'coco', tmp_path / 'out', '--min-images', 1)
    assert result.returncode == 1
    assert 'there is no image' in result.stderr and 'val2017_001.jpg, but it has' in result.stderr


@pytest.mark.parametrize('name', ['a/b', '..', ''])
def test_groups_have_names_that_folders_can_have(tmp_path, name):
    picture(tmp_path / 'a.jpg')
    image = SourceImage(tmp_path / 'a.jpg', (name,), 0, lambda: ([], []))
    with pytest.raises(ValueError, match='cannot be the name of a folder'):
        write_instances(tmp_path / 'out', {name: [image]})
    assert not (tmp_path / 'out').exists()


def test_voc_by_the_papers_rules(convert, tmp_path):
    voc, sbd = write_voc(tmp_path)
    result = convert('voc12', tmp_path / 'VOCdevkit', tmp_path / 'out', '--min-images', 2)
    assert result.returncode == 0, result.stderr
    assert counts_of(tmp_path / 'out') == dict(cat=(2, 3))
    image = InstanceCoSegDataset(str(tmp_path / 'out')).get_data_info(0)['images'][0]
    assert [i['crowd'] for i in image['instances']] == [False, False, True]  # the border
    result = convert('voc12', voc, tmp_path / 'both', '--sbd', sbd, '--min-images', 1)
    assert counts_of(tmp_path / 'both') == dict(cat=(4, 6), dog=(1, 1))
    assert '2 classes (published: 18)' in result.stdout
    result = convert('voc12', tmp_path / 'sbd', tmp_path / 'x')
    assert result.returncode == 1 and 'no folder SegmentationObject' in result.stderr


def write_soc(root):
    colors = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    scenes = {
        'TrainSet': {'a': ['person', 'person'], 'b': ['person', 'dog'], 'c': ['person'], 'd': []},
        'ValSet': {'e': ['person', 'person', 'person'], 'f': ['dog']},
    }
    for part, images in scenes.items():
        truth = root / part / 'Instance gt'
        for folder in ('gt', 'Instance name'):
            (truth / folder).mkdir(parents=True)
        for stem, names in images.items():
            picture(root / part / 'Imgs' / f'{stem}.jpg')
            if not names:
                continue
            pixels = np.zeros((H, W, 3), np.uint8)
            numbers = np.zeros((H, W), np.uint8)
            for k in range(len(names)):
                pixels[mask_of(k)] = colors[k]
                numbers[mask_of(k)] = k + 1
            # Both forms of masks.
            Image.fromarray(numbers if stem == 'c' else pixels).save(truth / 'gt' / f'{stem}.png')
            text = ''.join(f'{k}:{name}\n' for k, name in enumerate(names, 1))
            (truth / 'Instance name' / f'{stem}.txt').write_text(text)


def test_soc_by_the_papers_rules(convert, tmp_path):
    write_soc(tmp_path / 'SOC')
    result = convert('soc', tmp_path / 'SOC', tmp_path / 'out', '--min-images', 2)
    assert result.returncode == 0, result.stderr
    assert counts_of(tmp_path / 'out') == dict(person=(3, 6))
    records = InstanceCoSegDataset(str(tmp_path / 'out')).get_data_info(0)['images']
    for record in records:
        for k, instance in enumerate(record['instances']):
            (rle,) = encode_masks(mask_of(k)[None])
            assert instance['mask']['counts'].encode() == rle['counts']
    odd = tmp_path / 'SOC' / 'TrainSet' / 'Instance gt' / 'gt' / 'a.png'
    Image.new('RGB', (W, H), (9, 8, 7)).save(odd)
    result = convert('soc', tmp_path / 'SOC', tmp_path / 'out', '--min-images', 2)
    assert result.returncode == 1 and 'a.png has colors that stand for no inst' in result.stderr
    # What was there before is still whole.
    assert counts_of(tmp_path / 'out') == dict(person=(3, 6))


def test_what_is_not_there_is_said(convert, tmp_path):
    for name, text in dict(
        coco_voc='instances_train2017.json', voc12='SegmentationObject', soc='Instance gt'
    ).items():
        result = convert(name, tmp_path, tmp_path / 'out')
        assert result.returncode == 1 and text in result.stderr
    result = convert('soc', tmp_path / 'nowhere', tmp_path / 'out')
    assert result.returncode == 1 and 'nowhere to convert' in result.stderr


@pytest.mark.slow
def test_scripts_run_on_their_own(repo, tmp_path):
    write_published(tmp_path / 'release')
    script = repo / 'tools' / 'dataset_converters' / 'voc12.py'
    command = [sys.executable, script, tmp_path / 'release', tmp_path / 'out']
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0 and '4 instances' in result.stdout, result.stderr
