"""What hints are worth: J of images without hints and of those with some, after masks and clicks.

    python benchmarks/hints.py DATA [--evaluate 20] [--noc 8] [--seed 0] [--groups GROUP ...]

DATA holds ``images/<group>/*`` and ``masks/<group>/<stem>.png``. In each group so many images are
drawn that never get hints, and the others get some: the masks of k of them, or the boxes around
their objects, or one click each, in the middle of the largest error of the image's mask. The image
of the next click is chosen at random, by ``next_image()``, or by the worst true J. Then, of some
images each by itself, the number of clicks on the image until its J is 80, with and without what
other images' clicks say.
"""

import argparse
import random
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from _table import markdown_table, seconds

from mmcoseg.apis import CoSegInferencer, GroupSession
from mmcoseg.datasets.image_io import read_mask
from mmcoseg.engine.loops.click_loop import next_click

EXAMPLES = (1, 3, 5, 10)
CLICKS = (1, 3, 5, 10, 20)
MOST_CLICKS = 20


class Group:
    """A group of photographs, its true masks, and which of its images get no hints."""

    def __init__(
        self, folder: Path, masks: Path, evaluate: int, seed: int, spread: bool = True
    ) -> None:
        options = {} if spread else {'model.stages.follow_hints': None}
        self.session = CoSegInferencer(cfg_options=options).open(str(folder))
        self.truth = {}
        for name in self.session.names:
            self.truth[name] = read_mask(masks / f'{Path(name).stem}.png') > 127
        names = list(self.truth)
        random.Random(seed).shuffle(names)
        self.evaluated, self.others = names[:evaluate], names[evaluate:]
        self.before = dict(zip(self.others, self.jaccard(self.others)))

    def clear(self) -> None:
        while self.session.undo():
            pass
        self.session.update()

    def jaccard(self, names: list[str]) -> list[float]:
        """J of the final masks of these images, in per cent."""
        masks = self.session.masks(names)
        return [100 * jaccard(masks[name] > 0, self.truth[name]) for name in names]

    def scores(self) -> tuple[float, float, float, float]:
        """Mean J of the images that get no hints, of all; of those with hints, before and now."""
        names = list(self.truth)
        scores = dict(zip(names, self.jaccard(names)))
        without = np.mean([scores[name] for name in self.evaluated])
        hinted = list(self.session.hints())
        before = now = np.nan
        if hinted:
            before = np.mean([self.before[name] for name in hinted])
            now = np.mean([scores[name] for name in hinted])
        return without, np.mean(list(scores.values())), before, now


def jaccard(mask: np.ndarray, truth: np.ndarray) -> float:
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def coarse_jaccard(prob: np.ndarray, truth: np.ndarray) -> float:
    """J of a soft map (h, w) before its edges are drawn."""
    return jaccard(cv2.resize(prob, truth.shape[::-1]) >= 0.5, truth)


def by_examples(group: Group) -> dict[str, tuple[float, ...]]:
    scores = {}
    for count in EXAMPLES:
        group.clear()
        for name in group.others[:count]:
            group.session.add_example(name, group.truth[name])
        group.session.update()
        scores[f'{count} masks'] = group.scores()
    return scores


def by_boxes(group: Group) -> dict[str, tuple[float, ...]]:
    scores = {}
    for count in EXAMPLES:
        group.clear()
        for name in group.others[:count]:
            rows, columns = np.nonzero(group.truth[name])
            edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            group.session.add_box(name, *map(int, edges))
        group.session.update()
        scores[f'{count} boxes'] = group.scores()
    return scores


def by_clicks(group: Group, policy: str) -> dict[str, tuple[float, ...]]:
    """``policy``: random, next, worst; or negative: random, and only what is no object."""
    group.clear()
    scores, session = {}, group.session
    waiting = list(group.others)
    for count in range(1, CLICKS[-1] + 1):
        for name in ordered(group, waiting, policy):
            waiting.remove(name)
            mask = session.masks([name])[name] > 0
            click = next_click(mask, group.truth[name], only_negative=policy == 'negative')
            if click is not None:
                session.add_click(name, click.x, click.y, object=click.label)
                session.update()
                break
        if count in CLICKS:
            scores[f'{count} clicks, {policy}'] = group.scores()
    return scores


