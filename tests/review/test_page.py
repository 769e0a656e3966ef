"""The review page in a real browser, before a stub of the server."""

import base64
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

playwright = pytest.importorskip('playwright.sync_api', reason='the page is tested by playwright')
pytest.importorskip('starlette', reason='the stub server needs starlette')
pytest.importorskip('uvicorn', reason='the stub server needs uvicorn')
sys.path.insert(0, str(Path(__file__).parent))
from stub_server import StubReview, StubServer

from mmcoseg.visualization import PALETTE

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason='there is no Chromium to show the page in'),
]
expect = playwright.expect
expect.set_options(timeout=40_000)  # milliseconds; machines are busy
DESKTOP = {'viewport': {'width': 1280, 'height': 800}}
PHONE = {'viewport': {'width': 390, 'height': 844}, 'has_touch': True, 'is_mobile': True}
PATIENCE = 40.0  # seconds, on a busy machine


@pytest.fixture(scope='module')
def browser() -> Iterator:
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])


@pytest.fixture(scope='module')
def server() -> Iterator[StubServer]:
    server = StubServer(StubReview())
    yield server
    server.stop()


class Visit:
    """A person before the page, and what the page has asked for and complained of."""

    def __init__(self, browser, server: StubServer, **options: object) -> None:
        self.stub, self.server = server.stub, server
        self.context = browser.new_context(**{**DESKTOP, **options})
        self.context.set_default_timeout(1000 * PATIENCE)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.context.on('request', lambda request: self.requests.append(request.url))
        self.page = self.open()

    def open(self):
        """One more tab, at the grid of the first group."""
        page = self.context.new_page()
        page.on('pageerror', lambda error: self.complaints.append(str(error)))
        page.on('console', self._listen)
        page.goto(f'{self.server.address}?token={self.stub.token}')
        page.wait_for_selector('#grid li, #banner:not([hidden])')
        return page

    def _listen(self, message) -> None:
        if message.type in ('error', 'warning'):
            self.complaints.append(message.text)

    def open_image(self, number: int) -> None:
        self.page.locator(f'#grid li[data-number="{number}"] a').click()
        self.wait_for_photo(number)

    def wait_for_photo(self, number: int) -> None:
        name = self.stub.groups[0].images[number].file_name
        expect(self.page.locator('#image-name')).to_have_text(name)
        expect(self.page.locator('#stage')).to_have_attribute('aria-busy', 'false')
        self.page.wait_for_function(PAINTED)

    def place(self, number: int, x: float, y: float) -> dict:
        """Where a place of a fitted image (0 to 1, from its corner) is on the stage."""
        image = self.stub.groups[0].images[number]
        box = self.page.locator('#stage').bounding_box()
        scale = min((box['width'] - 16) / image.width, (box['height'] - 16) / image.height)
        left = (box['width'] - scale * image.width) / 2
        top = (box['height'] - scale * image.height) / 2
        return {'x': left + x * scale * image.width, 'y': top + y * scale * image.height}

    def color(self, place: dict) -> list[int]:
        """What the stage shows there."""
        return self.page.evaluate(COLOR_AT, [place['x'], place['y']])

    def state(self, number: int) -> str:
        return self.page.locator(f'#grid li[data-number="{number}"]').get_attribute('data-state')

    def focused(self) -> int:
        """The image whose card has the focus."""
        return int(self.page.evaluate("document.activeElement.closest('li').dataset.number"))

    def posted(self, kind: str = 'actions') -> list[dict]:
        return [body for name, body in self.stub.posts if name == kind]


# Of a copy, since the stage's own canvas is not made to be read.
COLOR_AT = """([x, y]) => {
  const stage = document.getElementById('stage');
  const scale = stage.width / stage.clientWidth;
  const copy = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  copy.drawImage(stage, -Math.floor(x * scale), -Math.floor(y * scale));
  return [...copy.getImageData(0, 0, 1, 1).data];
}"""
PAINTED = f"""() => {{
  const {{ clientWidth, clientHeight }} = document.getElementById('stage');
  return ({COLOR_AT})([clientWidth / 2, clientHeight / 2])[3] === 255;
}}"""


