import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmcoseg.models.stages import feature_store
from mmcoseg.models.stages.feature_store import FeatureStore, uncentered_basis


@pytest.mark.parametrize('memory_limit', [0, 10**6], ids=['file', 'memory'])
def test_codes_come_back_in_any_order_of_parts(memory_limit):
    descriptors = torch.randn(7, 5, 3, 4)
    store = FeatureStore(7, memory_limit)
    for indices in ([5, 0], [1], [6, 2, 3, 4]):
        store.put(indices, descriptors[indices])
    kept = store.descriptors()
    assert kept.dtype == torch.float16
    assert torch.equal(kept, descriptors.half())
    # As rows of descriptors they need no copy.
    rows = kept.permute(0, 2, 3, 1).flatten(0, 2)
    assert rows.data_ptr() == kept.data_ptr()
    del store
    assert torch.equal(kept, descriptors.half())  # the tensor outlives the store


@pytest.mark.parametrize('memory_limit', [0, 10**6], ids=['file', 'memory'])
def test_codes_are_there_again_after_they_were_paged_out(memory_limit):
    descriptors = torch.randn(2, 5, 30, 40).half()
    store = FeatureStore(2, memory_limit)
    store.page_out()  # nothing yet
    store.put([0, 1], descriptors)
    kept = store.descriptors()
    store.page_out()
    assert torch.equal(kept, descriptors) and torch.equal(store.descriptors(), descriptors)


def test_large_values_become_the_largest_and_not_infinite():
    store = FeatureStore(1, 10**6)
    store.put([0], torch.tensor([1e6, -1e6, 3.0]).view(1, 3, 1, 1))
    assert store.descriptors().flatten().tolist() == [65504, -65504, 3]


def test_a_full_disk_is_an_error_and_not_a_killed_process(monkeypatch):
    class Full:
        def seek(self, position):
            pass

        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(feature_store, 'TemporaryFile', lambda **kwargs: Full())
    with pytest.raises(OSError, match='No space left'):
        FeatureStore(1, 0).put([0], torch.zeros(1, 2, 3, 4))


MEMORY = """
import torch, resource
from mmcoseg.models.stages.feature_store import FeatureStore
store = FeatureStore(200, {limit})
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
part = torch.randn(8, 400, 25, 25)
store.put(range(8), part)
before = peak()
for start in range(8, 200, 8):
    store.put(range(start, start + 8), part)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(('limit', 'most'), [(0, 20), (10**9, 130)], ids=['file', 'memory'])
def test_memory(limit, most, repo_env):
    done = subprocess.run(
        [sys.executable, '-c', MEMORY.format(limit=limit)],
        env=repo_env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    # 200 images of 400 x 25 x 25 half-precision numbers are 100 MB.
    assert int(done.stdout) / 1024 < most


def test_basis_is_that_of_numpy_and_keeps_inner_products():
    descriptors = torch.randn(4, 3, 5, 5) @ torch.randn(5, 5) + 2
    descriptors = torch.cat(
        [descriptors, 2 * descriptors[:, :2] - descriptors[:, 1:]], dim=1
    )  # 5 channels of rank 3
    rows = descriptors.permute(0, 2, 3, 1).flatten(0, 2).double()
    basis = uncentered_basis(descriptors, 3)
    _, _, axes = np.linalg.svd(rows.numpy(), full_matrices=False)
    overlap = torch.from_numpy(axes[:3]).float() @ basis
    torch.testing.assert_close(overlap @ overlap.t(), torch.eye(3), atol=1e-4, rtol=0)
    inside = rows.float() @ basis
    torch.testing.assert_close(inside @ inside.t(), (rows @ rows.t()).float(), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(
        uncentered_basis(descriptors.double(), 3), basis, atol=1e-3, rtol=1e-3
    )
