"""A method that is not trained, through the same test tool as those that are."""

import subprocess
import sys

import pytest
from demo_inputs import write_tiny_dataset

pytestmark = pytest.mark.slow


def test_tested_without_a_checkpoint(tmp_path, repo, repo_env):
    data = write_tiny_dataset(tmp_path / 'data', dict(a=3, b=2))
    command = [
        sys.executable, '-W', 'ignore', str(repo / 'tools' / 'test.py'),
        'consensus/ddt_efficientnet-lite2', '--data-root', str(data), '--test-groups', 'a',
        '--out', 'masks', '--show-dir', 'shown', '--cfg-options',
        'model.backbone.weights=None', 'model.backbone.arch=lite0', 'model.postprocessors=[]',
        'test_dataloader.num_workers=0',
        'model.data_preprocessor.size=(65, 65)',
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env=repo_env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert 'class mean' in done.stdout + done.stderr
    written = sorted(path.relative_to(tmp_path / 'masks') for path in tmp_path.glob('masks/*/*'))
    assert len(written) == 3 and {path.parent.name for path in written} == {'a'}
    assert len(list(tmp_path.glob('shown/*'))) == 1
