"""What the wheel holds, and that it works without the repository."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def wheel(repo, tmp_path_factory) -> Path:
    """Built from a copy, so that the repository gets no build folders."""
    source = tmp_path_factory.mktemp('source') / 'mmcoseg'
    source.mkdir()
    for name in ('mmcoseg', 'configs', 'tools'):
        ignore = shutil.ignore_patterns('__pycache__', '*.txt')
        shutil.copytree(repo / name, source / name, ignore=ignore)
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'README.md'):
        shutil.copy(repo / name, source)
    out = tmp_path_factory.mktemp('wheel')
    pip = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*pip, '-w', str(out), str(source)], check=True, timeout=300)
    return next(out.glob('mmcoseg-*.whl'))


def test_wheel_holds_every_config_and_tool(wheel, repo):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = next(name for name in names if name.endswith('entry_points.txt'))
        metadata = next(name for name in names if name.endswith('METADATA'))
        assert 'mmcoseg = mmcoseg.cli:main' in archive.read(entry).decode()
        text = archive.read(metadata).decode()
    assert 'License-Expression: Apache-2.0' in text or 'License: Apache-2.0' in text
    for folder in ('configs', 'tools'):
        files = [
            f'mmcoseg/.mim/{path.relative_to(repo).as_posix()}'
            for suffix in ('.py', '.sh')
            for path in (repo / folder).rglob(f'*{suffix}')
        ]
        assert len(files) > 3
        assert set(files) <= names
    assert not [name for name in names if name.startswith(('tests', 'projects', 'configs'))]


def test_wheel_holds_the_files_of_the_report(wheel, repo):
    export = repo / 'mmcoseg' / 'export'
    others = {path.name for path in export.iterdir() if path.is_file() and path.suffix != '.py'}
    assert {'report.html.j2', 'report.css', 'report.js'} <= others
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(others):
            stored = archive.read(f'mmcoseg/export/{name}')
            assert stored == (export / name).read_bytes() and stored


def test_installed_wheel_works_without_the_repository(wheel, tmp_path, repo_env):
    site = tmp_path / 'site'
    pip = [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index']
    subprocess.run([*pip, '--target', str(site), str(wheel)], check=True, timeout=300)
    env = {**repo_env, 'PYTHONPATH': str(site)}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', *command],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    where = run('-c', 'import mmcoseg; print(mmcoseg.__file__)').strip()
    assert where.startswith(str(site))
    names = run('-m', 'mmcoseg.cli', 'list', 'configs').split()[1:]
    assert names
    code = (
        'from mmcoseg.engine.run_config import load_config;'
        f'print(load_config({names[0]!r}).default_scope)'
    )
    assert run('-c', code).split()[-1] == 'mmcoseg'
    # A config outside inherits one inside.
    (tmp_path / 'own.py').write_text("_base_ = 'mmcoseg::_base_/default_runtime.py'\nmine = 3\n")
    (tmp_path / 'list.py').write_text("_base_ = ['mmcoseg::_base_/default_runtime.py', './a.py']\n")
    (tmp_path / 'a.py').write_text('mine = 3\n')
    for name in ('own.py', 'list.py'):
        code = (
            'from mmcoseg.engine.run_config import read_config;'
            f'cfg = read_config({name!r}); print(cfg.default_scope, cfg.mine)'
        )
        assert run('-c', code).split()[-2:] == ['mmcoseg', '3']
    assert 'usage: train.py' in run(str(site / 'mmcoseg/.mim/tools/train.py'), '--help')
