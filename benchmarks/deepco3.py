"""DeepCO3's mathematics against its literal forms: time and memory.

Random features and weights, on which times do not depend, but for the number of co-peaks.

    python benchmarks/deepco3.py [--threads 2] [--images 6] [--side 28] [--peaks 10] [--size 448]

On a machine that others use too, ``--threads 1 --clock cpu`` gives the time spent, without the time
spent waiting.

- affinity loss of a mini-batch, forward and backward: sums over locations against (h w)^2 matrices;
- co-peak loss: separable window maxima, each pair once, sparse derivative, against scipy's
  ``maximum_filter`` on every ordered pair;
- peak back-propagation through VGG16 (features before the last pooling) and EfficientNet-Lite2
  (at stride 16): all peaks at once against one backward pass a peak through the literal layers.

Memory is what a process of its own holds at its peak above what it held before (Linux only).
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import maximum_filter
from torch import Tensor, nn
from torch.nn import functional as F

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table

from mmcoseg.models import VGG16, AffinityLoss, CoPeakLoss, EfficientNetLite
from mmcoseg.models.ops import co_peaks, peak_response_maps
from mmcoseg.models.ops.co_peaks import local_maximum_values

CLOCKS = {'wall': time.perf_counter, 'cpu': time.process_time}
PARTS = ('affinity', 'co-peak', 'peaks')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--images', type=int, default=6)
    parser.add_argument('--channels', type=int, default=512)
    parser.add_argument('--side', type=int, default=28, help='of the features, in locations')
    parser.add_argument('--peaks', type=int, default=10)
    parser.add_argument('--size', type=int, default=448, help='of images, in pixels')
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--clock', choices=CLOCKS, default='wall')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    args = parser.parse_args()
    print(f'{args.threads} threads, {args.clock} time, float32\n')
    if 'affinity' in args.parts:
        print(f'Affinity loss, {describe(args)}, forward and backward\n')
        print(table(affinity_cases, args), end='\n\n')
    if 'co-peak' in args.parts:
        print(f'Co-peaks, {describe(args)}\n')
        print(table(co_peak_cases, args), end='\n\n')
    if 'peaks' in args.parts:
        print(f'{args.peaks} peaks back to {args.size} x {args.size} pixels\n')
        print(table(peak_cases, args))


def describe(args: argparse.Namespace) -> str:
    return f'{args.images} images, {args.channels} x {args.side} x {args.side} features'


#: Names of cases, the literal one first; a case gives the function to be timed.
Cases = dict[str, dict[str, Callable[[], object]]]


def table(cases: Callable[[argparse.Namespace], Cases], args: argparse.Namespace) -> str:
    """One row a case; the first of each set is what the others are compared with."""
    context = multiprocessing.get_context('spawn')
    names = {group: list(members) for group, members in cases(args).items()}
    rows = []
    for group, members in names.items():
        baseline = None
        for name in members:
            # One process a case, so that its peak of memory is its own.
            with context.Pool(1) as pool:
                took, extra = pool.apply(measure, (cases, args, group, name))
            baseline = baseline or took
            ratio = 'baseline' if name == members[0] else f'{baseline / took:.3g} x'
            rows.append((group, name, f'{1e3 * took:.4g}', ratio, f'{extra / 1e6:.1f}'))
    return markdown_table(('', 'way', 'time (ms)', 'faster', 'memory (MB)'), rows)


def measure(
    cases: Callable[[argparse.Namespace], Cases], args: argparse.Namespace, group: str, name: str
) -> tuple[float, int]:
    """Seconds of the fastest run, and memory beyond the inputs in bytes."""
    torch.set_num_threads(args.threads)
    tiny = argparse.Namespace(**{**vars(args), 'side': 4, 'size': 64, 'peaks': 2})
    cases(tiny)[group][name]()  # the libraries load
    function = cases(args)[group][name]
    before = memory('VmRSS')
    function()
    extra = max(memory('VmHWM') - before, 0)
    times, clock = [], CLOCKS[args.clock]
    for _ in range(args.repeat):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times), extra


def memory(field: str) -> int:
    """Resident memory of this process now (``VmRSS``) or at its peak (``VmHWM``), in bytes."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f'/proc/self/status has no {field}')


