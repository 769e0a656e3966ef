"""Exact forms of other tools: written and read by us, and read by these tools themselves."""

import base64
import io
import json
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_results import (
    DOUBLE,
    GROUPS,
    HARD,
    add_instances,
    make_sample,
    samples_of,
    write_results,
)
from PIL import Image
from pycocotools import mask as coco_mask

from mmcoseg.apis.hint_inputs import with_hints
from mmcoseg.apis.inputs import read_inputs
from mmcoseg.datasets.hint_files import read_examples
from mmcoseg.errors import MMCosegError
from mmcoseg.export import export_results, read_corrections
from mmcoseg.export.label_studio import decode_brush, encode_brush
from mmcoseg.structures import Absent, ExampleMask

#: What each form is written to, in a folder of results.
FORMS = {
    'masks': 'masks',
    'labelme-masks': 'labelme-masks',
    'coco': 'annotations.json',
    'label-studio': 'label-studio.json',
    'cvat': 'cvat.zip',
}
LOSSLESS = [form for form in FORMS if form != 'masks']


@pytest.fixture
def photos(tmp_path):
    return tmp_path / 'photos'


@pytest.fixture
def out(tmp_path, photos):
    """Results in all exact forms."""
    return write_results(tmp_path / 'out', samples_of(GROUPS, photos), list(FORMS))


def labels_of(hints, shape):
    [hint] = hints
    return hint.mask if isinstance(hint, ExampleMask) else np.zeros(shape, np.uint8)


def assert_holds(hints, groups, photos):
    """Hints are exactly these masks, of images that are there."""
    hinted = {}
    for group in with_hints(read_inputs(photos), hints):
        for item in group.items:
            hinted[group.name, item.stem] = item.hints
    assert hinted.keys() == {(group, stem) for group in groups for stem in groups[group]}
    for group, masks in groups.items():
        for stem, mask in masks.items():
            np.testing.assert_array_equal(labels_of(hinted[group, stem], mask.shape), mask)


@pytest.mark.parametrize('form', FORMS)
def test_every_form_gives_the_masks_back(out, photos, form):
    hints = read_corrections(out / FORMS[form])
    assert_holds(hints, GROUPS, photos)
    empty = next(hints.by_image[name] for name in hints.by_image if 'empty' in name)
    assert form == 'masks' or empty == [Absent()]
    if form != 'masks':
        names = ('cat+dog class 1', 'cat+dog class 2')
        assert hints.classes == {'cat+dog': names}


@pytest.mark.parametrize('form', LOSSLESS)
def test_classes_keep_their_numbers(tmp_path, photos, form):
    """Also where names sort otherwise, a group shows only some, or another has them in turn."""
    one, two = np.array([[0, 1]], np.uint8), np.array([[0, 2]], np.uint8)
    samples = [
        make_sample('a', 'x', two, 2, photos, class_names=('plate', 'mug')),
        make_sample('b', 'x', one, 2, photos, class_names=('mug', 'plate')),
        make_sample('c', 'x', one, 1, photos, class_names=('c',)),
        make_sample('d', 'x', one, 1, photos, class_names=('mug',)),
    ]
    out = write_results(tmp_path / 'out', samples, [form])
    hints = read_corrections(out / FORMS[form])
    assert hints.classes == {'a': ('plate', 'mug'), 'b': ('mug', 'plate'), 'd': ('mug',)}
    groups = dict(a={'x': two}, b={'x': one}, c={'x': one}, d={'x': one})
    assert_holds(hints, groups, photos)


@pytest.mark.parametrize('form', LOSSLESS)
def test_instances_come_back_as_their_union(tmp_path, photos, form):
    masks = np.zeros((3, 40, 60), bool)
    masks[0, 2:30, 2:30] = masks[1, 20:38, 20:50] = masks[2, 39, 59] = True
    sample = make_sample('cat', 'a', masks[0].astype(np.uint8), 1, photos)
    add_instances(sample, masks, [0, 0, 0], [0.9, 0.8, 0.7])
    out = write_results(tmp_path / 'out', [sample], [form])
    groups = dict(cat=dict(a=masks.any(0).astype(np.uint8)))
    assert_holds(read_corrections(out / FORMS[form]), groups, photos)


