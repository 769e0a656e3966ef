"""Contracts of the registries and of the package's layers, in fresh processes where it matters."""

import ast
import subprocess
import sys
from pathlib import Path

import mmengine.registry
import mmseg.registry
import pytest
from mmengine.registry import Registry

from mmcoseg import registry

PACKAGE = Path(registry.__file__).parent
NODES = {name: node for name, node in vars(registry).items() if isinstance(node, Registry)}

#: Layer of each part of the package; imports go to the same part or to lower layers.
LAYERS = {
    'version': 0,
    'errors': 0,
    'optional': 1,
    'options': 1,
    'files': 1,
    'seeding': 1,
    'registry': 1,
    'config_files': 1,
    'workers': 1,
    'segment_options': 2,
    'compat': 2,
    'mean_field': 2,
    'config_check': 3,
    'structures': 3,
    'models/ops': 3,
    'image_cache': 3,
    'matlab': 3,
    'saliency': 4,
    'proposals': 5,
    'datasets': 6,
    'models/data_preprocessor': 6,
    'models/calling': 6,
    'models/backbones': 7,
    'models/postprocessors': 7,
    'models/losses': 7,
    'models/stages': 7,
    'models/necks': 8,
    'models/heads': 8,
    'models/segmentors': 9,
    'models': 10,
    'evaluation': 10,
    'visualization': 11,
    'engine': 12,
    'export': 12,
    'export/cvat_function': 14,
    'apis': 13,
    'review': 14,
    'cli': 15,
    '': 15,
}


def fresh(code: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize('name', NODES)
def test_types_of_mmseg_are_found_by_our_registries(name):
    assert NODES[name].parent is getattr(mmseg.registry, name)
    assert NODES[name].scope == 'mmcoseg'


#: (registry, bare name of a type, packages that may define it). mmseg registers some of mmcv's
#: transforms anew.
BARE_NAMES = [
    ('MODELS', 'HRNet', ('mmseg',)),
    ('MODELS', 'SSNM', ('mmcoseg',)),
    ('TRANSFORMS', 'PhotoMetricDistortion', ('mmseg', 'mmcv')),
    ('TRANSFORMS', 'Resize', ('mmseg', 'mmcv')),
    ('DATASETS', 'CoSegDataset', ('mmcoseg',)),
    ('METRICS', 'CoSegMetric', ('mmcoseg',)),
    ('HOOKS', 'IterationSeedHook', ('mmcoseg',)),
    ('LOOPS', 'IterBasedTrainLoop', ('mmengine',)),
]


@pytest.mark.slow
def test_bare_names_resolve_with_only_the_registry_imported(repo_env):
    # Each name in a process of its own, which has imported nothing of OpenMMLab but the registry.
    code = f"""
import os, cv2, scipy, sklearn, torch, torchvision
from mmcoseg import registry
for node, name, _ in {BARE_NAMES!r}:
    if os.fork() == 0:
        print('module', name, getattr(registry, node).get(name).__module__, flush=True)
        os._exit(0)
    os.wait()
"""
    lines = [line.split() for line in fresh(code, repo_env).splitlines()]
    modules = {line[1]: line[2] for line in lines if line[:1] == ['module']}
    for _, name, owners in BARE_NAMES:
        assert modules[name].split('.')[0] in owners


@pytest.mark.slow
def test_names_resolve_under_our_default_scope_from_the_root(repo_env):
    code = (
        'from mmengine.registry import MODELS, init_default_scope;'
        'init_default_scope("mmcoseg");'
        'print(MODELS.build(dict(type="BalancedBCELoss")).__module__)'
    )
    assert fresh(code, repo_env).split()[-1].startswith('mmcoseg.')


def test_no_class_of_ours_takes_a_name_of_theirs():
    count = 0
    for name, node in NODES.items():
        node.import_from_location()
        parents = [node.parent, getattr(mmengine.registry, name)]
        for parent in parents:
            parent.import_from_location()
        taken = {key for parent in parents for key in parent.module_dict}
        ours = {k for k, v in node.module_dict.items() if v.__module__.startswith('mmcoseg.')}
        assert not ours & taken, name
        count += len(ours)
    assert count > 20


def test_importing_the_package_or_asking_for_help_is_light(repo_env):
    code = (
        'import sys, mmcoseg, mmcoseg.config_files, mmcoseg.cli;'
        'assert mmcoseg.__version__;'
        'print([m for m in ("torch", "mmengine", "mmseg", "numpy") if m in sys.modules])'
    )
    assert fresh(code, repo_env).strip() == '[]'


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['no/such/folder'], 'there is no file or folder no/such/folder'),
        (['.', '--method', 'magic'], "there is no method 'magic', only"),
        (['.', '--config', 'consensus/magic'], "there is no config 'consensus/magic'"),
        (['.', '--format', 'masks', 'svg'], "there are no formats ['svg']"),
    ],
    ids=['path', 'method', 'config', 'format'],
)
def test_mistyped_arguments_are_found_before_anything_heavy_is_imported(
    arguments, said, repo_env, tmp_path
):
    code = (
        'import contextlib, io, sys; from mmcoseg.cli import main; text = io.StringIO()\n'
        'with contextlib.redirect_stderr(text):\n'
        f'    code = main(["segment", *{arguments!r}, "--out", {str(tmp_path / "out")!r}])\n'
        'print(code, "torch" in sys.modules, text.getvalue())'
    )
    assert fresh(code, repo_env).startswith(f'1 False mmcoseg: error: {said}')
    assert not (tmp_path / 'out').exists()


def _part(module: str) -> str:
    """The longest known part of the package that a module (dotted, below mmcoseg) lies in."""
    path = module.replace('.', '/')
    while path not in LAYERS:
        if '/' not in path:
            raise AssertionError(f'mmcoseg/{path} has no layer; give it one in this test')
        path = path.rsplit('/', 1)[0]
    return path


def _imports(file: Path):
    """Dotted names below mmcoseg that a file imports, wherever in the file."""
    package = list(file.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split('.')[0] == 'mmcoseg':
                    yield '.'.join(alias.name.split('.')[1:])
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
            elif (node.module or '').split('.')[0] == 'mmcoseg':
                base = []
            else:
                continue
            module = node.module or ''
            rest = module.split('.')[0 if node.level else 1 :] if module else []
            if rest:
                yield '.'.join([*base, *rest])
            else:
                for alias in node.names:
                    yield '.'.join([*base, alias.name])


def test_imports_run_downwards_only():
    files = sorted(PACKAGE.rglob('*.py'))
    assert len(files) > 30
    wrong = []
    for file in files:
        module = '.'.join(file.relative_to(PACKAGE).with_suffix('').parts)
        here = _part(module.removesuffix('.__init__').removesuffix('__init__'))
        for imported in _imports(file):
            there = _part(imported) if imported not in ('__version__',) else 'version'
            if there != here and LAYERS[there] >= LAYERS[here]:
                wrong.append(f'{file.relative_to(PACKAGE)} imports {imported}')
    assert not wrong, '\n'.join(wrong)
