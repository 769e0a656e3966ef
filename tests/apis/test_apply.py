"""Objects that are kept and found in other images, from Python and from the command line."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import HERE  # noqa: F401 (puts tiny_stages on the path)
from demo_inputs import write_tiny_dataset
from PIL import Image
from tiny_stages import TinyColors

from mmcoseg.apis import CoSegInferencer, inferencer, segment_to_folder
from mmcoseg.cli import main
from mmcoseg.datasets.base import image_files
from mmcoseg.datasets.image_io import read_mask
from mmcoseg.errors import MMCosegError
from mmcoseg.evaluation import evaluate_masks
from mmcoseg.structures import read_object

CONFIG = """
custom_imports = dict(imports=['tiny_stages'])
default_scope = 'mmcoseg'
model = dict(
    type='TrainingFreeCoSegmentor',
    data_preprocessor=dict(type='GroupDataPreprocessor', size=(48, 48)),
    backbone=dict(type='TinyColors'),
    stages=dict(bright=dict(type='TinyBright'), follow_hints=dict(type='FollowHints', levels=[0])),
    postprocessors=[dict(type='CleanMask')],
    test_cfg=dict(chunk_size=2),
)
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[dict(type='LoadCoSegImage'), dict(type='ResizeToInput')],
    ),
    dict(type='PackGroupInputs'),
]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def data(tmp_path):
    """Groups whose objects are blue, green and red, 8 images each."""
    return write_tiny_dataset(tmp_path / 'data', dict(blue=8, green=8, red=8))


@pytest.fixture
def run(config):
    """Run a command with the tiny model; returns the exit status."""

    def run(command, *arguments, config=config):
        return main([command, *map(str, arguments), '--config', config])

    return run


@pytest.fixture
def objects(run, data, tmp_path):
    """Files of the objects of all groups, by the group's name."""
    folder = tmp_path / 'objects'
    assert run('segment', data / 'images', '--out', tmp_path / 'out', '--save-object', folder) == 0
    return {name: folder / f'{name}.coseg' for name in ('blue', 'green', 'red')}


@pytest.fixture
def fresh(tmp_path):
    """Other images of the same kinds, as one folder of images and one of masks a kind."""
    return write_tiny_dataset(tmp_path / 'fresh', dict(blue=5, green=5, red=5), seed=9)


def mean_jaccard(masks, truth):
    scores = []
    for file in sorted(truth.glob('*.png')):
        found, true = read_mask(masks / file.name) > 0, read_mask(file) > 0
        scores.append((found & true).sum() / (found | true).sum())
    return np.mean(scores)


def mask_files(out):
    found = {}
    for path in sorted((out / 'masks').rglob('*.png')):
        found[path.relative_to(out).as_posix()] = path.read_bytes()
    return found


def summary(out):
    return json.loads((out / 'summary.json').read_text())


def test_an_object_is_found_in_other_images(run, objects, fresh, tmp_path):
    for name in objects:
        out = tmp_path / f'of {name}'
        assert run('apply', objects[name], fresh / 'images' / name, '--out', out) == 0
        assert mean_jaccard(out / 'masks' / name, fresh / 'masks' / name) > 0.7


def test_files_say_what_they_are(objects, capsys):
    assert main(['objects', 'show', *map(str, objects.values())]) == 0
    text = capsys.readouterr().out
    assert f'{objects["green"]}\nclasses: green\ngroup: green\nimages: 8\n' in text
    saved = read_object(objects['blue'])
    assert saved.directions.shape == (1, 6)
    assert saved.made_with['backbone'] == dict(type='TinyColors')
    assert saved.made_with['input']['size'] == [48, 48]
    assert main(['objects', 'show', str(objects['blue'].parent / 'none.coseg')]) == 1