def bits(height, width):
    return arrays(bool, (height, width), elements=st.booleans())


sides = st.integers(1, 40)
some_masks = st.tuples(sides, sides).flatmap(lambda size: bits(*size))


@given(some_masks)
@settings(max_examples=200, deadline=None)
def test_brush_code_gives_any_mask_back(mask):
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), *mask.shape), mask)


@pytest.mark.parametrize('length', [1, 2, 3, 4, 5, 64, 65, 16384, 16385, 32768, 40000])
@pytest.mark.parametrize('inside', [False, True])
def test_brush_code_of_runs_of_any_length(length, inside):
    mask = np.full((2, length), inside)
    mask[1, -1] = not inside
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), *mask.shape), mask)


def coded(*blocks, number=8, word=8, counts=(3, 4, 8, 16)):
    """A brush mask of two pixels of blocks (repeated, choice, values)."""
    text = f'{number:032b}{word - 1:05b}' + ''.join(f'{count - 1:04b}' for count in counts)
    for repeated, choice, length, values in blocks:
        text += f'{repeated}{choice:02b}{length - 1:0{counts[choice]}b}'
        text += ''.join(f'{value:08b}' for value in values)
    text += '0' * (-len(text) % 8)
    return [int(text[start : start + 8], 2) for start in range(0, len(text), 8)]


def test_brush_code_of_others():
    """Values one by one, soft edges, other lengths of counts, a count beyond the end."""
    one_by_one = coded((0, 0, 4, [9, 9, 9, 127]), (0, 2, 4, [9, 9, 9, 128]))
    assert decode_brush(one_by_one, 1, 2).tolist() == [[False, True]]
    mixed = coded((1, 1, 4, [200]), (0, 1, 4, [1, 2, 3, 4]), counts=(2, 5, 9, 12))
    assert decode_brush(mixed, 2, 1).tolist() == [[True], [False]]
    assert decode_brush(coded((1, 3, 5000, [255])), 1, 2).all()


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (None, 'is not a list of numbers from 0 to 255'),
        ([1, 256], 'is not a list of numbers from 0 to 255'),
        ([], 'is cut off after 0 bytes'),
        (encode_brush(np.eye(2, dtype=bool)), 'has 16 values of 8 bits, not four of 8 bits'),
        (coded((1, 0, 8, [255]), word=4), 'has 8 values of 4 bits'),
        (coded((1, 0, 4, [255])), 'is cut off after'),
        (coded((0, 3, 60000, [1, 2, 3])), 'is cut off after'),
    ],
)
def test_damaged_brush_code_is_refused(data, message):
    with pytest.raises(MMCosegError, match=message):
        decode_brush(data, 1, 2)


@given(some_masks)
@settings(max_examples=100, deadline=None)
def test_label_studio_reads_our_brush_code_and_we_its(mask):
    brush = pytest.importorskip('label_studio_sdk.converter.brush', exc_type=ImportError)
    decoded = brush.decode_rle(encode_brush(mask)).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(decoded, 255 * mask[:, :, None].repeat(4, axis=2))
    theirs = brush.mask2rle(255 * mask.astype(np.uint8))
    np.testing.assert_array_equal(decode_brush(theirs, *mask.shape), mask)


def test_label_studio_takes_our_tasks(out, repo):
    brush = pytest.importorskip('label_studio_sdk.converter.brush', exc_type=ImportError)
    interface = pytest.importorskip('label_studio_sdk.label_interface', exc_type=ImportError)
    labels = ['cat', 'cat+dog class 1', 'cat+dog class 2', 'très drôle ☕']
    config = interface.LabelInterface(interface_of(repo, labels))
    for task in json.loads((out / 'label-studio.json').read_text()):
        [prediction] = task['predictions']
        assert config.validate_prediction(prediction)
        group, file = task['data']['file_name'].split('/')
        mask = GROUPS[group][file.removesuffix('.png')]
        regions = []
        for region in prediction['result']:
            value = region['value']
            regions.append(dict(region, brushlabels=value['brushlabels'], rle=value['rle']))
        found = np.zeros_like(mask)
        for name, layer in brush.decode_from_annotation('tag', regions).items():
            found[layer > 0] = 2 if 'class 2' in name else 1
        np.testing.assert_array_equal(found, mask)


