"""labelme's and YOLO's files give the masks back, read by these tools themselves and without."""

import json
import os
import shutil
from functools import partial
from unittest.mock import patch

import cv2
import numpy as np
import pytest
import torch
import yaml
from mmengine.structures import InstanceData, PixelData
from PIL import Image, ImageDraw

from mmcoseg.datasets.image_io import read_image, read_mask
from mmcoseg.export import GroupRecord, ResultWriter, labelme, mask_to_polygons, yolo
from mmcoseg.export.yolo import YoloNames
from mmcoseg.structures import CoSegDataSample


def write(out, results, tolerance=0, folder=None, copy=False, **instances):
    """Write images ``<group>/<stem>`` with these masks; with files in ``folder``, or without."""
    polygons = partial(mask_to_polygons, tolerance=tolerance)
    writer = ResultWriter(out, ['labelme', 'yolo'], copy_images=copy)
    records = {}
    for (group, stem), mask in results.items():
        sample = CoSegDataSample(metainfo=dict(group=group, stem=stem))
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(mask.astype(np.uint8))[None])
        if instances:
            sample.pred_instances = InstanceData(**instances)
        image = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3), np.uint8)
        if folder is not None:
            (folder / group).mkdir(parents=True, exist_ok=True)
            path = folder / group / f'{stem}.png'
            Image.fromarray(image[..., ::-1]).save(path)
            sample.set_metainfo(dict(img_path=str(path)))
        with (
            patch.object(labelme, 'mask_to_polygons', polygons),
            patch.object(yolo, 'mask_to_polygons', polygons),
        ):
            records[group, stem] = writer.write_image(sample, image)
    groups = sorted({group for group, _ in results})
    writer.write_collections(
        [GroupRecord(g, [r for r in records.values() if r.group == g]) for g in groups]
    )
    return records


@pytest.fixture
def masks():
    empty = np.zeros((60, 90), bool)
    parts = empty.copy()
    parts[5:30, 5:40] = parts[40:55, 50:80] = True
    parts[10:25, 12:20] = parts[10:25, 25:33] = False  # two holes
    pixel = empty.copy()
    pixel[17, 33] = True
    thin = np.zeros((80, 1), bool)
    thin[10:30] = thin[50:] = True
    named = dict(parts=parts, empty=empty, full=~empty, pixel=pixel, thin=thin, flat=thin.T)
    result = {('cat', stem): mask for stem, mask in named.items()}
    return result | {('dog', 'one'): ~parts, ('dog', 'spaces and "quotes"'): parts}


def labelme_mask(document):
    """As labelme rasterizes its polygons."""
    out = np.zeros((document['imageHeight'], document['imageWidth']), bool)
    for shape in document['shapes']:
        assert shape['shape_type'] == 'polygon' and len(shape['points']) >= 3
        canvas = Image.fromarray(np.zeros(out.shape, np.uint8))
        points = [tuple(xy) for xy in shape['points']]
        ImageDraw.Draw(canvas).polygon(points, outline=1, fill=1)
        out |= np.asarray(canvas) > 0
    return out


def yolo_masks(text, shape, rounding):
    """Class and mask of every line; readers differ in how they come to whole pixels."""
    for line in text.splitlines():
        number, *values = line.split()
        assert len(values) >= 6 and all(0 <= float(value) <= 1 for value in values)
        points = rounding(np.float32(values).reshape(-1, 2) * np.float32(shape[::-1]))
        canvas = np.zeros(shape, np.uint8)
        cv2.fillPoly(canvas, [points.astype(np.int32)], 1)
        yield int(number), canvas > 0


def test_labelme_polygons_are_the_masks(tmp_path, masks):
    for key, record in write(tmp_path, masks).items():
        document = json.loads((tmp_path / record.files['labelme']).read_text())
        np.testing.assert_array_equal(labelme_mask(document), masks[key])
        assert {shape['label'] for shape in document['shapes']} <= {key[0]}
    parts = json.loads((tmp_path / 'labelme/cat/parts.json').read_text())['shapes']
    assert [shape['group_id'] for shape in parts] == [1, 1]


