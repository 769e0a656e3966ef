"""Time and memory of the spectral solution against the dense solver and gradient descent.

Random l2-normalized descriptors. Every size runs in a process of its own, so that its peak of
memory is its own (Linux only). CPU time an image is that of one thread; unlike the time on the
clock it hardly depends on what else the machine does.

    python benchmarks/spectral.py [--threads 2] [--sizes 5x14x14 1000x28x28] [--channels 256]
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table

from mmcoseg.models.ops import spectral_bipartition

SIZES = ('5x7x7', '5x14x14', '5x28x28', '100x28x28', '1000x28x28')
#: Dense solving and its n x n matrix stop being possible somewhere.
DENSE_LIMIT = 4000
ADAM_STEPS = 200
ADAM_RATES = (1e-4, 1e-3, 1e-2, 1e-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', nargs='+', default=SIZES, help='N x h x w, such as 5x28x28')
    parser.add_argument('--channels', type=int, default=256)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    context = multiprocessing.get_context('spawn')
    rows, descents = [], []
    for size in args.sizes:
        with context.Pool(1) as pool:
            row, cosines = pool.apply(measure, (size, args.channels, args.threads))
        rows.append(row)
        if cosines:
            descents.append([size, *cosines])
    print(f'd = {args.channels}, {args.threads} threads, float32\n')
    header = (
        'N x h x w',
        'exact (ms)',
        'CPU ms an image',
        'extra memory / features',
        'dense eigh (ms)',
        'faster',
        '|cosine| to dense',
        f'{ADAM_STEPS} Adam steps (ms)',
    )
    print(markdown_table(header, rows))
    print(f'\n|cosine| to the true vector after {ADAM_STEPS} Adam steps, by learning rate\n')
    print(markdown_table(('N x h x w', *(f'{rate:g}' for rate in ADAM_RATES)), descents))


def measure(size: str, channels: int, threads: int) -> tuple[list[str], list[str]]:
    """One row of each table."""
    torch.set_num_threads(threads)
    images, height, width = map(int, size.split('x'))
    n = images * height * width
    spectral_bipartition(random_descriptors(500, channels))  # the libraries load
    x = random_descriptors(n, channels)

    before = memory('VmRSS')
    s, _ = spectral_bipartition(x)
    extra = max(memory('VmHWM') - before, 0) / (x.numel() * x.element_size())
    repeats = 3 if n > 100_000 else 10
    took = best_time(lambda: spectral_bipartition(x), repeats)
    torch.set_num_threads(1)
    spent = best_time(lambda: spectral_bipartition(x), repeats, clock=time.process_time)
    torch.set_num_threads(threads)
    row = [size, f'{took * 1e3:.1f}', f'{spent / images * 1e3:.2f}']
    # Of small inputs, the few megabytes that any allocator keeps say nothing.
    row.append(f'{extra:.2f}' if n > 10_000 else '-')
    if n > DENSE_LIMIT:
        return row + ['-'] * 4, []

    exact: list[Tensor] = []
    dense = best_time(lambda: exact.append(torch.linalg.eigh(x @ x.t() - 1)[1][:, -1]), 2)
    row += [f'{dense * 1e3:.0f}', f'{dense / took:.3g} x', f'{(s @ exact[-1]).abs():.6f}']
    descended: list[Tensor] = []
    adam = [
        best_time(lambda rate=rate: descended.append(descend(x, rate)), 1) for rate in ADAM_RATES
    ]
    return [*row, f'{min(adam) * 1e3:.0f}'], [f'{(v @ exact[-1]).abs():.2f}' for v in descended]


def random_descriptors(n: int, channels: int) -> Tensor:
    """Rows of length 1, made without a copy that would raise the peak of memory."""
    torch.manual_seed(0)
    x = torch.empty(n, channels).normal_()
    return x.div_(torch.linalg.vector_norm(x, dim=1, keepdim=True))


def descend(x: Tensor, rate: float) -> Tensor:
    """s by Adam on the loss ``-s^T G s / |s|^2`` with G built, from a random start."""
    gram = x @ x.t() - 1
    s = torch.nn.functional.normalize(torch.randn(len(x)), dim=0).requires_grad_()
    optimizer = torch.optim.Adam([s], lr=rate)
    for _ in range(ADAM_STEPS):
        loss = -(s @ (gram @ s)) / s.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.nn.functional.normalize(s.detach(), dim=0)


def best_time(
    function: Callable[[], object],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of the fastest of several runs: what other processes cost is left out."""
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times)


def memory(field: str) -> int:
    """Resident memory of this process now (``VmRSS``) or at its peak (``VmHWM``), in bytes."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f'/proc/self/status has no {field}')


if __name__ == '__main__':
    main()
