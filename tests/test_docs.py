"""What the documentation says is so."""

import doctest
import re
from importlib import import_module
from pkgutil import walk_packages

import pytest
import torch

import mmcoseg
from mmcoseg.config_files import list_configs
from mmcoseg.models.necks import Modulator

PATH = r'\b(?:configs|tools|benchmarks|docs|projects)/[\w./-]+\w\.\w+'
MODULES = [module.name for module in walk_packages(mmcoseg.__path__, 'mmcoseg.')]


def test_there_are_modules():
    assert len(MODULES) > 40


@pytest.mark.parametrize('name', MODULES)
def test_examples_in_docstrings(name):
    if name == 'mmcoseg.export.cvat_function':
        pytest.importorskip('cvat_sdk', exc_type=ImportError)
    module = import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(module, optionflags=flags).failed == 0


def test_the_modulator_in_the_readme_works(repo):
    (example,) = re.findall(r'```python\n(.*?)```', (repo / 'README.md').read_text(), re.DOTALL)
    namespace = {}
    exec(example, namespace)
    modulator = namespace['MyModulator']()
    assert isinstance(modulator, Modulator)
    feats = (torch.rand(5, 8, 4, 4),)
    shift = modulator(feats, [3, 2]).shift
    assert shift.shape == (5, 1, 4, 4)
    # The group decides.
    assert not torch.allclose(shift[0], modulator(feats, [1, 4]).shift[0])


def test_files_and_configs_that_are_named_exist(repo):
    pages = [repo / 'README.md', *repo.glob('docs/*.md'), *repo.glob('configs/*/README.md')]
    names = {name.rsplit('/')[-1] for name in list_configs()}
    for page in pages:
        text = page.read_text()
        for link in re.findall(r'\]\(([^)#:]+)\)', text):
            assert (page.parent / link).exists(), f'{page.name}: {link}'
        for path in re.findall(PATH, text):
            assert (repo / path).exists(), f'{page.name}: {path}'
        for config in re.findall(r'`(ssnm_[\w-]+)`', text):
            assert config in names, f'{page.name}: {config}'
