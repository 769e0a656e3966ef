"""The index of COCO-SEG: how long the first and the second start take, and what memory it needs.

Writes a synthetic file of COCO instances, of polygons and some crowds, into a temporary folder and
opens the data set in fresh processes: once without an index, once with one, and once in several
processes at a time, each of which looks at all images, as training does in the long run. Memory is
the proportional set size (PSS) that the data set adds to a process: pages that several processes
share count for each by its part. Needs Linux.

    python benchmarks/coco_index.py [--images 20000] [--processes 8]

COCO 2017's training set is ``--images 118000``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table

#: Of COCO 2017's training set: categories, and annotations an image.
CATEGORIES, ANNOTATIONS = 80, 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=20000)
    parser.add_argument('--processes', type=int, default=8)
    parser.add_argument('--worker', metavar='ROOT', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = write_coco(root, args.images)
        first = run(root, 1)[0]
        second = run(root, 1)[0]
        several = run(root, args.processes)
    start = [first['seconds'], second['seconds'], max(each['seconds'] for each in several)]
    memory = [first['pss'], second['pss'], sum(each['pss'] for each in several)]
    print(f'{args.images:,} images, a file of {size / 2**20:.0f} MiB\n')
    names = ('first start', 'second start', f'{args.processes} processes')
    rows = [
        (name, f'{seconds:.2f}', f'{pss / 1024:.1f}')
        for name, seconds, pss in zip(names, start, memory)
    ]
    print(markdown_table(('', 'seconds', 'PSS in all (MiB)'), rows))
    print(f'\nfirst start / second start: {start[0] / start[1]:.1f}')
    print(f'memory of {args.processes} processes / of one: {memory[2] / memory[1]:.2f}')


def write_coco(root: Path, num_images: int) -> int:
    """Write the annotations; the size of the file in bytes."""
    rng = np.random.default_rng(0)
    (root / 'annotations').mkdir()
    images = [
        dict(id=i, file_name=f'{i:012d}.jpg', height=480, width=640) for i in range(num_images)
    ]
    annotations = []
    for image in images:
        for _ in range(ANNOTATIONS):
            points = int(rng.integers(10, 40))
            polygon = np.round(rng.random(2 * points) * 480, 2).tolist()
            annotations.append(
                dict(
                    id=len(annotations),
                    image_id=image['id'],
                    category_id=int(rng.integers(CATEGORIES)),
                    segmentation=[polygon],
                    area=float(np.round(rng.random() * 20000, 3)),
                    bbox=[0.0, 0.0, 480.0, 480.0],
                    iscrowd=int(rng.random() < 0.01),
                )
            )
    categories = [dict(id=i, name=f'category {i}') for i in range(CATEGORIES)]
    content = dict(images=images, annotations=annotations, categories=categories)
    file = root / 'annotations' / 'instances_train2017.json'
    file.write_text(json.dumps(content))
    return file.stat().st_size


def run(root: Path, count: int) -> list[dict]:
    """What that many processes at a time measured; each waits until all have looked at all."""
    command = [sys.executable, '-W', 'ignore', __file__, '--worker', str(root)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    for step in range(3):  # start, measure, end
        for worker in workers:
            wait_for(worker, 'ready')
        if step == 1:
            time.sleep(0.5)
        for worker in workers:
            worker.stdin.write('go\n')
            worker.stdin.flush()
    return [json.loads(worker.communicate()[0]) for worker in workers]


def wait_for(worker: subprocess.Popen, word: str) -> None:
    for line in worker.stdout:
        if line.strip() == word:
            return
    raise RuntimeError('a process ended before it was ready')


def work(root: str) -> None:
    """Open the data set, look at every image, and tell the seconds and KiB of it."""
    from mmcoseg.datasets import COCOSEGDataset

    def step() -> None:
        print('ready', flush=True)
        sys.stdin.readline()

    step()
    before = pss()
    start = time.perf_counter()
    dataset = COCOSEGDataset(root, min_images=2)
    seconds = time.perf_counter() - start
    for number in range(len(dataset)):
        for image in dataset.get_data_info(number)['images']:
            assert image['instances']
    step()
    after = pss()
    step()
    print(json.dumps(dict(seconds=seconds, pss=after - before)))


def pss() -> int:
    """Proportional set size of this process, KiB."""
    for line in Path('/proc/self/smaps_rollup').read_text().splitlines():
        if line.startswith('Pss:'):
            return int(line.split()[1])
    raise OSError('/proc/self/smaps_rollup has no Pss')


if __name__ == '__main__':
    main()
