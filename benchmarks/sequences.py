"""J and flicker of drawn sequences: each frame by itself, and frames as a group.

    python benchmarks/sequences.py [--frames 24] [--sequences 6] [--seed 0] [--long 300]

Each sequence shows one moving object, and every second one another that moves, too. It is segmented
in three ways: each frame as a group of its own, all frames as a group, and as a sequence, with the
stage ``SteadyMaps``. Then the time of a long one.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table

from mmcoseg.apis import CoSegInferencer
from mmcoseg.apis.inputs import InputGroup, read_inputs
from mmcoseg.datasets.synthetic import SceneObject, render_sequence
from mmcoseg.evaluation.functional import flicker, image_scores

SIZE = 240, 320
WAYS = 'each by itself', 'group', 'sequence'


def drawn(seed: int, number: int, num_frames: int) -> tuple[list[np.ndarray], np.ndarray]:
    """The frames, and the true masks (N, H, W) of the object."""
    first = 200 + 2 * number
    objects = [SceneObject(first, 0.75)]
    if number % 2:
        objects = [SceneObject(first + 1, 0.4), *objects]
    images, masks = [], []
    for image, visible in render_sequence((seed, number), SIZE, objects, num_frames):
        images.append(image)
        masks.append(visible[-1])
    return images, np.stack(masks)


def predicted(inferencer: CoSegInferencer, groups: Sequence[InputGroup]) -> np.ndarray:
    """Masks (N, H, W) of all images of the groups, in order."""
    masks = []
    for group in groups:
        for part in inferencer.segment_group(group, parts=True):
            masks += [sample.pred_sem_seg.data[0].numpy() > 0 for sample in part]
    return np.stack(masks)


def groups_of(images: Sequence[np.ndarray], way: str) -> list[InputGroup]:
    if way == 'each by itself':
        return read_inputs({str(number): image for number, image in enumerate(images)})
    [group] = read_inputs(list(images))
    return [replace(group, sequence=way == 'sequence')]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--frames', type=int, default=24)
    parser.add_argument('--sequences', type=int, default=6)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--long', type=int, default=300, help='frames of the long one; 0: none')
    args = parser.parse_args()
    inferencer = CoSegInferencer()
    rows = []
    for number in range(args.sequences):
        images, truth = drawn(args.seed, number, args.frames)
        row = []
        for way in WAYS:
            masks = predicted(inferencer, groups_of(images, way))
            score = np.mean([image_scores(*pair)[1] for pair in zip(masks, truth)])
            row += [100 * score, 100 * flicker(masks, truth)]
        rows.append(row)
        print(number, np.round(row, 3), flush=True)
    rows.append(list(np.mean(rows, axis=0)))
    header = ['sequence']
    for way in WAYS:
        header += [f'{way}: J', 'flicker (%)']
    names = [*map(str, range(args.sequences)), 'mean']
    table = []
    for name, row in zip(names, rows):
        cells = [f'{value:.3f}' if index % 2 else f'{value:.1f}' for index, value in enumerate(row)]
        table.append([name, *cells])
    print(markdown_table(header, table))
    if args.long:
        images, _ = drawn(args.seed, 0, args.long)
        load, start = os.getloadavg()[0], time.perf_counter()
        predicted(inferencer, groups_of(images, WAYS[-1]))
        took = (time.perf_counter() - start) / args.long
        print(f'{args.long} frames: {took:.2f} s a frame; load average at the start {load:.1f}')


if __name__ == '__main__':
    main()
