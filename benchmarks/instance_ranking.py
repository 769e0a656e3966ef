"""Time to rank object proposals by heat maps: matrix products against the loop over masks.

Made-up heat maps, and proposals of a made-up image by combinatorial grouping (or with --ellipses
random ellipses, which share no superpixels and so are the worst case).

    python benchmarks/instance_ranking.py [--threads 2] [--peaks 10] [--proposals 500] [--size 448]
"""

import argparse
import sys
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import ratio_table, seconds

from mmcoseg.models.postprocessors import InstanceRanking
from mmcoseg.proposals import combinatorial_grouping
from mmcoseg.structures import Proposals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--peaks', type=int, default=10)
    parser.add_argument('--proposals', type=int, default=500)
    parser.add_argument('--size', type=int, default=448)
    parser.add_argument('--ellipses', action='store_true')
    parser.add_argument('--repeat', type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    proposals = (ellipses if args.ellipses else grouped)(rng, args.size, args.proposals)
    masks = torch.from_numpy(proposals.masks())
    heat = torch.from_numpy(smooth(rng, args.size, args.peaks)) ** 4
    heat /= heat.sum(dim=(1, 2), keepdim=True)
    saliency = torch.from_numpy(smooth(rng, args.size, 1)[0])
    ranking = InstanceRanking()
    # Once is enough for what takes so long.
    start = perf_counter()
    expected = loop(heat, saliency, masks)
    took = perf_counter() - start
    found = ranking(heat, saliency, proposals)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-6)
    baseline = 'loop over masks'
    ways = {'superpixels, matrix products': lambda: ranking(heat, saliency, proposals)}
    print(
        f'{args.peaks} peaks x {len(masks)} proposals of {proposals.membership.shape[1]} '
        f'superpixels at {args.size} x {args.size}, {args.threads} threads\n'
    )
    times = {name: seconds(run, args.repeat) for name, run in ways.items()}
    print(ratio_table({baseline: took, **times}, baseline))


def smooth(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """Blobs in [0, 1], (count, size, size) float32."""
    noise = rng.random((count, size, size), np.float32)
    maps = np.stack([cv2.GaussianBlur(one, (0, 0), size / 25) for one in noise])
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / (high - low)


def grouped(rng: np.random.Generator, size: int, count: int) -> Proposals:
    image = np.stack([smooth(rng, size, 4).argmax(0) * 60 for _ in range(3)], axis=-1)
    return combinatorial_grouping(image.astype(np.uint8))[:count]


def ellipses(rng: np.random.Generator, size: int, count: int) -> Proposals:
    masks = np.zeros((count, size, size), np.uint8)
    for mask in masks:
        center, axes = rng.integers(0, size, 2), rng.integers(size // 40, size // 4, 2)
        angle = float(rng.integers(180))
        cv2.ellipse(mask, center.tolist(), axes.tolist(), angle, 0, 360, 1, -1)
    return Proposals.from_masks(masks)


def loop(
    heat: torch.Tensor, saliency: torch.Tensor, masks: torch.Tensor, beta=0.8, gamma=1e-5
) -> tuple[torch.Tensor, torch.Tensor]:
    """DeepCO3's Eq. 7 as it stands, mask by mask and map by map; contours are made once."""
    kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = [cv2.erode(mask.numpy().astype(np.uint8), kernel) for mask in masks]
    contours = masks & ~torch.from_numpy(np.array(inner, bool))
    scores = torch.zeros(len(heat), len(masks))
    for i, one in enumerate(heat):
        for j, (mask, contour) in enumerate(zip(masks, contours)):
            inside = (one * saliency * mask).sum()
            around = (one * saliency * contour).sum()
            scores[i, j] = beta * inside + around - gamma * ((1 - saliency) * mask).sum()
    best = scores.max(dim=1)
    return best.indices, best.values


if __name__ == '__main__':
    main()
