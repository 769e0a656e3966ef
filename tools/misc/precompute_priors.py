#!/usr/bin/env python
"""Compute the priors of all images of a folder into a cache, on all cores.

ComputeProposals(cache_dir=...) and ComputeSaliency(cache_dir=...) with the same settings then find
them there. What is there already is left alone, so a run that was stopped goes on where it was.

Example:
    python tools/misc/precompute_priors.py data/voc_instances/images --cache-dir data/priors
"""

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

# Cores are shared out by images.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
# Works from a copy that is not installed, too.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

KINDS = ('proposals', 'saliency')


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    from mmcoseg.workers import default_workers

    parser = argparse.ArgumentParser(
        description='Compute the priors of all images of a folder into a cache, on all cores.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('images', type=Path, help='folder; images in folders below it count, too')
    parser.add_argument('--cache-dir', type=Path, required=True, help='folder to write to')
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=KINDS, help='what to compute')
    parser.add_argument('--max-proposals', type=positive, help='an image; 2,000 without it')
    parser.add_argument(
        '--size',
        type=positive,
        nargs=2,
        default=(65, 65),
        metavar=('W', 'H'),
        help='of saliency maps',
    )
    parser.add_argument('--jobs', type=positive, default=default_workers(), help='processes')
    return parser.parse_args(args)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {number}')
    return number


def transforms_of(args: argparse.Namespace) -> list:
    """The pipeline's own transforms, so that they find what is written here."""
    from mmcoseg.datasets.transforms import ComputeProposals, ComputeSaliency

    transforms = []
    if 'proposals' in args.kinds:
        transforms.append(ComputeProposals(args.cache_dir, max_proposals=args.max_proposals))
    if 'saliency' in args.kinds:
        transforms.append(ComputeSaliency(tuple(args.size), args.cache_dir))
    return transforms


def prepare(args: argparse.Namespace) -> None:
    """In each process, once."""
    global _transforms
    import cv2

    cv2.setNumThreads(1)
    _transforms = transforms_of(args)


def compute(file: Path) -> str | None:
    """Compute what is missing of one image; what is wrong with it, or None."""
    from mmcoseg.datasets.image_io import BadImageError, read_image

    try:
        image = read_image(file)
    except (BadImageError, OSError) as error:
        return str(error)
    results = dict(img=image, img_path=str(file), ori_shape=image.shape[:2])
    for transform in _transforms:
        transform(results)
    return None


def computed(files: list[Path], args: argparse.Namespace) -> Iterator[str | None]:
    """What :func:`compute` says of each file, in any order."""
    if args.jobs == 1:
        prepare(args)
        yield from map(compute, files)
        return
    # Fresh processes: a fork would copy the state of libraries' threads.
    pool = ProcessPoolExecutor(min(args.jobs, len(files)), get_context('spawn'), prepare, (args,))
    try:
        for task in as_completed([pool.submit(compute, file) for file in files]):
            yield task.result()
    finally:
        pool.shutdown(cancel_futures=True)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    from rich.progress import track

    from mmcoseg.datasets.image_io import IMAGE_SUFFIXES

    files = sorted(f for f in args.images.rglob('*') if f.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        print(f'precompute_priors.py: {args.images} has no images', file=sys.stderr)
        return 1
    bad = 0
    try:
        for wrong in track(computed(files, args), 'priors', total=len(files)):
            if wrong:
                bad += 1
                print(f'skipped: {wrong}', file=sys.stderr)
    except (OSError, BrokenProcessPool) as error:
        print(f'precompute_priors.py: {error}', file=sys.stderr)
        return 1
    print(f'{len(files) - bad} images have their {" and ".join(args.kinds)} in {args.cache_dir}')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
