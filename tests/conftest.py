"""What all tests share."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tool_server import ToolServer

REPO = Path(__file__).resolve().parents[1]
# Tests run on the working copy, installed or not; those that need the installed package say so.
sys.path.insert(0, str(REPO))


def pytest_runtest_setup() -> None:
    """Keep the garbage collector off what imports made, hundreds of thousands of objects.

    mmengine's data sets collect garbage whenever they are built.
    """
    if len(sys.modules) > pytest_runtest_setup.frozen + 100:
        gc.collect()
        gc.freeze()
        pytest_runtest_setup.frozen = len(sys.modules)


pytest_runtest_setup.frozen = 0


@pytest.fixture(scope='session')
def repo() -> Path:
    """The root of the repository."""
    return REPO


@pytest.fixture(scope='session')
def coseg_data() -> Path:
    """The folder of photograph data sets: the variable MMCOSEG_DATA, or ``../shared/data``."""
    root = Path(os.environ.get('MMCOSEG_DATA', REPO.parent / 'shared' / 'data'))
    if not root.is_dir():
        pytest.skip(f'no photographs in {root}; set MMCOSEG_DATA to a folder of data sets')
    return root


def quiet_env() -> dict[str, str]:
    """Environment of a fresh process that sees this copy of the package, one thread and no GPU."""
    path = os.pathsep.join(filter(None, [str(REPO), os.environ.get('PYTHONPATH')]))
    return {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}


@pytest.fixture
def repo_env(tmp_path: Path) -> dict[str, str]:
    """Environment of a fresh process, with a folder of its own for temporary files."""
    return {**quiet_env(), 'TMPDIR': str(tmp_path)}


@pytest.fixture(scope='session')
def tool_server() -> Iterator[ToolServer]:
    """Runs programs in processes that need not import the toolbox first."""
    server = ToolServer(quiet_env())
    yield server
    server.close()
