import numpy as np
import pytest
import torch

from mmcoseg.models.ops import landmark_affinity, landmark_bipartition


def two_moons(n=150, seed=0):
    """Two interleaved half circles, which no straight cut parts; and who is who."""
    rng = torch.Generator().manual_seed(seed)
    angle = torch.rand(2, n, generator=rng) * torch.pi
    first = torch.stack([angle[0].cos(), angle[0].sin()], dim=1)
    second = torch.stack([1 - angle[1].cos(), 0.3 - angle[1].sin()], dim=1)
    points = torch.cat([first, second]) + 0.04 * torch.randn(2 * n, 2, generator=rng)
    return points.double(), torch.arange(2 * n) < n


def test_affinity_is_the_literal_one():
    torch.manual_seed(0)
    x, landmarks = torch.randn(9, 3).double(), torch.randn(6, 3).double()
    z = landmark_affinity(x, landmarks, 2, 0.7)
    wide = np.mean([float((a - b).square().sum()) for a in landmarks for b in landmarks])
    for row, point in zip(z, x):
        distances = np.array([float((point - landmark).square().sum()) for landmark in landmarks])
        near, far = np.exp(-distances / 0.7), np.exp(-distances / wide)
        near[np.argsort(distances)[2:]] = 0
        expected = 0.999 * near / near.sum() + 0.001 * far / far.sum()
        np.testing.assert_allclose(row.numpy(), expected, atol=1e-9)


def test_is_the_second_eigenvector_of_the_whole_graph(monkeypatch):
    """Against W, degrees and the normalized Laplacian, all n x n of them."""
    seen = []
    original = landmark_affinity

    def recorded(*args):
        seen.append(original(*args))
        return seen[-1]

    monkeypatch.setattr('mmcoseg.models.ops.landmarks.landmark_affinity', recorded)
    points, _ = two_moons()
    s, eigenvalue = landmark_bipartition(points, num_landmarks=40, num_neighbors=4)
    z = seen[0].numpy()
    w = z @ np.diag(1 / z.sum(axis=0)) @ z.T
    degrees = w.sum(axis=1)
    np.testing.assert_allclose(degrees, 1, atol=1e-9)
    laplacian = np.eye(len(w)) - w / np.sqrt(np.outer(degrees, degrees))
    values, vectors = np.linalg.eigh(laplacian)
    np.testing.assert_allclose(eigenvalue, 1 - values[1], atol=1e-9)
    np.testing.assert_allclose(abs(s.numpy() @ vectors[:, 1]), 1, atol=1e-6)


def test_parts_what_no_plane_can_part():
    points, first = two_moons()
    s, eigenvalue = landmark_bipartition(points, num_landmarks=60, num_neighbors=4)
    side = (s > 0) == (s[0] > 0)
    assert (side == first).double().mean() > 0.97
    assert 0.9 < eigenvalue <= 1 + 1e-9
    assert torch.isclose(s.norm(), torch.ones(()).double())


def test_order_changes_nothing():
    points, _ = two_moons()
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(1))
    s, _ = landmark_bipartition(points, num_landmarks=50, num_neighbors=5)
    shuffled, _ = landmark_bipartition(points[order], num_landmarks=50, num_neighbors=5)
    sign = (shuffled @ s[order]).sign()
    torch.testing.assert_close(sign * shuffled, s[order])


@pytest.mark.parametrize('x', [torch.zeros(5, 3), torch.ones(7, 2).half(), torch.rand(1, 4)])
def test_descriptors_that_do_not_differ(x):
    s, eigenvalue = landmark_bipartition(x)
    torch.testing.assert_close(s, torch.full((len(x),), len(x) ** -0.5))
    assert eigenvalue == 0
