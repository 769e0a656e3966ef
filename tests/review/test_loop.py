"""The whole way of a review: the command, its server, a browser, and what is killed meanwhile."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip('playwright.sync_api', reason='the page is tested by playwright')
pytest.importorskip('uvicorn', reason="the review is not installed: 'mmcoseg[review]'")
sys.path.insert(0, str(Path(__file__).parent))
from test_page import CHROMIUM, COLOR_AT, DESKTOP, PHONE, wait_until

from mmcoseg.apis import segment_to_folder

pytestmark = pytest.mark.slow
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason='there is no Chromium to show the page in'
)
expect = playwright.expect
NUMBER, SIDE = 6, 160
PATIENCE = 120_000  # milliseconds: the server imports torch first


@pytest.fixture(scope='module')
def segmented(tmp_path_factory, repo) -> Path:
    """Photos of two things, both of which are found, and their results."""
    root = tmp_path_factory.mktemp('photos')
    drawing = dict(categories=2, classes=2, images=NUMBER)
    options = [f'--{name}={value}' for name, value in drawing.items()]
    options += ['--size', str(SIDE), str(SIDE), '--distractors', '0', '0', '--out', str(root)]
    command = [sys.executable, str(repo / 'tools/misc/render_synthetic.py'), *options]
    subprocess.run(command, check=True, capture_output=True)
    segment_to_folder(root / 'images', root / 'results', num_workers=1)
    return root


def zigzag(mask: np.ndarray) -> list[tuple[float, float]]:
    """A line through all of an object, from side to side; 0 to 1 from the photo's corner."""
    rows = np.nonzero(mask.any(axis=1))[0]
    points = []
    for y in rows[2::5]:
        columns = np.nonzero(mask[y])[0]
        points += [(columns[0], y), (columns[-1], y)]
    return [((x + 0.5) / SIDE, (y + 0.5) / SIDE) for x, y in points]


@pytest.fixture(scope='module')
def things(segmented) -> list[tuple]:
    """Lines through the first and the second thing of each photo."""
    found = []
    for file in sorted(segmented.glob('masks/*/*')):
        labels = np.asarray(Image.open(file))
        found.append((zigzag(labels == 1), zigzag(labels == 2)))
    return found


@pytest.fixture
def folder(segmented, tmp_path) -> Path:
    shutil.copytree(segmented, tmp_path / 'copy')
    return tmp_path / 'copy' / 'results'