def features(args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Rectified features and coarse maps that want derivatives."""
    torch.manual_seed(0)
    x = torch.randn(args.images, args.channels, args.side, args.side).relu_().requires_grad_()
    return x, torch.rand(args.images, 1, args.side, args.side).requires_grad_()


def affinity_cases(args: argparse.Namespace) -> Cases:
    x, s = features(args)
    loss = AffinityLoss(form='paper')

    def run(value: Tensor) -> None:
        torch.autograd.grad(value, (x, s))

    return {
        'loss': {
            '(h w)^2 matrices': lambda: run(literal_affinity(x, s)),
            'sums over locations': lambda: run(loss(x, s, [args.images])),
        }
    }


def literal_affinity(x: Tensor, s: Tensor, alpha: float = 4.0) -> Tensor:
    """Eq. 5 with the matrix of every pair of images; those of one with itself only once."""
    x = F.normalize(x, dim=1).flatten(2)
    s = s.flatten(1)

    def between(n: int, m: int) -> Tensor:
        t = x[n].t() @ x[m]
        p, q = s[n][:, None], s[m][None]
        return (p * q * (1 - t) + alpha * (p - q) ** 2 * t).sum()

    own = [between(n, n) for n in range(len(x))]
    pairs = permutations(range(len(x)), 2)
    return 0.1 * sum(between(n, m) + own[n] + own[m] for n, m in pairs)


def co_peak_cases(args: argparse.Namespace) -> Cases:
    x, s = features(args)
    loss = CoPeakLoss('paper')
    with torch.no_grad():
        y = s[:2] * F.normalize(x[:2], dim=1)
        scores = torch.einsum('dhw,dij->hwij', *y)
    array = scores.numpy()

    def run(value: Tensor) -> None:
        torch.autograd.grad(value, (x, s))

    return {
        'window maxima of a pair': {
            'scipy maximum_filter': lambda: maximum_filter(array, 3),
            'max_pool2d twice': lambda: pooled_twice(scores),
            'separable, in place': lambda: local_maximum_values(scores),
        },
        'co-peaks of a pair': {
            'scipy maximum_filter': lambda: np.nonzero(maximum_filter(array, 3) == array),
            'ours': lambda: co_peaks(scores),
        },
        'loss, forward': {
            'scipy maximum_filter': lambda: scipy_co_peak(x.detach(), s.detach()),
            'ours': lambda: loss(x.detach(), s.detach(), [args.images]),
        },
        'loss, forward and backward': {
            'scipy maximum_filter': lambda: run(scipy_co_peak(x, s)),
            'ours': lambda: run(loss(x, s, [args.images])),
        },
    }


def pooled_twice(scores: Tensor) -> Tensor:
    h, w, *other = scores.shape
    pooled = F.max_pool2d(scores.view(1, h * w, *other), 3, 1, 1)
    pooled = F.max_pool2d(pooled.view(h, w, -1).permute(2, 0, 1), 3, 1, 1)
    return pooled.permute(1, 2, 0).view(scores.shape)


def scipy_co_peak(x: Tensor, s: Tensor) -> Tensor:
    """Eq. 3 over all ordered pairs, the 4-D tensor of each with scipy's filter on it."""
    x = F.normalize(x, dim=1).flatten(2)
    shape, s = (*s.shape[-2:], *s.shape[-2:]), s.flatten(1)
    total = 0
    for n, m in permutations(range(len(x)), 2):
        scores = (s[n][:, None] * s[m][None] * (x[n].t() @ x[m])).view(shape)
        array = scores.detach().numpy()
        peaks = (maximum_filter(array, 3) == array) & (array > 0)
        total = total - scores[torch.from_numpy(peaks)].mean().log()
    return 0.5 * total


def peak_cases(args: argparse.Namespace) -> Cases:
    torch.manual_seed(0)
    backbones = {
        'VGG16': VGG16(
            batch_norm=False, out_stages=('pool5',), weights=None, last_pool=False, frozen_stages=5
        ),
        'EfficientNet-Lite2': EfficientNetLite(out_stages=('stage5',), weights=None),
    }
    image = torch.randn(3, args.size, args.size)
    cases: Cases = {}
    for name, backbone in backbones.items():
        model = nn.Sequential(backbone, Last(), nn.Conv2d(backbone.out_channels[0], 1, 1)).eval()
        model.requires_grad_(False)
        side = args.size // 16
        places = torch.randperm(side * side)[: args.peaks]
        peaks = torch.stack([places // side, places % side], dim=1)
        cases[name] = {
            'literal layers, one by one': lambda m=model, p=peaks: literal_maps(m, image, p),
            'ours, one by one': lambda m=model, p=peaks: peak_response_maps(m, image, p, 1),
            'ours, all at once': lambda m=model, p=peaks: peak_response_maps(m, image, p),
        }
    return cases


class Last(nn.Module):
    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        return levels[-1]


class Scale(torch.autograd.Function):
    """Gives ``value``, and multiplies the gradient that goes to ``x`` with ``factor``."""

    @staticmethod
    def forward(ctx, x: Tensor, value: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return value.clone()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad * ctx.saved_tensors[0], None, None


def literal_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *geometry) -> Tensor:
    """A convolution with Zhou et al.'s derivative, as two scalings and a second convolution."""
    shifted = (x - x.amin(dim=(1, 2, 3), keepdim=True)).detach()
    positive = weight.clamp(min=0)
    inside = F.conv2d(Scale.apply(x, x.detach(), shifted), positive, None, *geometry)
    response = inside.detach()
    factor = torch.where(response > 1e-10, response.reciprocal(), 0.0)
    return Scale.apply(inside, F.conv2d(x.detach(), weight, bias, *geometry), factor)


class LiteralLayers(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return (literal_conv2d if func is F.conv2d else func)(*args, **(kwargs or {}))


def literal_maps(model: nn.Module, image: Tensor, peaks: Tensor) -> Tensor:
    """One forward pass, and one whole backward pass a peak."""
    x = image[None].clone().requires_grad_()
    with LiteralLayers():
        response = model(x)
    maps = []
    for i, j in peaks.tolist():
        (grad,) = torch.autograd.grad(response[0, 0, i, j], x, retain_graph=True)
        maps.append(grad[0].sum(dim=0).clamp(min=0))
    return torch.stack(maps)


if __name__ == '__main__':
    main()
