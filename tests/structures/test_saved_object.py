"""Saved objects: what comes back from a file, and which files are refused."""

import json
import struct
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save

from mmcoseg.errors import MMCosegError
from mmcoseg.structures import SavedObject, read_object, read_objects

TENSORS = 'directions', 'offsets', 'objects', 'backgrounds'


def make_object(classes=('mug',), channels=5, seed=0):
    random = torch.Generator().manual_seed(seed)
    number = len(classes)
    return SavedObject(
        classes=tuple(classes),
        levels=(0, 1),
        directions=torch.randn(number, channels, generator=random),
        offsets=torch.randn(number, generator=random),
        objects=torch.randn(number, channels, generator=random),
        backgrounds=torch.randn(number, channels, generator=random),
        made_with=dict(backbone=dict(type='Net', size=[3, 4]), weights='ab12', flip=True),
        origin=dict(group='mugs', images=7, hinted_images=2),
    )


def head_and_data(content):
    length = struct.unpack('<Q', content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def changed_head(content, change):
    """A file whose head was changed by hand."""
    head, data = head_and_data(content)
    change(head)
    text = json.dumps(head).encode()
    return struct.pack('<Q', len(text)) + text + data


def changed_description(content, **changes):
    """A file whose description was changed by hand; None leaves a key out."""

    def change(head):
        description = json.loads(head['__metadata__']['mmcoseg_object'])
        for key, value in changes.items():
            description[key] = value
            if value is None:
                del description[key]
        head['__metadata__']['mmcoseg_object'] = json.dumps(description)

    return changed_head(content, change)


def replaced_text(content, text):
    def change(head):
        head['__metadata__'] = {} if text is None else {'mmcoseg_object': text}

    return changed_head(content, change)


def with_tensors(content, **tensors):
    """A file with other tensors; None leaves one out."""
    saved = make_object()
    kept = {name: getattr(saved, name) for name in TENSORS} | tensors
    kept = {name: tensor for name, tensor in kept.items() if tensor is not None}
    return save(kept, head_and_data(content)[0]['__metadata__'])


@pytest.fixture
def content(tmp_path):
    """The bytes of a sound file."""
    make_object().write(tmp_path / 'sound.coseg')
    return (tmp_path / 'sound.coseg').read_bytes()


def assert_same(one, other):
    for name in TENSORS:
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert (one.classes, one.levels) == (other.classes, other.levels)
    assert (one.made_with, one.origin) == (other.made_with, other.origin)


def test_comes_back_as_it_was(tmp_path):
    saved = make_object(['mug', 'Tasse ☕'])
    saved.write(tmp_path / 'a' / 'mug.coseg')
    assert_same(read_object(tmp_path / 'a' / 'mug.coseg'), saved)
    saved.write(tmp_path / 'again.coseg')
    again = (tmp_path / 'again.coseg').read_bytes()
    assert again == (tmp_path / 'a' / 'mug.coseg').read_bytes()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(content, tmp_path, dtype):
    saved = make_object()
    halves = {name: getattr(saved, name).to(dtype) for name in TENSORS}
    file = tmp_path / 'half.coseg'
    file.write_bytes(with_tensors(content, **halves))
    found = read_object(file)
    for name in TENSORS:
        assert getattr(found, name).dtype == torch.float32
        assert torch.equal(getattr(found, name), halves[name].float())


@pytest.mark.slow
def test_another_process_reads_the_same(tmp_path, repo_env):
    saved = make_object()
    saved.write(tmp_path / 'mug.coseg')
    code = (
        'import sys; from mmcoseg.structures import read_object;'
        'saved = read_object(sys.argv[1]); saved.write(sys.argv[2])'
    )
    files = [str(tmp_path / name) for name in ('mug.coseg', 'copy.coseg')]
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code, *files], env=repo_env, check=True)
    assert_same(read_object(tmp_path / 'copy.coseg'), saved)


def test_says_what_it_is():
    text = str(make_object(['mug', 'cup']))
    assert text.startswith('classes: mug, cup\n')
    assert 'group: mugs\nimages: 7\nhinted_images: 2\n' in text
    assert 'weights: ab12' in text


def test_text_from_a_file_cannot_steer_the_terminal(tmp_path):
    saved = make_object()
    saved.origin['group'] = 'a\x1b[2Jb\nclasses: cat'
    saved.write(tmp_path / 'mug.coseg')
    shown = str(read_object(tmp_path / 'mug.coseg'))
    assert '\x1b' not in shown
    assert 'group: a\\x1b[2Jb\\x0aclasses: cat' in shown


