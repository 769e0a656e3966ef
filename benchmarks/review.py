"""What a review costs: actions of a scripted person, and seconds and frames of the page.

    python benchmarks/review.py person DATA [--groups GROUP ...] [--images 40] [--seed 0]
    python benchmarks/review.py page DATA WORK [--group Cat] [--images 1000] [--side 4000]

DATA holds ``images/<group>/*`` and ``masks/<group>/<stem>.png``.

``person``: each group is segmented, and then reviewed: the person looks at the undecided image that
the page offers next, accepts its mask if its J is 80 or more, and else clicks in the middle of its
largest error, at most eight times before it is accepted as it is. Counted are actions (clicks and
acceptances) until the mean J of all images is 80, and until all are decided; with hints that spread
over the group, and with hints that act on their own image only. Seconds are those from an action to
the mask of the image that is looked at.

``page``: photos of 12 megapixels, or another size, are made of the group's, cut at random,
mirrored, enlarged and with grain, and segmented into the folder WORK, which is kept and used again;
each size needs one of its own. The server runs as people start it, and Chromium opens the page:
first while the group is prepared, then again when it is. The first screen is there when all photos
and masks of the window are; frames are counted while the grid scrolls by a window's height a
second; a click's answer is there when its mask is drawn, and the others' when the page says how
many have changed.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
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
            if self.bench.unweighed:
                self.bench.weigh()
            image = max(undecided, key=lambda image: image.value)
            self.review.look(0, [image.number])
            for _ in range(MOST_CLICKS):
                click = next_click(self.mask(image), self.truth[image.number])
                if self.scores[image.number] >= GOOD or click is None:
                    break
                hint = dict(click=[click.x, click.y], object=bool(click.label))
                self.act(image, dict(hint=hint, image=image.number), work)
            self.act(image, dict(decide='accepted', images=[image.number]), work)
        return work


def measure_person(args: argparse.Namespace) -> None:
    names = args.groups or sorted(path.name for path in (args.data / 'images').iterdir())
    inferencer = spreading_inferencer({})
    rows = []
    for name in names:
        photos = sorted((args.data / 'images' / name).iterdir())
        random.Random(args.seed).shuffle(photos)
        with tempfile.TemporaryDirectory() as folder:
            for spread in (True, False):
                results = Path(folder, 'results')
                segment_to_folder({name: sorted(photos[: args.images])}, results)
                person = Person(results, args.data / 'masks' / name, inferencer, spread)
                work = person.work()
                good = work.until_good
                cells = [name, 'the group' if spread else 'the photo itself']
                cells += [f'{100 * work.jaccards[0]:.1f}', 'never' if good is None else good]
                cells += ['' if good is None else f'{sum(work.seconds[:good]):.0f}']
                cells += [len(work.seconds), f'{100 * work.jaccards[-1]:.1f}']
                cells += [f'{np.median(work.seconds):.2f}', f'{np.quantile(work.seconds, 0.9):.2f}']
                rows.append(cells)
                print(*cells, sep=', ', flush=True)
                shutil.rmtree(results / '.mmcoseg' / 'review')
    heads = 'group', 'hints act on', 'J at first', 'actions until J 80', 'server seconds'
    heads += 'actions in all', 'J in the end', 'median seconds', '90 %'
    print(markdown_table(heads, rows))


def make_photos(sources: Sequence[Path], folder: Path, number: int, side: int) -> None:
    """Photos of this longer side, all different; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    grain = np.random.default_rng(0).normal(0, 6, (1024, 1024, 1))
    grain = np.tile(grain, (4, 4, 1)).astype(np.float32)
    for index in range(number):
        file = folder / f'{index:04d}.jpg'
        if file.exists():
            continue
        pixels = cv2.imread(str(sources[index % len(sources)]))
        generator = np.random.default_rng(index)
        height, width = pixels.shape[:2]
        share = generator.uniform(0.8, 1)
        top, left = (int(generator.uniform(0, 1 - share) * side) for side in (height, width))
        pixels = pixels[top : top + int(share * height), left : left + int(share * width)]
        if generator.random() < 0.5:
            pixels = pixels[:, ::-1]
        size = (side, 3 * side // 4) if width >= height else (3 * side // 4, side)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
        pixels = (pixels + grain[: size[1], : size[0]]).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(file), pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])


