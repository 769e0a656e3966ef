"""From photos to the review: choosing, segmenting, cancelling and going on; uploads refused."""

import threading
import time
from pathlib import Path

import pytest
from demo_inputs import write_tiny_dataset

pytest.importorskip(
    'starlette', reason="the review is not installed: pip install 'mmcoseg[review]'"
)
pytest.importorskip('httpx2', reason='httpx2 is not installed')

from starlette.testclient import TestClient

from mmcoseg.apis import segment_to_folder
from mmcoseg.cli import main
from mmcoseg.review import app as app_module
from mmcoseg.review.app import App, guarded

HOST = '127.0.0.1:8000'
BASE = f'http://{HOST}'
JSON = {'X-Mmcoseg': '1', 'Content-Type': 'application/json'}
BYTES = {'X-Mmcoseg': '1', 'Content-Type': 'application/octet-stream'}
FAST = dict(cfg_options={'model.stages.self_training': None}, num_workers=1)
PATIENCE = 60.0  # seconds


class Person:
    """Somebody before the page of an app whose work is done in a thread."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.client = TestClient(guarded(app, {HOST}, 'secret'), BASE)
        self.client.get('/', params=dict(token='secret'))
        self.working = threading.Thread(target=app.run)
        self.working.start()

    def state(self) -> dict:
        return self.client.get('/api/app').json()

    def start(self, folder: object):
        return self.client.post('/api/app/start', json=dict(folder=str(folder)), headers=JSON)

    def put(self, name: str, content: bytes, number: object = 0, headers: dict = BYTES):
        path = f'/api/app/photos/{number}'
        return self.client.put(path, params=dict(name=name), content=content, headers=headers)

    def wait_for(self, stage: str) -> dict:
        end = time.monotonic() + PATIENCE
        while (state := self.state())['stage'] != stage:
            assert time.monotonic() < end, state
            time.sleep(0.02)
        return state

    def leave(self) -> None:
        self.app.stop()
        self.working.join(PATIENCE)
        assert not self.working.is_alive()


@pytest.fixture
def enter():
    people = []

    def begin(*arguments: object, **options: object) -> Person:
        people.append(Person(App(*arguments, **{**FAST, **options})))
        return people[-1]

    yield begin
    for person in people:
        person.leave()


@pytest.fixture
def photos(tmp_path) -> Path:
    return write_tiny_dataset(tmp_path, {'a': 2, 'b': 3}, (48, 64)) / 'images'


@pytest.fixture
def jpeg(photos) -> bytes:
    return min(photos.glob('a/*')).read_bytes()


class StandIn:
    """In place of ``segment_to_folder``: says how far it is, and goes on when it may."""

    def __init__(self) -> None:
        self.may_go_on = threading.Semaphore(0)
        self.runs = 0

    def __call__(self, folder, out, progress, **options):
        self.runs += 1
        progress.start(5)
        progress.note('x.gif: no image by its suffix')
        progress.begin('dogs')
        progress.watch('read', 5)
        progress.watch('described', 5)
        for _ in range(5):
            assert self.may_go_on.acquire(timeout=PATIENCE)
            progress.advance(1)
        progress.stop()
        return segment_to_folder(folder, out, **options)


@pytest.fixture
def stand_in(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setattr(app_module, 'segment_to_folder', stand_in)
    yield stand_in
    stand_in.may_go_on.release(5)


@pytest.mark.slow
def test_from_a_folder_to_the_review(enter, photos):
    person = enter()
    assert 'app.js' in person.client.get('/').text
    assert person.client.get('/api/state').status_code == 404
    state = person.state()
    assert (state['stage'], state['folder'], state['error']) == ('choose', None, None)
    assert (state['rate'], state['left']) == (None, None)
    (photos / 'a' / 'broken.jpg').write_bytes(b'no image')
    assert person.start(photos).json()['out'] == str(photos.with_name('images-results'))
    state = person.wait_for('review')
    assert (state['done'], state['total'], state['share'], state['left']) == (6, 6, 1, 0)
    [note] = state['notes']
    assert note.startswith('skipped a/broken.jpg: ')
    # From now on everything is the review's, under the same address and cookie.
    assert 'main.js' in person.client.get('/').text
    groups = person.client.get('/api/state').json()['groups']
    assert [(group['name'], group['images']) for group in groups] == [('a', 2), ('b', 3)]
    assert person.start(photos).status_code == 409
    assert person.put('a.jpg', b'').status_code == 409


@pytest.mark.slow
def test_what_has_results_goes_straight_to_the_review(enter, photos, tmp_path, stand_in):
    out = tmp_path / 'found'
    segment_to_folder(photos, out, **FAST)
    for folder, given_out in ((photos, out), (out, None)):
        person = enter(folder, given_out)
        person.wait_for('review')
        person.leave()
    assert stand_in.runs == 0
    (photos / 'a' / 'new.png').write_bytes(b'')  # has none yet
    person = enter(photos, out)
    assert person.state()['stage'] == 'choose'
    assert person.state()['folder'] == str(photos)
    stand_in.may_go_on.release(5)
    person.start(photos)
    person.wait_for('review')
    assert stand_in.runs == 1


def wait_until(holds) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_progress_and_cancel(enter, photos, stand_in):
    person = enter()
    person.start(photos)
    wait_until(lambda: person.state()['group'] == 'dogs')
    state = person.state()
    assert (state['stage'], state['done'], state['total']) == ('running', 0, 5)
    assert state['share'] == 0.75  # read and described, but not drawn
    assert state['rate'] > 0 and state['left'] > 0
    assert state['notes'] == ['x.gif: no image by its suffix']
    assert 'segmented already' in person.start(photos).json()['error']
    stand_in.may_go_on.release(3)
    wait_until(lambda: person.state()['done'] == 3)
    assert person.state()['share'] == 0.9

    person.client.post('/api/app/cancel', json={}, headers=JSON)
    stand_in.may_go_on.release()
    state = person.wait_for('choose')
    assert state['error'] is None and 'goes on' in state['notes'][-1]
    assert state['folder'] == str(photos) and state['done'] == 3


@pytest.mark.slow
def test_cancelled_between_groups_and_started_again(enter, photos, monkeypatch):
    """What is finished stays, and is not computed again."""
    person = enter()
    begin = app_module._PageProgress.begin

    def cancel_at_b(progress, group):
        if group == 'b':
            person.app.cancel()
        begin(progress, group)

    monkeypatch.setattr(app_module._PageProgress, 'begin', cancel_at_b)
    person.start(photos)
    wait_until(lambda: person.state()['stage'] != 'running')
    assert person.state()['stage'] == 'choose'
    out = photos.with_name('images-results')
    [mask, _] = sorted((out / 'masks').rglob('*.png'))
    written = mask.stat().st_mtime_ns
    monkeypatch.undo()
    person.start(photos)
    state = person.wait_for('review')
    assert state['total'] == 3 and mask.stat().st_mtime_ns == written
    assert len(list((out / 'masks').rglob('*.png'))) == 5


@pytest.mark.slow
@pytest.mark.parametrize('step', ['read', 'described', 'drawn'])
def test_cancelled_within_a_group(enter, photos, monkeypatch, step):
    """A run ends at the next image, whatever it does with it."""
    person = enter()
    watch = app_module._PageProgress.watch
    seen = []

    def cancel_at_step(progress, now, count):
        seen.append(now)
        if now == step:
            person.app.cancel()
        watch(progress, now, count)

    monkeypatch.setattr(app_module._PageProgress, 'watch', cancel_at_step)
    person.start(photos / 'a')
    state = person.wait_for('choose')
    assert seen.count(step) == 1 and seen[-1] == step
    assert state['done'] == 0 and state['error'] is None


def test_what_goes_wrong_is_one_sentence(enter, photos, tmp_path, stand_in):
    person = enter()
    for folder in ('', '  ', tmp_path / 'nowhere', photos / 'a' / 'x.jpg'):
        answer = person.start(folder)
        assert answer.status_code == 409 and answer.json()['error']
    answer = person.client.post('/api/app/start', json=dict(folder=[1]), headers=JSON)
    assert answer.json()['error'] == 'choose photos, or give the path of a folder'
    (tmp_path / 'empty').mkdir()
    person.start(tmp_path / 'empty')
    assert 'holds no image' in person.wait_for('choose')['error']
    (photos.with_name('images-results')).write_text('in the way')
    stand_in.may_go_on.release(5)
    person.start(photos)
    state = person.wait_for('choose')
    assert 'results cannot be written to' in state['error']
    photos.with_name('images-results').unlink()
    assert person.start(photos).json()['error'] is None
    person.app.cancel()


@pytest.mark.slow
def test_a_folder_of_unreadable_photos(enter, tmp_path):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'a.jpg').write_bytes(b'no image')
    person = enter()
    person.start(tmp_path / 'photos')
    wait_until(lambda: person.state()['error'] is not None)
    assert 'none of the 1 photos can be read: ' in person.state()['error']


def test_dropped_photos_are_stored_in_a_new_folder(enter, tmp_path, jpeg):
    home = tmp_path / 'home'
    home.mkdir()
    person = enter(home=home)
    names = ['dog.jpg', 'DOG.jpg', 'dog.jpg', 'a/../../dog.jpg', 'Ü ?#.PNG', 'x' * 300 + '.jpg']
    for number, name in enumerate(names):
        answer = person.put(name, jpeg, number)
        assert answer.status_code == 200 and answer.json()['photos'] == number + 1
    [folder] = home.iterdir()
    assert answer.json()['folder'] == str(folder)
    stored = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert len(stored) == len(names) and set(stored.values()) == {jpeg}
    assert {'dog.jpg', 'DOG~1.jpg', 'dog~2.jpg', 'Ü ?#.PNG'} <= set(stored)
    assert 'photos-' in folder.name and answer.json()['out'] == f'{folder}-results'


@pytest.mark.parametrize(
    ('name', 'number', 'message'),
    [
        ('dog.exe', 0, 'not an image by its name'),
        ('dog.jpg.html', 0, 'not an image by its name'),
        ('dog', 0, 'not an image by its name'),
        ('', 0, 'not an image by its name'),
        ('..', 0, 'not an image by its name'),
        ('.jpg', 0, 'not an image by its name'),
        ('../../dog.jpg', 0, 'not an image by its name'),
        ('.hidden.jpg', 0, 'not an image by its name'),
        ('dog.jpg', 2000, 'no more than 2000 photos'),
        ('dog.jpg', 10**30, 'no more than 2000 photos'),
    ],
)
def test_uploads_that_are_refused(enter, tmp_path, name, number, message):
    person = enter(home=tmp_path)
    answer = person.put(name, b'x', number)
    assert answer.status_code == 409 and message in answer.json()['error']
    assert list(tmp_path.iterdir()) == []


def test_a_photo_that_is_too_large_leaves_nothing(enter, tmp_path, monkeypatch):
    monkeypatch.setattr(app_module, '_LARGEST_PHOTO', 1_000_000)
    person = enter(home=tmp_path)

    def endless():
        for _ in range(40):
            yield b'x' * 50_000

    answer = person.put('dog.jpg', endless())
    assert answer.status_code == 409 and 'dog.jpg is larger than 1 MB' in answer.json()['error']
    [folder] = tmp_path.iterdir()
    assert list(folder.iterdir()) == [] and person.state()['photos'] == 0
    assert person.put('dog.jpg', b'x' * 1_000_000).json()['photos'] == 1
    assert 'was given already' in person.put('cat.jpg', b'x').json()['error']


@pytest.mark.parametrize(
    'headers',
    [
        {**BYTES, 'Origin': 'http://evil.example'},
        {**BYTES, 'Origin': 'null'},
        {**BYTES, 'Host': 'evil.example:8000'},
        {**BYTES, 'Cookie': 'mmcoseg_review_8000=other'},
        {'Content-Type': 'application/octet-stream'},
        {'X-Mmcoseg': '1', 'Content-Type': 'text/plain'},
        {'X-Mmcoseg': '1', 'Content-Type': 'application/json'},
    ],
    ids=range(7),
)
def test_other_pages_cannot_upload(enter, tmp_path, headers):
    person = enter(home=tmp_path)
    assert person.put('dog.jpg', b'x', headers=headers).status_code == 403
    assert list(tmp_path.iterdir()) == []


def test_other_pages_cannot_start(enter, photos):
    person = enter()
    content = dict(folder=str(photos))
    for headers in ({**JSON, 'Origin': 'http://evil.example'}, {**JSON, 'Host': 'evil.example'}):
        answer = person.client.post('/api/app/start', json=content, headers=headers)
        assert answer.status_code == 403
    answer = person.client.put('/api/app/photos/0?name=a.jpg', content=b'x', headers=JSON)
    assert answer.status_code == 403
    assert person.state()['stage'] == 'choose' and person.state()['folder'] is None


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere'], 'there is no file or folder nowhere'),
        (['empty'], 'holds no image'),
        (['empty', '--port', '99999'], '--port must be'),
    ],
)
def test_command_line_says_what_is_wrong(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    assert main(['app', *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    'path', ['/api/app', '/api/app/start', '/api/app/photos', '/static/app.js', '/api/actions']
)
def test_nothing_else_is_put(enter, path):
    assert enter().client.put(path, content=b'x', headers=BYTES).status_code == 405


@pytest.mark.parametrize('number', ['-1', 'x', '0/../../start', '%2e%2e'])
def test_only_numbers_are_put(enter, tmp_path, number):
    person = enter(home=tmp_path)
    assert person.put('dog.jpg', b'x', number).status_code in (404, 405)
    assert list(tmp_path.iterdir()) == []
