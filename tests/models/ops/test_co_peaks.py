import math
from itertools import combinations, product

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from mmcoseg.models.ops import co_peak_means, co_peaks
from mmcoseg.models.ops.co_peaks import local_maximum_values


def inputs(images=3, size=(4, 5), channels=6, seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(images, channels, *size, generator=rng, dtype=torch.float64)
    s = torch.rand(images, *size, generator=rng, dtype=torch.float64)
    return x, s


def literal_scores(x_n, x_m, s_n, s_m):
    """Eq. 2, one pair of locations after the other."""
    scores = torch.zeros(*s_n.shape, *s_m.shape, dtype=torch.float64)
    for i, j in product(*map(range, s_n.shape)):
        for u, v in product(*map(range, s_m.shape)):
            a, b = x_n[:, i, j], x_m[:, u, v]
            scores[i, j, u, v] = s_n[i, j] * s_m[u, v] * (a @ b) / (a.norm() * b.norm())
    return scores


PAIRS = list(combinations(range(3), 2))
THRESHOLDS = ['positive', 'median']


def literal_peaks(scores, threshold):
    """The set M of Eq. 3, by looking at every neighbor."""
    least = dict(positive=0, median=np.median(scores.numpy()))[threshold]
    peaks = []
    for place in product(*map(range, scores.shape)):
        value = scores[place]
        window = scores[tuple(slice(max(i - 1, 0), i + 2) for i in place)]
        counts = value > least or (threshold == 'median' and value == least)
        if value >= window.max() and counts:
            peaks.append(place)
    return peaks


@pytest.mark.parametrize('threshold', THRESHOLDS)
@pytest.mark.parametrize('size', [(4, 5), (3, 3)])  # an even and an odd number of scores
def test_equals_the_literal_loops(threshold, size):
    x, s = inputs(size=size)
    width = size[1]
    means = co_peak_means(x, s, PAIRS, threshold)
    for found_mean, (n, m) in zip(means, PAIRS, strict=True):
        scores = literal_scores(x[n], x[m], s[n], s[m])
        peaks = literal_peaks(scores, threshold)
        mean = sum(scores[place] for place in peaks) / len(peaks)
        assert found_mean.item() == pytest.approx(mean)

        p, q = co_peaks(scores, threshold)
        found = zip(p // width, p % width, q // width, q % width)
        assert [tuple(map(int, place)) for place in found] == peaks
        # Either order of the two images has the same mean.
        assert co_peak_means(x, s, [(m, n)], threshold).item() == pytest.approx(mean.item())


@pytest.mark.parametrize('shape', [(4, 5, 3, 6), (1, 1, 1, 1), (1, 2, 3, 1), (2, 2, 2, 2), (7,)])
def test_window_maxima_equal_scipy(shape):
    scores = torch.randint(-4, 4, shape, generator=torch.Generator().manual_seed(1)).double()
    expected = maximum_filter(scores.numpy(), size=3, mode='constant', cval=-math.inf)
    assert (local_maximum_values(scores).numpy() == expected).all()


def test_images_of_different_size():
    x, s = inputs(size=(4, 5))
    other, weight = inputs(size=(3, 2), seed=1)
    scores = literal_scores(x[0], other[0], s[0], weight[0])
    assert co_peaks(scores).shape[1] == len(literal_peaks(scores, 'positive'))


def test_every_pair_of_a_plateau_counts():
    scores = torch.full((2, 3, 2, 3), 0.25)
    assert co_peaks(scores).shape == (2, 36)
    assert co_peaks(0 * scores).shape == (2, 0)
    assert co_peaks(0 * scores, 'median').shape == (2, 36)
    assert co_peaks(0 * scores, 'median').shape == (2, 36)


@pytest.mark.parametrize('threshold', THRESHOLDS)
def test_gradient(threshold):
    x, s = (value.requires_grad_() for value in inputs(images=3, size=(3, 3)))
    assert torch.autograd.gradcheck(lambda x, s: co_peak_means(x, s, PAIRS, threshold), (x, s))


def test_features_are_normalized_here():
    x, s = inputs()
    scale = torch.rand(3, 1, 4, 5, dtype=torch.float64) + 0.1
    torch.testing.assert_close(co_peak_means(x * scale, s, PAIRS), co_peak_means(x, s, PAIRS))


def test_without_co_peaks_the_mean_is_one_with_a_graph():
    x, _ = inputs()
    x.requires_grad_()
    s = torch.zeros(3, 4, 5, dtype=torch.float64, requires_grad=True)
    means = co_peak_means(x, s, PAIRS)
    assert means.tolist() == [1, 1, 1]
    means.sum().backward()
    assert (x.grad == 0).all() and (s.grad == 0).all()
    # One image has no other to compare with.
    alone = co_peak_means(x[:1], s[:1], [])
    assert alone.shape == (0,)
    alone.sum().backward()


def test_what_is_not_a_number_does_not_pass_for_a_loss_of_zero():
    x, s = inputs()
    x[0, 0, 1, 1] = math.nan
    means = co_peak_means(x, s, PAIRS)
    assert means[:2].isnan().all() and means[2].isfinite()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    x, s = inputs()
    x, s = (1e3 * x).to(dtype), s.to(dtype)
    expected = co_peak_means(x.double(), s.double(), PAIRS)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        means = co_peak_means(x, s, PAIRS)
    assert means.dtype == torch.float32
    torch.testing.assert_close(means.double(), expected, rtol=1e-5, atol=1e-5)
    x.requires_grad_()
    co_peak_means(x, s, PAIRS).sum().backward()
    assert x.grad.dtype == dtype and x.grad.isfinite().all()


class LiveTensors(TorchDispatchMode):
    """Counts how many tensors of at least a number of bytes are alive, besides those given."""

    def __init__(self, nbytes):
        super().__init__()
        self.nbytes, self.most, self.alive = nbytes, 0, WeakIdKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and not tensor.is_sparse:
                storage = tensor.untyped_storage()
                if storage.nbytes() >= self.nbytes:
                    self.alive[storage] = True
        self.most = max(self.most, len({s.data_ptr() for s in self.alive}))
        return result


@pytest.mark.parametrize('threshold', THRESHOLDS)
def test_at_most_three_tensors_of_the_scores_size_are_alive(threshold):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(4, 8, 12, 12, generator=rng).requires_grad_()
    s = torch.rand(4, 12, 12, generator=rng)
    with LiveTensors(int(0.8 * 4 * 144**2)) as live:
        loss = co_peak_means(x, s, [(0, 1), (2, 3), (0, 3)], threshold).sum()
        in_forward, live.most = live.most, 0
        del loss
    assert 2 <= in_forward <= 3
    with LiveTensors(int(0.8 * 4 * 144**2)) as live:
        loss = co_peak_means(x, s, [(0, 1), (2, 3), (0, 3)], threshold).sum()
        live.most = 0
        loss.backward()
    # None is kept for the derivative, and none is made by it.
    assert live.most == 0


def test_errors():
    x, s = inputs()
    with pytest.raises(ValueError, match=r'x must be \(N, d, h, w\) and s \(N, h, w\), got'):
        co_peak_means(x, s[:2], PAIRS)