def interface_of(repo, labels):
    """The labeling interface of the documentation, with these labels."""
    page = (repo / 'docs/formats.md').read_text()
    [example] = re.findall(r'```xml\n(.*?)```', page, re.DOTALL)
    listed = ''.join(f'<Label value="{label}"/>' for label in labels)
    return re.sub(r'(?s)<Label value.*(?=</BrushLabels)', listed, example)


def test_labelme_reads_our_masks(out, photos, monkeypatch):
    monkeypatch.setenv('QT_QPA_PLATFORM', 'offscreen')
    labelme = pytest.importorskip('labelme', exc_type=ImportError)
    from labelme.utils import shapes_to_label

    count = 0
    for path in sorted((out / 'labelme-masks').rglob('*.json')):
        mask = GROUPS[path.parent.name][path.stem]
        file = labelme.LabelFile(str(path))
        names = [path.parent.name] if mask.max() < 2 and path.parent.name != 'cat+dog' else []
        values = {f'cat+dog class {number}': number for number in (1, 2)}
        values |= dict.fromkeys(names, 1)
        found, _ = shapes_to_label(mask.shape, file.shapes, values)
        np.testing.assert_array_equal(found, mask)
        # And we read what it writes, with the classes that it keeps for us.
        shapes = json.loads(path.read_text())['shapes']
        file.save(str(path), shapes, file.image_path, *mask.shape, other_data=file.other_data)
        count += 1
    assert count == sum(map(len, GROUPS.values()))
    assert_holds(read_corrections(out / 'labelme-masks'), GROUPS, photos)


SHAPES = [
    dict(shape_type='polygon', points=[[3.5, 2], [20, 5.25], [11, 17]]),
    dict(points=[[1, 1], [1, 8], [8, 8]]),
    dict(shape_type='rectangle', points=[[20.0, 17.0], [4.2, 3.0]]),
    dict(shape_type='circle', points=[[12, 9], [15.5, 12]]),
    dict(shape_type='oriented_rectangle', points=[[5, 1], [20, 8], [17, 14], [2, 7]]),
]


def write_labelme(path, shapes, **others):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = dict(shapes=shapes, imagePath='x.jpg', imageHeight=19, imageWidth=24, **others)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize('shape', SHAPES)
def test_shapes_cover_what_labelme_says(tmp_path, shape, monkeypatch):
    monkeypatch.setenv('QT_QPA_PLATFORM', 'offscreen')
    pytest.importorskip('labelme', exc_type=ImportError)
    from labelme.utils import shape_to_mask

    write_labelme(tmp_path / 'x.json', [dict(shape, label='mug')])
    [hint] = read_corrections(tmp_path).by_image['x']
    expected = shape_to_mask((19, 24), shape['points'], shape.get('shape_type'))
    np.testing.assert_array_equal(hint.mask > 0, expected)


def test_shapes_of_labelme(tmp_path):
    shapes = [dict(shape, label='mug') for shape in SHAPES]
    for number, shape in enumerate(shapes):
        write_labelme(tmp_path / f'kitchen/{number}.json', [shape])
    write_labelme(tmp_path / 'kitchen/none.json', [])
    write_labelme(tmp_path / 'alone.json', [*shapes, dict(shapes[2], label='plate')])
    (tmp_path / 'others.json').write_text('{"a": 1}')
    hints = read_corrections(tmp_path)
    names = [f'kitchen/{number}' for number in range(len(SHAPES))]
    assert list(hints.by_image) == ['alone', *names, 'kitchen/none']
    assert hints.classes == {'': ('mug', 'plate'), 'kitchen': ('mug',)}
    rectangle = np.zeros((19, 24), np.uint8)
    rectangle[3:18, 4:21] = 1
    [hint] = hints.by_image['kitchen/2']
    np.testing.assert_array_equal(hint.mask, rectangle)
    assert hints.by_image['kitchen/none'] == [Absent()]
    assert hints.by_image['alone'][0].classes == {1, 2}  # the later one counts


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'PNG')
    return base64.b64encode(buffer.getvalue()).decode()


BOX = dict(shape_type='mask', points=[[2, 3], [4, 4]])