@pytest.fixture
def visit(browser, server: StubServer) -> Iterator[Callable[..., Visit]]:
    """Begins a visit; at its end the page must have complained of nothing that was not foreseen."""
    visits = []

    def begin(
        foreseen: str | None = None,
        prepare: Callable[[StubReview], None] = lambda stub: None,
        **options: object,
    ) -> Visit:
        server.stub.reset()
        prepare(server.stub)
        visits.append((Visit(browser, server, **options), foreseen))
        return visits[-1][0]

    yield begin
    for begun, foreseen in visits:
        begun.context.close()
        rest = [text for text in begun.complaints if foreseen is None or foreseen not in text]
        assert rest == []
        elsewhere = [url for url in begun.requests if not url.startswith(server.address)]
        assert [url for url in elsewhere if not url.startswith('blob:')] == []


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, 'it did not come true'
        time.sleep(0.02)


def test_click_accept_undo_redo(visit) -> None:
    person = visit()
    page, stub = person.page, person.stub
    assert [person.state(i) for i in range(24)] == ['unseen'] * 24
    person.open_image(0)
    beside = person.place(0, 0.12, 0.5)
    before = person.color(beside)

    page.locator('#stage').click(position=person.place(0, 0.1, 0.5))
    wait_until(lambda: person.color(beside) != before)
    hint = person.posted()[0]['hint']
    assert hint['object'] is True
    np.testing.assert_allclose(hint['click'], [64, 240], atol=1)
    expect(page.locator('#said-title')).to_have_text('1 hint')
    expect(page.locator('#message')).to_contain_text('8 images changed.')
    grown = person.color(beside)

    page.keyboard.press('Space')
    wait_until(lambda: stub.groups[0].images[0].state == 'corrected')
    # The next image is the one whose answer tells most: the least sure one.
    least = min(stub.groups[0].images[1:], key=lambda image: image.sureness)
    person.wait_for_photo(least.number)
    assert person.state(0) == 'corrected'
    expect(page.locator('#decided')).to_have_text('1 of 24 images decided')

    page.keyboard.press('z')
    expect(page.locator('#message')).to_contain_text('Undone: "accepted" of 1 image')
    person.wait_for_photo(0)  # where it was
    assert person.state(0) == 'unseen'
    wait_until(lambda: person.color(beside) == grown)
    page.keyboard.press('z')
    wait_until(lambda: person.color(beside) == before)
    expect(page.locator('#said-title')).to_have_text('No hints yet')
    expect(page.locator('#undo')).to_be_disabled()

    page.keyboard.press('Shift+Z')
    wait_until(lambda: person.color(beside) == grown)
    page.locator('#redo').click()
    wait_until(lambda: person.state(0) == 'corrected')
    expect(page.locator('#redo')).to_be_disabled()
    page.keyboard.press('Shift+Z')
    expect(page.locator('#message')).to_contain_text('There is nothing to redo.')


def test_marks_of_all_kinds(visit) -> None:
    person = visit()
    page = person.page
    person.open_image(0)
    corner = page.locator('#stage').bounding_box()
    start, end = person.place(0, 0.7, 0.2), person.place(0, 0.9, 0.4)

    def drag(button: str = 'left') -> None:
        page.mouse.move(corner['x'] + start['x'], corner['y'] + start['y'])
        page.mouse.down(button=button)
        page.mouse.move(corner['x'] + end['x'], corner['y'] + end['y'], steps=6)
        page.mouse.up(button=button)

    page.locator('#stage').click(position=start, button='right')
    page.locator('#stage').click(position=end, modifiers=['Alt'])
    drag()
    drag('right')
    page.keyboard.down('Shift')
    drag()
    page.keyboard.up('Shift')
    page.locator('#stage').click(position={'x': 3, 'y': 3})  # beside the photo: nothing
    wait_until(lambda: len(person.posted()) == 5)
    hints = [action['hint'] for action in person.posted()]
    kinds = [(next(iter(hint)), hint['object']) for hint in hints]
    assert kinds == [
        ('click', False),
        ('click', False),
        ('stroke', True),
        ('stroke', False),
        ('box', True),
    ]
    np.testing.assert_allclose(hints[2]['stroke'][0], [448, 96], atol=1)
    np.testing.assert_allclose(hints[2]['stroke'][-1], [576, 192], atol=1)
    np.testing.assert_allclose(hints[4]['box'], [448, 96, 576, 192], atol=1)
    expect(page.locator('#said-list li')).to_have_count(5)


