"""The server lets in who has the token, and nobody else; each promise is tried to be broken."""

import json
import threading
from io import BytesIO

import numpy as np
import pytest
from demo_inputs import write_tiny_dataset
from PIL import Image

pytest.importorskip(
    'starlette', reason="the review is not installed: pip install 'mmcoseg[review]'"
)
pytest.importorskip('httpx2', reason='httpx2 is not installed')

from starlette.testclient import TestClient

from mmcoseg.apis import segment_to_folder
from mmcoseg.review.review import Review
from mmcoseg.review.server import make_app

HOST = '127.0.0.1:8000'
BASE = f'http://{HOST}'
TOKEN = 'secret'
JSON = {'X-Mmcoseg': '1', 'Content-Type': 'application/json'}
CLICK = dict(hint=dict(click=[5, 6]), group=0, image=0)


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    root = write_tiny_dataset(tmp_path_factory.mktemp('photos'), {'a': 3}, (48, 64))
    options = {'model.stages.self_training': None}
    segment_to_folder(root / 'images', root / 'results', cfg_options=options, num_workers=1)
    return root / 'results'


@pytest.fixture
def review(results):
    (results / '.mmcoseg/review/journal.jsonl').unlink(missing_ok=True)
    return Review(results, lambda settings: None)  # whose work nobody does


@pytest.fixture
def app(review):
    return make_app(review, {HOST}, TOKEN)


@pytest.fixture
def stranger(app):
    """Has no token."""
    return TestClient(app, BASE, follow_redirects=False)


@pytest.fixture
def page(stranger):
    """Came with the token."""
    entered = stranger.get('/', params=dict(token=TOKEN))
    assert entered.status_code == 303 and entered.headers['location'] == '/'
    cookie = entered.headers['set-cookie'].lower()
    assert 'httponly' in cookie and 'samesite=strict' in cookie
    return stranger


@pytest.mark.parametrize('path', ['/', '/api/state', '/photo/0/0', '/static/index.html'])
@pytest.mark.parametrize('given', [None, '', 'secret2', 'Secret'])
def test_nothing_without_the_token(stranger, path, given):
    parameters = {} if given is None else dict(token=given)
    answer = stranger.get(path, params=parameters)
    assert answer.status_code == 403 and 'open the address with the token' in answer.text
    assert 'set-cookie' not in answer.headers


def test_the_page_and_its_policy(page):
    answer = page.get('/api/state')
    assert answer.status_code == 200
    policy = answer.headers['content-security-policy']
    assert "default-src 'none'" in policy and 'unsafe' not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers['x-content-type-options'] == 'nosniff'
    assert 'access-control-allow-origin' not in answer.headers
    state = answer.json()
    assert [group['name'] for group in state['groups']] == ['a']
    assert state['groups'][0]['counts']['unseen'] == 3


@pytest.mark.parametrize('host', ['evil.example', '127.0.0.1:9', '127.0.0.1', 'evil.example:8000'])
def test_other_names_for_the_server_are_refused(page, host):
    answer = page.get('/api/state', headers={'Host': host})
    assert answer.status_code == 403 and 'is not called' in answer.text


@pytest.mark.parametrize(
    'headers',
    [
        {**JSON, 'Origin': 'http://evil.example'},
        {**JSON, 'Origin': 'null'},
        {**JSON, 'Origin': f'http://{HOST}.evil.example'},
        {**JSON, 'Origin': 'http://127.0.0.1:9'},
        {'Content-Type': 'application/json'},
        {'X-Mmcoseg': '1', 'Content-Type': 'text/plain'},
        {'X-Mmcoseg': '1', 'Content-Type': 'application/x-www-form-urlencoded'},
    ],
    ids=range(7),
)
@pytest.mark.parametrize('path', ['/api/actions', '/api/undo', '/api/export'])
def test_other_pages_cannot_act(page, review, path, headers):
    answer = page.post(path, content=json.dumps(CLICK), headers=headers)
    assert answer.status_code == 403
    assert review.journal.actions == []


@pytest.mark.parametrize('method', ['PUT', 'DELETE', 'OPTIONS', 'PATCH'])
def test_other_methods_are_refused(page, method):
    assert page.request(method, '/api/state', headers=JSON).status_code == 405


