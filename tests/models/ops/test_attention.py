"""Attention in blocks against its literal definition, and what of it is alive at once."""

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from mmcoseg.models.ops import mutual_attention, self_attention


def maps(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def literal_self(q, k, v):
    """Location by location."""
    out = torch.zeros_like(v)
    images, _, height, width = q.shape
    for n in range(images):
        keys, values = k[n].flatten(1), v[n].flatten(1)
        for y in range(height):
            for x in range(width):
                scores = torch.stack([q[n, :, y, x] @ key for key in keys.t()])
                out[n, :, y, x] = values @ (scores.exp() / scores.exp().sum())
    return out


def literal_mutual(q, k, scale):
    """Pair by pair, with the whole matrix, and row by row."""
    images, _, height, width = q.shape
    out = torch.zeros(images, 1, height, width, dtype=q.dtype)
    for i in range(images):
        for j in range(images):
            if i == j:
                continue
            v = 0
            for row in q[j].flatten(1).t():
                scores = row @ k[i].flatten(1)
                v = v + scores.exp() / scores.exp().sum()
            out[i, 0] += torch.sigmoid(scale * v).view(height, width) / (images - 1)
    return out


def test_self_attention_equals_the_definition():
    q, k, v = maps(2, 3, 3, 5), maps(2, 3, 3, 5, seed=1), maps(2, 4, 3, 5, seed=2)
    torch.testing.assert_close(self_attention(q, k, v), literal_self(q, k, v))


@pytest.mark.parametrize('images', [2, 4])
def test_mutual_attention_equals_the_definition(images):
    q, k = maps(images, 4, 3, 5), maps(images, 4, 3, 5, seed=1)
    expected = literal_mutual(q, k, 4**-0.5)
    torch.testing.assert_close(mutual_attention(q, k), expected)
    # Who asks and who answers makes a difference.
    assert not torch.allclose(mutual_attention(k, q), expected, atol=1e-3)


def test_derivatives():
    q, k, v = (maps(3, c, 2, 3, seed=c).requires_grad_() for c in (2, 2, 3))
    q2 = maps(3, 2, 2, 3, seed=5).requires_grad_()
    assert torch.autograd.gradcheck(self_attention, (q, k, v))
    assert torch.autograd.gradcheck(mutual_attention, (q2, k))


@pytest.mark.parametrize('location', [(1, 1), (1, 2)])
def test_few_locations(location):
    q, k = maps(2, 3, *location), maps(2, 3, *location, seed=1)
    torch.testing.assert_close(self_attention(q, k, k), literal_self(q, k, k))
    torch.testing.assert_close(mutual_attention(q, k), literal_mutual(q, k, 3**-0.5))


def test_a_single_image_has_no_reference():
    q = maps(1, 3, 2, 2).requires_grad_()
    found = mutual_attention(q, q)
    assert found.shape == (1, 1, 2, 2) and (found == 0).all()
    found.sum().backward()
    assert (q.grad == 0).all()


def test_the_order_of_images_makes_no_difference():
    q, k = maps(4, 3, 3, 2), maps(4, 3, 3, 2, seed=1)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(mutual_attention(q[order], k[order]), mutual_attention(q, k)[order])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    # Scores beyond what float16 can hold.
    q, k = ((300 * maps(2, 8, 4, 4, seed=s)).to(dtype) for s in range(2))
    v = maps(2, 4, 4, 4, seed=2).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        ours = self_attention(q, k, v)
        found = mutual_attention(q, k)
    assert ours.dtype == dtype and found.dtype == torch.float32
    whole = self_attention(q.double(), k.double(), v.double())
    torch.testing.assert_close(ours, whole.to(dtype), rtol=1e-2, atol=1e-2)
    expected = mutual_attention(q.double(), k.double()).float()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    q.requires_grad_(True)
    (self_attention(q, k, v).float().sum() + mutual_attention(q, k).sum()).backward()
    assert q.grad.dtype == dtype and q.grad.isfinite().all()


class Alive(TorchDispatchMode):
    """Counts the numbers in all storages that operations make, at the most at once."""

    def __init__(self):
        super().__init__()
        self.storages = {}
        self.most = self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            storage = out.untyped_storage()
            self.storages[StorageWeakRef(storage)] = storage.nbytes() // out.element_size()
            self.largest = max(self.largest, out.numel())
        self.storages = {r: n for r, n in self.storages.items() if not r.expired()}
        self.most = max(self.most, sum(self.storages.values()))
        return out


@pytest.mark.parametrize('images', [2, 5])
@pytest.mark.parametrize('which', ['self', 'mutual'])
def test_never_more_than_two_blocks_are_alive(which, images):
    side, locations = 24, 24 * 24
    q, k = (maps(images, 2, side, side, seed=s).requires_grad_() for s in range(2))
    with Alive() as alive:
        out = self_attention(q, k, k) if which == 'self' else mutual_attention(q, k)
        torch.autograd.grad(out.sum(), (q, k))
    # What is of the size of the inputs, and a pair's weights, come on top.
    inputs = 20 * q.numel() + images**2 * locations
    assert alive.most <= locations**2 + inputs < 2 * locations**2
    # It counts at all: blocks were made.
    assert alive.largest >= locations // 2 * locations