def test_a_hint_of_one_kind_asks_for_the_other(visit) -> None:
    person = visit()
    alone = dict(group=0, hint_image=0, changed=0, accepted_changed=0, asked=[])
    for unsaid, text in (
        ('object', 'Mark what is the object'),
        ('background', 'is not the object'),
    ):
        person.stub.publish('spread', **alone, unsaid=unsaid)
        expect(person.page.locator('#message')).to_contain_text(text)


def test_classes_have_keys_and_colors(visit) -> None:
    person = visit()
    page, stub = person.page, person.stub
    page.select_option('#group', '1')
    expect(page.locator('#legend')).to_have_text('mugplate')
    expect(page.locator('#grid li')).to_have_count(8)
    page.locator('#grid li[data-number="0"] a').click()
    expect(page.locator('#palette button')).to_have_count(2)
    page.wait_for_function(PAINTED)
    page.keyboard.press('2')
    expect(page.locator('#palette button').nth(1)).to_have_attribute('aria-pressed', 'true')
    page.locator('#stage').click(position=person.place(0, 0.8, 0.2))
    wait_until(lambda: len(person.posted()) == 1)
    assert person.posted()[0]['hint']['object'] == 'plate'
    assert person.posted()[0]['group'] == 1
    wait_until(lambda: not stub.groups[1].images[0].coarse)
    # Beside the sign, in the mask that has grown: the color of class 2 upon the photo.
    page.locator('#opacity').fill('1')
    shown = person.place(0, 0.83, 0.2)
    wait_until(lambda: person.color(shown)[:3] == list(PALETTE[1]))


def test_everything_by_keyboard(visit) -> None:
    person = visit()
    page = person.page
    assert person.focused() == 0  # the least sure one comes first
    page.keyboard.press('ArrowRight')
    page.keyboard.press('ArrowDown')
    second = person.focused()
    page.keyboard.press('ArrowUp')
    page.keyboard.press('x')
    wait_until(lambda: person.posted() == [{'decide': 'rejected', 'group': 0, 'images': [7]}])
    page.keyboard.press('End')
    last = person.focused()
    page.keyboard.press('Home')
    assert person.focused() == 0
    assert len({0, 7, second, last}) == 4

    page.keyboard.press('Enter')
    person.wait_for_photo(0)
    for _ in range(3):
        page.keyboard.press('ArrowLeft')  # the first one shows the crosshair
    page.keyboard.press('Shift+ArrowUp')
    page.keyboard.press('Enter')
    page.keyboard.press('Shift+ArrowRight')
    page.keyboard.press('Backspace')
    page.keyboard.press('b')
    page.keyboard.press('Shift+ArrowRight')
    page.keyboard.press('Shift+ArrowDown')
    page.keyboard.press('b')
    page.keyboard.press('s')
    page.keyboard.press('ArrowLeft')
    page.keyboard.press('ArrowLeft')
    page.keyboard.press('Backspace')
    wait_until(lambda: len(person.posted()) == 5)
    here, there, box, stroke = (action['hint'] for action in person.posted()[1:])
    scale = 480 / (page.locator('#stage').bounding_box()['height'] - 16)
    np.testing.assert_allclose(here['click'], [320 - 16 * scale, 240 - 40 * scale], atol=1)
    np.testing.assert_allclose(there['click'], [320 + 24 * scale, 240 - 40 * scale], atol=1)
    np.testing.assert_allclose(np.diff(np.reshape(box['box'], (2, 2)), axis=0), 40 * scale, atol=1)
    assert (here['object'], there['object']) == (True, False)
    right = box['box'][2:]
    steps = [[right[0] - 8 * i * scale, right[1]] for i in range(3)]
    np.testing.assert_allclose(stroke['stroke'], steps, atol=1)
    assert stroke['object'] is False

    page.keyboard.press('m')
    expect(page.locator('#show-mask')).to_have_attribute('aria-pressed', 'false')
    page.keyboard.press('o')
    expect(page.locator('#outline')).to_have_attribute('aria-pressed', 'true')
    page.keyboard.press('d')
    wait_until(lambda: person.posted()[-1].get('decide') == 'left out')
    page.keyboard.press('j')
    page.keyboard.press('k')
    page.keyboard.press('n')
    page.keyboard.press('?')
    expect(page.locator('#keys-dialog')).to_be_visible()
    page.keyboard.press('Escape')
    expect(page.locator('#keys-dialog')).to_be_hidden()
    page.keyboard.press('g')
    expect(page.locator('#viewer')).to_be_hidden()
    assert page.evaluate('document.activeElement.className').startswith('picture')
    # Tab reaches every control, and what it reaches is seen.
    reached = set()
    for _ in range(16):
        page.keyboard.press('Tab')
        reached.add(page.evaluate('document.activeElement.id'))
        outline = "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        assert page.evaluate(f'document.activeElement === document.body || {outline}')
    assert reached >= {'group', 'undo', 'export', 'help', 'order', 'surer-than', 'accept-surer'}


