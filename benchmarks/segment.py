"""Time and memory of ``mmcoseg segment``, the whole command, and of the field's usual ways.

Prints four parts, each a table or more:

time    seconds an image from a folder of images to a folder of results, with the dense CRF and
        self-training and without both. Start-up is what the command takes for a single image; it
        is stated by itself, and taken off in one of the columns.
memory  peaks of memory of all the runs with CRF and self-training, up to 1,000 images in a group:
        of the command's process (VmHWM), and of it and its helper processes together (the sum of
        their resident memory, looked at ten times a second; what they share counts for each).
        "Held" is that sum without pages of files, which the system takes back when it needs them.
photo   CPU time and memory of photographs of 4,000 pixels (12 megapixels) against those of 500.
field   dense n x n spectral clustering, scikit-learn's k-means on all descriptors, and the dense
        CRF in one process, each against what takes its place here.

The images are photographs of the largest folder below DATA, the longer side 500 pixels (or 4,000,
enlarged); where more are wanted, flipped and cropped ones too. Without DATA they are drawn. Linux
only. Times on the clock: let nothing else run. CPU time hardly depends on what else the machine
does. All takes about fifty minutes on 2 cores, ``--quick`` three.

    python benchmarks/segment.py [--data DATA] [--parts time memory photo field] [--quick]
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from _table import markdown_table, ratio_table
from dense_crf import measure, soft_maps
from spectral import memory

from mmcoseg.datasets import SyntheticCoSegDataset
from mmcoseg.datasets.image_io import IMAGE_SUFFIXES, read_image
from mmcoseg.models.postprocessors import DenseCRF
from mmcoseg.workers import default_workers

PARTS = ('time', 'memory', 'photo', 'field')
#: Name of what is run -> options of the command.
FULL, PLAIN = 'CRF and self-training', 'neither'
MODES = {FULL: (), PLAIN: ('--no-crf', '--cfg-options', 'model.stages.self_training=None')}
#: The longer side of images, in pixels, and of those of a phone's camera: 12 megapixels.
SIDE, PHOTO_SIDE = 500, 4000
#: Seconds between two looks at the memory of a run.
INTERVAL = 0.1


@dataclass
class Sizes:
    """Numbers of images that are measured with.

    Args:
        time: of the groups of the part ``time``.
        memory: of those of the part ``memory``, besides the former.
        photo: of the part ``photo``.
        dense: for dense spectral clustering, whose matrix grows with the square.
        kmeans: for k-means.
        crf: for the dense CRF.
        crf_repeats: runs of it.
        large: for which the memory of a dense matrix is worked out.
    """

    time: Sequence[int] = (20, 115, 419)
    memory: Sequence[int] = (10, 100, 1000)
    photo: int = 9
    dense: int = 4
    kmeans: Sequence[int] = (20, 115)
    crf: int = 24
    crf_repeats: int = 3
    large: int = 115


QUICK = Sizes((8,), (16,), photo=3, dense=1, kmeans=(4,), crf=6, crf_repeats=2, large=8)


@dataclass
class Run:
    """What a command took: seconds on the clock and of all processors, and bytes at its peak.

    Args:
        peak: of its own process.
        together: of it and the processes that it started.
        held: of these, without pages of files.
    """

    seconds: float
    cpu: float
    peak: int = 0
    together: int = 0
    held: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--data',
        type=Path,
        help='folder of photographs, in any subfolders (default: pascal_coseg in $MMCOSEG_DATA, '
        'or drawn images)',
    )
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--time-sizes', type=int, nargs='+', metavar='N')
    parser.add_argument('--memory-sizes', type=int, nargs='+', metavar='N')
    parser.add_argument('--quick', action='store_true', help='few images: about two minutes')
    args = parser.parse_args()
    sizes = QUICK if args.quick else Sizes()
    sizes.time = args.time_sizes or sizes.time
    sizes.memory = args.memory_sizes or sizes.memory
    photographs = largest_folder(args.data or default_data())

    load = ', '.join(f'{value:.1f}' for value in os.getloadavg())
    kind = f'{len(photographs)} photographs' if photographs else 'drawn images'
    print(f'{default_workers()} cores; load average at the start {load}; from {kind}\n')
    with tempfile.TemporaryDirectory(prefix='mmcoseg-benchmark-') as folder:
        bench = Bench(Path(folder), photographs)
        if 'time' in args.parts:
            bench.time_table(sizes.time)
        if 'memory' in args.parts:
            bench.memory_table(sizes)
        if 'photo' in args.parts:
            bench.photo_table(sizes.photo)
        if 'field' in args.parts:
            field_tables(bench, sizes)


class Bench:
    """Runs of the command, each done once.

    Args:
        folder: to work in.
        photographs: files to make images from; drawn ones if there are none.
    """

    def __init__(self, folder: Path, photographs: Sequence[Path]) -> None:
        self.folder = folder
        self.photographs = photographs
        self.runs: dict[tuple[str, int, int], Run] = {}

    def images(self, count: int, side: int) -> Path:
        """A folder of so many images."""
        folder = self.folder / f'images-{count}-{side}'
        if not folder.is_dir():
            folder.mkdir()
            make_images(folder, count, self.photographs, side)
        return folder

    def run(self, mode: str, count: int, side: int = SIDE) -> Run:
        """``mmcoseg segment`` of a group of so many images."""
        if not self.runs:
            self._segment(mode, 1, side)  # libraries, weights and byte code come from the disk
        if (mode, 1, side) not in self.runs:
            self.runs[mode, 1, side] = self._segment(mode, 1, side)
        if (mode, count, side) not in self.runs:
            self.runs[mode, count, side] = self._segment(mode, count, side)
        return self.runs[mode, count, side]

    def _segment(self, mode: str, count: int, side: int) -> Run:
        out = self.folder / 'out'
        command = [sys.executable, '-m', 'mmcoseg.cli', 'segment', str(self.images(count, side))]
        say(f'segmenting {count} images of {side} pixels: {mode}')
        run = watch([*command, '--out', str(out), *MODES[mode]], self.folder / 'log')
        totals = json.loads((out / 'summary.json').read_text())['totals']
        if totals['num_images'] != count or totals['num_skipped']:
            raise RuntimeError(f'not all of the {count} images were segmented: {totals}')
        shutil.rmtree(out)
        say(f'  {run.seconds:.1f} s, {run.peak / 1e9:.2f} GB')
        return run

    def time_table(self, counts: Sequence[int]) -> None:
        rows = []
        for mode in MODES:
            start_up = self.run(mode, 1).seconds
            for count in counts:
                run = self.run(mode, count)
                further = f'{(run.seconds - start_up) / (count - 1):.3f}' if count > 1 else '-'
                rows.append(
                    (
                        f'{mode}, {count} images',
                        f'{start_up:.1f}',
                        f'{run.seconds:.1f}',
                        f'{run.seconds / count:.3f}',
                        further,
                        f'{run.cpu / count:.3f}',
                    )
                )
        header = (
            '',
            'start-up: one image (s)',
            'whole command (s)',
            's an image',
            's a further image',
            'CPU s an image',
        )
        show('Time of `mmcoseg segment`', header, rows)

    def memory_table(self, sizes: Sizes) -> None:
        measured = {count for mode, count, side in self.runs if (mode, side) == (FULL, SIDE)}
        rows = []
        for count in sorted({*sizes.memory, *measured}):
            run = self.run(FULL, count)
            peaks = (f'{value / 1e9:.2f}' for value in (run.peak, run.together, run.held))
            rows.append((f'{count:,}', f'{run.seconds / count:.3f}', *peaks))
        header = ('images', 's an image', 'peak (GB)', 'with helpers (GB)', 'held (GB)')
        show(f'Memory of `mmcoseg segment`: {FULL}', header, rows)

    def photo_table(self, count: int) -> None:
        """Without start-up, which is what a single image takes."""
        rows = []
        for mode in MODES:
            taken = {}
            for side in (SIDE, PHOTO_SIDE):
                first, run = self.run(mode, 1, side), self.run(mode, count, side)
                taken[side] = (run.cpu - first.cpu) / (count - 1)
                ratio = 'baseline' if side == SIDE else f'{taken[side] / taken[SIDE]:.2f} x'
                peak = f'{run.peak / 1e9:.2f}'
                rows.append((f'{mode}, {side:,} pixels', f'{taken[side]:.3f}', ratio, peak))
        header = ('', 'CPU s a further image', 'of 500 pixels', 'peak (GB)')
        show(f'Large photographs, {count} of them', header, rows)


def watch(command: Sequence[str], log: Path) -> Run:
    """Run a command to its end.

    Raises:
        SystemExit: if it fails, with what it said.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    with open(log, 'wb') as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, 'PYTHONPATH': path}
        )
    run = Run(0, 0)
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            look(process.pid, run)
            time.sleep(INTERVAL)
    except BaseException:
        process.kill()
        process.wait()
        raise
    run.seconds = time.perf_counter() - start
    run.together = max(run.together, run.peak)  # which no look need have met
    run.cpu = usage.ru_utime + usage.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        text = log.read_text(errors='replace')[-2000:]
        raise SystemExit(f'{" ".join(command)} ended with {process.returncode}:\n{text}')
    return run