def test_the_result_does_not_depend_on_the_others(config, objects, fresh, monkeypatch):
    files = sorted(map(str, (fresh / 'images').rglob('*.png')))

    def maps(files, parts=False, **options):
        model = CoSegInferencer(config=config, objects=[objects['green']], **options)
        found = {}
        for part in model.stream({'all': files}, parts=parts):
            for sample in part:
                found[sample.img_path] = sample.pred_prob.data, sample.presence
        return found

    expected = maps(files)
    assert len(expected) == 15
    others = [maps(files[::-1]), maps(files, cfg_options={'model.test_cfg.chunk_size': 7})]
    monkeypatch.setattr(inferencer, '_PART_IMAGES', 4)
    others += [maps(files, parts=True), maps(files[3:4])]
    for other in others:
        for path, (prob, presence) in other.items():
            torch.testing.assert_close(prob, expected[path][0], atol=1e-6, rtol=0)
            assert presence == pytest.approx(expected[path][1], abs=1e-6)


def test_cvat_gets_the_masks_of_apply(run, config, objects, fresh, tmp_path):
    pytest.importorskip('cvat_sdk', exc_type=ImportError)
    from cvat_sdk.masks import decode_mask

    from mmcoseg.export import cvat_function

    assert run('apply', objects['green'], fresh / 'images/green', '--out', tmp_path / 'found') == 0
    function = cvat_function.create(str(objects['green']), config=config)
    assert [label.name for label in function.spec.labels] == ['green']
    context = SimpleNamespace(conf_threshold=None, conv_mask_to_poly=False)
    for file in sorted((fresh / 'images/green').iterdir()):
        with Image.open(file) as image:
            [shape] = function.detect(context, image)
            width, height = image.size
        found = decode_mask(shape.points, image_width=width, image_height=height)
        expected = read_mask(tmp_path / f'found/masks/green/{file.stem}.png') > 0
        np.testing.assert_array_equal(found, expected)


def test_parts_are_loaded_in_their_turn(config, objects, fresh, monkeypatch):
    monkeypatch.setattr(inferencer, '_PART_IMAGES', 4)
    model = CoSegInferencer(config=config, objects=[objects['green']])
    files = sorted(map(str, (fresh / 'images').rglob('*.png')))
    before = TinyColors.seen
    seen, sizes = [], []
    for part in model.stream({'all': files}, parts=True):
        seen.append((TinyColors.seen - before) // 2)  # and the mirror image
        sizes.append(len(part))
    assert (sizes, seen) == ([4, 4, 4, 3], [4, 8, 12, 15])


def test_presence_tells_other_images(run, objects, fresh, tmp_path):
    out = tmp_path / 'found'
    arguments = ['--out', out, '--presence-threshold', '0.75']
    assert run('apply', objects['green'], fresh / 'images', *arguments) == 0
    for group in summary(out)['groups']:
        for image in group['images']:
            green = group['name'] == 'green'
            assert (image['presence'] > 0.75) == green
            assert image['absent'] != green


def test_several_objects_become_classes_with_names(run, objects, fresh, tmp_path):
    out = tmp_path / 'found'
    assert run('apply', objects['red'], objects['blue'], fresh / 'images', '--out', out) == 0
    for number, name in ((1, 'red'), (2, 'blue')):
        for file in (fresh / 'masks' / name).glob('*.png'):
            found, true = read_mask(out / 'masks' / name / file.name), read_mask(file) > 0
            assert (found[true] == number).mean() > 0.8
            assert (found[~true] == 0).mean() > 0.8
    coco = json.loads((out / 'annotations.json').read_text())
    assert {category['name'] for category in coco['categories']} == {'red', 'blue'}
    # Neither of them is what the green images show.
    for file in (fresh / 'masks' / 'green').glob('*.png'):
        assert (read_mask(out / 'masks' / 'green' / file.name) == 0).mean() > 0.8


def test_hinted_classes_are_kept_with_their_names(run, config, tmp_path):
    many = dict(num_foreground=2, size=(48, 48))
    data = write_tiny_dataset(tmp_path / 'two', dict(pets=8), **many)
    examples = tmp_path / 'examples'
    for stem in ('000', '003', '005'):
        target = examples / 'pets' / f'{stem}.png'
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / 'masks' / 'pets' / f'{stem}.png', target)
    (examples / 'classes.json').write_text(json.dumps(dict(pets=['cat', 'dog'])))
    file = tmp_path / 'pets.coseg'
    arguments = ['--out', tmp_path / 'out', '--examples', examples, '--save-object', file]
    assert run('segment', data / 'images', *arguments) == 0
    saved = read_object(file)
    assert saved.classes == ('cat', 'dog')
    assert saved.origin['hinted_images'] == 3
    other = write_tiny_dataset(tmp_path / 'more', dict(zoo=4), seed=5, **many)
    assert run('apply', file, other / 'images' / 'zoo', '--out', tmp_path / 'found') == 0
    for mask in (other / 'masks' / 'zoo').glob('*.png'):
        found, true = read_mask(tmp_path / 'found' / 'masks' / 'zoo' / mask.name), read_mask(mask)
        for label in (1, 2):
            both = (found == label) & (true == label)
            assert both.sum() / ((found == label) | (true == label)).sum() > 0.7
    coco = json.loads((tmp_path / 'found' / 'annotations.json').read_text())
    assert {category['name'] for category in coco['categories']} == {'cat', 'dog'}


