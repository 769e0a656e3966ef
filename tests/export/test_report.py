"""The report: its text, and how it behaves in a browser, where there is one."""

import json
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmcoseg.export import GroupRecord, ResultWriter, SkippedFile, report
from mmcoseg.structures import CoSegDataSample

#: (stem, presence, columns of the mask of 40); the last one is absent.
CAT = [('b2', 0.25, 20), ('b10', 0.75, 4), ('c', 0.5, 40), ('a', 0.05, 0)]
NASTY = '<script>document.title="broken"</script>\'"&\udce9'


def write_report(out, groups, settings=None, shape=(30, 40), **options):
    """Write a report over ``dict(group -> list of (stem, presence, columns))``."""
    writer = ResultWriter(out, ['masks', 'overlays'], **options)
    result = []
    for group, images in groups.items():
        records = []
        for number, (stem, presence, columns) in enumerate(images):
            sample = CoSegDataSample(metainfo=dict(group=group, stem=stem))
            mask = torch.zeros((1, *shape), dtype=torch.uint8)
            mask[:, :, :columns] = 1
            sample.pred_sem_seg = PixelData(data=mask)
            if presence is not None:
                sample.presence = presence
            image = np.random.default_rng(number).integers(0, 256, (*shape, 3), np.uint8)
            warnings = ['<b>odd</b>'] if stem == 'c' else []
            absent = columns == 0 and presence is not None
            sample.set_metainfo(dict(absent=absent, warnings=warnings))
            records.append(writer.write_image(sample, image))
        skipped = [SkippedFile(f'{group}/{NASTY}.jpg', 'cannot be <read>')]
        result.append(GroupRecord(group, records, skipped))
    writer.write_collections(result, settings or dict(method='consensus', presence_threshold=0.1))
    return out / 'report.html'