def test_images_keep_their_places_once_somebody_works(visit) -> None:
    person = visit()
    page, images = person.page, person.stub.groups[0].images
    first = page.locator('#grid li').first
    expect(first).to_have_attribute('data-number', '0')
    images[5].sureness = 0.1
    person.stub.publish_images(0, [images[5]])
    expect(first).to_have_attribute('data-number', '5')
    assert person.focused() == 5
    page.keyboard.press('ArrowRight')
    images[7].sureness = 0.05
    person.stub.publish_images(0, [images[7]])
    expect(page.locator('#sort-again')).to_be_visible()
    expect(first).to_have_attribute('data-number', '5')
    page.locator('#sort-again').click()
    expect(first).to_have_attribute('data-number', '7')
    first.locator('.name').click()  # the caption belongs to the picture
    person.wait_for_photo(7)


def test_next_and_previous_follow_the_grid(visit) -> None:
    person = visit()
    page = person.page
    page.select_option('#order', 'name')
    page.locator('#grid li[data-number="3"] a').click()
    person.wait_for_photo(3)
    page.keyboard.press('j')
    person.wait_for_photo(4)
    page.keyboard.press('k')
    page.keyboard.press('k')
    person.wait_for_photo(2)
    page.go_back()
    expect(page.locator('#viewer')).to_be_hidden()
    assert person.focused() == 2


def test_accept_all_surer_than_the_slider(visit) -> None:
    person = visit()
    page, images = person.page, person.stub.groups[0].images
    page.locator('#surer-than').fill('0.7')
    surer = [image.number for image in images if image.sureness > 0.7]
    expect(page.locator('#accept-surer')).to_have_text(f'Accept {len(surer)} images')
    page.keyboard.press('a')
    expect(page.locator('#ask-text')).to_contain_text(f'surer than 0.70: {len(surer)} images')
    page.keyboard.press('Escape')
    expect(page.locator('#ask-dialog')).to_be_hidden()
    assert person.posted() == []
    page.keyboard.press('a')
    page.keyboard.press('Enter')
    wait_until(lambda: len(person.posted()) == 1)
    assert sorted(person.posted()[0]['images']) == surer
    expect(page.locator('#counts [data-state="accepted"] strong')).to_have_text(str(len(surer)))
    expect(page.locator('#accept-surer')).to_be_disabled()
    page.keyboard.press('a')
    expect(page.locator('#message')).to_contain_text('No unseen image is surer than 0.70.')