#: Notes when the mouse was pressed, and when a mask was drawn large that was not drawn before.
NOTE_TIMES = """
addEventListener('pointerdown', () => {
  document.getElementById('message').replaceChildren();
  Object.assign(window, { pressed: performance.now(), ownMask: null, others: null });
}, true);
const seen = new WeakSet();
const draw = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (picture, ...rest) {
  if (picture instanceof ImageBitmap && !seen.has(picture)) {
    seen.add(picture);
    window.ownMask ??= performance.now() - window.pressed;
  }
  return draw.call(this, picture, ...rest);
};
"""
#: Whether the photos and masks of all cards in the window are shown.
SCREEN_IS_THERE = """
() => {
  const view = document.getElementById('grid-view').getBoundingClientRect();
  const cards = [...document.querySelectorAll('#grid li')].filter((card) => {
    const { top, bottom } = card.getBoundingClientRect();
    return bottom > view.top && top < view.bottom;
  });
  const shown = (picture) => picture.src && picture.complete && picture.naturalWidth > 0;
  return cards.length > 0 && cards.every((card) => [...card.querySelectorAll('img')].every(shown));
}
"""
#: Milliseconds between frames while the grid scrolls down for some seconds.
SCROLL = """
(seconds) => new Promise((resolve) => {
  const grid = document.getElementById('grid-view');
  const frames = [];
  let first;
  let last;
  const scroll = (now) => {
    first ??= now;
    if (last !== undefined) {
      frames.push(now - last);
      grid.scrollBy(0, (grid.clientHeight * (now - last)) / 1000);
    }
    last = now;
    if (now - first < 1000 * seconds) requestAnimationFrame(scroll);
    else resolve(frames);
  };
  requestAnimationFrame(scroll);
})
"""
#: Milliseconds from the click until the new mask of the photo was drawn, and until the page said
#: how many others have changed; null where nothing came.
ANSWERS = """
() => new Promise((resolve) => {
  const look = () => {
    const now = performance.now() - window.pressed;
    if (/chang/.test(document.getElementById('message').textContent)) window.others ??= now;
    const done = now > 4000 && window.ownMask && window.others;
    if (!done && now < 15000) requestAnimationFrame(look);
    else resolve([window.ownMask, window.others]);
  };
  requestAnimationFrame(look);
})
"""