def look(pid: int, run: Run) -> None:
    """Take the memory of a process and of those below it into account."""
    together = held = 0
    pids = [pid]
    for one in pids:
        try:
            status = Path(f'/proc/{one}/status').read_text()
            tasks = list(Path(f'/proc/{one}/task').iterdir())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        values = dict(line.split(':', 1) for line in status.splitlines() if ':' in line)
        if 'VmRSS' not in values:
            continue  # it is ending
        resident, peak, files = (
            int(values[key].split()[0]) * 1024 for key in ('VmRSS', 'VmHWM', 'RssFile')
        )
        together += resident
        held += resident - files
        if one == pid:
            run.peak = max(run.peak, peak)
        for task in tasks:  # a thread's children are not its process'
            try:
                pids += map(int, (task / 'children').read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue
    run.together = max(run.together, together)
    run.held = max(run.held, held)


def field_tables(bench: Bench, sizes: Sizes) -> None:
    """Each way in a process of its own, so that its peak of memory is its own."""
    count = max(sizes.dense, sizes.large, *sizes.kmeans)
    files = sorted(bench.images(count, SIDE).iterdir())
    rows = bench.folder / 'descriptors.npy'
    say(f'computing the descriptors of {count} images')
    locations = alone(save_descriptors, files, rows)

    def timed(way: Callable, images: int) -> Spent:
        say(f'{way.__name__}, {images} images')
        return alone(spend, way, rows, images * locations)

    n, large = sizes.dense * locations, sizes.large * locations
    took = {way: timed(way, sizes.dense) for way in (*DENSE, *SPARSE)}
    took_large = {way: timed(way, sizes.large) for way in SPARSE}
    table = []
    for dense, ways in COMPARED.items():
        for way, name in ways.items():
            spent, exact = took[way], took[dense]
            row = [name, f'{spent.seconds:.3f}', f'{exact.seconds / spent.seconds:.3g} x']
            row += [f'{abs(exact.vector @ spent.vector):.4f}', f'{spent.extra / 1e9:.2f}']
            if way in SPARSE:
                more = took_large[way]
                row += [f'{more.seconds:.2f}', f'{more.extra / 1e9:.2f}']
            else:
                row += ['-', f'matrix: {4 * large**2 / 1e9:.1f}']
            table.append(row)
    header = (
        '',
        f'{n:,} locations (s)',
        'faster than dense',
        'cosine to dense',
        'extra memory (GB)',
        f'{large:,} locations (s)',
        'extra memory (GB)',
    )
    title = f'Spectral clustering in two of the locations of {sizes.dense} and {sizes.large} images'
    show(title, header, table)

    for images in sizes.kmeans:
        took = {name: timed(way, images) for name, way in CLUSTERINGS.items()}
        print(f'{len(KMEANS_RUNS)} clusterings of the locations of {images} images\n')
        print(ratio_table({k: one.seconds for k, one in took.items()}, next(iter(took)), 's'))
        extra = ', '.join(f'{name} {one.extra / 1e9:.2f} GB' for name, one in took.items())
        print(f'\nExtra memory: {extra}.\n', flush=True)

    crf_table(files[: sizes.crf], sizes.crf_repeats)


def crf_table(files: Sequence[Path], repeats: int) -> None:
    images = [read_image(file) for file in files]
    probs = soft_maps(len(images), 2, images[0])
    # cv2 would otherwise use all cores beside the helpers.
    cv2.setNumThreads(1)
    workers = max(2, default_workers())
    crfs = [DenseCRF(max_side=None, num_workers=number) for number in (0, workers)]
    for crf in crfs:  # the libraries load, the helpers start
        list(crf.refine(images[:2], probs[:2]))
    say(f'dense CRF of {len(images)} images')
    ways = [lambda crf=crf: list(crf.refine(images, probs)) for crf in crfs]
    times = [took / len(images) for took in measure(ways, repeats)]
    print('Dense CRF, an image\n')
    print(ratio_table(dict(zip(('one process', f'{workers} helpers'), times)), 'one process'))


def save_descriptors(files: Sequence[Path], path: Path) -> int:
    """What the default method clusters, (N h w, d) float32, to a file; h w."""
    import torch

    from mmcoseg.apis import CoSegInferencer

    inferencer = CoSegInferencer()
    model = inferencer.model
    size = tuple(model.data_preprocessor.size)
    rows = []
    for file in files:
        image = cv2.resize(read_image(file), size[::-1], interpolation=cv2.INTER_AREA)
        image = torch.from_numpy(image).permute(2, 0, 1).to(inferencer.device)
        with torch.no_grad():
            batch = model.data_preprocessor.normalize([image], size)
            descriptors = model.stages['consensus'].descriptors(tuple(model.backbone(batch)))
        rows.append(descriptors[0].flatten(1).t().float().cpu().numpy())
    np.save(path, np.concatenate(rows))
    return len(rows[0])


@dataclass
class Spent:
    """Seconds and extra bytes that a way took, and the vector of length 1 that it found."""

    seconds: float
    extra: int
    vector: np.ndarray | None


def spend(way: Callable[[np.ndarray], np.ndarray | None], path: Path, count: int) -> Spent:
    """What a way takes for the first so many descriptors; of several runs the fastest."""
    rows = np.load(path, mmap_mode='r')
    way(np.array(rows[: min(count, 500)]))  # the libraries load
    rows = np.array(rows[:count])
    before = memory('VmRSS')
    times: list[float] = []
    while len(times) < 5 and sum(times) < 5:
        start = time.perf_counter()
        vector = way(rows)
        times.append(time.perf_counter() - start)
    extra = max(0, memory('VmHWM') - before)
    return Spent(min(times), extra, None if vector is None else vector / np.linalg.norm(vector))


def dense_gram(x: np.ndarray) -> np.ndarray:
    """The largest eigenvector of the Gram matrix minus 1 (SSNM, Eq. 10), by all of them."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return np.linalg.eigh(x @ x.T - 1)[1][:, -1]


def dense_lanczos(x: np.ndarray) -> np.ndarray:
    """The same eigenvector alone."""
    from scipy.sparse.linalg import eigsh

    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return eigsh(x @ x.T - 1, k=1, which='LA')[1][:, 0]


def gram(x: np.ndarray) -> np.ndarray:
    """The same eigenvector without the matrix."""
    import torch

    from mmcoseg.models.ops import spectral_bipartition

    rows = torch.from_numpy(x)
    return spectral_bipartition(rows / rows.norm(dim=1, keepdim=True))[0].numpy()


def dense_cut(x: np.ndarray) -> np.ndarray:
    """The normalized cut of the graph of all pairs: the second vector of (D - W, D)."""
    from scipy.linalg import eigh

    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    weights = np.maximum(x @ x.T, 1e-5)
    degrees = np.diag(weights.sum(axis=1))
    return eigh(degrees - weights, degrees, subset_by_index=[1, 1])[1][:, 0]


def landmarks(x: np.ndarray) -> np.ndarray:
    """The normalized cut of the graph over landmarks."""
    import torch

    from mmcoseg.models.ops.landmarks import landmark_bipartition

    return landmark_bipartition(torch.from_numpy(x), normalize=True)[0].numpy()


def kmeans(x: np.ndarray) -> None:
    """scikit-learn on all descriptors in all their dimensions."""
    from sklearn.cluster import KMeans

    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    for k, seed in KMEANS_RUNS:
        KMeans(k, n_init=1, random_state=seed).fit(x)


def consensus(x: np.ndarray) -> None:
    """The same clusterings as the default method makes them, and their agreement."""
    import torch

    from mmcoseg.models.ops import consensus_foreground

    # Which rows are an image's is of no account for the time.
    consensus_foreground(torch.from_numpy(x).t()[None, :, :, None])


#: Of the default method: numbers of clusters and seeds.
KMEANS_RUNS = [(k, seed) for k in (4, 5, 6, 8) for seed in range(4)]
#: Dense way -> it and what finds the same, or takes its place, with their names.
COMPARED = {
    dense_gram: {
        dense_gram: 'Gram matrix, numpy `eigh`',
        dense_lanczos: 'Gram matrix, scipy `eigsh`',
        gram: '`spectral_bipartition`, the same vector',
    },
    dense_cut: {
        dense_cut: 'normalized cut, scipy `eigh`',
        landmarks: '`landmark_bipartition`, another graph',
    },
}
DENSE, SPARSE = (dense_gram, dense_lanczos, dense_cut), (gram, landmarks)
CLUSTERINGS = {'scikit-learn, all descriptors': kmeans, '`consensus_foreground`': consensus}


def alone(function: Callable, *args: Any) -> Any:
    """What a function of this file gives, in a new process."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(function, args)


def default_data() -> Path | None:
    """The photographs that the tests use, if they are there."""
    data = Path(os.environ.get('MMCOSEG_DATA', ROOT.parent / 'shared/data')) / 'pascal_coseg/images'
    return data if data.is_dir() else None


def largest_folder(data: Path | None) -> list[Path]:
    """The images of the folder, at or below this one, that has most."""
    if data is None:
        return []
    folders: dict[Path, list[Path]] = {}
    for file in sorted(data.rglob('*')):
        if file.suffix.lower() in IMAGE_SUFFIXES:
            folders.setdefault(file.parent, []).append(file)
    if not folders:
        raise SystemExit(f'no images in {data}; give a folder of photographs, or none')
    return max(folders.values(), key=len)


def make_images(folder: Path, count: int, photographs: Sequence[Path], side: int) -> None:
    """Write ``count`` different images of this longer side, the same ones every time."""
    if not photographs:
        drawn = SyntheticCoSegDataset(
            num_categories=1, images_per_group=count, image_size=(3 * side // 4, side)
        )
        for number, record in enumerate(drawn.get_data_info(0)['images']):
            save(folder, number, record['render'].load()[0], side)
        return
    for number in range(count):
        again, index = divmod(number, len(photographs))
        image = read_image(photographs[index])
        if again:
            rng = np.random.default_rng(number)
            size = (rng.uniform(0.8, 0.95, 2) * image.shape[:2]).astype(int)
            top, left = (rng.integers(0, n - m + 1) for n, m in zip(image.shape, size))
            image = image[top : top + size[0], left : left + size[1]]
            image = image[:, ::-1] if again % 2 else image
        save(folder, number, image, side)


def save(folder: Path, number: int, image: np.ndarray, side: int) -> None:
    scale = side / max(image.shape[:2])
    size = [max(1, round(scale * length)) for length in image.shape[1::-1]]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    file = folder / f'{number:04d}.jpg'
    if not cv2.imwrite(str(file), cv2.resize(image, size, interpolation=how)):
        raise OSError(f'{file} cannot be written')


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f'{title}\n\n{markdown_table(header, rows)}\n', flush=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
    main()
