"""How much work a review takes: actions of a scripted person until masks are good.

    python benchmarks/review.py DATA [--groups GROUP ...] [--images 40] [--seed 0]

DATA holds ``images/<group>/*`` and ``masks/<group>/<stem>.png``. Each group is segmented, and then
reviewed: the person looks at the undecided image that the page offers next, accepts its mask if its
J is 80 or more, and else clicks in the middle of its largest error, at most eight times before it
is accepted as it is. Counted are actions (clicks and acceptances) until the mean J of all images is
80, and until all are decided; with hints that spread over the group, and with hints that act on
their own image only. Seconds are those from an action to the mask of the image that is looked at.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table
from hints import jaccard

from mmcoseg.apis import CoSegInferencer, segment_to_folder
from mmcoseg.datasets.image_io import read_mask
from mmcoseg.engine.loops.click_loop import next_click
from mmcoseg.review.group_bench import ReviewedImage
from mmcoseg.review.results import labels_of_png
from mmcoseg.review.review import Review
from mmcoseg.review.spread import spreading_inferencer

GOOD, MOST_CLICKS = 0.8, 8


@dataclass
class Work:
    """What a person did, and the mean J after each action."""

    jaccards: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def until_good(self) -> int | None:
        """Actions until the mean J is 80; None if it never was."""
        for count, value in enumerate(self.jaccards):
            if value >= GOOD:
                return count
        return None


class Person:
    """Reviews the only group of some results."""

    def __init__(self, results: Path, masks: Path, inferencer: CoSegInferencer, spread: bool):
        self.inferencer = inferencer
        self.review = Review(results, spreading_inferencer)
        [self.bench] = self.review.benches
        self.truth = []
        for image in self.bench.images:
            self.truth.append(read_mask(masks / f'{image.stem}.png') > 127)
        self.bench.load()
        if spread:
            for _ in self.bench.prepare(inferencer):
                pass
        self.bench.prepared = 1.0
        self.scores = [self.jaccard(image) for image in self.bench.images]

    def mask(self, image: ReviewedImage) -> np.ndarray:
        if image.drawn is not None:
            return labels_of_png(image.drawn) > 0
        return self.bench.results.first_mask(image.finished) > 0

    def jaccard(self, image: ReviewedImage) -> float:
        return jaccard(self.mask(image), self.truth[image.number])

    def draw_all(self) -> None:
        """Let all masks be drawn, which a person does not wait for; score those that changed."""
        bench = self.bench
        versions = [image.version for image in bench.images]
        while bench.outdated or any(map(bench.needs_drawing, bench.images)):
            self.review.step(self.inferencer)
        for image, version in zip(bench.images, versions):
            if image.version != version:
                self.scores[image.number] = self.jaccard(image)

    def act(self, image: ReviewedImage, action: dict, work: Work) -> None:
        start = time.perf_counter()
        self.review.act(dict(action, group=0))
        while self.bench.outdated or self.bench.needs_drawing(image):
            self.review.step(self.inferencer)
        work.seconds.append(time.perf_counter() - start)
        self.scores[image.number] = self.jaccard(image)
        self.draw_all()
        work.jaccards.append(float(np.mean(self.scores)))

    def work(self) -> Work:
        work = Work([float(np.mean(self.scores))])
        while any(image.undecided for image in self.bench.images):
            undecided = [image for image in self.bench.images if image.undecided]
            image = min(undecided, key=lambda image: image.sureness)
            self.review.look(0, [image.number])
            for _ in range(MOST_CLICKS):
                click = next_click(self.mask(image), self.truth[image.number])
                if self.scores[image.number] >= GOOD or click is None:
                    break
                hint = dict(click=[click.x, click.y], object=bool(click.label))
                self.act(image, dict(hint=hint, image=image.number), work)
            self.act(image, dict(decide='accepted', images=[image.number]), work)
        return work


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', type=Path)
    parser.add_argument('--groups', nargs='+', metavar='GROUP')
    parser.add_argument('--images', type=int, default=40, help='images of a group at most')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    names = args.groups or sorted(path.name for path in (args.data / 'images').iterdir())
    inferencer = spreading_inferencer({})
    rows = []
    for name in names:
        photos = sorted((args.data / 'images' / name).iterdir())
        random.Random(args.seed).shuffle(photos)
        for spread in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                results = Path(folder, 'results')
                segment_to_folder({name: sorted(photos[: args.images])}, results)
                person = Person(results, args.data / 'masks' / name, inferencer, spread)
                work = person.work()
                shutil.rmtree(results)
            good = work.until_good
            cells = [name, 'group' if spread else 'own image', len(person.truth)]
            cells += [f'{100 * work.jaccards[0]:.1f}', '-' if good is None else good]
            cells += [len(work.seconds), f'{100 * work.jaccards[-1]:.1f}']
            cells += [f'{np.median(work.seconds):.2f}', f'{np.quantile(work.seconds, 0.9):.2f}']
            rows.append(cells)
            print(*cells, sep=', ', flush=True)
    heads = 'group', 'hints act on', 'images', 'J at first', 'actions until J 80'
    heads += 'actions in all', 'J in the end', 'median seconds', '90 %'
    print(markdown_table(heads, rows))


if __name__ == '__main__':
    main()