def test_an_added_image_does_not_recompute_the_others(run, objects, fresh, tmp_path):
    photos, out = fresh / 'images' / 'red', tmp_path / 'found'
    assert run('apply', objects['red'], photos, '--out', out) == 0
    before = mask_files(out)
    (photos / 'broken.png').write_bytes(b'no image')
    assert run('apply', objects['red'], photos, '--out', out) == 1
    shutil.copy(fresh / 'images' / 'green' / '000.png', photos / 'new.png')
    seen = TinyColors.seen
    assert run('apply', objects['red'], photos, '--out', out) == 1
    assert TinyColors.seen - seen == 2  # it, and its mirror image
    after = mask_files(out)
    assert after.keys() - before.keys() == {'masks/red/new.png'}
    assert {name: after[name] for name in before} == before
    [group] = summary(out)['groups']
    assert len(group['images']) == 6
    assert [skipped['file_name'] for skipped in group['skipped']] == ['broken.png']


def test_results_of_other_objects_are_not_mixed(run, objects, fresh, tmp_path, capsys):
    photos, out = fresh / 'images' / 'red', tmp_path / 'found'
    assert run('apply', objects['red'], photos, '--out', out) == 0
    assert summary(out)['settings']['objects'][0].startswith('red.coseg (')
    # The same object elsewhere is the same.
    moved = tmp_path / 'moved' / 'red.coseg'
    moved.parent.mkdir()
    shutil.copy(objects['red'], moved)
    seen = TinyColors.seen
    assert run('apply', moved, photos, '--out', out) == 0
    assert TinyColors.seen == seen
    capsys.readouterr()
    assert run('apply', objects['blue'], photos, '--out', out) == 1
    assert 'has results of other settings' in capsys.readouterr().err
    assert run('apply', objects['blue'], photos, '--out', out, '--overwrite') == 0


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        ('model.backbone.weight=2', 'another backbone'),
        ('model.data_preprocessor.size=[40,40]', 'another input'),
        ('model.data_preprocessor.bgr_to_rgb=False', 'another input'),
        ('model.test_cfg.flip=False', 'another flip'),
    ],
)
def test_other_models_are_refused(option, said, run, objects, fresh, tmp_path, capsys):
    arguments = ['--out', tmp_path / 'found', '--cfg-options', option]
    assert run('apply', objects['red'], fresh / 'images', *arguments) == 1
    error = capsys.readouterr().err
    assert 'red.coseg: it was learned with' in error
    assert said in error
    assert not (tmp_path / 'found' / 'masks').exists()


def test_the_same_backbone_with_other_weights_is_refused(config, objects, fresh):
    model = CoSegInferencer(config=config, objects=[objects['red']])
    with torch.no_grad():
        model.model.backbone.weight.mul_(1.5)
    with pytest.raises(MMCosegError, match=r'red\.coseg: .*another weights'):
        model(str(fresh / 'images' / 'red'))