class Served:
    """``mmcoseg review`` as people start it."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        command = [sys.executable, '-m', 'mmcoseg.cli', 'review', str(folder), '--no-browser']
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.address = self.process.stdout.readline().split()[-1]
        self.origin, _, self.token = self.address.partition('/?token=')

    def end(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        self.process.wait(120)
        # Not until their end: processes that the server has started outlive it for a while.
        self.process.stdout.close()
        self.process.stderr.close()

    def ask(self, path: str, content: dict | None = None) -> dict:
        """What the server answers to a request, or to one that says something."""
        port = self.origin.rpartition(':')[2]
        headers = {'Cookie': f'mmcoseg_review_{port}={self.token}'}
        data = None
        if content is not None:
            headers |= {'Content-Type': 'application/json', 'X-Mmcoseg': '1'}
            data = json.dumps(content).encode()
        request = urllib.request.Request(self.origin + path, data, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())


@pytest.fixture
def serve(folder, repo_env) -> Iterator:
    """Starts servers of the folder, one after the other."""
    started = []

    def start() -> Served:
        started.append(Served(folder, repo_env))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.end(signal.SIGKILL)


@pytest.fixture
def launch() -> Iterator:
    """Starts browsers."""
    with playwright.sync_playwright() as started:
        yield lambda: started.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])


class Visit:
    """A person before the page."""

    def __init__(self, browser, address: str, **options: object) -> None:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        self.page = context.new_page()
        self.errors: list[str] = []
        self.page.on('pageerror', lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.touch = 'has_touch' in options
        expect(self.page.locator('#grid li')).to_have_count(NUMBER, timeout=PATIENCE)

    def wait_until_prepared(self) -> None:
        expect(self.page.locator('#preparing-line')).to_be_hidden(timeout=PATIENCE)

    def open_image(self, number: int) -> None:
        self.press(f'#grid li[data-number="{number}"] a')
        self.wait_for_photo()

    def wait_for_photo(self) -> None:
        expect(self.page.locator('#stage')).to_have_attribute('aria-busy', 'false')

    def press(self, button: str) -> None:
        # Not a tap: on a busy machine the finger may rest so long that it is none.
        self.page.locator(button).click()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the fitted photo (0 to 1, from its corner) is on the screen."""
        box = self.page.locator('#stage').bounding_box()
        side = min(box['width'], box['height']) - 16
        left, top = box['x'] + (box['width'] - side) / 2, box['y'] + (box['height'] - side) / 2
        return left + x * side, top + y * side

    def color(self, x: float, y: float) -> list[int]:
        left, top = self.place(x, y)
        box = self.page.locator('#stage').bounding_box()
        return self.page.evaluate(COLOR_AT, [left - box['x'], top - box['y']])

    def brush(self, line: list[tuple[float, float]], is_object: bool) -> None:
        """Brush along a line, on a phone after the buttons that say so."""
        if self.touch:
            if self.page.locator('#edit').get_attribute('aria-pressed') == 'false':
                self.press('#edit')
            self.press('#sign-object' if is_object else '#sign-background')
        points = [self.place(x, y) for x, y in line]  # the buttons may have moved the photo
        if self.touch:
            self._touch(points)
            return
        button = 'left' if is_object else 'right'
        self.page.mouse.move(*points[0])
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*point)
        self.page.mouse.up(button=button)

    def _touch(self, points: list[tuple[float, float]]) -> None:
        session = self.page.context.new_cdp_session(self.page)
        for index, (x, y) in enumerate(points):
            kind = 'touchMove' if index else 'touchStart'
            fingers = [dict(x=x, y=y)]
            session.send('Input.dispatchTouchEvent', dict(type=kind, touchPoints=fingers))
        # The finger rests before it is lifted, or it is a fling, which swallows the next tap.
        self.page.wait_for_timeout(300)
        session.send('Input.dispatchTouchEvent', dict(type='touchMove', touchPoints=fingers))
        session.send('Input.dispatchTouchEvent', dict(type='touchEnd', touchPoints=[]))

    def expect_counts(self, **counts: int) -> None:
        for state, count in counts.items():
            shown = self.page.locator(f'#counts [data-state="{state}"]')
            expect(shown).to_contain_text(str(count), timeout=PATIENCE)


