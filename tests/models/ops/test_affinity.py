import pytest
import torch

from mmcoseg.models.ops import pairwise_affinity


def inputs(images=3, size=(4, 5), channels=6):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(images, channels, *size, generator=rng, dtype=torch.float64)
    s = torch.rand(images, *size, generator=rng, dtype=torch.float64)
    return x, s


def literal(x, s, alpha):
    """The mean over p, q of Eq. 4 with every (h w)^2 matrix built."""
    result = torch.zeros(len(x), len(x), dtype=torch.float64)
    for n in range(len(x)):
        for m in range(len(x)):
            a, b = x[n].flatten(1).t(), x[m].flatten(1).t()
            lengths = torch.outer(a.norm(dim=1), b.norm(dim=1))
            t = torch.where(lengths > 0, a @ b.t() / lengths, 0.0)
            p, q = s[n].flatten()[:, None], s[m].flatten()[None]
            result[n, m] = (p * q * (1 - t) + alpha * (p - q) ** 2 * t).mean()
    return result


@pytest.mark.parametrize('alpha', [0.0, 4.0])
def test_equals_the_form_over_all_pairs_of_locations(alpha):
    x, s = inputs()
    x[1, :, 2, 3] = 0
    result = pairwise_affinity(x, s, alpha)
    torch.testing.assert_close(result, literal(x, s, alpha), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(result, result.t())


def test_gradient():
    x, s = (value.requires_grad_() for value in inputs(size=(2, 3)))
    assert torch.autograd.gradcheck(pairwise_affinity, (x, s))


def test_gradient_equals_that_of_the_literal_form():
    x, s = (value.requires_grad_() for value in inputs())
    ours = torch.autograd.grad(pairwise_affinity(x, s).sum(), (x, s))
    theirs = torch.autograd.grad(literal_sum(x, s), (x, s))
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b)


def literal_sum(x, s):
    a = (x / x.norm(dim=1, keepdim=True)).transpose(0, 1).flatten(1)
    images, size = len(x), s[0].numel()
    t = a.t() @ a
    p, q = s.flatten()[:, None], s.flatten()[None]
    assert t.shape == (images * size, images * size)
    return (p * q * (1 - t) + 4 * (p - q) ** 2 * t).sum() / size**2


def test_a_group_as_one_and_zero_saliency_cost_nothing():
    x, _ = inputs()
    same = x[:1].mean(dim=(2, 3), keepdim=True).expand(3, -1, 4, 5)
    ones = torch.ones(3, 4, 5, dtype=torch.float64)
    for s in (ones, 0 * ones):
        torch.testing.assert_close(pairwise_affinity(same, s), 0 * ones[0, :3, :3])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    x, s = inputs()
    x, s = (1e3 * x).to(dtype), s.to(dtype)
    expected = pairwise_affinity(x.double(), s.double())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        result = pairwise_affinity(x, s)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=1e-5)


def test_errors():
    x, s = inputs()
    with pytest.raises(ValueError, match=r'x must be \(N, d, h, w\) and s \(N, h, w\), got'):
        pairwise_affinity(x, s[:, :3])