def test_labelme_finds_the_image(tmp_path, masks):
    for folder in (tmp_path / 'my photos', None):
        out = tmp_path / f'out {folder is None}'
        for record in write(out, masks, folder=folder).values():
            path = out / record.files['labelme']
            document = json.loads(path.read_text())
            assert (document['imageData'] is None) == (folder is not None)
            if folder is not None:
                image = read_image(path.parent / document['imagePath'])
                assert image.shape[:2] == (record.height, record.width)


@pytest.mark.parametrize('rounding', [np.round, np.trunc])
def test_yolo_polygons_are_the_masks(tmp_path, masks, rounding):
    for key, record in write(tmp_path, masks).items():
        text = (tmp_path / record.files['yolo']).read_text()
        found = np.zeros(masks[key].shape, bool)
        for number, mask in yolo_masks(text, found.shape, rounding):
            assert number == ['cat', 'dog'].index(key[0])
            assert not (found & mask).any()
            found |= mask
        np.testing.assert_array_equal(found, masks[key])


def test_yolo_folder_is_as_ultralytics_looks_for_it(tmp_path, masks):
    out = tmp_path / 'out'
    records = write(out, masks, folder=tmp_path / 'photos')
    settings = yaml.safe_load((out / 'yolo/data.yaml').read_text())
    assert settings == dict(train='images', val='images', names={0: 'cat', 1: 'dog'})
    images = sorted((out / 'yolo' / settings['train']).rglob('*.*'))
    assert len(images) == len(masks)
    for image in images:
        label = str(image).replace('/images/', '/labels/').rsplit('.', 1)[0] + '.txt'
        record = records[image.parent.name, image.stem]
        assert label == str(out / record.files['yolo'])
        assert read_image(image).shape[:2] == (record.height, record.width)
    # An image without objects has an empty file, a background for the training.
    assert (out / 'yolo/labels/cat/empty.txt').read_text() == ''


def yolo_label_of(image):
    """Where Ultralytics looks for the labels of an image: its published rule."""
    images, labels = f'{os.sep}images{os.sep}', f'{os.sep}labels{os.sep}'
    return labels.join(str(image).rsplit(images, 1)).rsplit('.', 1)[0] + '.txt'


@pytest.mark.parametrize('place', ['out', 'images/out', 'images', 'labels/images/labels'])
def test_yolo_labels_are_found_whatever_the_names(tmp_path, masks, place):
    one = masks['cat', 'parts']
    groups = ['images', 'labels', 'Images', 'images.txt', 'a/images', 'images/', '..', ' images']
    stems = ['images', 'labels', 'a.b', 'images.jpg', '.png', 'x.', 'a/images/b', 'k' * 254]
    results = {(group, 'images'): one for group in groups}
    results |= {('images', stem): one for stem in stems}
    for folder in (None, tmp_path / 'photos'):
        out = tmp_path / place / str(folder is None)
        # Slashes are in no file's name, only in those of arrays.
        some = {k: v for k, v in results.items() if folder is None or '/' not in ''.join(k)}
        some = {k: v for k, v in some.items() if folder is None or len(k[1]) < 250}
        for record in write(out, some, folder=folder).values():
            assert yolo_label_of(out / record.files['yolo_images']) == str(
                out / record.files['yolo']
            )
        images = [path for path in (out / 'yolo/images').rglob('*') if not path.is_dir()]
        assert len(images) == len(some)
        assert {yolo_label_of(image) for image in images} == {
            str(label) for label in (out / 'yolo/labels').rglob('*.txt') if label.is_file()
        }


def one_image(tmp_path, name, group='cat', **kwargs):
    """Write the YOLO files of one image file; its record and the folder."""
    sample = CoSegDataSample(metainfo=dict(group=group, stem=name.rsplit('.', 1)[0]))
    sample.set_metainfo(dict(img_path=str(tmp_path / name)))
    image = read_image(tmp_path / name)
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[2:8, 3:9] = 1
    sample.pred_sem_seg = PixelData(data=torch.from_numpy(mask)[None])
    writer = ResultWriter(tmp_path / 'out', ['yolo'], **kwargs)
    return writer.write_image(sample), tmp_path / 'out'


