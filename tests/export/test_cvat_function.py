"""Saved objects annotate tasks of CVAT, by cvat_sdk's own definitions."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_results import HARD, make_sample

from mmcoseg.structures import SavedObject


class TinyInferencer:
    """Finds what it was given, instead of a saved object."""

    found = {}

    def __init__(self, objects, **options):
        self.objects, self.options = objects, options

    def __call__(self, inputs):
        [image] = inputs
        mask = self.found[image.name]
        sample = make_sample('images', 'x', mask, 2, class_names=('mug', 'plate'))
        sample.presence = 0.5
        return [[sample]]


@pytest.fixture
def saved(tmp_path):
    file = tmp_path / 'mug.coseg'
    values = {name: torch.zeros(2, 3) for name in ('directions', 'objects', 'backgrounds')}
    values |= dict(offsets=torch.zeros(2), made_with={}, origin={})
    SavedObject(('mug', 'plate'), (0,), **values).write(file)
    return str(file)


@pytest.fixture
def function(saved, monkeypatch):
    pytest.importorskip('cvat_sdk', exc_type=ImportError)
    from mmcoseg.export import cvat_function

    monkeypatch.setattr(cvat_function, 'CoSegInferencer', TinyInferencer)
    return cvat_function.create(saved, method='ddt')


def context(conf_threshold=None, conv_mask_to_poly=False):
    return SimpleNamespace(conf_threshold=conf_threshold, conv_mask_to_poly=conv_mask_to_poly)


def test_labels_are_the_classes_of_the_object(function, saved):
    labels = [(label.name, label.id, str(label.type)) for label in function.spec.labels]
    assert labels == [('mug', 0, 'mask'), ('plate', 1, 'mask')]
    inferencer = function._inferencer
    assert (inferencer.objects, inferencer.options) == ([saved], dict(method='ddt'))


@pytest.mark.parametrize('stem', HARD)
def test_masks_are_exact(function, stem, monkeypatch):
    from cvat_sdk.masks import decode_mask

    mask = HARD[stem] * np.uint8(2)
    monkeypatch.setitem(TinyInferencer.found, 'a', mask)
    shapes = function.detect(context(), SimpleNamespace(name='a'))
    assert len(shapes) == int(mask.any())
    for shape in shapes:
        assert (shape.label_id, shape.frame, str(shape.type)) == (1, 0, 'mask')
        height, width = mask.shape
        decoded = decode_mask(shape.points, image_width=width, image_height=height)
        np.testing.assert_array_equal(decoded, mask > 0)


def test_polygons_and_confidence_as_cvat_asks(function, monkeypatch):
    monkeypatch.setitem(TinyInferencer.found, 'a', HARD['blobs'])
    image = SimpleNamespace(name='a')
    polygons = function.detect(context(conv_mask_to_poly=True), image)
    assert len(polygons) == 4 and {str(shape.type) for shape in polygons} == {'polygon'}
    assert all(len(shape.points) >= 6 for shape in polygons)
    assert len(function.detect(context(conf_threshold=0.5), image)) == 1  # its presence
    assert function.detect(context(conf_threshold=0.51), image) == []


@pytest.mark.slow
def test_without_cvat_it_says_what_to_install():
    code = (
        'import sys; sys.modules["cvat_sdk"] = None\n'
        'try: import mmcoseg.export.cvat_function\n'
        'except ImportError as error: print(error)'
    )
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True)
    [line] = done.stdout.decode().splitlines()
    assert line.startswith("annotating tasks of CVAT needs the package 'cvat_sdk")
    assert line.endswith('Install it: pip install cvat-cli')
