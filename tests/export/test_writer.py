"""The writer: every file gives the masks back, read by the library it is made for."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image
from pycocotools.coco import COCO

from mmcoseg.datasets.hint_files import read_examples
from mmcoseg.datasets.image_io import read_image, read_mask
from mmcoseg.datasets.multiclass import read_class_names
from mmcoseg.datasets.transforms import LoadCoSegMask
from mmcoseg.evaluation import evaluate_masks
from mmcoseg.export import (
    FORMATS,
    GroupRecord,
    ImageRecord,
    ResultWriter,
    SkippedFile,
    exporters,
    mask_to_polygons,
)
from mmcoseg.export import writer as writer_module
from mmcoseg.files import display_name, file_name_of, write_atomically
from mmcoseg.structures import CoSegDataSample
from mmcoseg.visualization import PALETTE, overlay

DATED = ('report.html', 'summary.json')


def make_image(shape, seed=0):
    """Smooth, so that JPEG files come close to it."""
    y, x = np.indices(shape) / np.array(shape).reshape(2, 1, 1)
    return np.stack([200 * x, 200 * y, 100 + 60 * np.sin(seed + 3 * x)], -1).astype(np.uint8)


def make_sample(labels, group='cat', stem='001', presence=None, **metainfo):
    sample = CoSegDataSample(metainfo=dict(group=group, stem=stem, **metainfo))
    sample.pred_sem_seg = PixelData(data=torch.from_numpy(np.asarray(labels, np.uint8))[None])
    if presence is not None:
        sample.presence = presence
    return sample


def stored(record):
    """The record after a way through json."""
    return ImageRecord(**json.loads(json.dumps(vars(record))))


def masks_of_all_kinds():
    mask = np.zeros((40, 50), np.uint8)
    blobs = mask.copy()
    blobs[5:20, 5:25] = blobs[25:35, 30:48] = 1
    blobs[9:14, 9:18] = 0  # a hole
    pixel = mask.copy()
    pixel[12, 33] = 1
    thin = np.zeros((60, 1), np.uint8)
    thin[10:30] = thin[50:] = 1
    return dict(
        blobs=blobs,
        empty=mask,
        full=mask + 1,
        pixel=pixel,
        thin=thin,
        flat=thin.T,
        dot=thin[:1] + 1,
    )


@pytest.fixture
def results(tmp_path):
    """Two groups, one of them with two classes, written in all formats, and what was in them."""
    writer = ResultWriter(tmp_path, FORMATS)
    masks = {('cat', stem): mask for stem, mask in masks_of_all_kinds().items()}
    double = np.zeros((30, 45), np.uint8)
    double[3:20, 2:20], double[10:28, 25:40] = 1, 2
    masks['cat+dog', 'both'], masks['cat+dog', 'second'] = double, np.uint8(2) * (double == 2)
    masks['cat+dog', 'none'] = 0 * double
    groups = {}
    for number, ((group, stem), mask) in enumerate(masks.items()):
        presence = None if stem == 'pixel' else number / 10
        sample = make_sample(mask, group, stem, presence)
        if group == 'cat+dog':
            prob = np.eye(3)[mask].transpose(2, 0, 1)  # also where not all classes are found
            sample.pred_prob = PixelData(data=torch.from_numpy(prob))
        record = writer.write_image(sample, make_image(mask.shape))
        record.seconds = 0.25
        groups.setdefault(group, []).append(record)
    groups = [GroupRecord(name, images) for name, images in groups.items()]
    groups[0].skipped = [SkippedFile('cat/bad.jpg', 'truncated')]
    writer.write_collections(groups, dict(method='consensus', presence_threshold=0.1))
    return tmp_path, masks, groups


def test_masks_are_the_masks(results):
    out, masks, _ = results
    for (group, stem), mask in masks.items():
        stored = read_mask(out / 'masks' / group / f'{stem}.png')
        np.testing.assert_array_equal(stored, mask if group == 'cat+dog' else 255 * mask)
        loader = LoadCoSegMask(values='auto', binary=group == 'cat')
        np.testing.assert_array_equal(loader.translate(stored, stem), mask)
    assert sum(len(files) for _, _, files in os.walk(out / 'masks')) == len(masks)


def test_classes_of_masks_have_names_beside_them(results):
    out, _, groups = results
    names = {group.name: tuple(group.images[0].classes) for group in groups}
    assert len(names['cat+dog']) == 2
    assert read_class_names(out / 'classes.json') == {'cat+dog': names['cat+dog']}
    examples = read_examples(out)
    assert examples.classes_of('cat+dog') == names['cat+dog']
    ResultWriter(out).write_collections([group for group in groups if group.name == 'cat'])
    assert not (out / 'classes.json').exists()


def test_masks_of_classes_are_colored(results):
    out, masks, _ = results
    with Image.open(out / 'masks/cat+dog/both.png') as picture:
        assert picture.mode == 'P'
        colors = np.asarray(picture.convert('RGB'))
    for value, color in enumerate([(0, 0, 0), *PALETTE[:2]]):
        assert (colors[masks['cat+dog', 'both'] == value] == color).all()


def test_masks_are_what_evaluate_reads(results, tmp_path_factory):
    out, masks, _ = results
    truth = tmp_path_factory.mktemp('truth')
    for (group, stem), mask in masks.items():
        (truth / group).mkdir(exist_ok=True)
        Image.fromarray(mask).save(truth / group / f'{stem}.png')
    report = evaluate_masks(out, truth)
    scores = dict(report.images())
    assert len(scores) == len(masks)
    assert all(score[0] == 1 for score in scores.values())


def test_overlays_and_cutouts(results):
    out, masks, _ = results
    for (group, stem), mask in masks.items():
        image = make_image(mask.shape)
        drawn = read_image(out / 'overlays' / group / f'{stem}.jpg')
        expected = overlay(np.ascontiguousarray(image[..., ::-1]), mask)[..., ::-1]
        assert drawn.shape == image.shape
        assert np.abs(drawn.astype(int) - expected).mean() < 12
        with Image.open(out / 'cutouts' / group / f'{stem}.png') as picture:
            assert picture.mode == 'RGBA'
            cutout = np.asarray(picture)
        np.testing.assert_array_equal(cutout[..., 3], 255 * (mask != 0))
        np.testing.assert_array_equal(cutout[mask != 0][:, 2::-1], image[mask != 0])
        assert (cutout[mask == 0] == 0).all()


def test_overlays_of_large_images_are_drawn_in_bands(monkeypatch):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (200, 150, 3), np.uint8)
    blobs = cv2.GaussianBlur(rng.normal(size=(200, 150)), (0, 0), 9) > 0
    masks = [blobs.astype(np.uint8), np.stack([blobs, ~blobs])]
    whole = [overlay(rgb, mask) for mask in masks]
    monkeypatch.setattr(exporters, '_BAND_PIXELS', 150 * 17)
    for mask, expected in zip(masks, whole, strict=True):
        drawn = exporters._overlay_by_bands(rgb, mask)
        # Outlines of one pixel's width may be drawn once or twice.
        assert (drawn != expected).any(axis=-1).mean() < 0.002


def test_annotations_are_read_back_by_pycocotools(results, capsys):
    out, masks, _ = results
    coco = COCO(str(out / 'annotations.json'))
    names = {number: entry['name'] for number, entry in coco.cats.items()}
    assert sorted(names.values()) == ['cat', 'cat+dog class 1', 'cat+dog class 2']
    assert len(coco.imgs) == len(masks)
    for number, entry in coco.imgs.items():
        group, stem = entry['file_name'].split('/')
        mask = masks[group, stem]
        assert (entry['height'], entry['width']) == mask.shape
        found = np.zeros_like(mask)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[number])):
            value = 2 if names[annotation['category_id']].endswith('2') else 1
            decoded = coco.annToMask(annotation)
            assert annotation['area'] == decoded.sum() > 0
            rows, columns = np.nonzero(decoded)
            x, y, width, height = annotation['bbox']
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
            assert isinstance(annotation['segmentation']['counts'], str)
            assert 0 <= annotation['score'] <= 1 and annotation['iscrowd'] == 0
            found[decoded > 0] = value
        np.testing.assert_array_equal(found, mask)


def test_annotations_with_polygons(tmp_path, capsys, monkeypatch):
    masks = masks_of_all_kinds()
    monkeypatch.setattr(writer_module, 'mask_to_polygons', partial(mask_to_polygons, tolerance=0))
    writer = ResultWriter(tmp_path, ['coco'], polygons=True)
    records = [
        writer.write_image(make_sample(mask, stem=stem), make_image(mask.shape))
        for stem, mask in masks.items()
    ]
    writer.write_collections([GroupRecord('cat', [stored(record) for record in records])])
    coco = COCO(str(tmp_path / 'annotations.json'))
    assert len(coco.anns) == len(masks) - 1
    for annotation in coco.anns.values():
        assert isinstance(annotation['segmentation'], list)
        stem = coco.imgs[annotation['image_id']]['file_name'].split('/')[1]
        np.testing.assert_array_equal(coco.annToMask(annotation), masks[stem])


def test_annotations_serve_as_results(results, capsys):
    out, _, _ = results
    coco = COCO(str(out / 'annotations.json'))
    again = coco.loadRes(coco.dataset['annotations'])
    assert len(again.anns) == len(coco.anns) > 0


def test_records_survive_json_and_hold_what_is_needed(results):
    out, masks, groups = results
    records = {(r.group, r.stem): r for group in groups for r in group.images}
    assert all(stored(record) == record for record in records.values())
    assert records.keys() == masks.keys()
    for key, mask in masks.items():
        record = records[key]
        assert record.area_share == pytest.approx((mask > 0).mean(), abs=1e-6)
        assert (record.height, record.width) == mask.shape
        of_all = {'coco', 'label-studio', 'cvat'}
        assert set(record.files) == {*FORMATS, 'yolo_images'} - of_all
        for path in [*record.files.values(), *record.thumbnails.values()]:
            assert (out / path).is_file(), path
    assert records['cat', 'pixel'].presence is None
    assert records['cat', 'empty'].warnings == ['nothing was found']
    assert records['cat', 'full'].warnings == ['the mask fills the whole image']
    categories = ['cat+dog class 1', 'cat+dog class 2']
    assert records['cat+dog', 'second'].categories == categories


def test_collections_from_stored_records_are_the_same(results, tmp_path_factory):
    out, _, groups = results
    before = (out / 'annotations.json').read_bytes()
    for group in groups:
        group.images = [stored(record) for record in group.images]
    ResultWriter(out).write_collections(groups)
    assert (out / 'annotations.json').read_bytes() == before


def test_what_a_person_decided_goes_into_collections(results):
    out, masks, groups = results
    decided = {'blobs': 'rejected', 'full': 'left out', 'pixel': 'accepted'}
    for record in groups[0].images:
        record.review = decided.get(record.stem, 'unseen')
    ResultWriter(out).write_collections(groups)
    coco = json.loads((out / 'annotations.json').read_text())
    reviews = {Path(image['file_name']).name: image['review'] for image in coco['images']}
    assert len(reviews) == len(masks) - 1 and 'full' not in reviews
    assert (reviews['blobs'], reviews['pixel'], reviews['both']) == (
        'rejected',
        'accepted',
        'unseen',
    )
    ids = {image['id']: Path(image['file_name']).name for image in coco['images']}
    shown = {ids[annotation['image_id']] for annotation in coco['annotations']}
    assert 'pixel' in shown and 'blobs' not in shown
    summary = json.loads((out / 'summary.json').read_text())['groups'][0]['images']
    assert {image['stem']: image['review'] for image in summary}['full'] == 'left out'


def test_summary_counts(results):
    out, masks, _ = results
    summary = json.loads((out / 'summary.json').read_text())
    totals = summary['totals']
    assert (totals['groups'], totals['num_images']) == (2, len(masks))
    assert (totals['num_skipped'], totals['num_absent'], totals['num_empty']) == (1, 0, 2)
    assert totals['seconds'] == pytest.approx(0.25 * len(masks))
    shares = [(mask > 0).mean() for mask in masks.values()]
    assert totals['mean_area_share'] == pytest.approx(np.mean(shares), abs=1e-6)
    assert summary['groups'][0]['skipped'] == [dict(file_name='cat/bad.jpg', reason='truncated')]
    first = summary['groups'][0]['images'][0]
    assert first['presence'] == 0.0 and first['seconds'] == 0.25 and first['objects'] == 1
    assert summary['settings']['method'] == 'consensus'
    assert {'mmcoseg', 'python', 'torch', 'numpy'} <= set(summary['versions'])


def test_scores_are_mean_probability_times_presence(tmp_path):
    labels = np.zeros((8, 8), np.uint8)
    labels[:4, :4] = 1
    writer = ResultWriter(tmp_path, [])

    def score(sample):
        record = writer.write_image(sample, make_image((8, 8)))
        return [annotation['score'] for annotation in record.annotations]

    assert score(make_sample(labels)) == [1.0]
    assert score(make_sample(labels, presence=0.5)) == [0.5]
    sample = make_sample(labels, presence=0.5)
    low = torch.zeros(1, 4, 4)  # half the resolution
    low[0, :2, :2] = torch.tensor([[0.9, 0.8], [0.7, 0.6]])
    sample.pred_prob = PixelData(data=low)
    assert score(sample) == [pytest.approx(0.375)]
    sample.pred_prob = PixelData(data=torch.stack([1 - low[0], low[0]]))
    assert score(sample) == [pytest.approx(0.375)]


def test_classes_without_names(tmp_path):
    labels = np.zeros((8, 8), np.uint8)
    labels[0, 0], labels[5, 5] = 1, 3
    record = ResultWriter(tmp_path, []).write_image(make_sample(labels), make_image((8, 8)))
    assert record.classes == ['class 1', 'class 2', 'class 3']
    assert [a['category'] for a in record.annotations] == ['cat class 1', 'cat class 3']


def instances(masks, scores, labels=None):
    sample = make_sample(masks.any(0))
    labels = torch.zeros(len(masks), dtype=torch.long) if labels is None else torch.tensor(labels)
    sample.pred_instances = InstanceData(
        masks=torch.from_numpy(masks), labels=labels, scores=torch.tensor(scores)
    )
    return sample


def test_instances(tmp_path, capsys):
    masks = np.zeros((3, 30, 40), bool)
    masks[0, 2:15, 2:20] = masks[1, 8:25, 10:30] = masks[2, 27:29, 33:38] = True
    writer = ResultWriter(tmp_path, FORMATS)
    record = writer.write_image(instances(masks, [0.9, 0.5, 0.7]), make_image((30, 40)))
    numbers = read_mask(tmp_path / record.files['instances'])
    expected = np.zeros((30, 40), np.uint8)
    for number in (1, 2, 0):  # the surest above
        expected[masks[number]] = number + 1
    np.testing.assert_array_equal(numbers, expected)
    writer.write_collections([GroupRecord('cat', [record])])
    coco = COCO(str(tmp_path / 'annotations.json'))
    for number, annotation in enumerate(coco.anns.values()):
        np.testing.assert_array_equal(coco.annToMask(annotation), masks[number])
        assert annotation['score'] == pytest.approx([0.9, 0.5, 0.7][number])
    lines = (tmp_path / record.files['yolo']).read_text().splitlines()
    assert len(lines) == 3


def test_all_pictures_show_the_instances(tmp_path):
    masks = np.zeros((3, 300, 400), bool)
    masks[0, 20:150, 20:200] = masks[1, 80:250, 100:300] = masks[2, 270:290, 330:380] = True
    sample = instances(masks, [0.9, 0.5, 0.7])
    sample.pred_sem_seg.data[:] = 1  # what they were taken from may look quite different
    writer = ResultWriter(tmp_path)
    record = writer.write_image(sample, np.full((300, 400, 3), 128, np.uint8))
    numbers = read_mask(tmp_path / record.files['instances'])
    with Image.open(tmp_path / record.thumbnails['mask']) as picture:
        shown = np.asarray(picture.convert('RGB'))
    for value, (y, x) in {1: (120, 150), 2: (200, 200), 3: (280, 350), 0: (10, 10)}.items():
        color = PALETTE[value - 1] if value else (0, 0, 0)
        assert numbers[y, x] == value
        assert tuple(shown[y, x]) == color
        for file in (record.thumbnails['overlay'], record.files['overlays']):
            with Image.open(tmp_path / file) as picture:
                seen = np.asarray(picture)[y, x].astype(int)
            expected = 0.6 * 128 + 0.4 * np.array(color) if value else np.full(3, 0.45 * 128)
            assert np.abs(seen - expected).max() < 8, (file, value)


def test_sureness(tmp_path):
    writer = ResultWriter(tmp_path, [])
    labels = np.zeros((8, 8), np.uint8)
    labels[:4, :4] = 1

    def sureness(sample):
        return writer.write_image(sample, make_image((8, 8))).sureness

    def sample_of(probs, presence=None, labels=labels, **metainfo):
        sample = make_sample(labels, presence=presence, **metainfo)
        if probs is not None:
            sample.pred_prob = PixelData(data=torch.tensor(probs, dtype=torch.float32))
        return sample

    left_high = [[[0.9, 0.2], [0.1, 0.1]]]
    assert sureness(sample_of(left_high)) == pytest.approx(0.9)
    assert sureness(sample_of(left_high, presence=0.6)) == pytest.approx(0.9)
    # More likely not there than there.
    assert sureness(sample_of(left_high, presence=0.25)) == pytest.approx(0.45)
    assert sureness(sample_of(None, presence=0.25)) == pytest.approx(0.5)
    assert sureness(sample_of(None)) is None
    assert sureness(sample_of(left_high, 0.9, 0 * labels)) == 0  # nothing was found
    assert sureness(sample_of(left_high, 0.1, 0 * labels, absent=True)) is None
    both = labels.copy()
    both[4:, :] = 2
    probs = [[[0.1, 0.9], [0.2, 0.4]], [[0.8, 0.1], [0.1, 0.1]], [[0.1, 0.0], [0.7, 0.5]]]
    expected = (16 * 0.8 + 32 * 0.6) / 48
    assert sureness(sample_of(probs, labels=both)) == pytest.approx(expected)


def test_more_instances_than_a_palette_has_colors(tmp_path):
    masks = np.eye(300, dtype=bool).reshape(300, 15, 20)
    record = ResultWriter(tmp_path).write_image(instances(masks, [0.5] * 300), make_image((15, 20)))
    with Image.open(tmp_path / record.files['instances']) as picture:
        np.testing.assert_array_equal(np.asarray(picture).ravel(), np.arange(1, 301))


def test_no_instances_and_instances_of_several_classes(tmp_path):
    writer = ResultWriter(tmp_path, FORMATS)
    image = make_image((15, 20))
    none = instances(np.zeros((0, 15, 20), bool), [])
    assert writer.write_image(none, image).annotations == []
    masks = np.zeros((2, 15, 20), bool)
    masks[0, :5] = masks[1, 3:9, 3:9] = True
    several = instances(masks, [1.0, 1.0], [0, 1])
    labels = np.where(masks[1], 2, masks[0]).astype(np.uint8)
    several.pred_sem_seg.data = torch.from_numpy(labels)[None]
    record = writer.write_image(several, image)
    found = [a['category'] for a in record.annotations]
    assert found == ['cat class 1', 'cat class 2']
    stored = read_mask(tmp_path / record.files['masks'])
    np.testing.assert_array_equal(stored, np.where(masks[1], 2, masks[0]))


def test_wrong_input_is_named(tmp_path):
    writer = ResultWriter(tmp_path)
    good, image = make_sample(np.ones((4, 6))), make_image((4, 6))
    with pytest.raises(ValueError, match='jpeg'):
        ResultWriter(tmp_path, ['masks', 'jpeg'])
    with pytest.raises(ValueError, match='cat/001.*no prediction'):
        writer.write_image(CoSegDataSample(metainfo=dict(group='cat', stem='001')), image)
    with pytest.raises(ValueError, match=r'cat/001.*\(8, 6, 3\).*4 x 6'):
        writer.write_image(good, make_image((8, 6)))


def test_the_image_is_found_where_it_is_not_given(tmp_path):
    image = make_image((4, 6))
    Image.fromarray(image[..., ::-1]).save(tmp_path / 'photo 1.png')
    sample = make_sample(np.ones((4, 6)), img_path=str(tmp_path / 'photo 1.png'))
    record = ResultWriter(tmp_path / 'out', ['cutouts']).write_image(sample)
    assert record.file_name == 'cat/photo 1.png'
    with Image.open(tmp_path / 'out' / record.files['cutouts']) as picture:
        np.testing.assert_array_equal(np.asarray(picture)[..., 2::-1], image)


def test_absent_images_are_marked(tmp_path):
    writer = ResultWriter(tmp_path)
    image = make_image((4, 6))
    records = [
        writer.write_image(make_sample(np.zeros((4, 6)), stem='a', absent=True), image),
        writer.write_image(make_sample(np.zeros((4, 6)), stem='b', absent=True), image),
        writer.write_image(make_sample(np.ones((4, 6)), stem='c'), image),
    ]
    assert [record.absent for record in records] == [True, True, False]
    assert records[0].warnings == []
    writer.write_collections([GroupRecord('cat', records)])
    totals = json.loads((tmp_path / 'summary.json').read_text())['totals']
    assert (totals['num_absent'], totals['num_empty']) == (2, 0)


def test_threads_write_what_one_writes(tmp_path):
    rng = np.random.default_rng(0)
    samples = [make_sample(rng.random((30, 40)) < 0.5, 'cat', f'{i}', i / 20) for i in range(20)]
    trees = []
    for workers in (1, 4):
        out = tmp_path / str(workers)
        writer = ResultWriter(out, FORMATS)

        def write(sample, writer=writer):
            return writer.write_image(sample, make_image((30, 40)))

        with ThreadPoolExecutor(workers) as pool:
            records = list(pool.map(write, samples))
        writer.write_collections([GroupRecord('cat', records)])
        files = {p.relative_to(out): p.read_bytes() for p in out.rglob('*') if p.is_file()}
        # These two have the date in them.
        trees.append({k: v for k, v in files.items() if k.name not in DATED})
    assert trees[0] == trees[1]
    # Of each image: six formats, a link of YOLO's, three thumbnails. Then four of all images.
    assert len(trees[0]) == 20 * (6 + 1 + 3) + 4


def test_files_are_whole_or_not_there(tmp_path):
    path = tmp_path / 'deep' / 'a.txt'
    with write_atomically(path) as file:
        file.write(b'first')
        assert not path.exists()
    with pytest.raises(RuntimeError), write_atomically(path) as file:
        file.write(b'sec')
        raise RuntimeError
    assert path.read_bytes() == b'first'
    assert [p.name for p in path.parent.iterdir()] == ['a.txt']
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask  # not private to its writer


def test_names_of_files():
    for name in ('a b', "it's", '.hidden', 'caf\udce9', '日本', 'x' * 251):
        assert file_name_of(name, '.png') == name + '.png'
    odd = ['', '.', '..', 'a/b', 'a\\b', '../../etc/passwd', '\0', 'x' * 252, 'é' * 200, 'a_b']
    names = [file_name_of(name, '.png') for name in odd] + [file_name_of(name) for name in odd]
    assert len(set(names)) == len(names)
    for name in names:
        assert '/' not in name and name not in ('', '.', '..')
        assert len(os.fsencode(name)) <= 255


def test_names_are_shown_without_what_cannot_be():
    assert display_name("it's 日本 é") == "it's 日本 é"
    assert display_name('caf\udce9\n\u202e\ud800') == r'caf\xe9\x0a\u202e\ud800'


def test_names_of_all_kinds_come_through(tmp_path, capsys):
    names = [
        'sp ace',
        'quo\'te"',
        'caf\udce9',
        '日本 😀',
        '<b>&amp;',
        'x' * 200,
        '../up',
        ' ',
        '%41#?',
    ]
    writer = ResultWriter(tmp_path, FORMATS)
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 3:6] = 1
    groups = []
    for group in ('<script>alert(1)</script>', 'caf\udce9'):
        records = [
            writer.write_image(make_sample(mask, group, name), make_image((6, 8))) for name in names
        ]
        groups.append(GroupRecord(group, [stored(record) for record in records]))
    writer.write_collections(groups, {'odd \udce9': '</script>'})
    for record in (record for group in groups for record in group.images):
        for path in record.files.values():
            assert (tmp_path / path).resolve().is_relative_to(tmp_path)
        np.testing.assert_array_equal(read_mask(tmp_path / record.files['masks']), 255 * mask)
    coco = COCO(str(tmp_path / 'annotations.json'))
    assert [entry['file_name'] for entry in coco.imgs.values()] == [
        f'{group.name}/{name}' for group in groups for name in names
    ]
    (tmp_path / 'report.html').read_text(encoding='utf-8')


def test_writing_again_replaces(tmp_path):
    writer = ResultWriter(tmp_path, FORMATS)
    image = make_image((6, 8))
    writer.write_image(make_sample(np.ones((6, 8))), image)
    record = ResultWriter(tmp_path, FORMATS).write_image(make_sample(np.eye(6, 8)), image)
    stored = read_mask(tmp_path / record.files['masks'])
    np.testing.assert_array_equal(stored, 255 * np.eye(6, 8, dtype=np.uint8))


def test_no_results_at_all(tmp_path, capsys):
    writer = ResultWriter(tmp_path, FORMATS)
    writer.write_collections([GroupRecord('cat', skipped=[SkippedFile('cat/a', 'x')])])
    assert COCO(str(tmp_path / 'annotations.json')).imgs == {}
    assert json.loads((tmp_path / 'summary.json').read_text())['totals']['num_skipped'] == 1
    writer.write_collections([])
    assert (tmp_path / 'report.html').is_file()


def instances_of(size=(4, 4), labels=(0, 1), **left_out):
    fields = dict(
        masks=torch.ones(2, *size, dtype=torch.bool),
        labels=torch.tensor(labels),
        scores=torch.ones(2),
    )
    return InstanceData(**{key: value for key, value in fields.items() if key not in left_out})


@pytest.mark.parametrize(
    ('instances', 'message'),
    [
        (instances_of(size=(2, 2)), r'pred_instances of cat/001 are \(2, 2\), pred_sem_seg is'),
        (instances_of(labels=(0, 5)), r'cat/001 have the labels \[5\]; the labels of 2 classes'),
        (instances_of(labels=(-1, 0)), r'cat/001 have the labels \[-1\]'),
        (instances_of(scores=None), 'pred_instances of cat/001 have no scores'),
    ],
    ids=['size', 'label', 'negative', 'scores'],
)
def test_instances_that_do_not_fit_are_refused(tmp_path, instances, message):
    sample = make_sample(np.full((4, 4), 2))
    sample.pred_instances = instances
    with pytest.raises(ValueError, match=message):
        ResultWriter(tmp_path).write_image(sample, make_image((4, 4)))


def test_a_mask_of_several_channels_is_refused(tmp_path):
    sample = make_sample(np.ones((4, 4)))
    sample.pred_sem_seg = PixelData(data=torch.ones(2, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r'pred_sem_seg of cat/001 is not \(1, H, W\)'):
        ResultWriter(tmp_path).write_image(sample, make_image((4, 4)))