def odd_file(path, kind):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    if kind == 'gif by another name':
        picture.save(path, format='GIF')
    elif kind == 'rotated':
        picture.save(path, exif=exif)
    elif kind == 'damaged text':
        picture.save(path)
        data = path.read_bytes()
        path.write_bytes(data[:33] + b'\0\0\0\5tEXta\0bcd\0\0\0\1' + data[33:])
    else:
        picture.save(path)


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('a.gif', ''),
        ('a.GIF', ''),
        ('a.avif', ''),
        ('a.jpg', 'gif by another name'),
        ('a.png', 'rotated'),
        ('a.tif', 'rotated'),
        ('a.webp', 'rotated'),
        ('a.png', 'damaged text'),
    ],
)
def test_yolo_gets_a_png_of_what_it_does_not_read(tmp_path, name, kind):
    if name == 'a.avif':
        pytest.importorskip('PIL.AvifImagePlugin', reason='Pillow reads AVIF from 11.3 on')
    odd_file(tmp_path / name, kind)
    record, out = one_image(tmp_path, name)
    picture = out / record.files['yolo_images']
    assert picture.suffix == '.png' and not picture.is_symlink()
    with Image.open(picture) as image:
        assert image.format == 'PNG' and image.getexif().get(0x0112, 1) == 1
    np.testing.assert_array_equal(read_image(picture), read_image(tmp_path / name))
    assert yolo_label_of(picture) == str(out / record.files['yolo'])


@pytest.mark.parametrize('name', ['a.jpg', 'a.JPEG', 'a.png', 'a.bmp', 'a.tiff', 'a.webp'])
def test_yolo_gets_links_to_what_it_reads(tmp_path, name):
    odd_file(tmp_path / name, '')
    record, out = one_image(tmp_path, name)
    picture = out / record.files['yolo_images']
    assert picture.is_symlink() and not os.path.isabs(os.readlink(picture))
    assert picture.samefile(tmp_path / name)


@pytest.mark.parametrize('copy', [False, True])
def test_a_yolo_folder_that_is_moved_still_works(tmp_path, masks, copy):
    (tmp_path / 'here').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'here')  # what is above the link does not matter
    out = tmp_path / 'link' / 'deep' / 'out'
    records = write(out, masks, folder=tmp_path / 'here/photos', copy=copy)
    if copy:
        shutil.move(out, tmp_path / 'there')
        shutil.rmtree(tmp_path / 'here')
        out = tmp_path / 'there'
    else:
        shutil.move(tmp_path / 'here', tmp_path / 'there')
        out = tmp_path / 'there/deep/out'
    for record in records.values():
        picture = out / record.files['yolo_images']
        assert picture.is_symlink() != copy
        assert read_image(picture).shape[:2] == (record.height, record.width)
        assert os.path.exists(yolo_label_of(picture))


def test_yolo_images_without_files_are_written(tmp_path, masks):
    write(tmp_path, masks)
    assert len(list((tmp_path / 'yolo/images').rglob('*.png'))) == len(masks)


def test_yolo_instances_are_a_line_each(tmp_path):
    found = np.zeros((2, 40, 60), bool)
    found[0, 2:12, 2:12] = found[0, 25:38, 5:20] = found[1, 10:30, 30:55] = True
    record = write(
        tmp_path,
        {('cat', 'a'): found.any(0)},
        masks=torch.from_numpy(found),
        labels=torch.zeros(2, dtype=torch.long),
        scores=torch.ones(2),
    )['cat', 'a']
    lines = list(yolo_masks((tmp_path / record.files['yolo']).read_text(), (40, 60), np.round))
    assert len(lines) == 2
    for (_, mask), true in zip(lines, found, strict=True):
        assert mask[true].all() and (mask & ~true).sum() <= 20  # the bridge


def test_numbers_of_categories_stay(tmp_path, masks):
    write(tmp_path, {('dog', 'a'): masks['dog', 'one']})
    file = tmp_path / 'yolo/data.yaml'
    file.write_text(file.read_text().replace('val: images', 'val: others'))
    write(tmp_path, {('cat', 'a'): masks['dog', 'one'], ('dog', 'b'): masks['dog', 'one']})
    settings = yaml.safe_load(file.read_text())
    assert settings['names'] == {0: 'dog', 1: 'cat'}
    assert settings['val'] == 'others'  # what users change stays
    assert (tmp_path / 'yolo/labels/cat/a.txt').read_text().startswith('1 ')
    assert (tmp_path / 'yolo/labels/dog/b.txt').read_text().startswith('0 ')


