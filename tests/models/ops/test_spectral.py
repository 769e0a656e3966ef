import pytest
import torch
from torch.nn import functional as F

from mmcoseg.models.ops import orient_by_border, spatial_clustering_loss, spectral_bipartition


def descriptors(n, d, dtype=torch.float64, seed=0):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return F.normalize(x.abs(), dim=1)


def dense(x, center):
    """G built, and its top eigenpair by the dense solver, in float64."""
    x = x.double()
    gram = (x - x.mean(dim=0)) @ (x - x.mean(dim=0)).t() if center else x @ x.t() - 1
    values, vectors = torch.linalg.eigh(gram)
    return gram, values[-1], vectors[:, -1]


@pytest.mark.parametrize('center', [False, True])
@pytest.mark.parametrize(('n', 'd'), [(40, 7), (6, 20), (2, 3), (300, 16)])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_equals_the_dense_eigenvector(n, d, dtype, center):
    x = descriptors(n, d, dtype)
    s, eigenvalue = spectral_bipartition(x, center)
    gram, expected_value, expected = dense(x, center)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    assert s.dtype == dtype
    assert s.norm().item() == pytest.approx(1, abs=1e-6)
    assert eigenvalue.item() == pytest.approx(expected_value.item(), abs=tolerance * n)
    assert (s.double() @ expected).abs().item() == pytest.approx(1, abs=tolerance)
    torch.testing.assert_close(
        gram @ s.double(), eigenvalue.double() * s.double(), atol=tolerance * n, rtol=0
    )


def test_chunks_change_nothing(monkeypatch):
    x = descriptors(100, 6)
    whole, _ = spectral_bipartition(x)
    monkeypatch.setattr('mmcoseg.models.ops.spectral.CHUNK', 7)
    chunked, _ = spectral_bipartition(x)
    assert (whole @ chunked).abs().item() == pytest.approx(1, abs=1e-12)


def test_objective_is_equation_6_up_to_a_constant_factor():
    """The literal clustering objective of a partition, by double loop, is n s^T D s."""
    x, n = descriptors(12, 4), 12
    front = torch.rand(n, generator=torch.Generator().manual_seed(1)) < 0.5
    objective = 0.0
    for i in range(n):
        for j in range(n):
            distance = (x[i] - x[j]).square().sum().item()
            # Both orders of a pair stand in the double sum, hence the factor 2 of Eq. 6.
            objective += distance if front[i] == front[j] else -distance
    s = (2 * front.double() - 1) / n**0.5
    loss = spatial_clustering_loss(x, s).item()
    assert objective == pytest.approx(2 * n * n * loss)


def test_the_solution_is_the_minimum():
    x = descriptors(50, 5)
    s, _ = spectral_bipartition(x)
    best = spatial_clustering_loss(x, s)
    others = F.normalize(torch.randn(200, 50, dtype=torch.float64), dim=1)
    assert all(spatial_clustering_loss(x, other) >= best for other in others)


def test_loss_is_the_dense_quadratic_form():
    x, s = descriptors(20, 6), F.normalize(torch.randn(20, dtype=torch.float64), dim=0)
    gram, _, _ = dense(x, False)
    expected = -(s @ gram @ s) / 20
    torch.testing.assert_close(spatial_clustering_loss(x, s), expected)


def test_gradient_of_the_loss():
    x = descriptors(8, 3).requires_grad_()
    s = F.normalize(torch.randn(8, dtype=torch.float64), dim=0)
    assert torch.autograd.gradcheck(lambda x: spatial_clustering_loss(x, s), x)


def test_envelope_theorem():
    """With the optimal s held fixed the gradient is that of the optimal value itself."""
    x = descriptors(10, 4).requires_grad_()
    s, _ = spectral_bipartition(x)
    (partial,) = torch.autograd.grad(spatial_clustering_loss(x, s), x)
    top = torch.linalg.eigvalsh(x @ x.t() - 1)[-1]
    (total,) = torch.autograd.grad(-top / 10, x)
    torch.testing.assert_close(partial, total)


def test_order_of_rows_and_duplicates():
    x = descriptors(30, 5)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    s, value = spectral_bipartition(x)
    shuffled, shuffled_value = spectral_bipartition(x[order])
    assert (s[order] @ shuffled).abs().item() == pytest.approx(1, abs=1e-9)
    twice, twice_value = spectral_bipartition(x.repeat(2, 1))
    assert twice_value.item() == pytest.approx(2 * value.item())
    torch.testing.assert_close(twice[:30], twice[30:])
    assert (twice[:30] @ s).abs().item() == pytest.approx(0.5**0.5)


@pytest.mark.parametrize('x', [torch.ones(5, 3) / 3**0.5, torch.zeros(4, 3), torch.ones(1, 3)])
@pytest.mark.parametrize('center', [False, True])
def test_descriptors_that_do_not_differ(x, center):
    s, value = spectral_bipartition(x, center)
    assert s.isfinite().all() and s.norm().item() == pytest.approx(1)
    assert value >= 0


@pytest.mark.parametrize('size', [1e-4, 1e4])
@pytest.mark.parametrize('center', [False, True])
def test_descriptors_of_any_size(size, center):
    x = size * torch.rand(200, 6, generator=torch.Generator().manual_seed(0))
    if not center and size < 1:
        x = x.double()  # G is then -1 1^T up to 1e-8
    s, value = spectral_bipartition(x, center)
    _, expected_value, expected = dense(x, center)
    assert value.item() == pytest.approx(expected_value.item(), rel=1e-3)
    assert (s.double() @ expected).abs().item() == pytest.approx(1, abs=1e-3)


def test_half_precision_input():
    x = descriptors(60, 5, torch.float32)
    s, _ = spectral_bipartition(x.half())
    exact, _ = spectral_bipartition(x)
    assert s.dtype == torch.float32
    assert (s @ exact).abs() > 0.999


def blob(h=8, w=8):
    maps = -torch.ones(2, h, w)
    maps[0, 2:5, 2:6] = 1
    maps[1, 3:6, 1:3] = 1
    return maps


def test_the_border_becomes_negative():
    torch.testing.assert_close(orient_by_border(blob()), blob())
    torch.testing.assert_close(orient_by_border(-blob()), blob())


def test_orientation_is_one_for_the_group_and_free_of_order():
    maps = torch.randn(7, 6, 5, generator=torch.Generator().manual_seed(3))
    oriented = orient_by_border(maps)
    for seed in range(5):
        order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(orient_by_border(maps[order]), oriented[order])
        torch.testing.assert_close(orient_by_border(-maps[order]), oriented[order])


def test_maps_without_an_inside_and_ties():
    small = torch.tensor([[[3.0, -1.0], [-1.0, -1.0]]])
    torch.testing.assert_close(orient_by_border(-small), small)
    flat = torch.ones(2, 5, 5)
    torch.testing.assert_close(orient_by_border(flat), orient_by_border(-flat))


def test_complete_ties_are_decided_by_place():
    maps = torch.tensor([[[1.0, -1.0]], [[1.0, -1.0]]])
    torch.testing.assert_close(orient_by_border(maps), orient_by_border(-maps))
    torch.testing.assert_close(orient_by_border(maps), -maps)
