"""Photographs in miniature, and a config that segments them in no time."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

TINY = """
custom_imports = dict(imports=['tiny_segmentor'])
default_scope = 'mmcoseg'
model = dict(type='TinySegmentor', data_preprocessor=dict(type='GroupDataPreprocessor'))
test_pipeline = [
    dict(
        type='ForEachImage',
        transforms=[
            dict(type='LoadCoSegImage'),
            dict(type='Resize', scale=(24, 24), keep_ratio=False),
            dict(type='LoadCoSegMask'),
        ],
    ),
    dict(type='PackGroupInputs'),
]
"""


def make_image(seed=0, size=(20, 30)):
    """(H, W, 3) uint8 with a bright rectangle on dark noise."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 80, (*size, 3), dtype=np.uint8)
    height, width = size
    top, left = rng.integers(0, height // 2 + 1), rng.integers(0, width // 2 + 1)
    image[top : top + (height + 1) // 2, left : left + (width + 1) // 2] += 150
    return image


def write_images(folder, names, first=0, **kwargs):
    """Image files of these names, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names, start=first):
        Image.fromarray(make_image(seed, **kwargs)).save(folder / name)
    return folder


@pytest.fixture
def tiny_config(tmp_path):
    """Path of a config of ``TinySegmentor``."""
    path = tmp_path / 'tiny.py'
    path.write_text(TINY)
    return str(path)


@pytest.fixture
def photos(tmp_path):
    """A folder of two groups."""
    root = tmp_path / 'photos'
    write_images(root / 'cat', ['001.jpg', '002.png', '003.jpg'])
    write_images(root / 'dog', ['001.jpg', '002.jpg'], first=10)
    return root