def test_names_that_yaml_would_misread(tmp_path):
    odd = ['no', '1', 'a: b', '"', '#', '日本 😀', 'caf\udce9', '\n', "it's", '\ufeff', '\x85']
    names = YoloNames(tmp_path / 'data.yaml')
    assert names.number(odd) == {name: i for i, name in enumerate(odd)}
    stored = yaml.safe_load((tmp_path / 'data.yaml').read_text(encoding='utf-8'))['names']
    assert list(stored.values())[:6] == odd[:6] and stored[6] == r'caf\xe9'
    assert YoloNames(tmp_path / 'data.yaml').number(['new', *odd])['new'] == len(odd)


def test_a_foreign_data_yaml_is_not_overwritten(tmp_path):
    (tmp_path / 'data.yaml').write_text('names: [cat, dog]\n')
    with pytest.raises(ValueError, match=r'data\.yaml'):
        YoloNames(tmp_path / 'data.yaml')


@pytest.fixture
def photographs(coseg_data):
    files = sorted((coseg_data / 'pascal_coseg/masks').glob('*/*.png'))[::30]
    assert len(files) > 15
    return {(file.parent.name, file.stem): read_mask(file) == 255 for file in files}


def iou(a, b):
    return (a & b).sum() / max(1, (a | b).sum())


@pytest.mark.slow
def test_simplified_polygons_of_photographs_keep_98_per_cent(tmp_path, photographs):
    for key, record in write(tmp_path, photographs, tolerance=1).items():
        document = json.loads((tmp_path / record.files['labelme']).read_text())
        found = np.zeros_like(photographs[key])
        text = (tmp_path / record.files['yolo']).read_text()
        for _, mask in yolo_masks(text, found.shape, np.trunc):
            found |= mask
        if photographs[key].any():
            assert iou(labelme_mask(document), photographs[key]) > 0.98
            assert iou(found, photographs[key]) > 0.98


def test_read_back_by_labelme(tmp_path, masks, photographs, monkeypatch):
    monkeypatch.setenv('QT_QPA_PLATFORM', 'offscreen')
    labelme = pytest.importorskip('labelme', exc_type=ImportError)
    from labelme.utils import shapes_to_label

    masks = masks | photographs
    for folder in (tmp_path / 'photos', None):
        out = tmp_path / f'out {folder is None}'
        for key, record in write(out, masks, folder=folder).items():
            file = labelme.LabelFile(str(out / record.files['labelme']))
            values = {shape['label']: 1 for shape in file.shapes}
            found, _ = shapes_to_label(masks[key].shape, file.shapes, values)
            np.testing.assert_array_equal(found == 1, masks[key])


def test_read_back_by_supervision(tmp_path, masks, photographs):
    supervision = pytest.importorskip('supervision', exc_type=ImportError)
    masks = masks | photographs
    out = tmp_path / 'out'
    records = write(out, masks, folder=tmp_path / 'photos')
    for group in sorted({group for group, _ in masks}):
        data = supervision.DetectionDataset.from_yolo(
            images_directory_path=str(out / 'yolo/images' / group),
            annotations_directory_path=str(out / 'yolo/labels' / group),
            data_yaml_path=str(out / 'yolo/data.yaml'),
            force_masks=True,
        )
        seen = 0
        for path, image, detections in data:
            stem = path.rsplit('/', 1)[1].rsplit('.', 1)[0]
            true = masks[group, stem]
            assert image.shape[:2] == (records[group, stem].height, true.shape[1])
            found = np.zeros_like(true)
            if len(detections):
                found = detections.mask.any(axis=0)
                assert {data.classes[i] for i in detections.class_id} == {group}
            np.testing.assert_array_equal(found, true)
            seen += 1
        assert seen == sum(key[0] == group for key in masks)
