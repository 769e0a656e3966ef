"""The review page's API over drawn photos, all in memory: for tests of the page, and to develop it.

``python tests/review/stub_server.py PORT IMAGES`` serves it and prints its address.
"""

import asyncio
import copy
import io
import json
import secrets
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import uvicorn
from PIL import Image, ImageDraw
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).resolve().parents[2] / 'mmcoseg' / 'review' / 'static'
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'"
)
STATES = ('unseen', 'accepted', 'corrected', 'rejected', 'left out')
SIZES = ((640, 480), (480, 640), (1600, 1200), (800, 400))


@dataclass
class StubImage:
    """A drawn photo and what is known of it. Its mask is an ellipse, grown and cut by clicks."""

    number: int
    file_name: str
    width: int
    height: int
    label: int  # of its object
    sureness: float
    presence: float = 0.9
    growth: float = 1.0  # of the ellipse
    decision: str = 'unseen'
    version: int = 1
    coarse: bool = False
    changed: bool = False
    hints: list = field(default_factory=list)

    @property
    def state(self) -> str:
        if self.decision == 'accepted' and self.hints:
            return 'corrected'
        return self.decision

    def describe(self) -> dict:
        keys = ('number', 'file_name', 'width', 'height', 'state', 'sureness', 'presence')
        found = {key: getattr(self, key) for key in (*keys, 'version', 'coarse', 'changed')}
        value = round(1 - self.sureness, 3)
        return {**found, 'value': value, 'hints': len(self.hints), 'empty': self.growth == 0}

    def ellipse(self, growth: float) -> list[float]:
        """Edges of the object, or of the mask, in pixels of the original."""
        x, y = self.width * (0.4 + 0.05 * (self.number % 5)), self.height * 0.55
        radius = min(self.width, self.height) * (0.2 + 0.02 * (self.number % 4)) * growth
        return [x - 1.2 * radius, y - radius, x + 1.2 * radius, y + radius]

    def photo(self) -> Image.Image:
        """A bright ellipse on a table before a wall, drawn from the image's number."""
        random = np.random.default_rng(self.number)
        wall, table, thing = random.integers(60, 240, (3, 3))
        rows = np.linspace(0, 1, 48)[:, None, None]
        shade = np.linspace(0.8, 1.1, 64)[None, :, None]
        pixels = np.where(rows < 0.6, wall, table) * shade * (1 - 0.3 * rows)
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        draw = ImageDraw.Draw(image)
        draw.ellipse(self.ellipse(1.0), fill=tuple(thing.tolist()), outline=(30, 30, 30), width=3)
        return image

    def mask(self) -> Image.Image:
        """Values 0 to K, of the original's size."""
        mask = Image.new('L', (self.width, self.height))
        draw = ImageDraw.Draw(mask)
        if self.growth:
            draw.ellipse(self.ellipse(self.growth), fill=self.label)
        for hint, label in self.hints:
            radius = 0.08 * max(self.width, self.height)
            for x, y in hint.get('stroke', [hint['click']] if 'click' in hint else []):
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=label)
            if 'box' in hint:
                draw.rectangle(hint['box'], fill=label)
        return mask


@dataclass
class StubGroup:
    name: str
    classes: list[str]
    images: list[StubImage]
    prepared: float = 1.0
    skipped: list[dict] = field(default_factory=list)


def drawn_groups(counts: tuple[int, ...] = (24, 8)) -> list[StubGroup]:
    """The first group has one class, the second one two."""
    groups = []
    for number, count in enumerate(counts):
        classes = ['object'] if number == 0 else ['mug', 'plate']
        images = []
        for i in range(count):
            width, height = SIZES[i % len(SIZES)]
            sureness = round(0.2 + 0.75 * ((i * 7) % count) / count, 3)
            name = f'IMG_{i:04d}.jpg'
            images.append(StubImage(i, name, width, height, 1 + i % len(classes), sureness))
        groups.append(StubGroup(('cups', 'table')[number], classes, images))
    groups[0].skipped.append({'file_name': 'broken.jpg', 'reason': 'it is no image'})
    return groups


