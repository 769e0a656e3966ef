"""From dropped photos to the grid of the review, in a real browser and with a real segmentation."""

import base64
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_inputs import write_tiny_dataset

playwright = pytest.importorskip('playwright.sync_api', reason='the page is tested by playwright')
pytest.importorskip('starlette', reason="the review is not installed: 'mmcoseg[review]'")
uvicorn = pytest.importorskip('uvicorn', reason="the review is not installed: 'mmcoseg[review]'")
sys.path.insert(0, str(Path(__file__).parent))
from test_page import CHROMIUM, CUT, DESKTOP, FAINT, NAMELESS

from mmcoseg.review.app import App, _PageProgress, guarded
from mmcoseg.review.launch import _listening, _server_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason='there is no Chromium to show the page in'),
]
expect = playwright.expect
PATIENCE = 60_000  # milliseconds
DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, content] of files) {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  const drop = document.getElementById('drop');
  for (const kind of ['dragover', 'drop'])
    drop.dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true }));
}"""


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    return sorted(write_tiny_dataset(tmp_path, {'a': 3}, (48, 64)).glob('images/a/*'))


@pytest.fixture
def gate(monkeypatch) -> threading.Event:
    """Lets the first group begin."""
    gate = threading.Event()
    begin = _PageProgress.begin

    def begin_later(progress: _PageProgress, group: str) -> None:
        gate.wait(PATIENCE / 1000)
        begin(progress, group)

    monkeypatch.setattr(_PageProgress, 'begin', begin_later)
    return gate


@pytest.fixture
def address(tmp_path, gate) -> Iterator[str]:
    options = dict(cfg_options={'model.stages.self_training': None}, num_workers=1)
    with _listening('127.0.0.1', 0) as listening:
        server = _server_of(App(home=tmp_path, **options), guarded, '127.0.0.1', listening)
        serving = threading.Thread(target=server.run)
        serving.start()
        yield server.address
        gate.set()
        server.server.should_exit = True
        serving.join(60)
        assert not serving.is_alive()


@pytest.fixture
def page(address) -> Iterator:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        page = browser.new_page(**DESKTOP)
        page.set_default_timeout(PATIENCE)
        complaints = []
        page.on('pageerror', lambda error: complaints.append(str(error)))
        page.on('console', lambda message: complaints.append(message.text))
        page.goto(address)
        yield page
        # The browser itself notes every answer that is not 200.
        assert [text for text in complaints if '409 (Conflict)' not in text] == []
        browser.close()


def check_look(page) -> None:
    for scheme in ('light', 'dark'):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(FAINT) == []
        for width in (1280, 390):
            page.set_viewport_size({'width': width, 'height': 800})
            assert page.evaluate(CUT) == []
            assert page.evaluate('document.documentElement.scrollWidth') <= width
    page.emulate_media(color_scheme='light')
    page.set_viewport_size(DESKTOP['viewport'])


def drop(page, files: list[tuple[str, bytes]]) -> None:
    content = [[name, base64.b64encode(data).decode()] for name, data in files]
    page.evaluate(DROP, content)


def test_from_dropped_photos_to_the_grid(page, photos, tmp_path, gate) -> None:
    check_look(page)
    page.locator('#start').click()
    expect(page.locator('#problem')).to_have_text('choose photos, or give the path of a folder')
    film = ('film.mov', bytes(30_000_000))  # refused while it is still being sent
    drop(page, [film, ('notes.txt', b'x'), *((file.name, file.read_bytes()) for file in photos)])
    expect(page.locator('#sent')).to_have_text('3 photos chosen')
    expect(page.locator('#problem')).to_be_hidden()
    expect(page.locator('#refused li')).to_have_count(2)
    for name in ('film.mov', 'notes.txt'):
        expect(page.locator('#refused')).to_contain_text(f'{name} is not an image by its name')
    [folder] = tmp_path.glob('photos-*')
    expect(page.locator('#folder')).to_have_value(str(folder))
    check_look(page)

    page.locator('#start').focus()
    page.keyboard.press('Enter')
    expect(page.locator('#running')).to_be_visible()
    expect(page.locator('#step')).to_be_focused()
    expect(page.locator('#out')).to_have_text(f'{folder}-results')
    expect(page.locator('#done')).to_have_text('0 % of 3')
    check_look(page)
    gate.set()
    expect(page.locator('#grid li')).to_have_count(3, timeout=PATIENCE)
    assert page.title() == f'{folder.name}-results: review'
    assert len(list(Path(f'{folder}-results', 'masks').rglob('*.png'))) == 3


def test_a_folder_that_cannot_be_taken_and_a_cancel(page, photos, tmp_path, gate) -> None:
    (tmp_path / 'empty').mkdir()
    page.locator('#folder').fill(str(tmp_path / 'empty'))
    page.keyboard.press('Enter')
    expect(page.locator('#problem')).to_contain_text('holds no image')
    expect(page.locator('#start')).to_be_focused()
    check_look(page)
    page.locator('#folder').fill(str(photos[0].parent))
    page.keyboard.press('Enter')
    page.locator('#cancel').click()
    expect(page.locator('#cancel')).to_have_text('Stopping …')
    gate.set()
    expect(page.locator('#choose')).to_be_visible(timeout=PATIENCE)
    expect(page.locator('#notes summary')).to_have_text('1 note')
    expect(page.locator('#notes li')).to_be_visible()
    expect(page.locator('#notes li')).to_contain_text('the next start goes on')
    expect(page.locator('#folder')).to_have_value(str(photos[0].parent))
    check_look(page)