@pytest.mark.parametrize('pixels', [np.ones((2, 3), bool), np.full((2, 3), 255, np.uint8)])
def test_masks_of_labelme_of_any_kind(tmp_path, pixels):
    write_labelme(tmp_path / 'x.json', [dict(BOX, label='mug', mask=png(pixels))])
    [hint] = read_corrections(tmp_path).by_image['x']
    assert hint.mask[3:5, 2:5].all() and hint.mask.sum() == 6


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        (dict(points=[[1, 1], [2, 2]]), 'it is a polygon of 2 points, which covers no area'),
        (dict(shape_type='line', points=[[1, 1], [2, 2]]), 'it is a line of 2 points'),
        (dict(points=[[1, 1], [2]]), r'its points are not a list of \[x, y\]'),
        (dict(points=None), r'its points are not a list of \[x, y\]'),
        (dict(BOX), 'its mask does not fit'),
        (dict(BOX, mask='@@'), 'its mask does not fit'),
        (dict(BOX, mask=png(np.ones((3, 3), bool))), r'its mask does not fit \(its mask is'),
        (dict(BOX, points=[[22, 3], [24, 4]], mask=png(np.ones((2, 3), bool))), 'its mask '),
        (dict(BOX, points=[[2, 3]], mask=png(np.ones((2, 3), bool))), 'its mask '),
        (dict(BOX, mask=png(np.ones((2, 3, 3), np.uint8))), 'its mask does not fit'),
        (dict(SHAPES[0], label=''), 'it has no label'),
        (dict(SHAPES[0], label=5), 'it has no label'),
    ],
)
def test_wrong_shapes_of_labelme_are_named(tmp_path, shape, message):
    write_labelme(
        tmp_path / 'x.json', [dict(SHAPES[0], label='mug'), dict(dict(label='a'), **shape)]
    )
    with pytest.raises(MMCosegError, match=rf'x\.json: shape 2: {message}'):
        read_corrections(tmp_path)


def coco(**changes):
    content = dict(
        images=[dict(id=1, file_name='cat/a.jpg', height=4, width=6)],
        categories=[dict(id=7, name='zebra'), dict(id=9, name='ant')],
        annotations=[dict(id=1, image_id=1, category_id=9, iscrowd=1)],
    )
    content['annotations'][0]['segmentation'] = dict(size=[4, 6], counts=[4, 4, 16])
    return {**content, **changes}


def test_coco_of_others(tmp_path):
    """Polygons, plain counts, crowds; classes by their ids; images without objects and groups."""
    images = [
        dict(id=1, file_name='cat/a.jpg', height=4, width=6),
        dict(id=2, file_name='a.jpg', height=4, width=6),
        dict(id=3, file_name='deep/er/cat/b.jpg', height=4, width=6),
    ]
    square = dict(id=2, image_id=1, category_id=7, segmentation=[[3, 1, 5, 1, 5, 3, 3, 3]])
    annotations = [*coco()['annotations'], square]
    file = tmp_path / 'corrected.json'
    file.write_text(json.dumps(coco(images=images, annotations=annotations)))
    hints = read_corrections(file)
    assert list(hints.by_image) == ['cat/a.jpg', 'a.jpg', 'cat/b.jpg']
    assert hints.classes == {'cat': ('zebra', 'ant')}
    expected = np.zeros((4, 6), np.uint8)
    expected[:, 1], expected[1:3, 3:5] = 2, 1
    np.testing.assert_array_equal(hints.by_image['cat/a.jpg'][0].mask, expected)
    assert hints.by_image['a.jpg'] == hints.by_image['cat/b.jpg'] == [Absent()]


NO_PIXEL = dict(id=3, image_id=1, category_id=7, iscrowd=0, bbox=[0, 0, 3, 3], segmentation=[])
WRONG_SIZE = dict(NO_PIXEL, segmentation=dict(size=[3, 3], counts=[9]))


