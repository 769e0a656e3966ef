"""Results of methods that tell several classes apart, through the command line."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mmcoseg.apis import CoSegInferencer, InferenceOptions
from mmcoseg.apis.inference_config import inference_config
from mmcoseg.cli import main
from mmcoseg.datasets.image_io import read_image, read_mask
from mmcoseg.export.report import _class_areas, _legend
from mmcoseg.visualization import PALETTE, overlay


@pytest.fixture
def pictures(tmp_path):
    """Images with a patch of each of three pure colors, but for one with two of them."""
    root = tmp_path / 'pictures'
    rng = np.random.default_rng(0)
    for group, stems in dict(fruit='abc', toys='de').items():
        (root / group).mkdir(parents=True)
        for stem in stems:
            image = rng.integers(0, 40, (40, 60, 3), dtype=np.uint8)
            for k in range(2 if stem == 'c' else 3):
                top, left = rng.integers(0, 24), 20 * k
                image[top : top + 14, left : left + 16, k] = 250
            Image.fromarray(image).save(root / group / f'{stem}.png')
    return root


@pytest.fixture(params=[2, 3])
def done(request, pictures, tmp_path, tiny_config):
    """Folder of the results, number of classes, and the masks by ``group/stem``."""
    number, out = request.param, tmp_path / 'out'
    formats = ['--format', 'masks', 'overlays', 'cutouts', 'coco', 'labelme', 'yolo']
    arguments = ['segment', pictures, '--out', out, '--config', tiny_config, *formats]
    option = f'model.num_classes={number}'
    assert main([*map(str, arguments), '--cfg-options', option]) == 0
    inferencer = CoSegInferencer(config=tiny_config, cfg_options={'model.num_classes': number})
    masks = {
        image.identity: image.pred_sem_seg.data[0].numpy()
        for group in inferencer(pictures)
        for image in group
    }
    return out, number, masks, pictures


def test_masks_and_pictures_of_classes(done):
    out, number, masks, pictures = done
    assert len(masks) == 5
    for name, mask in masks.items():
        shown = set(range(number + 1)) - ({3} if name == 'fruit/c' else set())
        assert set(np.unique(mask)) == shown
        np.testing.assert_array_equal(read_mask(out / f'masks/{name}.png'), mask)
        with Image.open(out / f'masks/{name}.png') as picture:
            colors = np.asarray(picture.convert('RGB'))
        for value in shown - {0}:
            assert (colors[mask == value] == PALETTE[value - 1]).all()
        rgb = read_image(pictures / f'{name}.png')[..., ::-1]
        drawn = read_image(out / f'overlays/{name}.jpg')[..., ::-1].astype(int)
        # Its own colors, as far as JPEG keeps them, and not those of classes exchanged or joined.
        off = [
            np.abs(drawn - overlay(rgb, labels)).mean()
            for labels in (mask, np.array([0, 2, 1, 3], np.uint8)[mask], np.minimum(mask, 1))
        ]
        assert off[0] < 12 and 2 * off[0] < min(off[1:])
        with Image.open(out / f'cutouts/{name}.png') as picture:
            np.testing.assert_array_equal(np.asarray(picture)[..., 3] > 0, mask > 0)


def test_coco_has_a_category_a_class(done, capsys):
    out, number, masks, _ = done
    coco = COCO(str(out / 'annotations.json'))
    names = [f'{group} class {k + 1}' for group in ('fruit', 'toys') for k in range(number)]
    assert [category['name'] for category in coco.cats.values()] == names
    assert len(coco.anns) == sum(len(np.unique(mask)) - 1 for mask in masks.values())
    for annotation in coco.anns.values():
        name = coco.imgs[annotation['image_id']]['file_name']
        category = coco.cats[annotation['category_id']]['name']
        mask = masks[name.removesuffix('.png')] == int(category[-1])
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert category.split()[0] == name.split('/')[0]
        assert annotation['area'] == mask.sum() and 0 < annotation['score'] <= 1
    labels = json.loads((out / 'labelme/toys/d.json').read_text())['shapes']
    assert {shape['label'] for shape in labels} == {f'toys class {k + 1}' for k in range(number)}
    lines = (out / 'yolo/labels/toys/d.txt').read_text().splitlines()
    assert {int(line.split()[0]) for line in lines} == set(range(number, 2 * number))


def test_report_shows_each_class(done):
    out, number, masks, _ = done
    text = (out / 'report.html').read_text(encoding='utf-8')
    legends = re.findall(r'<ul class="legend".*?</ul>', text, re.DOTALL)
    assert len(legends) == 2
    for group, legend in zip(('fruit', 'toys'), legends):
        entries = re.findall(r'fill="(#\w+)".*?</svg> (class \d) <span>(.*?)</span>', legend)
        assert [e[1] for e in entries] == [f'class {k + 1}' for k in range(number)]
        assert [e[0] for e in entries] == ['#' + bytes(PALETTE[k]).hex() for k in range(number)]
        members = [mask for name, mask in masks.items() if name.startswith(group)]
        for k, (_, _, said) in enumerate(entries, 1):
            shares = [(mask == k).mean() for mask in members if (mask == k).any()]
            expected = f'in {len(shares)} of {len(members)} images, {100 * np.mean(shares):.0f} %'
            assert said == f'{expected} of their area'
    card = r'<li class="card.*?data-name="(.*?)\.png".*?(<ul class="classes".*?</ul>)'
    cards = re.findall(card, text, re.DOTALL)
    assert sorted(name for name, _ in cards) == sorted(masks)
    for name, card in cards:
        said = re.findall(r'</svg> class (\d): (\d+) %', card)
        assert said == [
            (str(k), f'{100 * (masks[name] == k).mean():.0f}') for k in range(1, number + 1)
        ]


def test_results_of_classes_are_scored(done, tmp_path, capsys):
    out, number, masks, _ = done
    for name, mask in masks.items():  # the truth has its classes in another order
        file = tmp_path / 'truth' / f'{name}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8((mask > 0) * (number + 1 - mask))).save(file)
    capsys.readouterr()
    assert main(['evaluate', 'classes', str(out), str(tmp_path / 'truth'), '--json', '-']) == 0
    scores = json.loads(capsys.readouterr().out)['classes']
    assert scores['summary'] == dict(P=100, J=100)
    channels = [c['channel'] for c in scores['groups']['toys']['classes'].values()]
    assert channels == list(range(number, 0, -1))


def test_an_estimated_number_of_classes_is_told(pictures, tmp_path, tiny_config, capsys):
    out = tmp_path / 'out'
    arguments = ['segment', str(pictures), '--out', str(out), '--config', tiny_config]
    arguments += ['--cfg-options', 'model.num_classes=data']
    assert main([*arguments, '--classes', 'auto']) == 0
    texts = dict(
        fruit='3 classes (sure: 0.80; next 1: 0.07)',
        toys='2 classes (unsure: 0.40; next 1: 0.20); if you know how many there are, say so with '
        '--classes K',
    )
    told = capsys.readouterr().err
    page = (out / 'report.html').read_text(encoding='utf-8')
    groups = json.loads((out / 'summary.json').read_text())['groups']
    for (name, text), group, number in zip(texts.items(), groups, (3, 2), strict=True):
        assert f'{name}: {text}\n' in told
        assert f'<p class="class-count">{text}</p>' in page
        assert group['class_count']['text'] == text
        assert group['class_count']['num_classes'] == number
        assert sum(group['class_count']['shares']) == pytest.approx(1)
    assert read_mask(out / 'masks/fruit/a.png').max() == 3
    assert read_mask(out / 'masks/toys/d.png').max() == 2
    # Finished groups keep theirs; a number is another setting.
    Image.fromarray(read_image(pictures / 'toys/d.png')).save(pictures / 'toys/e.png')
    assert main([*arguments, '--classes', 'auto', '--quiet']) == 0
    assert not capsys.readouterr().err
    groups = json.loads((out / 'summary.json').read_text())['groups']
    assert [group['class_count']['num_classes'] for group in groups] == [3, 2]
    assert main([*arguments, '--classes', '2']) == 1
    assert "num_classes is 2 now, but was 'auto'" in capsys.readouterr().err
    assert main([*arguments, '--classes', '2', '--overwrite', '--quiet']) == 0
    groups = json.loads((out / 'summary.json').read_text())['groups']
    assert not any('class_count' in group for group in groups)
    assert 'class="class-count"' not in (out / 'report.html').read_text(encoding='utf-8')


def test_where_the_number_of_classes_comes_from(tiny_config):
    def model(number=None, **options):
        options = {f'model.{key}': value for key, value in options.items()}
        return inference_config(
            InferenceOptions(config=tiny_config, cfg_options=options, num_classes=number)
        ).model

    # Nothing says it of photographs.
    assert model(num_classes='data').num_classes == 'auto'
    assert model(2, num_classes='data').num_classes == 2
    assert model(num_classes=3).num_classes == 3
    assert model('auto', num_classes=3, max_classes=4).num_classes == 'auto'
    assert model(7, num_classes='data', max_classes=6).max_classes == 7
    assert model(2, num_classes='data', max_classes=6).max_classes == 6
    assert inference_config(InferenceOptions('mccoseg')).model.num_classes == 'auto'


@pytest.mark.parametrize('text', ['0', '-1', '1.5', 'many', ''])
def test_wrong_numbers_of_classes(text, pictures, tmp_path, capsys):
    arguments = ['segment', str(pictures), '--out', str(tmp_path / 'out'), f'--classes={text}']
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert 'num_classes (--classes) must be a positive whole number, or auto' in said


def test_methods_that_do_not_tell_classes_apart(pictures, tmp_path, capsys):
    arguments = ['segment', str(pictures), '--out', str(tmp_path / 'out'), '--classes', 'auto']
    assert main(arguments) == 1
    assert 'no number of classes to choose' in capsys.readouterr().err
    # Nor does one estimate anything without a prior.
    assert main([*arguments, '--config', 'mccoseg/mccoseg_vgg16']) == 1
    assert '`mmcoseg segment --classes K`' in capsys.readouterr().err


def test_classes_of_records():
    def record(names, *areas):
        annotations = [dict(label=label, area=area) for label, area in areas]
        return SimpleNamespace(classes=names, annotations=annotations, height=10, width=20)

    assert _class_areas(record(['object'], (1, 50))) == []
    two = record(['cat', 'dog'], (2, 50), (2, 30))  # two instances of one class
    assert [(name, share) for name, _, share in _class_areas(two)] == [('cat', 0), ('dog', 0.4)]
    legend = _legend([two, record(['cat', 'dog', 'cow'], (2, 40)), record(['object'], (1, 50))])
    assert [(name, found) for name, _, found, _ in legend] == [('cat', 0), ('dog', 2), ('cow', 0)]
    assert legend[1][3] == pytest.approx(0.3) and _legend([]) == []