def test_what_is_no_object_is_refused_before_anything_is_written(run, fresh, tmp_path, capsys):
    (tmp_path / 'bad.coseg').write_bytes(b'bad')
    out = tmp_path / 'found'
    assert run('apply', tmp_path / 'bad.coseg', fresh / 'images', '--out', out) == 1
    assert 'bad.coseg: it is no file of the format safetensors' in capsys.readouterr().err
    assert run('apply', tmp_path / 'none.coseg', fresh / 'images', '--out', out) == 1
    assert 'there is no file or folder' in capsys.readouterr().err
    assert run('apply', fresh / 'images', '--out', out) == 1
    assert 'give the files of saved objects' in capsys.readouterr().err
    assert not out.exists()


def test_one_file_is_not_for_several_groups(run, data, tmp_path, capsys):
    out = tmp_path / 'out'
    file = tmp_path / 'all.coseg'
    assert run('segment', data / 'images', '--out', out, '--save-object', file) == 1
    assert 'is one file, but the input has 3 groups' in capsys.readouterr().err
    (tmp_path / 'notes').write_text('')
    arguments = ['--out', out, '--save-object', tmp_path / 'notes']
    assert run('segment', data / 'images' / 'red', *arguments) == 1
    assert 'must end with .coseg' in capsys.readouterr().err
    assert not out.exists()


def test_an_object_of_a_finished_group_is_learned_anew(run, data, tmp_path):
    out, file = tmp_path / 'out', tmp_path / 'red.coseg'
    photos = data / 'images' / 'red'
    assert run('segment', photos, '--out', out) == 0
    before = mask_files(out)
    assert run('segment', photos, '--out', out, '--save-object', file) == 0
    assert read_object(file).classes == ('red',)
    assert mask_files(out) == before
    written = file.stat().st_mtime_ns
    assert run('segment', photos, '--out', out, '--save-object', file) == 0
    assert file.stat().st_mtime_ns == written


def test_methods_that_learn_no_objects_say_so(run, data, tmp_path, config, capsys):
    arguments = ['--out', tmp_path / 'out', '--save-object', tmp_path / 'red.coseg']
    option = ['--cfg-options', 'model.stages.follow_hints=None']
    assert run('segment', data / 'images' / 'red', *arguments, *option) == 1
    assert 'methods with a stage FollowHints' in capsys.readouterr().err


def test_saving_changes_no_result(config, data, tmp_path):
    photos = data / 'images' / 'red'
    for out, options in (('with', dict(save_object=tmp_path / 'red.coseg')), ('without', {})):
        segment_to_folder(photos, tmp_path / out, config=config, **options)
    assert mask_files(tmp_path / 'with') == mask_files(tmp_path / 'without')


def test_images_of_any_size_and_from_memory(config, objects, fresh):
    image = Image.open(fresh / 'images' / 'red' / '000.png')
    model = CoSegInferencer(config=config, objects=[objects['red']])
    small, large = model({'any': [image, image.resize((160, 120))]})[0]
    assert small.pred_sem_seg.data.shape[1:] == (24, 32)
    assert large.pred_sem_seg.data.shape[1:] == (120, 160)
    assert small.class_names == ('red',)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['Car', 'Cat'])
def test_half_a_class_of_photographs_is_found_in_the_other_half(coseg_data, tmp_path, name):
    data = coseg_data / 'pascal_coseg'
    files = image_files(data / 'images' / name)
    saved = tmp_path / f'{name}.coseg'
    options = dict(formats=['masks'])
    first, second = {name: files[::2]}, {name: files[1::2]}
    segment_to_folder(first, tmp_path / 'first', save_object=saved, **options)
    segment_to_folder(second, tmp_path / 'group', **options)
    segment_to_folder(second, tmp_path / 'applied', objects=[saved], **options)
    truth = tmp_path / 'truth' / name
    truth.mkdir(parents=True)
    for file in files[1::2]:
        shutil.copy(data / 'masks' / name / f'{file.stem}.png', truth)
    scores = {}
    for out in ('group', 'applied'):
        scores[out] = evaluate_masks(tmp_path / out, truth.parent).summary()['J']
    assert scores['applied'] > scores['group'] - 2
    assert saved.stat().st_size < 5_000_000
