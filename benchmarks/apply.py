"""How well an object that was learned on some photographs is found in others, and what it takes.

Each group is cut in two: images at even positions and at odd ones. The object of the first half is
learned without hints, and applied to the second half, each image by itself; that is compared with
segmenting the second half as a group. J is the mean Jaccard index in per cent; seconds are an
image's, from reading it to writing its results.

Moreover, presence: the area under the receiver operating characteristic of the images of the
second half against as many of the other groups', and the shares that 0.5 keeps and drops.

The peak of memory is that of the process of `mmcoseg apply` on so many images (the photographs
again and again). It works without the CRF, which has processes of its own.

    python benchmarks/apply.py DATA [--groups GROUP ...] [--memory 50 500]

DATA holds images/<group>/* and masks/<group>/*.png.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table
from segment import watch

from mmcoseg.apis import SegmentResult, segment_to_folder
from mmcoseg.apis.run_state import GroupState
from mmcoseg.datasets.base import image_files
from mmcoseg.evaluation import evaluate_masks


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', type=Path)
    parser.add_argument('--groups', nargs='+', metavar='GROUP', help='default: all')
    parser.add_argument('--memory', nargs='*', type=int, default=[50, 500], metavar='COUNT')
    args = parser.parse_args()
    groups = args.groups or sorted(path.name for path in (args.data / 'images').iterdir())
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args.data.resolve(), Path(folder), groups)
        rows = [bench.row(group) for group in groups]
        means = [np.mean(column) for column in list(zip(*rows))[2:]]
        rows.append(['mean', sum(row[1] for row in rows), *means])
        cells = [[*row[:2], *(f'{value:.2f}' for value in row[2:])] for row in rows]
        head = ['class', 'images', 'J as a group', 'J applied', 's as a group', 's applied']
        head += ['presence: AUC', 'own kept', 'others dropped']
        print(markdown_table(head, cells), flush=True)
        peaks = [[f'{count:,}', f'{bench.peak(count) / 1e9:.2f}'] for count in args.memory]
        print(markdown_table(['images', 'peak (GB)'], peaks))


class Bench:
    """Halves of groups, and the runs on them.

    Args:
        data: the data set.
        folder: to work in.
        groups: names of the groups.
    """

    def __init__(self, data: Path, folder: Path, groups: Sequence[str]) -> None:
        self.data = data
        self.folder = folder
        self.files = {group: image_files(data / 'images' / group) for group in groups}

    def row(self, group: str) -> list:
        """Figures of a group; the object of its first half stays in the folder."""
        first, second = self.files[group][::2], self.files[group][1::2]
        saved = self.folder / f'{group}.coseg'
        self._run('first', {group: first}, save_object=saved)
        as_group = self._run('group', {group: second})
        others = []
        for other, files in self.files.items():
            if other != group:
                others += files[1::2]
        foreign = others[:: max(1, len(others) // len(second))]
        applied = self._run('applied', {group: second}, objects=[saved])
        # The CRF changes masks, not presence.
        self._run('others', {group: foreign}, objects=[saved], crf=False)
        own, other = self._presence('applied', group), self._presence('others', group)
        truth = np.repeat([1, 0], [len(own), len(other)])
        area = roc_auc_score(truth, [*own, *other])
        row = [group, len(second), self._jaccard('group', group), self._jaccard('applied', group)]
        for result in (as_group, applied):
            row.append(result.seconds / result.num_written)
        row += [area, np.mean(np.array(own) >= 0.5), np.mean(np.array(other) < 0.5)]
        print(*row, file=sys.stderr, flush=True)
        return row

    def peak(self, count: int) -> int:
        """Bytes that `mmcoseg apply` takes for so many images, at its peak."""
        photographs = []
        for files in self.files.values():
            photographs += files
        images = self.folder / f'{count} images'
        images.mkdir()
        for number in range(count):
            source = photographs[number % len(photographs)]
            (images / f'{number:04}{source.suffix}').symlink_to(source)
        saved = self.folder / f'{next(iter(self.files))}.coseg'
        command = [sys.executable, '-m', 'mmcoseg.cli', 'apply', str(saved), str(images)]
        out = self.folder / f'of {count} images'
        return watch([*command, '--out', str(out), '--no-crf'], self.folder / 'log').peak

    def _run(self, out: str, inputs: dict[str, list[Path]], **options) -> SegmentResult:
        options |= dict(formats=['masks'], overwrite=True)
        return segment_to_folder(inputs, self.folder / out, **options)

    def _presence(self, out: str, group: str) -> list[float]:
        file = self.folder / out / '.mmcoseg' / 'groups' / f'{group}.json'
        return [image.record.presence for image in GroupState.read(file).images]

    def _jaccard(self, out: str, group: str) -> float:
        """The mean J of the masks in a folder of results, in per cent."""
        truth = self.folder / 'truth' / group
        truth.mkdir(parents=True, exist_ok=True)
        for mask in (self.folder / out / 'masks' / group).iterdir():
            link = truth / mask.name
            if not link.exists():
                link.symlink_to(self.data / 'masks' / group / mask.name)
        report = evaluate_masks(self.folder / out, truth.parent, groups=[group])
        return report.summary()['J']


if __name__ == '__main__':
    main()
