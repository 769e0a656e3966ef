"""Priors on disk."""

import multiprocessing
import os
from functools import partial

import numpy as np
import pytest

from mmcoseg import image_cache
from mmcoseg.image_cache import ImageCache


def image(value=3):
    return np.full((4, 5, 3), value, np.uint8)


class Counted:
    """Computes the mean, and counts how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return dict(value=np.arange(1000) % 7, flag=np.array(True))


def test_is_computed_once(tmp_path):
    compute = Counted()
    for _ in range(3):
        # A new object each time, as in another process.
        arrays = ImageCache(tmp_path, 'saliency', dict(a=1, b=[2])).get(image(), compute)
        assert sorted(arrays) == ['flag', 'value'] and bool(arrays['flag'])
        np.testing.assert_array_equal(arrays['value'], np.arange(1000) % 7)
    assert compute.calls == 1
    assert not list(tmp_path.rglob('*.tmp'))


def test_another_image_setting_kind_or_version_is_computed_anew(tmp_path, monkeypatch):
    one = ImageCache(tmp_path, 'saliency', dict(a=1)).path_of(image())
    assert ImageCache(tmp_path, 'saliency', dict(a=1)).path_of(image().copy()) == one
    reshaped = image().reshape(5, 4, 3)
    others = [
        ImageCache(tmp_path, 'saliency', dict(a=1)).path_of(image(4)),
        ImageCache(tmp_path, 'saliency', dict(a=1)).path_of(reshaped),
        ImageCache(tmp_path, 'saliency', dict(a=2)).path_of(image()),
        ImageCache(tmp_path, 'proposals', dict(a=1)).path_of(image()),
    ]
    monkeypatch.setitem(image_cache.VERSIONS, 'saliency', 99)
    others.append(ImageCache(tmp_path, 'saliency', dict(a=1)).path_of(image()))
    assert len({one, *others}) == 6
    with pytest.raises(ValueError, match="'depth'"):
        ImageCache(tmp_path, 'depth', {})


@pytest.mark.parametrize('part', [0, 10, 0.5, 0.95, 'flip', 'text'])
def test_damaged_files_are_computed_again(tmp_path, part):
    kept, compute = ImageCache(tmp_path, 'saliency', {}), Counted()
    kept.get(image(), compute)
    path = kept.path_of(image())
    content = bytearray(path.read_bytes())
    if part == 'flip':
        content[len(content) // 3] ^= 0xFF
    elif part == 'text':
        content = bytearray(b'this is no archive')
    else:
        del content[part if isinstance(part, int) else int(part * len(content)) :]
    path.write_bytes(content)
    for _ in range(2):
        arrays = kept.get(image(), compute)
        np.testing.assert_array_equal(arrays['value'], np.arange(1000) % 7)
    assert compute.calls == 2


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    kept = ImageCache(tmp_path, 'saliency', {})

    def fail(*_):
        raise OSError('no space left on device')

    monkeypatch.setattr(os, 'replace', fail)
    with pytest.raises(OSError, match='no space'):
        kept.get(image(), Counted())
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def write_many(folder):
    kept = ImageCache(folder, 'saliency', {})
    for value in [*range(20)] * 3:
        kept.path_of(image(value)).unlink(missing_ok=True)
        # Others may be writing the same file: it is whole all the same.
        for _ in range(2):
            arrays = kept.get(image(value), partial(dict, value=np.full(5000, value)))
            assert (arrays['value'] == value).all()


def test_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context('fork')
    workers = [context.Process(target=write_many, args=(tmp_path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert not list(tmp_path.rglob('*.tmp'))
