"""Multi-class co-segmentation's mathematics against its literal forms: time and memory.

Random images, features and weights, on which times do not depend.

    python benchmarks/attention.py [--threads 2] [--clock cpu] [--parts memory time step loss]

- memory: mutual attention's, forward and backward, by the images of a mini-batch, in blocks against
  the matrices of all pairs. What a process of its own holds at its peak above what it held before
  (Linux only);
- time: the generator's prediction of a mini-batch with neither attention, each and both;
- step: a step of the optimization, without the optimizer's, through the published network;
- loss: the co-attention loss, forward and backward, against the double loop over pairs.

The settings of ``time`` and ``step`` take turns, and the fastest of their runs counts.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks'), str(ROOT / 'tests')]

from _table import markdown_table
from deepco3 import CLOCKS, memory
from demo_inputs import make_group_batch

from mmcoseg.models import CoAttentionLoss, MultiClassCoSeg, MutualAttention

PARTS = ('memory', 'time', 'step', 'loss')
SETTINGS = {
    'none': None,
    'self': dict(mutual_attention=None),
    'mutual': dict(self_attention=None),
    'both': {},
}
VGG16 = dict(
    type='VGG16',
    batch_norm=False,
    out_stages=['pool3', 'pool5'],
    last_pool=False,
    weights=None,
)
LITE2 = dict(
    type='EfficientNetLite', out_stages=['stage3', 'stage5'], output_stride=16, weights=None
)
RESNET50 = dict(
    type='TimmModel', model_name='resnet50', out_indices=[-1], weights=None, frozen=True
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--batches', type=int, nargs='+', default=[3, 6, 12], help='for memory')
    parser.add_argument('--channels', type=int, default=512)
    parser.add_argument('--side', type=int, default=48, help='of the features, in locations')
    parser.add_argument('--size', type=int, default=384, help='of images, in pixels')
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--clock', choices=CLOCKS, default='wall')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f'{args.threads} threads, {args.clock} time, float32\n')
    if 'memory' in args.parts:
        shape = f'{args.channels} x {args.side} x {args.side} features'
        print(f'Mutual attention, {shape}, forward and backward: memory beyond the inputs\n')
        print(memory_table(args), end='\n\n')
    if 'time' in args.parts:
        print(f'Prediction of a mini-batch of 3, {args.size} x {args.size}\n')
        print(time_table(args, step=False), end='\n\n')
    if 'step' in args.parts:
        print(f'Forward and backward of a mini-batch of 3, {args.size} x {args.size}, extractor\n')
        print(time_table(args, step=True), end='\n\n')
    if 'loss' in args.parts:
        print('Co-attention loss, N = 12, K = 3, c = 2048, forward and backward\n')
        print(loss_table(args))


def memory_table(args: argparse.Namespace) -> str:
    context = multiprocessing.get_context('spawn')
    rows = []
    for name in ('all pairs', 'blocks'):
        first = None
        for images in args.batches:
            # One process a case, so that its peak of memory is its own.
            with context.Pool(1) as pool:
                extra, took = pool.apply(measure_memory, (args, name, images))
            first = first or extra
            rows.append((name, images, f'{extra / 1e6:.0f}', f'{extra / first:.2f}', f'{took:.2f}'))
    header = ('mutual attention', 'images', 'memory (MB)', 'of the first', 'time (s)')
    return markdown_table(header, rows)


def measure_memory(args: argparse.Namespace, name: str, images: int) -> tuple[int, float]:
    """Bytes beyond the inputs at the peak, and seconds."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    module = MutualAttention(args.channels)
    run = all_pairs if name == 'all pairs' else MutualAttention.forward
    # The libraries load.
    run(module, torch.randn(2, args.channels, 4, 4, requires_grad=True), [2]).sum().backward()
    x = torch.randn(images, args.channels, args.side, args.side, requires_grad=True)
    before, start = memory('VmRSS'), CLOCKS[args.clock]()
    run(module, x, [images]).sum().backward()
    return max(memory('VmHWM') - before, 0), CLOCKS[args.clock]() - start


def all_pairs(module: MutualAttention, x: Tensor, group_sizes: list[int]) -> Tensor:
    """The text taken at its word: every pair's matrix, maps and convolution at once."""
    i, j = zip(*permutations(range(len(x)), 2))
    query, key, value = (c(x).flatten(2) for c in (module.query, module.key, module.value))
    scores = query[list(j)].transpose(1, 2) @ key[list(i)]
    v = torch.softmax(scores, dim=2).sum(dim=1)
    del scores
    a = torch.sigmoid(v * key.shape[1] ** -0.5)[:, None]
    value = value[list(i)]
    both = torch.cat([a * value, (1 - a) * value], dim=1).unflatten(2, x.shape[2:])
    return module.out(both).unflatten(0, (len(x), len(x) - 1)).mean(dim=1)


