"""Accuracy and time of saliency without labels, on photographs with masks.

DATA holds ``images/<group>/*.jpg`` and ``masks/<group>/*.png`` (above 127: object). For each
method: the mean absolute error (MAE), the largest F-measure (beta^2 = 0.3) of the precision and
recall averaged over the images at each of 256 thresholds, the mean Jaccard index at Otsu's
threshold, and the processor's time an image on one thread. Then the time of the distance transform
against that of its scan by pixels.

    python benchmarks/saliency.py DATA [--stride 10]
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

import cv2
import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table, ratio_table, seconds

from mmcoseg.datasets.image_io import read_image
from mmcoseg.evaluation.functional import image_scores
from mmcoseg.saliency import fused_saliency, minimum_barrier, robust_background_detection
from mmcoseg.saliency.minimum_barrier import minimum_barrier_distance

BETA_SQUARED = 0.3


def centered_gaussian(image: np.ndarray) -> np.ndarray:
    """What needs no image: the least that a method has to beat."""
    height, width = image.shape[:2]
    y = (np.arange(height) - (height - 1) / 2) / height
    x = (np.arange(width) - (width - 1) / 2) / width
    return np.exp(-(y[:, None] ** 2 + x**2) / (2 * 0.3**2)).astype(np.float32)


def published_rbd(image: np.ndarray, **changes) -> np.ndarray:
    """RBD with the paper's settings, but for those given."""
    settings = dict(superpixels=300, texture=0, compactness=10, sigma_geodesic=10, sigma_boundary=1)
    return robust_background_detection(image, **{**settings, **changes})


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'centered Gaussian': centered_gaussian,
    'RBD as published': published_rbd,
    'RBD, compactness 20': lambda image: published_rbd(image, compactness=20),
    'RBD, and texture': lambda image: published_rbd(image, compactness=20, texture=5),
    'RBD, and wider sigmas': lambda image: robust_background_detection(image, superpixels=300),
    'RBD, and two sizes (default)': robust_background_detection,
    'MB+, no center': lambda image: minimum_barrier(image, center=None),
    'MB+ (default)': minimum_barrier,
    'MB+, sigmoid': lambda image: minimum_barrier(image, contrast=10),
    'mean of RBD and MB+': lambda image: (
        (robust_background_detection(image) + minimum_barrier(image)) / 2
    ),
    'fused (default)': fused_saliency,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', type=Path)
    parser.add_argument('--stride', type=int, default=10, help='every how many images')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    files = sorted((args.data / 'images').glob('*/*.jpg'))[:: args.stride]
    if not files:
        parser.error(f'{args.data}/images has no <group>/*.jpg')
    images = [read_image(file) for file in files]
    masks = [truth(args.data, file) for file in files]

    rows = []
    for name, method in METHODS.items():
        method(images[0])  # the libraries load
        start = time.process_time()
        maps = [method(image) for image in images]
        spent = (time.process_time() - start) / len(images)
        rows.append((name, *(f'{v:.3f}' for v in scores(maps, masks)), f'{spent * 1e3:.0f}'))
    print(f'{len(files)} images\n')
    print(markdown_table(('', 'MAE', 'max F', 'J (Otsu)', 'CPU ms an image'), rows))
    print('\nMinimum barrier distance of one image, 3 passes, 3 channels\n')
    print(distance_times(images[0]))


def truth(data: Path, file: Path) -> np.ndarray:
    """The (H, W) bool mask of an image."""
    path = data / 'masks' / file.parent.name / f'{file.stem}.png'
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise FileNotFoundError(f'{path}: no mask for {file}')
    return mask > 127


def scores(maps: list[np.ndarray], masks: list[np.ndarray]) -> tuple[float, float, float]:
    """MAE, largest F-measure, and mean J at Otsu's threshold."""
    errors, overlaps, precisions, recalls = [], [], [], []
    for saliency, mask in zip(maps, masks):
        errors.append(np.abs(saliency - mask).mean())
        levels = np.rint(saliency * 255).astype(np.uint8)
        _, found = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        overlaps.append(image_scores(found, mask)[1])
        if mask.any():
            # Pixels at least as salient as each level, from the highest level down.
            right = np.bincount(levels[mask], minlength=256)[::-1].cumsum()
            chosen = np.bincount(levels.reshape(-1), minlength=256)[::-1].cumsum()
            precisions.append(right / np.maximum(chosen, 1))
            recalls.append(right / mask.sum())
    precision, recall = np.mean(precisions, 0), np.mean(recalls, 0)
    below = np.maximum(BETA_SQUARED * precision + recall, 1e-12)
    measure = (1 + BETA_SQUARED) * precision * recall / below
    return float(np.mean(errors)), float(measure.max()), float(np.mean(overlaps))


def distance_times(image: np.ndarray) -> str:
    """A table of the times of both ways, which must agree."""
    scale = 200 / max(image.shape[:2])
    values = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    values = values.astype(np.float32)
    seeds = np.zeros(values.shape[:2], bool)
    seeds[[0, -1]] = seeds[:, [0, -1]] = True
    if not np.array_equal(minimum_barrier_distance(values, seeds), scan_by_pixels(values, seeds)):
        raise RuntimeError('the scan by diagonals differs from the scan by pixels')
    size = f'{values.shape[1]} x {values.shape[0]}'
    times = {
        f'by pixels, {size}': seconds(lambda: scan_by_pixels(values, seeds), 1, 0),
        f'by diagonals, {size}': seconds(lambda: minimum_barrier_distance(values, seeds)),
    }
    return ratio_table(times, f'by pixels, {size}')


def scan_by_pixels(values: np.ndarray, seeds: np.ndarray, passes: int = 3) -> np.ndarray:
    """FastMBD pixel by pixel in Python."""
    height, width, channels = values.shape
    result = np.empty_like(values)
    for channel in range(channels):
        level = values[..., channel].tolist()
        cost = np.where(seeds, 0.0, np.inf).tolist()
        high = np.where(seeds, values[..., channel], np.inf).tolist()
        low = np.where(seeds, values[..., channel], -np.inf).tolist()
        for index in range(passes):
            step = 1 if index % 2 == 0 else -1
            for y in range(height)[::step]:
                for x in range(width)[::step]:
                    for v, u in ((y - step, x), (y, x - step)):
                        if 0 <= v < height and 0 <= u < width:
                            up = max(high[v][u], level[y][x])
                            down = min(low[v][u], level[y][x])
                            if up - down < cost[y][x]:
                                cost[y][x], high[y][x], low[y][x] = up - down, up, down
        result[..., channel] = cost
    return result


if __name__ == '__main__':
    main()