@pytest.mark.filterwarnings('ignore:.*have an empty segmentation')
@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (coco(annotations=[NO_PIXEL]), "image 'cat/a.jpg': annotation 3 has no pixel"),
        (coco(annotations=[WRONG_SIZE]), "image 'cat/a.jpg': annotation 3: an RLE is of the size"),
        (coco(images=[dict(id=1, file_name='a')]), "image 'a': its height is None"),
        (coco(images=2 * [dict(id=1, file_name='a')]), 'image id 1 stands there twice'),
        (dict(version=1, images={}), 'is neither a file of COCO instances nor a JSON export'),
        ([5], 'task 1: it does not have the form of a task'),
        ([dict(data={}, annotations=[dict(result=[])])], "form of a task .KeyError.'image'"),
        ([dict(data=dict(image='a'), annotations=[dict(result=5)])], 'form of a task'),
        ('{', 'is not valid json'),
    ],
)
def test_wrong_files_are_named(tmp_path, content, message):
    file = tmp_path / 'file.json'
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(MMCosegError, match=rf'file\.json.*{message}'):
        read_corrections(file)


def test_an_image_that_is_listed_twice_is_named(tmp_path):
    image = coco()['images'][0]
    file = tmp_path / 'file.json'
    file.write_text(json.dumps(coco(images=[image, dict(image, id=2, file_name='b/cat/a.jpg')])))
    with pytest.raises(MMCosegError, match="the image 'cat/a.jpg' is there twice"):
        read_corrections(file)


def test_too_many_classes_are_refused(tmp_path):
    shapes = [dict(SHAPES[0], label=f'class {number}') for number in range(255)]
    write_labelme(tmp_path / 'cat/x.json', shapes)
    with pytest.raises(MMCosegError, match="'cat' are of more than 254 classes"):
        read_corrections(tmp_path)


@pytest.mark.parametrize('content', [b'no zip', None])
def test_wrong_archives_are_named(tmp_path, content):
    file = tmp_path / 'cvat.zip'
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('annotations.xml', '')
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(MMCosegError, match=r'cvat\.zip (cannot be read|has no annotations/)'):
        read_corrections(file)


def test_what_is_not_there(tmp_path):
    for name in ('nowhere', 'nowhere.json', 'nowhere.zip'):
        with pytest.raises(FileNotFoundError, match=name):
            read_corrections(tmp_path / name)
    with pytest.raises(FileNotFoundError, match='there are no example masks'):
        read_corrections(tmp_path)


def region(mask, label, **changes):
    value = dict(format='rle', rle=encode_brush(mask), brushlabels=[label])
    height, width = mask.shape
    size = dict(original_height=height, original_width=width)
    return dict(id='x', type='brushlabels', value=value, **size) | changes


MASK = np.eye(3, 5, dtype=bool)


def test_answers_of_label_studio(tmp_path):
    """The last annotation that was not canceled counts; without any, the last prediction."""
    first, last = dict(result=[region(~MASK, 'mug')]), dict(result=[region(MASK, 'mug')])
    canceled = dict(result=[region(~MASK, 'plate')], was_cancelled=True)
    choice = dict(type='choices', value=dict(choices=['good']))
    local = '/data/local-files/?d=shared/a%20b/%C3%A9%20%23%25.jpg'
    tasks = [
        dict(data=dict(image=local), annotations=[first, last, canceled], predictions=[3]),
        dict(data=dict(image='/data/upload/5/0123abcd-x.jpg'), annotations=[], predictions=[last]),
        dict(data=dict(image='https://host/photos/cat/a.jpg?s=1'), annotations=[dict(result=[])]),
        dict(data=dict(image='b.jpg'), annotations=[dict(result=[choice])]),
        dict(data=dict(image='cat/unknown.jpg'), annotations=[canceled], predictions=[4]),
    ]
    file = tmp_path / 'tasks.json'
    file.write_text(json.dumps(tasks))
    hints = read_corrections(file)
    assert list(hints.by_image) == ['a b/é #%.jpg', 'x.jpg', 'cat/a.jpg', 'b.jpg']
    for name in ('a b/é #%.jpg', 'x.jpg'):
        np.testing.assert_array_equal(hints.by_image[name][0].mask, MASK)
    assert hints.by_image['cat/a.jpg'] == hints.by_image['b.jpg'] == [Absent()]
    assert hints.classes == {'a b': ('mug',), '': ('mug',)}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(type='rectanglelabels', value=dict(x=1)), "it is of the type 'rectanglelabels'"),
        (dict(original_height=0), 'its height is 0'),
        ({}, 'region 2: its rle has 40 values of 8 bits, not four'),
        (dict(original_height=4), 'its rle has 60 values of 8 bits, not four'),
        (dict(value=dict(rle=encode_brush(MASK))), r'it must have one label, got \[\]'),
    ],
)
def test_wrong_regions_of_label_studio_are_named(tmp_path, changes, message):
    result = [region(MASK, 'mug', **changes)]
    if not changes:  # of two sizes
        result = [region(MASK, 'mug'), region(MASK[:2], 'mug')]
    file = tmp_path / 'tasks.json'
    file.write_text(json.dumps([dict(data=dict(image='a'), annotations=[dict(result=result)])]))
    with pytest.raises(MMCosegError, match=rf'tasks\.json: task 1: (region 1: )?{message}'):
        read_corrections(file)


