#!/usr/bin/env python
"""Write rendered groups to files in the canonical layout: images/<group>/*, masks/<group>/*.png.

Example:
    python tools/misc/render_synthetic.py --out data/synthetic --categories 8 --images 10
"""

import argparse
import sys
from pathlib import Path

# Works from a copy that is not installed, too.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmcoseg.datasets import SyntheticCoSegDataset


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write groups of the built-in synthetic data set to files.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--out', required=True, help='folder to write to')
    parser.add_argument('--categories', type=int, default=8, help='number of groups')
    parser.add_argument('--offset', type=int, default=0, help='number of the first category')
    parser.add_argument('--images', type=int, default=10, help='number of images a group')
    parser.add_argument('--size', type=int, nargs=2, default=(224, 224), metavar=('H', 'W'))
    parser.add_argument('--classes', type=int, default=1, help='classes that recur in a group')
    parser.add_argument('--distractors', type=int, nargs=2, default=(0, 2), metavar=('LOW', 'HIGH'))
    parser.add_argument(
        '--empty-share', type=float, default=0.0, help='share of images without the object'
    )
    parser.add_argument('--split', default='train', help='another name gives other images')
    parser.add_argument('--seed', type=int, default=0, help='another number gives other images')
    parser.add_argument('--format', choices=('jpg', 'png'), default='jpg', help='of the images')
    return parser.parse_args(args)


def main() -> int:
    args = parse_args()
    try:
        dataset = SyntheticCoSegDataset(
            num_categories=args.categories,
            category_offset=args.offset,
            images_per_group=args.images,
            image_size=args.size,
            classes_per_image=args.classes,
            distractors=args.distractors,
            empty_share=args.empty_share,
            split=args.split,
            seed=args.seed,
        )
        dataset.export(args.out, args.format)
    except (ValueError, OSError) as error:
        print(f'render_synthetic.py: {error}', file=sys.stderr)
        return 1
    print(f'{len(dataset)} groups of {args.images} images are in {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