def test_accepted_images_change_only_when_asked(visit) -> None:
    person = visit()
    page, images = person.page, person.stub.groups[0].images
    for number in (1, 4):  # of those that a hint will reach
        page.locator(f'#grid li[data-number="{number}"] a').focus()
        page.keyboard.press('Space')
    wait_until(lambda: images[4].decision == 'accepted')
    person.open_image(0)
    page.locator('#stage').click(position=person.place(0, 0.1, 0.5))
    line = page.locator('#message')
    expect(line).to_contain_text('8 images changed, 2 of them accepted before.')
    assert images[1].version == images[4].version == 1
    line.get_by_text('Show them').click()
    expect(page.locator('#grid-view')).to_be_visible()
    first = page.locator('#grid li').first
    expect(first.locator('.marks')).to_contain_text('change')
    expect(page.locator('#grid li[data-number="1"] .marks')).to_have_text('would change')
    assert person.state(1) == 'accepted'

    line.get_by_text('Let the 2 change').click()
    wait_until(lambda: person.posted()[-1].get('decide') == 'unseen')
    assert person.posted()[-1]['images'] == [1, 4]
    wait_until(lambda: person.state(1) == 'unseen')


def test_a_slow_mask_does_not_hold_up_its_photo(visit) -> None:
    person = visit()
    held = []
    person.page.route('**/mask/0/0?*', lambda route: held.append(route))
    person.open_image(0)
    inside = person.place(0, 0.4, 0.55)
    bare = person.color(inside)
    assert held
    for route in held:
        route.continue_()
    wait_until(lambda: person.color(inside) != bare)


def test_a_photo_that_does_not_load_can_be_tried_again(visit) -> None:
    person = visit(foreseen='Failed to load')
    page = person.page
    page.route('**/photo/0/0?*', lambda route: route.abort())
    page.locator('#grid li[data-number="0"] a').click()
    expect(page.locator('#stage-note')).to_contain_text('This photo cannot be shown.')
    page.keyboard.press('Space')
    expect(page.locator('#message')).to_contain_text('The photo is not shown yet.')
    page.unroute('**/photo/0/0?*')
    page.get_by_role('button', name='Try again').click()
    person.wait_for_photo(0)
    assert person.posted() == []


def test_a_refused_action_is_told_and_taken_back(visit) -> None:
    person = visit(foreseen='409')
    page, stub = person.page, person.stub
    stub.refusal = 'The folder is full; make room and try again.'
    page.keyboard.press('Space')
    expect(page.locator('#status.problem')).to_contain_text('The folder is full; make room')
    expect(page.locator('#decided')).to_have_text('0 of 24 images decided')
    assert person.state(0) == 'unseen'

    person.open_image(0)
    stub.refusal = 'The hint lies outside of the image.'
    page.locator('#stage').click(position=person.place(0, 0.1, 0.5))
    expect(page.locator('#status.problem')).to_contain_text('The hint lies outside')
    expect(page.locator('#said-title')).to_have_text('No hints yet')
    page.get_by_role('button', name='Close this message').click()
    expect(page.locator('#message')).to_contain_text('Space accepts')


def test_reconnects(browser, tmp_path) -> None:
    stub = StubReview()
    server = StubServer(stub)
    person = Visit(browser, server)
    page = person.page
    person.open_image(3)
    server.stop()
    banner = page.locator('#banner')
    expect(banner).to_contain_text('The server has ended')
    page.keyboard.press('x')
    expect(page.locator('#status.problem')).to_contain_text('IMG_0003.jpg: The server does')
    assert person.state(3) == 'unseen'

    stub.act({'decide': 'accepted', 'group': 0, 'images': [3, 5]})  # by somebody else
    server = StubServer(stub, server.port)
    expect(banner).to_be_hidden()
    wait_until(lambda: person.state(3) == 'accepted')
    expect(page.locator('#status.problem')).to_have_count(0)
    expect(page.locator('#decided')).to_have_text('2 of 24 images decided')
    page.keyboard.press('j')
    page.keyboard.press('x')
    wait_until(lambda: len(person.posted()) == 1)

    stub.token = 'of another run'
    server.stop()
    server = StubServer(stub, server.port)
    expect(banner).to_contain_text('Open the address')
    person.context.close()
    server.stop()


