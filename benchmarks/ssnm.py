"""Where the time of SSNM goes: forward pass, inference and train step by part.

HRNet-W18 with random weights on one group of five images of 224 x 224; times do not depend on
the values of the weights.

    python benchmarks/ssnm.py [--threads 2] [--channels 512] [--repeat 5] [--clock wall]

On a machine that others use too, ``--threads 1 --clock cpu`` gives the time spent, without the
time spent waiting.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks'), str(ROOT / 'tests')]

from _table import markdown_table, ratio_table
from demo_inputs import make_group_batch

from mmcoseg.models import SSNM
from mmcoseg.models.necks.modulator import Modulation
from mmcoseg.models.segmentors.base import ground_truth_of
from mmcoseg.models.segmentors.ssnm import multi_hot_labels
from mmcoseg.registry import MODELS
from mmcoseg.structures import group_sizes_of

IMAGES, SIDE, CLASSES = 5, 224, 78
CLOCKS = {'wall': time.perf_counter, 'cpu': time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--channels', type=int, default=512, help='of the projected levels')
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--clock', choices=CLOCKS, default='wall')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, clock = build(args.channels), CLOCKS[args.clock]
    batch = make_group_batch((IMAGES,), (SIDE, SIDE), num_classes=CLASSES)
    print(
        f'{IMAGES} x {SIDE} x {SIDE}, {args.channels} channels, {args.threads} threads, '
        f'{args.clock} time\n'
    )

    rounds: list[dict[str, float]] = []
    for _ in range(args.repeat + 1):
        rounds.append({**inference(model, batch, clock), **train_step(model, batch, clock)})
    # The first round is for warming up; the fastest of the others leaves out other processes.
    best = {part: min(times[part] for times in rounds[1:]) for part in rounds[0]}

    backbone = {
        layout: best[f'forward, {layout}: backbone'] for layout in ('contiguous', 'channels_last')
    }
    print(ratio_table(backbone, 'contiguous'), end='\n\n')
    for stage in ('forward, contiguous', 'forward, channels_last', 'train step, channels_last'):
        parts = {p: best[p] for p in best if p.startswith(stage)}
        total = sum(parts.values())
        rows = [
            (part.removeprefix(f'{stage}: '), f'{1e3 * took:.1f}', f'{took / total:.1%}')
            for part, took in parts.items()
        ]
        rows.append((f'whole, {IMAGES / total:.2f} images/s', f'{1e3 * total:.1f}', '100%'))
        print(markdown_table((stage, 'time (ms)', 'share'), rows), end='\n\n')
    for layout, took in backbone.items():
        modulators = sum(best[f'forward, {layout}: {m} modulator'] for m in model.modulators)
        print(f'modulators / backbone forward, {layout}: {modulators / took:.1%}')


def build(channels: int) -> SSNM:
    """SSNM with both modulators in the published sizes."""
    widths = [18, 36, 72, 144]
    return MODELS.build(
        dict(
            type='SSNM',
            backbone=dict(
                type='TimmModel',
                model_name='hrnet_w18',
                weights=None,
                model_kwargs=dict(feature_location=''),
            ),
            neck=dict(type='LevelProjection', in_channels=widths, channels=channels),
            modulators=dict(
                spatial=dict(type='SpatialModulator', in_channels=widths),
                semantic=dict(
                    type='SemanticModulator',
                    in_channels=widths[-1],
                    channels=channels,
                    num_classes=CLASSES,
                ),
            ),
            decode_head=dict(type='CoarseToFineHead', in_channels=[channels] * 4),
        )
    )


class Watch:
    """Seconds between its calls, by name of the part that ended."""

    def __init__(self, prefix: str, clock: Callable[[], float]) -> None:
        self.prefix, self.clock = prefix, clock
        self.times: dict[str, float] = {}
        self.last = clock()

    def __call__(self, part: str) -> None:
        now = self.clock()
        self.times[f'{self.prefix}: {part}'] = now - self.last
        self.last = now


def run_forward(
    model: SSNM, inputs: Tensor, group_sizes: list[int], watch: Watch
) -> tuple[Tensor, dict[str, Modulation]]:
    """``SSNM.forward`` in its parts: logits, and what each modulator decided."""
    feats = model.extract_feat(inputs)
    watch('backbone')
    total, parts = None, {}
    for name, modulator in model.modulators.items():
        parts[name] = modulator(feats, group_sizes, total)
        total = parts[name] if total is None else total.followed_by(parts[name])
        watch(f'{name} modulator')
    logits = model._decode(feats, total, group_sizes)
    watch('projection, modulation, head')
    return logits, parts


@torch.no_grad()
def inference(model: SSNM, batch: dict, clock: Callable[[], float]) -> dict[str, float]:
    """Times of the parts of a prediction at the network's resolution, for both layouts."""
    model.eval()
    times = {}
    data = model.data_preprocessor(batch)
    for layout in ('contiguous', 'channels_last'):
        inputs = data['inputs'].batch()
        if layout == 'channels_last':
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        watch = Watch(f'forward, {layout}', clock)
        logits, _ = run_forward(model, inputs, [IMAGES], watch)
        model.decode_head.predict_by_feat(logits, inputs.shape[-2:])
        watch('soft maps')
        times.update(watch.times)
    return times


def train_step(model: SSNM, batch: dict, clock: Callable[[], float]) -> dict[str, float]:
    """Times of the parts of one step of Adam."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    data = model.data_preprocessor(batch, training=True)
    inputs = data['inputs'].batch().contiguous(memory_format=torch.channels_last)
    samples = data['data_samples']
    group_sizes = group_sizes_of(samples)
    watch = Watch('train step, channels_last', clock)
    logits, parts = run_forward(model, inputs, group_sizes, watch)
    losses = model.decode_head.loss_by_feat(logits, ground_truth_of(samples))
    labels = multi_hot_labels(samples, CLASSES, inputs.device)
    for name, modulator in model.modulators.items():
        losses.update(modulator.loss(parts[name], group_sizes, labels))
    total, _ = model.parse_losses(losses)
    watch('losses')
    optimizer.zero_grad()
    total.backward()
    watch('backward')
    optimizer.step()
    watch('optimizer')
    return watch.times


if __name__ == '__main__':
    main()