def ordered(group: Group, names: list[str], policy: str) -> list[str]:
    """Images without hints, the one to click on first."""
    if policy == 'next':
        sureness = group.session.sureness()
        return sorted(names, key=sureness.get)
    if policy == 'worst':
        maps = group.session.maps()
        return sorted(names, key=lambda name: coarse_jaccard(maps[name][0], group.truth[name]))
    return list(names)


def clicks_needed(session: GroupSession, name: str, truth: np.ndarray) -> int:
    """Clicks on one image until its J is 80; they are taken back."""
    count = 0
    while count < MOST_CLICKS:
        mask = session.masks([name])[name] > 0
        click = next_click(mask, truth)
        if jaccard(mask, truth) >= 0.8 or click is None:
            break
        session.add_click(name, click.x, click.y, object=click.label)
        session.update()
        count += 1
    for _ in range(count):
        session.undo()
    session.update()
    return count


def update_time(session: GroupSession) -> float:
    """Seconds that an update of all images takes after a click, without edges."""
    session.add_click(session.names[0], 1, 1, object=False)
    taken = seconds(session.update)
    session.undo()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', type=Path)
    parser.add_argument('--groups', nargs='+', metavar='GROUP')
    parser.add_argument('--evaluate', type=int, default=20, help='images of a group without hints')
    parser.add_argument(
        '--noc', type=int, default=8, help='images that are clicked on by themselves'
    )
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    names = args.groups or sorted(path.name for path in (args.data / 'images').iterdir())
    rows: dict[str, list[tuple[float, ...]]] = {}
    counts: dict[str, list[float]] = {}
    for name in names:
        images, masks = args.data / 'images' / name, args.data / 'masks' / name
        group = Group(images, masks, args.evaluate, args.seed)
        scores = dict(nothing=group.scores()) | by_examples(group) | by_boxes(group)
        for policy in ('random', 'next', 'worst', 'negative'):
            scores |= by_clicks(group, policy)
        alone = Group(images, masks, args.evaluate, args.seed, spread=False)
        for what, score in by_clicks(alone, 'random').items():
            scores[f'{what}, no spread'] = score
        for what, score in scores.items():
            rows.setdefault(what, []).append(score)
        group.clear()
        alone.clear()
        print(f'{name}: {len(group.truth)} images, {update_time(group.session):.3f} s an update')
        for image in group.evaluated[: args.noc]:
            for what, either in dict(both=group, image_only=alone).items():
                count = clicks_needed(either.session, image, group.truth[image])
                counts.setdefault(f'{name}, {what}', []).append(count)
        print_tables(names[: names.index(name) + 1], rows, counts)


def print_tables(names: list[str], rows: dict, counts: dict) -> None:
    before = np.array(rows['nothing'])[:, 0]
    table = []
    for what, scores in rows.items():
        without, of_all, hinted_before, hinted_now = np.array(scores).T
        change = without - before
        cells = [f'{without.mean():.1f}', f'{change.min():+.1f} ({names[change.argmin()]})']
        cells += [f'{of_all.mean():.1f}', f'{hinted_before.mean():.1f}', f'{hinted_now.mean():.1f}']
        cells += [f'{value:.1f}' for value in without]
        table.append((what, *cells))
    print(
        markdown_table(
            ('hints', 'J without', 'worst change', 'all', 'hinted: before', 'now', *names), table
        )
    )
    print(
        markdown_table(('clicks until J 80', 'mean'), [(k, np.mean(v)) for k, v in counts.items()])
    )
    for what in ('both', 'image_only'):
        of = [np.mean(v) for k, v in counts.items() if k.endswith(f', {what}')]
        print(f'mean clicks until J 80, {what}: {np.mean(of):.2f}', flush=True)


if __name__ == '__main__':
    main()