@pytest.fixture
def read_by_datumaro(out, tmp_path):
    """The archive as datumaro reads it, on which CVAT's importer is built."""
    dm = pytest.importorskip('datumaro', exc_type=ImportError)
    with zipfile.ZipFile(out / 'cvat.zip') as archive:
        assert archive.namelist() == ['annotations/instances_default.json']
        archive.extractall(tmp_path / 'unpacked')
    (tmp_path / 'unpacked/images').mkdir()  # CVAT needs none
    data = dm.Dataset.import_from(str(tmp_path / 'unpacked'), 'coco_instances')
    for item in data:  # without boxes, which CVAT does not take where there are masks
        item.annotations = [a for a in item.annotations if a.type == dm.AnnotationType.mask]
    return data, [label.name for label in data.categories()[dm.AnnotationType.label]]


def test_archives_are_as_cvat_imports_them(read_by_datumaro):
    data, names = read_by_datumaro
    assert names == ['cat', 'cat+dog class 1', 'cat+dog class 2', 'très drôle ☕']
    seen = 0
    for item in data:
        group, stem = item.id.split('/')
        mask = GROUPS[group][stem]
        found = np.zeros_like(mask)
        for annotation in item.annotations:
            found[annotation.image > 0] = 2 if names[annotation.label].endswith('2') else 1
            assert annotation.attributes == dict(is_crowd=True)
        np.testing.assert_array_equal(found, mask)
        seen += 1
    assert seen == sum(map(len, GROUPS.values()))


def test_archives_of_datumaro_are_read(read_by_datumaro, tmp_path, photos):
    """CVAT exports by it."""
    data, _ = read_by_datumaro
    data.export(str(tmp_path / 'again'), 'coco_instances')
    with zipfile.ZipFile(tmp_path / 'again.zip', 'w') as archive:
        for path in (tmp_path / 'again/annotations').iterdir():
            archive.write(path, f'annotations/{path.name}')
    assert_holds(read_corrections(tmp_path / 'again.zip'), GROUPS, photos)


def test_coco_of_pycocotools_is_the_mask(out):
    content = json.loads((out / 'annotations.json').read_text())
    names = {image['id']: image['file_name'] for image in content['images']}
    assert len(content['annotations']) == len(HARD) - 1 + 3 + 2
    for annotation in content['annotations']:
        group, file = names[annotation['image_id']].split('/')
        mask = GROUPS[group][file.removesuffix('.png')]
        decoded = coco_mask.decode(annotation['segmentation'])
        category = content['categories'][annotation['category_id'] - 1]['name']
        value = 2 if category.endswith('class 2') else 1
        np.testing.assert_array_equal(decoded == 1, mask == value)


def test_rejected_and_left_out_images(tmp_path, photos):
    reviews = dict(both='rejected', second='left out')
    samples = samples_of({'cat+dog': DOUBLE}, photos)
    out = write_results(tmp_path / 'out', samples, ['masks'], reviews)
    export_results(out, list(FORMS))
    for form in FORMS:
        hints = read_corrections(out / FORMS[form])
        assert {name.split('.')[0] for name in hints.by_image} == {'cat+dog/both', 'cat+dog/none'}
        for found in hints.by_image.values():
            assert found == [Absent()] or not found[0].mask.any()


def test_folders_of_masks_are_as_before(out):
    before = read_examples(out)
    hints = read_corrections(out)
    assert hints.by_image.keys() == before.by_image.keys() and hints.classes == before.classes