class Page(HTMLParser):
    """What tests ask of a page: its tags in order, and the text of some."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self._within = [], {}, []
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._within.append(tag)

    def handle_endtag(self, tag):
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in self._within[-1:]:
            self.text.setdefault(tag, []).append(data)

    def all(self, tag, **wanted):
        return [a for t, a in self.tags if t == tag and wanted.items() <= a.items()]


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    dogs = [(f'd{i}', None if i == 2 else i / 4, i + 1) for i in range(4)]
    folder = tmp_path_factory.mktemp('with spaces # and %41')
    return write_report(folder, {'cat': CAT, NASTY: [('x', 0.5, 3)], 'dog': dogs})


def test_cards_of_what_is_least_sure_stand_first(page):
    cards = [a for a in Page(page).all('li') if 'data-name' in a]
    names = [card['data-name'] for card in cards]
    assert names[:4] == ['cat/b2', 'cat/b10', 'cat/c', 'cat/a']
    assert names[5:] == ['dog/d0', 'dog/d1', 'dog/d3', 'dog/d2']
    assert 'data-presence' not in cards[-1] and 'data-absent' in cards[3]
    assert [card.get('data-sureness') for card in cards[:4]] == ['0.5', '1.0', '1.0', None]
    assert float(cards[1]['data-area']) == 0.1


def test_what_was_not_found_stands_before_what_is_doubtful(tmp_path):
    page = Page(write_report(tmp_path, {'cat': [('b', None, 3), ('c', None, 0), ('a', 0.1, 5)]}))
    names = [a['data-name'] for a in page.all('li') if 'data-name' in a]
    assert names == ['cat/c', 'cat/a', 'cat/b']
    assert page.all('option')[0]['value'] == 'sureness'


def test_every_card_has_image_mask_and_overlay(page):
    images = Page(page).all('img')[:-1]  # the last one is the viewer's
    assert [image['alt'] for image in images] == ['image', 'mask', 'overlay'] * 9
    assert all(image['src'].startswith('data:image/') for image in images)
    assert all((image['width'], image['height']) == ('40', '30') for image in images)


def test_the_page_needs_no_other_file(page):
    parsed = Page(page)
    assert not parsed.all('link') and not parsed.all('iframe')
    assert not [a for a in parsed.all('script') if 'src' in a]
    assert 'url(' not in page.read_text() and '@import' not in page.read_text()
    (policy,) = parsed.all('meta', **{'http-equiv': 'Content-Security-Policy'})
    assert "default-src 'none'" in policy['content']
    links = [a['href'] for a in parsed.all('a') if 'href' in a]
    assert not [link for link in links if re.match(r'\w+:|//', link)]
    for link in links:  # to parts of the page, and to files beside it
        if link.startswith('#'):
            assert [a for _, a in parsed.tags if a.get('id') == link[1:]], link


def test_names_are_text_only(page):
    text = page.read_text(encoding='utf-8')
    assert '<script>document' not in text and '<b>odd' not in text and '<read>' not in text
    assert len(re.findall('<script', text)) == 1
    parsed = Page(page)
    shown = NASTY.replace('\udce9', r'\xe9')
    assert any(shown in part for part in parsed.text['h2'])


def test_skipped_and_absent_files_are_listed_with_the_reason(page):
    cells = Page(page).text['td']
    assert 'cannot be <read>' in cells
    assert 'presence 0.05, below the threshold 0.1' in cells
    assert cells.count('skipped') == 3 and cells.count('absent') == 1


def test_head_tells_method_and_numbers(page):
    parsed = Page(page)
    assert parsed.text['strong'][0] == 'consensus'
    numbers = dict(zip(parsed.text['dt'], parsed.text['dd']))
    assert numbers['images'] == '9' and numbers['groups'] == '3' and numbers['absent'] == '1'
    assert numbers['skipped files'] == '3'
    assert parsed.all('time')


def test_without_presence_images_stand_by_name(tmp_path):
    page = Page(write_report(tmp_path, {'cat': [('b', None, 3), ('c', None, 9), ('a', None, 5)]}))
    assert [a['data-name'] for a in page.all('li') if 'data-name' in a] == [
        'cat/a',
        'cat/b',
        'cat/c',
    ]
    assert not page.all('meter') and not page.all('input', id='min')


def test_without_thumbnails_results_are_linked(tmp_path):
    sample = CoSegDataSample(metainfo=dict(group='a b', stem='1'))
    sample.pred_sem_seg = PixelData(data=torch.ones((1, 4, 6), dtype=torch.uint8))
    record = ResultWriter(tmp_path).write_image(sample, np.zeros((4, 6, 3), np.uint8))
    shutil.rmtree(tmp_path / '.mmcoseg')
    for thumbnails in (record.thumbnails, {}):
        images = [replace(record, thumbnails=thumbnails)]
        ResultWriter(tmp_path).write_collections([GroupRecord('a b', images)])
        page = Page(tmp_path / 'report.html')
        assert len(page.all('img')) == 1
        assert page.all('a', href='overlays/a%20b/1.jpg')


def test_more_images_have_smaller_pictures(tmp_path, monkeypatch):
    images = {'cat': [(f'{i}', i / 20, i) for i in range(20)]}
    path = write_report(tmp_path / 'all', images, shape=(150, 300))
    full = path.stat().st_size
    monkeypatch.setattr(report, '_BUDGET', full / 3)
    path = write_report(tmp_path / 'small', images, shape=(150, 300))
    picture = Page(path).all('img')[0]
    width, height = int(picture['width']), int(picture['height'])
    assert width < 300 and width == 2 * height
    assert path.stat().st_size < full / 2
    monkeypatch.setattr(report, '_MAX_PICTURES', 5)
    page = Page(write_report(tmp_path / 'few', images, shape=(150, 300)))
    assert len(page.all('img')) == 5 * 3 + 1
    assert len([a for a in page.all('li') if 'data-name' in a]) == 20


class Browser:
    """A headless Chromium by the WebDriver protocol, of which only a little is needed."""

    def __init__(self, driver, browser, folder):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [driver, f'--port={self.port}'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        arguments = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']
        arguments += [f'--user-data-dir={folder}', '--window-size=1200,900']
        options = dict(args=arguments, binary=browser)
        wanted = {'goog:chromeOptions': options, 'goog:loggingPrefs': dict(browser='ALL')}
        self.session = ''
        for attempt in range(100):
            try:
                answer = self.call('', capabilities=dict(alwaysMatch=wanted))
                break
            except OSError:
                if attempt == 99 or self.process.poll() is not None:
                    self.close()
                    raise
                time.sleep(0.1)
        self.session = '/' + answer['sessionId']

    def call(self, path, **content):
        url = f'http://127.0.0.1:{self.port}/session{self.session}{path}'
        request = Request(url, json.dumps(content).encode(), {'Content-Type': 'application/json'})
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)['value']

    def open(self, path, fragment=''):
        self.call('/url', url='about:blank')  # a new fragment alone would not load the page again
        self.call('/url', url=path.as_uri() + fragment)

    def run(self, script, *args):
        return self.call('/execute/sync', script=script, args=list(args))

    def press(self, key):
        keys = [dict(type=kind, value=key) for kind in ('keyDown', 'keyUp')]
        self.call('/actions', actions=[dict(type='key', id='keyboard', actions=keys)])

    def click(self, selector):
        found = self.call('/element', using='css selector', value=selector)
        self.call(f'/element/{next(iter(found.values()))}/click')

    def develop(self, command, **parameters):
        return self.call('/goog/cdp/execute', cmd=command, params=parameters)

    @contextmanager
    def phone(self, width, height):
        """Be one, with a touch screen of this size and no mouse."""
        size = dict(width=width, height=height, deviceScaleFactor=2, mobile=True)
        self.develop('Emulation.setDeviceMetricsOverride', **size)
        self.develop('Emulation.setTouchEmulationEnabled', enabled=True)
        try:
            yield
        finally:
            self.develop('Emulation.setTouchEmulationEnabled', enabled=False)
            self.develop('Emulation.clearDeviceMetricsOverride')

    def drag(self, start, end):
        """Move a finger from one place to another."""
        places = [
            [a + (b - a) * step / 8 for a, b in zip(start, end, strict=True)] for step in range(9)
        ]
        for kind, (x, y) in zip(['touchStart', *['touchMove'] * 8], places, strict=True):
            self.develop('Input.dispatchTouchEvent', type=kind, touchPoints=[dict(x=x, y=y)])
        self.develop('Input.dispatchTouchEvent', type='touchEnd', touchPoints=[])

    def box(self, selector):
        """Left, top, right and bottom of an element that is to be seen."""
        found = self.run(
            'const element = document.querySelector(arguments[0]);'
            'const box = element.getBoundingClientRect();'
            'return element.checkVisibility() && [box.left, box.top, box.right, box.bottom]',
            selector,
        )
        assert found, f'{selector} cannot be seen'
        return found

    def choose(self, control, value):
        self.run(
            'const control = document.getElementById(arguments[0]);'
            'control.value = arguments[1];'
            'control.dispatchEvent(new Event("input", {bubbles: true}));',
            control,
            value,
        )

    def visible(self):
        """Names on the cards that are to be seen, in order."""
        return self.run(
            'return [...document.querySelectorAll(".card")].filter((c) => c.checkVisibility())'
            '.map((c) => c.dataset.name)'
        )

    def text(self, selector):
        return self.run('return document.querySelector(arguments[0]).textContent', selector)

    def log(self):
        return self.call('/se/log', type='browser')

    def close(self):
        url = f'http://127.0.0.1:{self.port}/session{self.session}'
        try:
            if self.session:  # else the driver leaves its browser running
                urlopen(Request(url, method='DELETE'), timeout=30).close()
        finally:
            self.process.terminate()
            self.process.wait(20)


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
    driver = shutil.which('chromedriver')
    names = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
    found = next(filter(None, map(shutil.which, names)), None)
    if not driver or not found:
        pytest.skip('no chromium with chromedriver here')
    browser = Browser(driver, found, tmp_path_factory.mktemp('browser'))
    yield browser
    browser.close()


@pytest.mark.slow
def test_browser_shows_everything_without_complaint(browser, page):
    browser.log()
    browser.open(page)
    assert len(browser.visible()) == 9
    assert browser.text('#count') == '9 of 9 images'
    assert browser.run('return document.title').startswith('Co-segmentation')
    broken = 'return [...document.querySelectorAll(".card img")].filter((i) => !i.naturalWidth)'
    browser.run('document.querySelectorAll("img").forEach((i) => { i.loading = "eager" })')
    assert browser.run(
        'return Promise.all([...document.querySelectorAll(".card img")].map((i) => i.decode()))'
        f'.then(() => {{ {broken}.length }})'
    ) in (0,)
    assert browser.log() == []


@pytest.mark.slow
def test_browser_sorts(browser, page):
    browser.open(page)
    for sort, expected in {
        'sureness': ['b2', 'b10', 'c', 'a'],
        'presence': ['b10', 'c', 'b2', 'a'],
        '-presence': ['a', 'b2', 'c', 'b10'],
        'name': ['a', 'b2', 'b10', 'c'],
        'area': ['c', 'b2', 'b10', 'a'],
        '-area': ['a', 'b10', 'b2', 'c'],
    }.items():
        browser.choose('sort', sort)
        assert browser.visible()[:4] == [f'cat/{stem}' for stem in expected], sort
    browser.choose('sort', '-presence')
    assert browser.visible()[-1] == 'dog/d2'  # of unknown presence


@pytest.mark.slow
def test_browser_filters(browser, page):
    browser.open(page)
    browser.choose('group', 'group-3')
    assert browser.visible() == ['dog/d0', 'dog/d1', 'dog/d3', 'dog/d2']
    browser.choose('min', '0.5')
    assert browser.visible() == ['dog/d3', 'dog/d2']
    assert browser.text('#count') == '2 of 9 images' and browser.text('#min-text') == '0.50'
    address = browser.run('return location.hash')
    assert address == '#group=group-3&min=0.5'
    browser.open(page, address)
    assert browser.visible() == ['dog/d3', 'dog/d2']
    browser.open(page)
    browser.choose('show', 'absent')
    assert browser.visible() == ['cat/a']
    browser.choose('show', 'warned')
    assert browser.visible() == ['cat/c']
    browser.choose('show', '')
    browser.choose('find', 'AT/B')
    assert browser.visible() == ['cat/b2', 'cat/b10']


@pytest.mark.slow
def test_browser_takes_choices_from_the_address(browser, page):
    browser.open(page, '#sort=area&show=present')
    assert browser.visible()[:3] == ['cat/c', 'cat/b2', 'cat/b10']
    browser.open(page, '#sort=nonsense&min=x&group=<script>')
    assert browser.visible()[:2] == ['cat/b2', 'cat/b10'] and len(browser.visible()) == 9
    browser.open(page, '#group-3')
    assert len(browser.visible()) == 9
    assert browser.run('return scrollY') > 0


@pytest.mark.slow
def test_browser_enlarges_and_leafs(browser, page):
    browser.open(page)
    browser.log()
    browser.click('.card img[data-kind="mask"]')

    def shown():
        name = browser.text('#viewer-name').split(' · ')[0]
        return name, browser.run('return document.getElementById("viewer-picture").alt').split()[0]

    assert browser.run('return document.getElementById("viewer").open')
    assert shown() == ('cat/b2', 'mask')
    browser.press('\ue014')  # right
    assert shown() == ('cat/b10', 'mask')
    browser.press('\ue012')  # left
    browser.press('\ue012')
    assert shown() == ('dog/d2', 'mask')  # around the end
    browser.press('\ue015')  # down
    assert shown() == ('dog/d2', 'image')
    browser.click('#viewer button[data-kind="overlay"]')
    browser.click('#next')
    assert shown() == ('cat/b2', 'overlay')
    browser.press('\ue00c')  # escape
    assert not browser.run('return document.getElementById("viewer").open')
    # Back where one was; from there without a mouse.
    browser.press('\ue014')
    browser.press('\ue007')  # enter
    assert shown() == ('cat/b10', 'overlay')
    assert browser.log() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    'close',
    [
        'document.getElementById("close").click();',
        'document.activeElement.dispatchEvent('
        'new KeyboardEvent("keydown", {key: "Escape", bubbles: true}));',
    ],
    ids=['button', 'escape'],
)
def test_browser_goes_on_at_once_where_one_was(browser, page, close):
    browser.open(page)
    browser.click('.card .pictures')
    browser.press('\ue014')  # right
    where = 'return document.activeElement.closest(".card").dataset.name'
    assert browser.run(close + where) == 'cat/b10'
    assert not browser.run('return document.getElementById("viewer").open')
    browser.press('\ue014')
    assert browser.run(where) == 'cat/c'


@pytest.mark.slow
def test_browser_survives_a_viewer_closed_by_a_gesture(browser, page):
    browser.open(page)
    browser.click('.card .pictures')
    browser.press('\ue014')
    closed = browser.run(
        'const viewer = document.getElementById("viewer");'
        'const closed = new Promise((done) => viewer.addEventListener("close", () =>'
        ' done(document.activeElement.closest(".card").dataset.name)));'
        'viewer.close();'
        'return closed'
    )
    assert closed == 'cat/b10'
    browser.press('\ue007')  # enter
    assert browser.text('#viewer-name').startswith('cat/b10')


@pytest.mark.slow
def test_browser_prints_all_cards_and_no_tools(browser, page):
    browser.open(page)
    browser.develop('Emulation.setEmulatedMedia', media='print')
    try:
        assert len(browser.visible()) == 9
        for selector in ('#tools', 'nav'):
            assert not browser.run(
                'return document.querySelector(arguments[0]).checkVisibility()', selector
            )
    finally:
        browser.develop('Emulation.setEmulatedMedia', media='')


@pytest.mark.slow
def test_browser_without_scripts_shows_all_cards(browser, page):
    disable = 'Emulation.setScriptExecutionDisabled'
    browser.develop(disable, value=True)
    try:
        browser.open(page)
    finally:
        browser.develop(disable, value=False)
    assert len(browser.visible()) == 9
    assert not browser.run('return document.getElementById("tools").checkVisibility()')


@pytest.mark.slow
def test_browser_shows_a_single_image(browser, tmp_path):
    browser.open(write_report(tmp_path, {'cat': CAT[:1]}))
    assert browser.visible() == ['cat/b2']
    browser.click('.card img')
    browser.press('\ue014')
    assert browser.text('#viewer-name').startswith('cat/b2')


#: Of a name that takes several lines.
LONG = 'IMG_20240817_183045_' + 'a_long_name_' * 8
SIZES = [(320, 568), (390, 844), (667, 375), (768, 1024)]


@pytest.mark.slow
@pytest.mark.parametrize('size', SIZES, ids=lambda size: f'{size[0]}x{size[1]}')
def test_browser_on_a_phone_has_room_for_all_of_the_viewer(browser, tmp_path, size):
    page = write_report(tmp_path, {'cat': [(LONG, 0.1, 20), ('c', 0.9, 4)]}, shape=(400, 400))
    with browser.phone(*size):
        browser.open(page)
        browser.click('.card .pictures')
        width, height = size
        assert browser.run('return document.documentElement.scrollWidth') == width
        name, close = browser.box('#viewer-name'), browser.box('#close')
        assert close[1] < name[3] and name[1] < close[3] and name[2] <= close[0]  # in one row
        assert name[2] - name[0] > min(0.7 * width, 220) and name[3] - name[1] < 80
        picture = browser.box('#viewer-picture')
        assert (picture[3] - picture[1]) * (picture[2] - picture[0]) > 0.5 * width * height
        parts = ['#previous', '#next', '#viewer-file', '.kinds', '.with-touch']
        for selector in ('#close', *parts):
            left, top, right, bottom = browser.box(selector)
            assert left >= 0 and top >= 0 and right <= width and bottom <= height, selector
        for selector in ('#close', '#previous', '#next', '.kinds button'):
            left, top, right, bottom = browser.box(selector)
            assert min(right - left, bottom - top) >= 44, selector  # as wide as a finger
        assert not browser.run('return document.querySelector(".with-keys").checkVisibility()')
        browser.click('#close')
        assert not browser.run('return document.getElementById("viewer").open')


@pytest.mark.slow
def test_browser_leafs_by_swipes(browser, page):
    def shown():
        return browser.text('#viewer-name').split(' · ')[0], browser.text('#viewer-place')

    with browser.phone(390, 844):
        browser.open(page)
        browser.click('.card .pictures')
        assert shown() == ('cat/b2', '1 of 9')
        browser.drag((300, 400), (100, 420))
        assert shown() == ('cat/b10', '2 of 9')
        browser.drag((100, 400), (300, 380))
        browser.drag((100, 400), (300, 400))
        assert shown() == ('dog/d2', '9 of 9')  # around the end
        for end in ((290, 150), (310, 700), (180, 550), (285, 400)):  # up, down, askew, too short
            browser.drag((300, 400), end)
            assert shown() == ('dog/d2', '9 of 9'), end


@pytest.mark.slow
def test_browser_zooms_by_two_fingers_and_does_not_leaf_then(browser, page):
    with browser.phone(390, 844):
        browser.open(page)
        browser.click('.card .pictures')
        browser.develop('Input.synthesizePinchGesture', x=200, y=400, scaleFactor=2.0)
        assert browser.run('return visualViewport.scale') > 1.5
        assert browser.text('#viewer-place') == '1 of 9'
        left = browser.run('return visualViewport.pageLeft')
        browser.drag((300, 400), (100, 400))
        assert browser.text('#viewer-place') == '1 of 9'
        assert browser.run('return visualViewport.pageLeft') > left  # the picture moved instead


@pytest.mark.slow
def test_browser_speaks_of_keys_where_there_is_no_touch_screen(browser, page):
    browser.open(page)
    browser.click('.card .pictures')
    assert browser.run('return document.querySelector(".with-keys").checkVisibility()')
    assert not browser.run('return document.querySelector(".with-touch").checkVisibility()')
    name, close = browser.box('#viewer-name'), browser.box('#close')
    assert close[0] >= name[2] and close[1] < name[3]
    picture = browser.box('#viewer-picture')
    assert browser.box('#previous')[2] <= picture[0] and picture[2] <= browser.box('#next')[0]
