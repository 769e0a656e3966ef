"""How well presence scores tell images without the common object: ROC-AUC with foreign images.

Into each group of photographs images of other groups are mixed, drawn at random. The score is the
area under the receiver operating characteristic of presence, own against foreign images; beside it
the shares of own images that a presence of 0.5 keeps and of foreign ones that it drops.

    python benchmarks/presence.py IMAGES [--method consensus] [--size 40] [--foreign 0.2] [--seed 0]

IMAGES holds a folder of images for each group.
"""

import argparse
import random
import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table

from mmcoseg.apis import CoSegInferencer
from mmcoseg.datasets.base import image_files


def mixed_groups(
    root: Path, size: int, foreign_share: float, seed: int
) -> dict[str, list[tuple[Path, bool]]]:
    """Group -> (image, whether it is one of its own), in random order; ``size`` images at most."""
    files = {
        folder.name: image_files(folder) for folder in sorted(root.iterdir()) if folder.is_dir()
    }
    if len(files) < 2:
        raise SystemExit(f'{root} must hold at least two folders of images')
    rng = random.Random(seed)
    groups = {}
    for name, own in files.items():
        own_count = min(len(own), round((1 - foreign_share) * size))
        foreign_count = max(1, round(own_count * foreign_share / (1 - foreign_share)))
        others = [file for other, some in files.items() if other != name for file in some]
        drawn = [(file, True) for file in rng.sample(own, own_count)]
        drawn += [(file, False) for file in rng.sample(others, foreign_count)]
        rng.shuffle(drawn)
        groups[name] = drawn
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('images', type=Path)
    parser.add_argument('--method', default='consensus')
    parser.add_argument('--size', type=int, default=40, help='images of a group, with foreign ones')
    parser.add_argument('--foreign', type=float, default=0.2, help='share of foreign images')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()

    # The CRF at the end changes masks, not presence.
    keep = {'model.postprocessors': []}
    inferencer = CoSegInferencer(args.method, cfg_options=keep, seed=args.seed)
    rows = []
    for name, drawn in mixed_groups(args.images, args.size, args.foreign, args.seed).items():
        (group,) = inferencer.stream({name: [str(file) for file, _ in drawn]})
        presence = {Path(sample.img_path): sample.presence for sample in group}
        scores = np.array([presence[file] for file, _ in drawn])
        own = np.array([is_own for _, is_own in drawn])
        rows.append(
            [roc_auc_score(own, scores), (scores[own] >= 0.5).mean(), (scores[~own] < 0.5).mean()]
        )
        print(f'{name}: {rows[-1][0]:.3f}', file=sys.stderr, flush=True)
        rows[-1] = [name, f'{len(drawn)} ({(~own).sum()} foreign)', *rows[-1]]
    means = [float(np.mean(column)) for column in zip(*(row[2:] for row in rows))]
    cells = [*rows, ['mean', '', *means]]
    head = ['group', 'images', 'ROC-AUC', 'own kept at 0.5', 'foreign dropped at 0.5']
    print(
        markdown_table(head, [[*row[:2], *(f'{value:.3f}' for value in row[2:])] for row in cells])
    )


if __name__ == '__main__':
    main()