HOSTILE = {
    'empty': (lambda c: b'', 'no file of the format safetensors'),
    'text': (lambda c: b'not an object at all', 'no file of the format safetensors'),
    'pickle': (lambda c: b'\x80\x04cos\nsystem\n(S"true"\ntR.' * 9, 'format safetensors'),
    'huge head': (lambda c: struct.pack('<Q', 2**62) + c[8:], 'head is damaged'),
    'long head': (lambda c: struct.pack('<Q', 2_000_000) + b' ' * 2_000_000, 'head is damaged'),
    'truncated': (lambda c: c[:-3], 'damaged'),
    'longer': (lambda c: c + b'more', 'damaged'),
    'no description': (lambda c: replaced_text(c, None), 'it holds no object'),
    'no json': (lambda c: replaced_text(c, '{'), 'not json'),
    'deep json': (lambda c: replaced_text(c, '[' * 100_000), 'not json'),
    'a list': (lambda c: replaced_text(c, '[1]'), 'not a json object'),
    'newer': (lambda c: changed_description(c, version=2), 'its version is 2; .* reads version 1'),
    'no version': (lambda c: changed_description(c, version=None), 'its version is null'),
    'no classes': (lambda c: changed_description(c, classes=[]), 'one at least'),
    'classes missing': (lambda c: changed_description(c, classes=None), 'must be a list'),
    'names that are none': (lambda c: changed_description(c, classes=[3]), 'a short text, got 3'),
    'a name that steers': (
        lambda c: changed_description(c, classes=['a\x1b[2J']),
        r'a short text, got a\\x1b',
    ),
    'a long name': (lambda c: changed_description(c, classes=['a' * 999]), 'a short text'),
    'more classes': (lambda c: changed_description(c, classes=['a', 'b']), 'of 2 classes'),
    'twice': (lambda c: changed_description(c, classes=['a', 'a']), 'different names'),
    'levels': (lambda c: changed_description(c, levels=[0.5]), 'a level must be a whole number'),
    'negative level': (lambda c: changed_description(c, levels=[-1]), 'a level must be'),
    'level twice': (lambda c: changed_description(c, levels=[0, 0]), 'different ones'),
    'backbone': (lambda c: changed_description(c, made_with=['x']), 'made_with .* must be a dict'),
    'unknown key': (lambda c: changed_description(c, code='import os'), "has no 'code'"),
    'tensor missing': (lambda c: with_tensors(c, offsets=None), 'its tensors must be'),
    'tensor more': (lambda c: with_tensors(c, other=torch.ones(1)), 'its tensors must be'),
    'shape': (lambda c: with_tensors(c, objects=torch.ones(1, 4)), r'have \[4, 5, 5\] channels'),
    'wide': (
        lambda c: with_tensors(c, objects=torch.ones(1, 6), backgrounds=torch.ones(1, 6)),
        r'have \[6, 6, 5\] channels',
    ),
    'dimensions': (lambda c: with_tensors(c, directions=torch.ones(5)), r'\(5,\)'),
    'scalar': (lambda c: with_tensors(c, directions=torch.tensor(1.0)), r'directions is \(\)'),
    'whole numbers': (lambda c: with_tensors(c, offsets=torch.ones(1).int()), 'torch.int32'),
    'values beyond': (
        lambda c: with_tensors(c, offsets=torch.tensor([float('nan')])),
        'values beyond',
    ),
}


@pytest.mark.parametrize('what', HOSTILE)
def test_other_files_are_refused_in_one_sentence(what, content, tmp_path):
    make, said = HOSTILE[what]
    file = tmp_path / 'strange.coseg'
    file.write_bytes(make(content))
    with pytest.raises(MMCosegError, match=f'strange.coseg: .*{said}') as caught:
        read_object(file)
    assert len(str(caught.value)) < 1000


def test_large_files_are_not_even_read(tmp_path):
    file = tmp_path / 'large.coseg'
    with open(file, 'wb') as sparse:
        sparse.truncate(10**12)
    with pytest.raises(MMCosegError, match='it has 1000000 MB; an object has 64 MB at most'):
        read_object(file)
    with pytest.raises(FileNotFoundError):
        read_object(tmp_path / 'none.coseg')


def test_every_damaged_byte_is_refused_or_read(content, tmp_path):
    file = tmp_path / 'damaged.coseg'
    refused = 0
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        try:
            read_object(file)
        except MMCosegError:
            refused += 1
    assert refused > 50


def test_two_classes_of_one_name_are_refused(tmp_path):
    make_object(['mug', 'cup']).write(tmp_path / 'a.coseg')
    make_object(['cup']).write(tmp_path / 'b.coseg')
    with pytest.raises(MMCosegError, match=r"b.coseg and .*a.coseg both have a class 'cup'"):
        read_objects([tmp_path / 'a.coseg', tmp_path / 'b.coseg'])
    make_object([f'class {k}' for k in range(254)]).write(tmp_path / 'many.coseg')
    with pytest.raises(MMCosegError, match='256 classes are too many; apply at most 254'):
        read_objects([tmp_path / 'a.coseg', tmp_path / 'many.coseg'])


def test_what_it_was_not_made_with_is_named():
    saved = make_object()
    saved.require_made_with(dict(flip=True, weights='ab12'))
    with pytest.raises(MMCosegError, match='another weights: ab12; the model has cd34'):
        saved.require_made_with(dict(flip=True, weights='cd34'))
    with pytest.raises(MMCosegError, match='another input: null; the model has'):
        saved.require_made_with(dict(input=dict(size=[3, 3])))