def test_tabs_see_each_others_actions(visit) -> None:
    person = visit()
    other = person.open()
    person.page.keyboard.press('Space')
    expect(other.locator('#grid li[data-number="0"]')).to_have_attribute('data-state', 'accepted')
    expect(other.locator('#decided')).to_have_text('1 of 24 images decided')
    other.locator('#undo').click()
    wait_until(lambda: person.state(0) == 'unseen')
    expect(person.page.locator('#redo')).to_be_enabled()


def test_events_that_were_missed_are_made_up_for(visit) -> None:
    person = visit()
    person.open_image(3)
    person.stub.forgets = True
    person.stub.act({'decide': 'accepted', 'group': 0, 'images': [3]})
    expect(person.page.locator('#image-state')).to_contain_text('accepted')
    assert person.state(3) == 'accepted'


def test_actions_arrive_in_the_order_of_the_person(visit) -> None:
    person = visit()
    page, stub = person.page, person.stub
    stub.delay = 1.0
    page.keyboard.press('Space')
    page.keyboard.press('x')
    page.keyboard.press('z')  # of the last one
    page.keyboard.press('d')
    expected = ['"accepted" of 1 image', '"left out" of 1 image']
    wait_until(lambda: [step['what'] for step in stub.done] == expected)


def test_zoom_keeps_the_place_and_a_double_click_fits(visit) -> None:
    person = visit()
    page = person.page
    person.open_image(0)
    corner = page.locator('#stage').bounding_box()
    wall, table = person.place(0, 0.9, 0.5), person.place(0, 0.9, 0.9)
    colors = person.color(wall), person.color(table)
    page.mouse.move(corner['x'] + wall['x'], corner['y'] + wall['y'])
    page.mouse.wheel(0, -600)
    wait_until(lambda: person.color(table) != colors[1])
    np.testing.assert_allclose(person.color(wall), colors[0], atol=3)
    page.keyboard.down(' ')
    page.mouse.down()
    page.mouse.move(corner['x'] + wall['x'] - 200, corner['y'] + wall['y'], steps=4)
    page.mouse.up()
    page.keyboard.up(' ')
    # What was dragged by Space is neither accepted nor marked.
    assert person.posted() == []
    page.locator('#stage').dblclick(position=person.place(0, 0.5, 0.2))
    wait_until(lambda: person.color(table) == colors[1])
    wait_until(lambda: not person.stub.done)
    expect(page.locator('#said-title')).to_have_text('No hints yet')


def test_phone(visit) -> None:
    person = visit(**PHONE)
    page, images = person.page, person.stub.groups[0].images
    columns = 'getComputedStyle(document.getElementById("grid")).gridTemplateColumns'
    assert len(page.evaluate(columns).split()) == 2
    page.locator('#grid li[data-number="0"] a').tap()
    person.wait_for_photo(0)
    for button in ('Accept', 'Not here', 'Leave out', 'Previous', 'Next'):
        box = page.get_by_role('button', name=button).bounding_box()
        assert box['height'] >= 44 and box['y'] + box['height'] <= 844
    assert page.locator('#stage').bounding_box()['height'] > 300
    page.locator('#stage').tap(position=person.place(0, 0.5, 0.1))
    page.locator('#edit').tap()
    page.locator('#stage').tap(position=person.place(0, 0.1, 0.5))
    page.locator('#sign-background').tap()
    page.locator('#stage').tap(position=person.place(0, 0.9, 0.5))
    wait_until(lambda: len(person.posted()) == 2)  # the first tap only looked
    assert [action['hint']['object'] for action in person.posted()] == [True, False]
    page.get_by_role('button', name='Accept').tap()
    wait_until(lambda: images[0].state == 'corrected')
    expect(page.locator('#decided')).to_have_text('1 of 24 images decided')