class StubReview:
    """State, history and events of the groups; one lock, changed by requests and by tests."""

    def __init__(self, counts: tuple[int, ...] = (24, 8)) -> None:
        self.token = secrets.token_hex(8)
        self.counts = counts
        self.pictures: dict[tuple, bytes] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all that was said."""
        self.groups = drawn_groups(self.counts)
        self.undone: list[dict] = []
        self.done: list[dict] = []
        self.events: list[dict] = []
        self.posts: list[tuple[str, dict]] = []
        self.refusal: str | None = None  # a sentence: the next action fails with it
        self.fade = 0.1  # seconds until a hint has spread
        self.forgets = False  # all events but the last one
        self.delay = 0.0  # seconds until an acceptance is answered

    @property
    def revision(self) -> int:
        return len(self.events)

    def publish(self, kind: str, **values: object) -> None:
        self.events.append({'kind': kind, 'revision': self.revision + 1, **values})

    def publish_images(self, group: int, images: list[StubImage]) -> None:
        self.publish('images', group=group, images=[image.describe() for image in images])
        self.publish('state', state=self.state())

    def state(self) -> dict:
        groups = []
        for number, group in enumerate(self.groups):
            counts = Counter(image.state for image in group.images)
            sureness = [image.sureness for image in group.images]
            groups.append(
                {
                    'name': group.name,
                    'number': number,
                    'images': len(group.images),
                    'counts': {state: counts[state] for state in STATES},
                    'classes': group.classes,
                    'instances': False,
                    'sureness': sum(sureness) / max(1, len(sureness)),
                    'prepared': group.prepared,
                    'skipped': group.skipped,
                }
            )
        return {
            'title': 'results',
            'revision': self.revision,
            'seq': len(self.done),
            'can_undo': bool(self.done),
            'can_redo': bool(self.undone),
            'method': 'consensus',
            'groups': groups,
        }

    def act(self, action: dict) -> None:
        number = action['group']
        group = self.groups[number]
        before = copy.deepcopy(group.images)
        if 'hint' in action:
            touched, what = [self._hint(number, action)], 'a hint'
        else:
            touched = [group.images[i] for i in action['images']]
            for image in touched:
                image.decision, image.changed = action['decide'], False
            what = f'"{action["decide"]}" of {len(touched)} image{"s" * (len(touched) > 1)}'
        image = touched[0].number if len(touched) == 1 else None
        after = copy.deepcopy(group.images)
        step = dict(group=number, image=image, what=what, before=before, after=after)
        self.done.append(step)
        self.undone.clear()
        self.publish_images(number, touched)

    def _hint(self, number: int, action: dict) -> StubImage:
        group, hint = self.groups[number], action['hint']
        image = group.images[action['image']]
        named = hint.get('object', True)
        label = group.classes.index(named) + 1 if isinstance(named, str) else int(named)
        image.hints.append((hint, label))
        image.decision, image.version, image.coarse = 'unseen', image.version + 1, True
        image.sureness = min(0.99, image.sureness + 0.2)
        threading.Timer(self.fade, self.spread, (number, image)).start()
        return image

    def spread(self, number: int, hinted: StubImage) -> None:
        """Draw the edges of the hinted image, and change every third of the others."""
        images = self.groups[number].images
        if not any(image is hinted for image in images):
            return  # the hint was taken back
        others = [image for image in images if image.number % 3 == 1 and image is not hinted]
        asked = [image for image in others if image.decision == 'accepted']
        changed = [image for image in others if image.decision == 'unseen']
        for image in changed:
            image.growth, image.changed = image.growth * 1.08, True
            image.version, image.sureness = image.version + 1, min(0.99, image.sureness + 0.03)
        hinted.coarse, hinted.version = False, hinted.version + 1
        self.publish_images(number, [hinted, *changed])
        self.publish(
            'spread',
            group=number,
            hint_image=hinted.number,
            changed=len(changed) + len(asked),
            accepted_changed=len(asked),
            asked=[image.number for image in asked],
        )

    def step(self, taken: list[dict], put: list[dict], key: str) -> dict:
        """Undo or redo: bring back the images of ``key`` of the last step of ``taken``."""
        if not taken:
            nothing = {'group': None, 'image': None, 'what': ''}
            return {'seq': len(self.done), 'revision': self.revision, **nothing}
        step = taken.pop()
        put.append(step)
        group = self.groups[step['group']]
        versions = [image.version + 1 for image in group.images]
        group.images = copy.deepcopy(step[key])
        for image, version in zip(group.images, versions):
            image.version = version
        self.publish_images(step['group'], group.images)
        told = {name: step[name] for name in ('group', 'image', 'what')}
        return {'seq': len(self.done), 'revision': self.revision, **told}

    def picture(self, kind: str, group: int, image: StubImage, longest: int) -> bytes:
        """A JPEG of the photo, kept, or a PNG of the mask."""
        key = (kind, group, image.number)
        if key not in self.pictures:
            self.pictures[key] = _encoded(image.photo(), longest, 'JPEG')
        return self.pictures[key]


def _encoded(image: Image.Image, longest: int, form: str) -> bytes:
    image.thumbnail((longest, longest), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def make_app(stub: StubReview) -> Starlette:
    """The API as an application; files of the page come from the package."""

    def image_of(request: Request) -> tuple[int, StubImage]:
        group, image = request.path_params['group'], request.path_params['image']
        return group, stub.groups[group].images[image]

    async def index(request: Request) -> Response:
        if 'token' in request.query_params:
            response = RedirectResponse('/', 303)
            token = request.query_params['token']
            response.set_cookie('token', token, httponly=True, samesite='strict')
            return response
        return Response((STATIC / 'index.html').read_bytes(), media_type='text/html')

    async def state(request: Request) -> Response:
        return JSONResponse(stub.state())

    async def group(request: Request) -> Response:
        found = stub.groups[request.path_params['group']]
        images = [image.describe() for image in found.images]
        return JSONResponse({'name': found.name, 'images': images})

    async def image(request: Request) -> Response:
        found = image_of(request)[1]
        found.changed = False
        return JSONResponse({**found.describe(), 'hints': [hint for hint, _ in found.hints]})

    def thumb(request: Request) -> Response:
        return _kept(stub.picture('thumb', *image_of(request), 320), 'image/jpeg')

    def photo(request: Request) -> Response:
        return _kept(stub.picture('photo', *image_of(request), 2048), 'image/jpeg')

    def mask(request: Request) -> Response:
        longest = 320 if request.query_params.get('size') == 'thumb' else 2048
        return _kept(_encoded(image_of(request)[1].mask(), longest, 'PNG'), 'image/png')

    async def actions(request: Request) -> Response:
        action = await request.json()
        stub.posts.append(('actions', action))
        if stub.refusal:
            sentence, stub.refusal = stub.refusal, None
            return JSONResponse({'error': sentence}, 409)
        if action.get('decide') == 'accepted':
            await asyncio.sleep(stub.delay)
        stub.act(action)
        return JSONResponse({'seq': len(stub.done), 'revision': stub.revision})

    async def undo(request: Request) -> Response:
        return JSONResponse(stub.step(stub.done, stub.undone, 'before'))

    async def redo(request: Request) -> Response:
        return JSONResponse(stub.step(stub.undone, stub.done, 'after'))

    async def looking(request: Request) -> Response:
        stub.posts.append(('looking', await request.json()))
        return JSONResponse({})

    async def export(request: Request) -> Response:
        stub.posts.append(('export', await request.json()))
        skipped = [{'file_name': 'IMG_0003.jpg', 'reason': 'its photo is gone'}]
        return JSONResponse({'folder': '/photos/results', 'skipped': skipped})

    async def formats(request: Request) -> Response:
        return JSONResponse(['masks', 'coco', 'labelme', 'yolo', 'report'])

    async def hints(request: Request) -> Response:
        return JSONResponse({'version': 1, 'images': {}})

    async def saved_object(request: Request) -> Response:
        return Response(b'object', media_type='application/octet-stream')

    async def events(request: Request) -> Response:
        async def lines():
            told = int(request.query_params['revision'])
            yield ': hello\n\n'
            while not ended.is_set():
                if stub.forgets and told < stub.revision:
                    told = stub.revision - 1  # the last event tells the state
                for event in stub.events[told:]:
                    told += 1
                    yield f'data: {json.dumps(event)}\n\n'
                await asyncio.sleep(0.02)
            yield 'data: {"kind": "bye"}\n\n'

        ended = request.app.state.ended
        return StreamingResponse(lines(), media_type='text/event-stream')

    one = '/{group:int}/{image:int}'
    app = Starlette(
        routes=[
            Route('/', index),
            Route('/api/state', state),
            Route('/api/groups/{group:int}', group),
            Route('/api/groups/{group:int}/images/{image:int}', image),
            Route(f'/thumb{one}', thumb),
            Route(f'/photo{one}', photo),
            Route(f'/mask{one}', mask),
            Route('/api/actions', actions, methods=['POST']),
            Route('/api/undo', undo, methods=['POST']),
            Route('/api/redo', redo, methods=['POST']),
            Route('/api/looking', looking, methods=['POST']),
            Route('/api/export', export, methods=['POST']),
            Route('/api/formats', formats),
            Route('/api/hints.json', hints),
            Route('/api/groups/{group:int}/object.coseg', saved_object),
            Route('/api/events', events),
            Mount('/static', StaticFiles(directory=STATIC)),
        ]
    )
    app.state.ended = threading.Event()
    return _Guarded(app, stub)


def _kept(content: bytes, kind: str) -> Response:
    headers = {'Cache-Control': 'private, max-age=31536000, immutable'}
    return Response(content, media_type=kind, headers=headers)


class _Guarded:
    """Asks for the cookie and the header of the API, and sends the page's policy."""

    def __init__(self, app: Starlette, stub: StubReview) -> None:
        self.app, self.stub, self.state = app, stub, app.state

    async def __call__(self, scope: dict, receive, send) -> None:
        async def send_with_policy(message: dict) -> None:
            if message['type'] == 'http.response.start':
                message['headers'].append((b'content-security-policy', POLICY.encode()))
            await send(message)

        if scope['type'] == 'http' and not self._may(Request(scope)):
            answer = JSONResponse({'error': 'Open the address that the server printed.'}, 403)
            return await answer(scope, receive, send_with_policy)
        await self.app(scope, receive, send_with_policy)

    def _may(self, request: Request) -> bool:
        if request.url.path == '/' and request.query_params.get('token') == self.stub.token:
            return True
        named = request.method == 'GET' or request.headers.get('x-mmcoseg') == '1'
        return named and request.cookies.get('token') == self.stub.token


class StubServer:
    """The stub in a thread; ``port`` 0 takes a free one."""

    def __init__(self, stub: StubReview, port: int = 0) -> None:
        self.stub = stub
        self.app = make_app(stub)
        config = uvicorn.Config(
            self.app, port=port, log_config=None, timeout_graceful_shutdown=1, lifespan='off'
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]
        self.address = f'http://127.0.0.1:{self.port}/'

    def stop(self) -> None:
        self.app.state.ended.set()
        self.server.should_exit = True
        self.thread.join()


if __name__ == '__main__':
    port, count = map(int, sys.argv[1:])
    server = StubServer(StubReview((count, 8)), port)
    print(f'{server.address}?token={server.stub.token}', flush=True)
    server.thread.join()