def test_what_the_page_says_is_on_disk(page, review, results):
    answer = page.post('/api/actions', json=CLICK, headers={**JSON, 'Origin': BASE})
    assert answer.status_code == 200 and answer.json()['seq'] == 2
    text = (results / '.mmcoseg/review/journal.jsonl').read_text()
    assert json.loads(text.splitlines()[-1])['do']['hint'] == CLICK['hint']
    image = page.get('/api/groups/0/images/0').json()
    assert image['hints'] == [CLICK['hint']] and image['state'] == 'unseen'
    assert page.post('/api/undo', json={}, headers=JSON).json()['what'].startswith('click on')
    assert page.get('/api/groups/0/images/0').json()['hints'] == []
    assert page.post('/api/redo', json={}, headers=JSON).json()['image'] == 0


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'not valid json'),
        ('[1]', 'must be a json object'),
        ('{"group": 0}', 'an action has a "hint"'),
        (json.dumps(dict(CLICK, hint=dict(click=[500, 6]))), 'lies outside of the image'),
        ('[' * 100_000, 'not valid json'),
        ('{"hint": "' + 'x' * 2_000_000 + '"}', 'too large'),
    ],
    ids=range(6),
)
def test_a_bad_request_is_one_sentence(page, review, content, message):
    answer = page.post('/api/actions', content=content, headers=JSON)
    assert answer.status_code == 409 and message in answer.json()['error']
    assert review.journal.actions == []


@pytest.mark.parametrize(
    'path',
    [
        '/static/../server.py',
        '/static/%2e%2e/server.py',
        '/static/..%2fserver.py',
        '/static//etc/passwd',
        '/thumb/0/99',
        '/thumb/9/0',
        '/thumb/0/..%2f..',
        '/photo/-1/0',
        '/mask/0/x',
        '/api/groups/7',
        '/api/groups/0/images/3',
        '/summary.json',
    ],
)
def test_no_path_leads_elsewhere(page, path):
    answer = page.get(path)
    assert answer.status_code == 404 and 'import' not in answer.text


def test_pictures(page):
    image = page.get('/api/groups/0/images/1').json()
    for path, kind in (
        ('/thumb/0/1', 'image/jpeg'),
        ('/photo/0/1', 'image/jpeg'),
        ('/mask/0/1', 'image/png'),
        ('/mask/0/1?size=thumb', 'image/png'),
    ):
        answer = page.get(path)
        assert answer.status_code == 200 and answer.headers['content-type'] == kind
        with Image.open(BytesIO(answer.content)) as picture:
            assert picture.size == (image['width'], image['height'])
            if kind == 'image/png':
                assert picture.mode in ('L', '1') and np.asarray(picture).max() <= 1


def test_files_to_take_along(page):
    page.post('/api/actions', json=CLICK, headers=JSON)
    answer = page.get('/api/hints.json')
    assert 'attachment' in answer.headers['content-disposition']
    [(image, hints)] = answer.json()['images'].items()
    assert image.startswith('a/') and hints == [dict(click=[5, 6], object=True)]
    answer = page.get('/api/groups/0/object.coseg')
    assert answer.status_code == 409 and 'not prepared yet' in answer.json()['error']
    assert 'labelme' in page.get('/api/formats').json()
    answer = page.post('/api/export', json=dict(formats=['nonsense']), headers=JSON)
    assert answer.status_code == 409 and 'nonsense' in answer.json()['error']


def test_events_come_to_every_page(page, review):
    threading.Timer(0.3, review.act, [CLICK]).start()
    threading.Timer(1.0, review.stop).start()
    kinds = []
    with page.stream('GET', '/api/events', params=dict(revision=0)) as answer:
        assert answer.headers['content-type'].startswith('text/event-stream')
        for line in answer.iter_lines():
            if line.startswith('data: '):
                kinds.append(json.loads(line.removeprefix('data: '))['kind'])
    assert kinds == ['images', 'state', 'bye']


def test_news_of_no_revision(page):
    assert page.get('/api/events', params=dict(revision='x')).status_code == 400


def test_a_page_that_was_away_for_long_gets_everything(page, review):
    review.stop()
    [event] = review.events_after(0, 0)
    assert event['kind'] == 'bye'
    assert review.events_after(99, 0) is None


def test_what_is_on_the_page_is_drawn_first(page, review):
    for content, looking in (
        (dict(group=0, image=2, visible=[0, 1]), (0, [2, 0, 1])),
        (dict(group=0, image=None, visible=[1]), (0, [1])),
    ):
        assert page.post('/api/looking', json=content, headers=JSON).status_code == 200
        assert review.looking == looking
    for content in (
        dict(group=0, image='x'),
        dict(image=1),
        dict(group=0, image=1, visible=[True]),
    ):
        assert page.post('/api/looking', json=content, headers=JSON).status_code == 409
    assert page.post('/api/looking', json=dict(group=0, image=9), headers=JSON).status_code == 404