def test_a_thousand_images_load_only_what_is_near(browser) -> None:
    server = StubServer(StubReview((1000, 2)))
    person = Visit(browser, server)
    page = person.page
    page.wait_for_selector('#grid .mask[src]')
    page.evaluate('document.getElementById("grid-view").scrollTop = 1e6')
    wait_until(lambda: page.locator('#grid li').last.locator('.mask[src]').count() == 1)
    assert sum('/thumb/' in url for url in person.requests) < 150
    first = page.locator('#grid li').first.locator('.mask[src]')
    assert first.count() == 0  # it has given its memory back
    wait_until(lambda: len(person.posted('looking')[-1]['visible']) > 5)
    assert person.complaints == []
    person.context.close()
    server.stop()


def test_export(visit) -> None:
    person = visit()
    page = person.page
    page.locator('#export').click()
    page.get_by_label('coco').check()
    page.locator('#export-run').click()
    expect(page.locator('#export-answer')).to_contain_text('Written into /photos/results.')
    expect(page.locator('#export-answer')).to_contain_text('IMG_0003.jpg: its photo is gone')
    assert person.posted('export') == [{'formats': ['masks', 'coco']}]
    for button, name in (('#download-hints', 'hints.json'), ('#download-object', 'cups.coseg')):
        with page.expect_download() as download:
            page.locator(button).click()
        assert download.value.suggested_filename == name


def test_empty_and_preparing_groups_say_what_to_do(visit) -> None:
    def prepare(stub: StubReview) -> None:
        stub.groups[0].prepared = 0.2
        stub.groups[1].images = []
        stub.groups[1].skipped = [{'file_name': 'a.jpg', 'reason': 'it is no image'}]

    person = visit(prepare=prepare)
    page, stub = person.page, person.stub
    text = 'Hints act on their own photo until the group is prepared:'
    expect(page.locator('#preparing-text')).to_have_text(f'{text} 20 %')
    stub.groups[0].prepared = 0.4
    stub.publish('progress', group=0, prepared=0.4)
    expect(page.locator('#preparing-text')).to_have_text(f'{text} 40 %')
    page.select_option('#group', '1')
    expect(page.locator('#grid-empty')).to_contain_text('No image of this group could be read.')
    expect(page.locator('#skipped')).to_contain_text('a.jpg: it is no image')


def test_a_folder_without_results_says_what_to_do(visit) -> None:
    page = visit(prepare=lambda stub: stub.groups.clear()).page
    expect(page.locator('#banner')).to_contain_text('Run "mmcoseg segment" first')
    expect(page.locator('#grid-empty')).to_be_hidden()  # it says that images are loading
    page.keyboard.press('Space')
    page.keyboard.press('n')


NAMELESS = """() => [...document.querySelectorAll('button, a, input, select, canvas[tabindex]')]
  .filter((one) => one.checkVisibility())
  .filter((one) => {
    const label = one.labels?.[0]?.textContent ?? '';
    return !(one.getAttribute('aria-label') || one.textContent || label).trim();
  })
  .map((one) => one.outerHTML)"""
CUT = """() => [...document.querySelectorAll('body *')]
  .filter((one) => one.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true }))
  .filter((one) => [...one.childNodes].some((part) => part.nodeType === 3 && part.data.trim()))
  .filter((one) => !one.closest('.label') || getComputedStyle(one).position !== 'absolute')
  .filter((one) => {
    const [range, box] = [document.createRange(), one.getBoundingClientRect()];
    range.selectNodeContents(one);
    const text = range.getBoundingClientRect();
    const wide = document.documentElement.clientWidth;
    return text.right > Math.max(box.right, text.left) + 1 || text.right > wide || text.left < 0;
  })
  .map((one) => one.outerHTML)"""