class Served:
    """``mmcoseg review`` as people start it."""

    def __init__(self, results: Path) -> None:
        start = time.perf_counter()
        command = [sys.executable, '-m', 'mmcoseg.cli', 'review', str(results), '--no-browser']
        environment = dict(os.environ, PYTHONPATH=str(Path(__file__).resolve().parents[1]))
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().split()[-1]
        self.seconds = time.perf_counter() - start

    @property
    def gigabytes(self) -> float:
        """The most memory that it has used up to now."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        [line] = (line for line in status.splitlines() if line.startswith('VmHWM'))
        return int(line.split()[1]) / 1e6

    def __enter__(self) -> 'Served':
        return self

    def __exit__(self, *error: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


class Visit:
    """The page in Chromium."""

    def __init__(self, browser: Any, address: str) -> None:
        self.page = browser.new_page(viewport=dict(width=1280, height=800))
        self.page.set_default_timeout(3_600_000)
        self.page.add_init_script(NOTE_TIMES)
        start = time.perf_counter()
        self.page.goto(address)
        self.page.wait_for_function(SCREEN_IS_THERE, polling='raf')
        self.first_screen = time.perf_counter() - start

    def frames(self, seconds: float = 10) -> np.ndarray:
        """Milliseconds between frames while the grid scrolls."""
        return np.array(self.page.evaluate(SCROLL, seconds))

    def wait_until_prepared(self) -> float:
        """Seconds until hints count for the whole group."""
        start = time.perf_counter()
        self.page.wait_for_selector('#preparing-line', state='hidden')
        return time.perf_counter() - start

    def clicks(self, number: int = 12) -> np.ndarray:
        """Seconds of the answers, (number, 2): to the photo that is clicked on, and all others."""
        self.page.keyboard.press('n')
        found = []
        for index in range(number):
            self.page.wait_for_selector('#stage[aria-busy=false]')
            self.page.wait_for_timeout(3000)
            box = self.page.locator('#stage').bounding_box()
            # Background of what is likely object, and object of what is likely background.
            button, share = (('right', 0.5), ('left', 0.25))[index % 2]
            place = dict(x=share * box['width'], y=share * box['height'])
            self.page.click('#stage', button=button, position=place)
            found.append(self.page.evaluate(ANSWERS))
            self.page.keyboard.press('j')
        return np.array(found, dtype=float) / 1000


def measure_page(args: argparse.Namespace) -> None:
    from playwright.sync_api import sync_playwright

    photos, results = args.work / 'photos' / args.group, args.work / f'results-{args.images}'
    sources = sorted((args.data / 'images' / args.group).iterdir())
    make_photos(sources, photos, args.images, args.side)
    chosen = sorted(photos.iterdir())[: args.images]
    segment_to_folder({args.group: chosen}, results)
    shutil.rmtree(results / '.mmcoseg' / 'review', ignore_errors=True)
    rows = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=args.chromium, args=['--no-sandbox'])
        for when in ('first time', 'again'):
            with Served(results) as served:
                found = measure_visit(browser, served, clicks=when == 'again')
            for name, value in found.items():
                rows.append((f'{name}, {when}', value))
                print(*rows[-1], sep=': ', flush=True)
    print(markdown_table((f'{args.images} photos of {args.side} pixels', ''), rows))


def measure_visit(browser: Any, served: Served, clicks: bool) -> dict[str, str]:
    visit = Visit(browser, served.address)
    frames = visit.frames()
    late = 100 * np.mean(frames > 1000 / 30)
    found = {
        'server is ready after': f'{served.seconds:.1f} s',
        'first screen': f'{visit.first_screen:.2f} s',
        'scrolling': f'{1000 / frames.mean():.0f} frames/s, {late:.1f} % later than 1/30 s',
        'hints count for all after': f'{visit.wait_until_prepared():.0f} s more',
    }
    if clicks:
        for name, times in zip(('photo itself', 'all others'), visit.clicks().T):
            times = times[~np.isnan(times)]
            text = 'never'
            if times.size:
                text = f'median {np.median(times):.2f} s, at most {times.max():.2f} s'
            found[f'from a click to the {name}'] = f'{text} ({len(times)} of 12)'
    found['memory of the server'] = f'{served.gigabytes:.2f} GB'
    visit.page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    person = commands.add_parser('person', help='actions of a scripted person')
    person.set_defaults(measure=measure_person)
    person.add_argument('data', type=Path)
    person.add_argument('--groups', nargs='+', metavar='GROUP')
    person.add_argument('--images', type=int, default=40, help='images of a group at most')
    person.add_argument('--seed', type=int, default=0)
    page = commands.add_parser('page', help='seconds and frames of the page')
    page.set_defaults(measure=measure_page)
    page.add_argument('data', type=Path)
    page.add_argument('work', type=Path, help='folder for the photos and their results')
    page.add_argument('--group', default='Cat')
    page.add_argument('--images', type=int, default=1000)
    page.add_argument('--side', type=int, default=4000, help='longer side of the photos')
    page.add_argument('--chromium', default='/usr/bin/chromium')
    args = parser.parse_args()
    args.measure(args)


if __name__ == '__main__':
    main()