def network(setting: str, num_classes: int, backbone: dict, extractor: dict) -> MultiClassCoSeg:
    torch.manual_seed(0)
    fine, coarse = (256, 512) if backbone is VGG16 else (48, 120)
    neck = None
    if SETTINGS[setting] is not None:
        attention = dict(type='GatedAttention', in_channels=coarse, **SETTINGS[setting])
        neck = dict(type='AttentionNeck', attention=attention)
    return MultiClassCoSeg(
        num_classes=num_classes,
        backbone=backbone,
        neck=neck,
        decode_head=dict(
            type='MultiClassHead', in_channels=[fine, coarse], strides=[8, 16], lateral=True
        ),
        extractor=extractor,
        losses=dict(co_attention=dict(type='CoAttentionLoss')),
    )


def time_table(args: argparse.Namespace, step: bool) -> str:
    rows = []
    backbones = {'VGG16': VGG16} if step else {'VGG16': VGG16, 'EfficientNet-Lite2': LITE2}
    for name, backbone in backbones.items():
        for num_classes in (2, 3):
            cases = {
                setting: network_case(args, setting, num_classes, backbone, step)
                for setting in SETTINGS
            }
            times = in_turns(cases, args.repeat, CLOCKS[args.clock])
            for setting, took in times.items():
                more = f'{100 * (took / times["none"] - 1):+.1f} %'
                rows.append((name, num_classes, setting, f'{1e3 * took:.0f}', more))
    header = ('network', 'K', 'attention', 'time (ms)', 'more than none')
    return markdown_table(header, rows)


def network_case(
    args: argparse.Namespace, setting: str, num_classes: int, backbone: dict, step: bool
) -> Callable[[], object]:
    # Predictions do not look at the extractor.
    model = network(setting, num_classes, backbone, RESNET50 if step else backbone).train(step)
    batch = make_group_batch((3,), (args.size, args.size))
    data = model.data_preprocessor(batch)
    if step:
        return lambda: model.parse_losses(model(**data, mode='loss'))[0].backward()

    def predict() -> None:
        with torch.no_grad():
            size = (args.size, args.size)
            model.decode_head.predict_by_feat(model(data['inputs']), size)

    return predict


def in_turns(
    cases: dict[str, Callable[[], object]], repeat: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Seconds of the fastest run of each; whatever slows the machine down slows down all."""
    times = {name: [] for name in cases}
    for turn in range(repeat + 1):
        for name, run in cases.items():
            start = clock()
            run()
            if turn:  # the first one warms up
                times[name].append(clock() - start)
    return {name: min(some) for name, some in times.items()}


def loss_table(args: argparse.Namespace) -> str:
    torch.manual_seed(0)
    x = torch.randn(12, 4, 2048).relu().requires_grad_()
    loss = CoAttentionLoss()
    literal, ours = double_loop(x), loss(x, [12])
    torch.testing.assert_close(ours, literal, rtol=1e-4, atol=1e-3)
    cases = {
        'double loop': lambda: torch.autograd.grad(double_loop(x), x),
        'Gram matrices': lambda: torch.autograd.grad(loss(x, [12]), x),
    }
    times = in_turns(cases, args.repeat, CLOCKS[args.clock])
    rows = [
        (name, f'{1e3 * took:.2f}', f'{times["double loop"] / took:.3g} x')
        for name, took in times.items()
    ]
    return markdown_table(('', 'time (ms)', 'faster'), rows)


def double_loop(x: Tensor) -> Tensor:
    """Eqs. 4 to 7 pair by pair and class by class, in float32; the vectors' axes at once."""
    images, maps, c = x.shape
    total = 0
    for i, j in permutations(range(images), 2):
        for k in range(1, maps):
            positive = (x[i, k] - x[j, k]).square().sum() / c
            negative = 0
            for other in range(maps):
                if other != k:
                    negative = negative + (x[i, k] - x[i, other]).square().sum()
                    negative = negative + (x[j, k] - x[j, other]).square().sum()
            negative = negative / (2 * (maps - 1) * c)
            total = total + F.softplus(positive - negative)
    return total


if __name__ == '__main__':
    main()
