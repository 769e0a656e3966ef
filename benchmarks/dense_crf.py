"""Time of the dense CRF in one process, in threads and in processes.

Images of one size, rendered or photographs of a folder, with soft maps of an eighth of it. Times on
the clock, the best of several runs that take turns; memory is read from /proc (Linux only).

    python benchmarks/dense_crf.py [--images FOLDER] [--size 375 500] [--count 24] [--workers 2]
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table

from mmcoseg.datasets import SyntheticCoSegDataset
from mmcoseg.datasets.image_io import IMAGE_SUFFIXES, read_image
from mmcoseg.models.postprocessors import DenseCRF
from mmcoseg.workers import default_workers

LABELS = (2, 4, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=Path, help='folder of photographs; without: rendered')
    parser.add_argument('--size', type=int, nargs=2, default=(375, 500), help='height, width')
    parser.add_argument('--count', type=int, default=24, help='number of images')
    parser.add_argument('--workers', type=int, default=default_workers())
    parser.add_argument('--repeat', type=int, default=3)
    args = parser.parse_args()
    images = load(args.images, tuple(args.size), args.count)
    # cv2 would otherwise use all cores beside the processes.
    cv2.setNumThreads(1)
    refined(images[:1], soft_maps(1, 2, images[0]))  # the libraries load

    start = time.perf_counter()
    small = [image[:8, :8] for image in images[: args.workers]]
    refined(small, soft_maps(len(small), 2, small[0]), args.workers)
    started = time.perf_counter() - start

    rows = [compare(images, labels, args.workers, args.repeat) for labels in LABELS]
    size = f'{args.size[0]} x {args.size[1]}'
    print(f'{len(images)} images of {size}, {args.workers} workers; ms an image\n')
    header = (
        'labels',
        'one process',
        f'{args.workers} threads',
        f'{args.workers} processes',
        'processes faster',
        'MiB a process',
    )
    print(markdown_table(header, rows))
    print(f'\n{args.workers} processes are ready after {started:.2f} s\n')

    probs = soft_maps(len(images), 2, images[0])
    ways: dict[str, Callable[[], object]] = {
        'dense CRF': lambda: refined(images, probs),
        'dense CRF, half size': lambda: refined(images, probs, max_side=max(args.size) // 2),
    }
    took = measure(list(ways.values()), args.repeat)
    times = {name: seconds / len(images) for name, seconds in zip(ways, took)}
    print('2 labels, one process\n')
    print(
        markdown_table(
            ('', 'ms an image', 'faster than dense CRF'),
            [(n, f'{1e3 * t:.1f}', f'{times["dense CRF"] / t:.1f} x') for n, t in times.items()],
        )
    )


def refined(
    images: list[np.ndarray],
    probs: list[np.ndarray],
    workers: int = 0,
    max_side: int | None = None,
) -> list[np.ndarray]:
    return list(DenseCRF(max_side=max_side, num_workers=workers).refine(images, probs))


def compare(images: list[np.ndarray], labels: int, workers: int, repeats: int) -> list[object]:
    """One row of the first table."""
    probs = soft_maps(len(images), labels, images[0])
    ways = (
        lambda: refined(images, probs),
        lambda: in_threads(images, probs, workers),
        lambda: refined(images, probs, workers),
    )
    times = [took / len(images) for took in measure(ways, repeats)]
    memory = max(map(peak, children()), default=0)
    cells = [f'{1e3 * took:.0f}' for took in times]
    return [labels, *cells, f'{times[0] / times[2]:.2f} x', f'{memory / 2**20:.0f}']


def load(folder: Path | None, size: tuple[int, int], count: int) -> list[np.ndarray]:
    """Images of one size: the first ones of a folder's photographs, or rendered ones."""
    if folder is None:
        dataset = SyntheticCoSegDataset(num_categories=1, images_per_group=count, image_size=size)
        return [image['render'].load()[0] for image in dataset.get_data_info(0)['images']]
    files = sorted(f for f in folder.rglob('*') if f.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise SystemExit(f'no images in {folder}')
    step = max(1, len(files) // count)
    return [
        cv2.resize(read_image(file), size[::-1], interpolation=cv2.INTER_AREA)
        for file in files[::step][:count]
    ]


def soft_maps(count: int, labels: int, image: np.ndarray) -> list[np.ndarray]:
    """Smooth random maps of an eighth of the image's size; of two labels only the object's."""
    rng = np.random.default_rng(0)
    size = (labels, max(1, image.shape[0] // 8), max(1, image.shape[1] // 8))
    maps = []
    for _ in range(count):
        noise = rng.standard_normal(size).astype(np.float32)
        logits = np.stack([30 * cv2.GaussianBlur(channel, (0, 0), 5) for channel in noise])
        prob = np.exp(logits) / np.exp(logits).sum(axis=0)
        maps.append(prob[1:] if labels == 2 else prob)
    return maps


def in_threads(images: list[np.ndarray], probs: list[np.ndarray], threads: int) -> None:
    with ThreadPoolExecutor(threads) as executor:
        pairs = zip(images, probs, strict=True)
        list(executor.map(lambda p: refined([p[0]], [p[1]]), pairs))


def measure(ways: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Seconds of the fastest run of each: what other processes cost is left out.

    The ways take turns, so that what else the machine does slows them all.
    """
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, taken in zip(ways, times):
            start = time.perf_counter()
            way()
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


def children() -> list[int]:
    """The ids of the processes that this one has started."""
    files = Path('/proc/self/task').glob('*/children')
    return [int(pid) for file in files for pid in file.read_text().split()]


def peak(pid: int) -> int:
    """Largest resident memory of a process so far, in bytes."""
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmHWM'):
            return int(line.split()[1]) * 1024
    raise OSError(f'/proc/{pid}/status has no VmHWM')


if __name__ == '__main__':
    main()