@needs_browser
@pytest.mark.parametrize('options', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_click_follow_undo_accept_restart_export(folder, serve, launch, things, options) -> None:
    served, browser = serve(), launch()
    person = Visit(browser, served.address, **options)
    page = person.page
    person.wait_until_prepared()

    # Say in two photos which of the two things is meant: the others follow.
    followed = page.locator('#message', has_text=re.compile('images? changed'))
    for number, (object_, other) in enumerate(things[:2]):
        person.open_image(number)
        before = person.color(*other[0])
        person.brush(other, False)
        expect(page.locator('#said-title')).to_have_text('1 hint')
        wait_until(lambda before=before, place=other[0]: person.color(*place) != before)
        person.brush(object_, True)
        expect(page.locator('#said-title')).to_have_text('2 hints')
        person.press('#to-grid')
    expect(followed).to_be_visible()
    changed = page.locator('#grid .changed')
    expect(changed.first).to_be_visible()
    person.open_image(1)

    # Undo: all is as it was, and the photo of the first hint is shown.
    for _ in range(4):
        person.press('#undo')
    expect(page.locator('#image-name')).to_have_text('000.jpg', timeout=PATIENCE)
    expect(page.locator('#undo')).to_be_disabled(timeout=PATIENCE)
    expect(page.locator('#said-title')).to_have_text('No hints yet', timeout=PATIENCE)
    person.wait_for_photo()

    # The page shows decisions before they are acknowledged, so ask the server itself.
    def decided() -> tuple[int, int]:
        counts = served.ask('/api/state')['groups'][0]['counts']
        return counts['accepted'], counts['rejected']

    # Accept, and say that something is not there; what comes next is shown.
    name = page.locator('#image-name').inner_text()
    person.press('#accept')
    expect(page.locator('#image-name')).not_to_have_text(name)
    person.wait_for_photo()
    person.press('#reject')
    wait_until(lambda: decided() == (1, 1))
    person.expect_counts(accepted=1, rejected=1, unseen=NUMBER - 2)

    # Kill the server, and start it again: all is there, and can still be taken back.
    served.end(signal.SIGKILL)
    expect(page.locator('#banner')).to_be_visible(timeout=PATIENCE)
    page.context.close()
    served = serve()
    person = Visit(browser, served.address, **options)
    page = person.page
    person.expect_counts(accepted=1, rejected=1, unseen=NUMBER - 2)
    person.press('#undo')
    person.expect_counts(accepted=1, rejected=0, unseen=NUMBER - 1)
    person.press('#redo')
    person.expect_counts(accepted=1, rejected=1)

    # Export.
    person.press('#export')
    page.locator('#formats input[value="yolo"]').check()
    person.press('#export-run')
    expect(page.locator('#export-answer')).to_contain_text('Written into', timeout=PATIENCE)
    assert person.errors == []
    served.end(signal.SIGINT)
    assert len(list((folder / 'exported').rglob('*.txt'))) >= NUMBER - 1
    [group] = json.loads((folder / 'summary.json').read_text())['groups']
    states = sorted(image['review'] for image in group['images'])
    assert states == ['accepted', 'rejected'] + ['unseen'] * (NUMBER - 2)


@needs_browser
def test_two_people_see_each_other_and_a_killed_browser_loses_nothing(
    serve, launch, things
) -> None:
    served = serve()
    browser = launch()
    one = Visit(browser, served.address, **DESKTOP)
    other = Visit(launch(), served.address, **DESKTOP)
    one.open_image(2)
    one.brush(things[2][1], False)
    expect(one.page.locator('#said-title')).to_have_text('1 hint')
    expect(other.page.locator('#grid li[data-number="2"]')).to_contain_text('1 hint')
    other.open_image(2)
    expect(other.page.locator('#said-title')).to_have_text('1 hint')
    other.page.keyboard.press('x')
    one.expect_counts(rejected=1)
    expect(one.page.locator('#image-state')).to_contain_text('not here')
    pid = browser.new_browser_cdp_session().send('SystemInfo.getProcessInfo')
    [main] = [one['id'] for one in pid['processInfo'] if one['type'] == 'browser']
    subprocess.run(['kill', '-9', str(main)], check=True)
    other.page.keyboard.press('z')
    other.page.keyboard.press('z')
    other.expect_counts(rejected=0)
    again = Visit(launch(), served.address, **DESKTOP)
    again.expect_counts(unseen=NUMBER)
    expect(again.page.locator('#redo')).to_be_enabled()


@needs_browser
def test_a_server_that_is_stopped_lets_pages_know(serve, launch) -> None:
    served = serve()
    person = Visit(launch(), served.address, **DESKTOP)
    served.process.send_signal(signal.SIGINT)
    expect(person.page.locator('#banner')).to_contain_text('The server has ended')
    _, told = served.process.communicate(timeout=120)
    assert 'Traceback' not in told
    assert served.process.returncode in (0, 130)  # 0 where a shell lets jobs ignore Ctrl-C


def test_a_killed_server_loses_at_most_the_action_in_the_air(folder, serve) -> None:
    last = 0  # number of the last line of the journal that was acknowledged
    for round_ in range(3):
        served = serve()
        known = served.ask('/api/state')['seq']
        assert known - last in (0, 1)
        last = known
        killer = threading.Timer(0.4 + 0.2 * round_, served.end, [signal.SIGKILL])
        killer.start()
        try:
            while True:
                hint = dict(click=[10 + round_, 10], object=False)
                said = dict(hint=hint, group=0, image=last % NUMBER)
                last = served.ask('/api/actions', said)['seq']
        except OSError:  # that of a connection that has ended, too
            pass
        killer.join()
        assert last > known, 'nothing was said before the server was killed'
    lines = (folder / '.mmcoseg' / 'review' / 'journal.jsonl').read_text().splitlines()
    assert len(lines) - last in (0, 1)


def test_results_in_use_are_refused(folder, serve, repo_env) -> None:
    served = serve()
    for command in (['review', str(folder)], ['segment', str(folder.parent / 'images')]):
        out = ['--out', str(folder)] if command[0] == 'segment' else ['--no-browser']
        second = subprocess.run(
            [sys.executable, '-m', 'mmcoseg.cli', *command, *out],
            env=repo_env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert second.returncode != 0
        assert 'another run or review is using' in second.stderr
    assert served.ask('/api/state')['groups'][0]['images'] == NUMBER
