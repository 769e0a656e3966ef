"""Quality and time of object proposals, on photographs with masks.

DATA holds ``pascal_coseg`` (``images/<group>/*.jpg``, ``masks/<group>/*.png``, above 127: object)
and ``voc_instances`` (``images/<group>/*.jpg``, ``instances.json``). Of each, some images are drawn
by a seed. For the first 100, 500 and 2,000 proposals: the mean, over the true masks, of the best
IoU, and the shares of true masks with a best IoU of at least 0.5 and 0.7. The processor's time an
image is on one thread. The choices of the method were made on other images (``--skip 60``).

    python benchmarks/proposals.py DATA [--images 60]
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

import cv2
import numpy as np
from pycocotools.coco import COCO
from skimage.segmentation import felzenszwalb

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table

from mmcoseg.datasets.image_io import read_image
from mmcoseg.proposals import combinatorial_grouping
from mmcoseg.structures import Proposals

COUNTS = (100, 500, 2000)


def felzenszwalb_scales(image: np.ndarray) -> Proposals:
    """The regions of five segmentations, largest first: what needs no method of proposals."""
    masks = []
    for scale in (50, 100, 200, 400, 800):
        labels = felzenszwalb(image[:, :, ::-1], scale, sigma=0.8, min_size=50)
        masks.extend(labels == label for label in range(labels.max() + 1))
    masks = [mask for mask in masks if mask.mean() >= 0.004]
    masks = np.array(sorted(masks, key=np.sum, reverse=True)).reshape(-1, *image.shape[:2])
    return Proposals.from_masks(masks)


METHODS: dict[str, Callable[[np.ndarray], Proposals]] = {
    'Felzenszwalb, 5 scales': felzenszwalb_scales,
    'one tree, regions': lambda image: combinatorial_grouping(
        image, trees=('spectral color',), pair_nodes=0, triplet_nodes=0
    ),
    'one tree, pairs, triplets': lambda image: combinatorial_grouping(
        image, trees=('spectral color',)
    ),
    'six trees, regions': lambda image: combinatorial_grouping(
        image, pair_nodes=0, triplet_nodes=0
    ),
    'six trees, pairs': lambda image: combinatorial_grouping(image, triplet_nodes=0),
    'six trees, pairs, triplets (default)': combinatorial_grouping,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', type=Path)
    parser.add_argument('--images', type=int, default=60, help='of each data set')
    parser.add_argument('--skip', type=int, default=0, help='leave out so many of those drawn')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    drawn = slice(args.skip, args.skip + args.images)
    for name, read in dict(pascal_coseg=whole_masks, voc_instances=instances).items():
        samples = list(read(args.data / name, args.seed, drawn))
        if not samples:
            parser.error(f'{args.data / name} has no images with masks')
        rows = []
        for method, propose in METHODS.items():
            propose(samples[0][0])  # the libraries load
            rows.append((method, *measured(propose, samples)))
        count = sum(len(masks) for _, masks in samples)
        print(f'{name}: {len(samples)} images, {count} masks; best IoU / recall .5 / recall .7\n')
        header = ('', *(f'first {n:,}' for n in COUNTS), 'masks', 'CPU s an image')
        print(markdown_table(header, rows), end='\n\n', flush=True)


def measured(propose: Callable, samples: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[str]:
    """The cells of a method's row."""
    start = time.process_time()
    found = [propose(image) for image, _ in samples]
    spent = (time.process_time() - start) / len(samples)
    overlaps = [overlap(proposals, masks) for proposals, (_, masks) in zip(found, samples)]
    for count in COUNTS:
        best = np.concatenate([ious[:, :count].max(1, initial=0) for ious in overlaps])
        yield f'{best.mean():.3f} / {(best >= 0.5).mean():.3f} / {(best >= 0.7).mean():.3f}'
    yield f'{np.mean([len(proposals) for proposals in found]):.0f}'
    yield f'{spent:.2f}'


def overlap(proposals: Proposals, masks: np.ndarray) -> np.ndarray:
    """(true, n) IoUs of true masks with proposals."""
    both = proposals.sums(masks)
    return both / (masks.sum((1, 2))[:, None] + proposals.areas() - both)


def whole_masks(root: Path, seed: int, drawn: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images with one mask each."""
    for file in shuffled(sorted((root / 'images').glob('*/*.jpg')), seed)[drawn]:
        path = root / 'masks' / file.parent.name / f'{file.stem}.png'
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise FileNotFoundError(f'{path}: no mask for {file}')
        if (mask > 127).any():
            yield read_image(file), (mask > 127)[None]


def instances(root: Path, seed: int, drawn: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images with the masks of their instances."""
    coco = COCO(root / 'instances.json')
    for entry in shuffled(sorted(coco.imgs.values(), key=lambda i: i['file_name']), seed)[drawn]:
        masks = [coco.annToMask(annotation) > 0 for annotation in coco.imgToAnns[entry['id']]]
        masks = [mask for mask in masks if mask.any()]
        if masks:
            yield read_image(root / 'images' / entry['file_name']), np.array(masks)


def shuffled(items: list, seed: int) -> list:
    return [items[i] for i in np.random.default_rng(seed).permutation(len(items))]


if __name__ == '__main__':
    main()