FAINT = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const linear = color.slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (one) => {
    const color = rgba(getComputedStyle(one).backgroundColor);
    return color[3] === 255 || !one.parentElement ? color : behind(one.parentElement);
  };
  return [...document.querySelectorAll('body *')]
    .filter((one) => one.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true }))
    .filter((one) => [...one.childNodes].some((part) => part.nodeType === 3 && part.data.trim()))
    .map((one) => {
      const pair = [light(rgba(getComputedStyle(one).color)), light(behind(one))];
      const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
      return [contrast, one.outerHTML];
    })
    .filter(([contrast]) => contrast < 4.5);
}"""


def test_seen_read_and_named(visit) -> None:
    """Every control has a name, every text stands out, and no text is cut at any width."""
    person = visit()
    page = person.page

    def check() -> None:
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(FAINT) == []
        for width in (1280, 768, 390):
            page.set_viewport_size({'width': width, 'height': 800})
            assert page.evaluate(CUT) == []
            assert page.evaluate('document.documentElement.scrollWidth') <= width
        page.set_viewport_size(DESKTOP['viewport'])

    for scheme in ('light', 'dark'):
        page.emulate_media(color_scheme=scheme)
        check()
        page.locator('#help').click()
        check()
        page.keyboard.press('Escape')
        page.locator('#export').click()
        expect(page.locator('#formats label')).to_have_count(5)
        check()
        page.keyboard.press('Escape')
        person.open_image(0)
        page.locator('#stage').click(position=person.place(0, 0.1, 0.5))
        expect(page.locator('#message')).to_contain_text('changed')
        check()
        page.keyboard.press('g')
        expect(page.locator('#viewer')).to_be_hidden()
        check()


READ_PNG = """async (text) => {
  const { readGrayPng } = await import('/static/png.js');
  const buffer = await (await fetch(`data:;base64,${text}`)).arrayBuffer();
  const { width, height, values } = await readGrayPng(buffer);
  return [width, height, [...values]];
}"""


def gray_png(values: np.ndarray, kinds: list[int]) -> bytes:
    """A PNG whose row y has the filter ``kinds[y % len(kinds)]``, written by the letter."""
    height, width = values.shape
    padded = np.pad(values.astype(int), ((1, 0), (1, 0)))
    rows = b''
    for y in range(height):
        row, left = padded[y + 1, 1:], padded[y + 1, :-1]
        up, corner = padded[y, 1:], padded[y, :-1]
        guess = left + up - corner
        near = np.stack([left, up, corner])
        paeth = np.take_along_axis(near, np.abs(guess - near).argmin(0)[None], 0)[0]
        kind = kinds[y % len(kinds)]
        predicted = (0 * left, left, up, (left + up) // 2, paeth)[kind]
        rows += bytes([kind]) + (row - predicted).astype(np.uint8).tobytes()
    header = np.array([width, height], '>u4').tobytes() + bytes([8, 0, 0, 0, 0])
    png = b'\x89PNG\r\n\x1a\n'
    for name, data in ((b'IHDR', header), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')):
        size, code = len(data), zlib.crc32(name + data)
        png += size.to_bytes(4, 'big') + name + data + code.to_bytes(4, 'big')
    return png


def test_masks_are_read_exactly(browser, server: StubServer) -> None:
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(f'{server.address}?token={server.stub.token}')
    random = np.random.default_rng(0)
    for shape in ((1, 1), (1, 9), (9, 1), (23, 17)):
        values = random.integers(0, 256, shape).astype(np.uint8)
        png = gray_png(values, [4, 0, 1, 2, 3])
        width, height, read = page.evaluate(READ_PNG, base64.b64encode(png).decode())
        assert (height, width) == shape
        np.testing.assert_array_equal(np.reshape(read, shape), values)
    context.close()


def test_colors_are_those_of_the_package(visit) -> None:
    colors = "import('/static/colors.js').then(({ COLORS }) => COLORS)"
    assert visit().page.evaluate(f'() => {colors}') == [list(color) for color in PALETTE]
