"""The review page's server: pages ask and say, and are told what follows."""

import hmac
import json
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
from anyio import CapacityLimiter, to_thread
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from ..datasets.image_io import BadImageError, read_image
from ..errors import MMCosegError
from ..files import file_name_of, save_image
from .group_bench import VIEW_SIDE
from .review import Review

__all__ = ['STATIC', 'Guard', 'answered', 'make_app', 'review_pages', 'told']

STATIC = Path(__file__).parent / 'static'
#: Bytes of a request at most: a stroke of some thousand points.
_LARGEST_REQUEST = 1_000_000
#: Pages that may wait for news at the same time.
_MOST_PAGES = 200
#: Seconds after which a page without news is told that the server is there.
_HEARTBEAT = 15.0
_COOKIE = 'mmcoseg_review'
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    'Content-Security-Policy': _POLICY,
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cross-Origin-Opener-Policy': 'same-origin',
}


class Guard:
    """Lets only the pages of this server in, of people who have its token.

    - ``Host`` must be one of the server's own names, so that no other name can be pointed at it.
    - What changes something must be JSON, or the bytes of an upload where those are taken, carry a
      header that forms cannot send, and, where the browser says from which page it comes, come from
      this server's own.
    - Everything needs the token: in the first address, then in a cookie that other sites' requests
      do not carry.

    Args:
        app: that is guarded.
        token: known to those who may use it.
        hosts: names and ports, such as ``127.0.0.1:8000``.
        uploads: how the paths begin that files may be put to; by default there are none.
    """

    def __init__(
        self, app: ASGIApp, token: str, hosts: set[str], uploads: str | None = None
    ) -> None:
        self.app = app
        self.token = token
        self.hosts = hosts
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        response = self._refusal(request) or self._entrance(request)
        if response is not None:
            await response(scope, receive, send)
            return

        async def send_with_headers(message: dict) -> None:
            if message['type'] == 'http.response.start':
                own = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message['headers'] = [*message['headers'], *own]
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        headers = request.headers
        if headers.get('host') not in self.hosts:
            return _refused(f'this server is not called {headers.get("host")!r}')
        if request.method in ('GET', 'HEAD'):
            return None
        kind = self._kind_of(request)
        if kind is None:
            return _refused('this is not offered', 405)
        origin = headers.get('origin')
        if origin is not None and urlsplit(origin).netloc not in self.hosts:
            return _refused('the request comes from another page')
        if 'x-mmcoseg' not in headers or _content_type(headers) != kind:
            return _refused('the request does not come from the page of this server')
        return None

    def _kind_of(self, request: Request) -> str | None:
        """The content that a request must have; None if it is not offered."""
        if request.method == 'POST':
            return 'application/json'
        is_upload = self.uploads is not None and request.url.path.startswith(self.uploads)
        return 'application/octet-stream' if request.method == 'PUT' and is_upload else None

    def _entrance(self, request: Request) -> Response | None:
        """Let somebody in who brings the token; refuse everybody else without a cookie."""
        given = request.query_params.get('token')
        if given is not None and request.method == 'GET' and self._fits(given):
            response = RedirectResponse(request.url.path, 303, headers=_HEADERS)
            response.set_cookie(self.cookie, self.token, httponly=True, samesite='strict')
            return response
        if self._fits(request.cookies.get(self.cookie, '')):
            return None
        return _refused('open the address with the token that the terminal shows')

    @property
    def cookie(self) -> str:
        """Cookies do not tell ports apart, so the name does."""
        port = min(self.hosts).rpartition(':')[2]
        return f'{_COOKIE}_{port}'

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def _refused(text: str, status: int = 403) -> Response:
    return PlainTextResponse(f'mmcoseg: {text}\n', status, headers=_HEADERS)


def _content_type(headers: Headers) -> str:
    return headers.get('content-type', '').partition(';')[0].strip()


def make_app(review: Review, hosts: set[str], token: str | None = None) -> Guard:
    """The server of a review, as an ASGI application.

    Args:
        review: whose ``run`` computes in another thread.
        hosts: see :class:`Guard`.
        token: see :class:`Guard`; a random one by default.
    """
    return Guard(review_pages(review), token or secrets.token_urlsafe(24), hosts)


def review_pages(review: Review) -> Starlette:
    """The pages of a review, unguarded."""
    pages = _Pages(review)
    return Starlette(
        routes=[
            Route('/', pages.index),
            Route('/api/state', answered(pages.state)),
            Route('/api/groups/{group:int}', answered(pages.group)),
            Route('/api/groups/{group:int}/images/{image:int}', answered(pages.image)),
            Route('/api/groups/{group:int}/object.coseg', answered(pages.object_file)),
            Route('/api/hints.json', answered(pages.hints_file)),
            Route('/api/formats', answered(pages.formats)),
            Route('/api/actions', answered(pages.act), methods=['POST']),
            Route('/api/undo', answered(pages.undo), methods=['POST']),
            Route('/api/redo', answered(pages.redo), methods=['POST']),
            Route('/api/looking', answered(pages.look), methods=['POST']),
            Route('/api/export', answered(pages.export), methods=['POST']),
            Route('/api/events', pages.events),
            Route('/thumb/{group:int}/{image:int}', answered(pages.thumb)),
            Route('/photo/{group:int}/{image:int}', answered(pages.photo)),
            Route('/mask/{group:int}/{image:int}', answered(pages.mask)),
            Mount('/static', StaticFiles(directory=STATIC)),
        ]
    )


Endpoint = Callable[[Request], Awaitable[Any]]


def answered(answer: Callable[[Request, dict], Any]) -> Endpoint:
    """An endpoint that answers in a thread, and says what is wrong in one sentence."""

    async def endpoint(request: Request) -> Any:
        content = await _content_of(request)
        return await run_in_threadpool(answer, request, content)

    return told(endpoint)


def told(endpoint: Endpoint) -> Endpoint:
    """An endpoint that says what is wrong in one sentence, and gives plain types as JSON."""

    async def telling(request: Request) -> Response:
        try:
            found = await endpoint(request)
        except KeyError:
            return JSONResponse(dict(error='there is no such group or image'), 404)
        except (MMCosegError, BadImageError, OSError, ClientDisconnect) as error:
            return JSONResponse(dict(error=str(error)), 409)
        return found if isinstance(found, Response) else JSONResponse(found)

    return telling


class _Pages:
    """Answers requests. Whatever takes long runs in a thread."""

    def __init__(self, review: Review) -> None:
        self.review = review
        self._waiting = CapacityLimiter(_MOST_PAGES)

    async def index(self, request: Request) -> Response:
        return FileResponse(STATIC / 'index.html', headers={'Cache-Control': 'no-store'})

    def state(self, request: Request, content: dict) -> dict:
        return self.review.state()

    def group(self, request: Request, content: dict) -> dict:
        return self.review.group(request.path_params['group'])

    def image(self, request: Request, content: dict) -> dict:
        return self.review.image(request.path_params['group'], request.path_params['image'])

    def act(self, request: Request, content: dict) -> dict:
        return self.review.act(content)

    def undo(self, request: Request, content: dict) -> dict:
        return self.review.undo()

    def redo(self, request: Request, content: dict) -> dict:
        return self.review.redo()

    def look(self, request: Request, content: dict) -> dict:
        """What is on the page: one image, or several in a grid."""
        shown = [content.get('image'), *content.get('visible', [])]
        numbers = [number for number in shown if number is not None]
        if not all(type(number) is int for number in (content.get('group'), *numbers)):
            raise MMCosegError('"group", "image" and "visible" must be whole numbers')
        self.review.look(content['group'], numbers)
        return {}

    async def events(self, request: Request) -> Response:
        """Server-sent events from a revision on."""
        text = request.query_params.get('revision', '0')
        if not text.isdecimal():
            return JSONResponse(dict(error='"revision" must be a whole number'), 400)
        revision = int(text)

        async def stream():
            nonlocal revision
            while not await request.is_disconnected():
                waiting = partial(self.review.events_after, revision, _HEARTBEAT)
                # In threads of their own: pages that wait must not keep others from asking.
                found = await to_thread.run_sync(
                    waiting, abandon_on_cancel=True, limiter=self._waiting
                )
                if found is None:  # too old: the page must ask for everything
                    state = self.review.state()
                    found = [dict(kind='state', revision=state['revision'], state=state)]
                for event in found:
                    revision = event['revision']
                    yield f'data: {json.dumps(event)}\n\n'
                if not found:
                    yield ': still there\n\n'
                if any(event['kind'] == 'bye' for event in found):
                    return

        return StreamingResponse(
            stream(), media_type='text/event-stream', headers={'Cache-Control': 'no-store'}
        )

    def _found(self, request: Request) -> tuple[int, int]:
        group, image = request.path_params['group'], request.path_params['image']
        self.review.image_at(group, image)
        return group, image

    def thumb(self, request: Request, content: dict) -> Response:
        image = self.review.image_at(*self._found(request))
        path = image.finished.record.thumbnails['image']
        return _kept(self.review.results.folder / path)

    def photo(self, request: Request, content: dict) -> Response:
        """The photo, made small enough for a page once."""
        image = self.review.image_at(*self._found(request))
        record, results = image.finished.record, self.review.results
        folder = results.review / 'photos' / file_name_of(record.group)
        file = folder / file_name_of(record.stem, '.jpg')
        if not file.exists():
            source = results.photo(image.finished)
            if source is None or not source.exists():
                return _kept(results.folder / record.thumbnails['image'])
            pixels = read_image(source)
            scale = min(1.0, VIEW_SIDE / max(pixels.shape[:2]))
            if scale < 1:
                size = tuple(max(1, round(side * scale)) for side in pixels.shape[1::-1])
                pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            save_image(Image.fromarray(pixels[:, :, ::-1]), file, 'JPEG', quality=90)
        return _kept(file)

    def mask(self, request: Request, content: dict) -> Response:
        group, image = self._found(request)
        small = request.query_params.get('size') == 'thumb'
        png = self.review.mask(group, image, small)
        headers = {'Cache-Control': 'private, max-age=3600'}
        return Response(png, media_type='image/png', headers=headers)

    def hints_file(self, request: Request, content: dict) -> Response:
        file = self.review.results.review / 'hints.json'
        self.review.write_hints(file)
        return FileResponse(file, filename='hints.json')

    def object_file(self, request: Request, content: dict) -> Response:
        file = self.review.write_object(request.path_params['group'])
        return FileResponse(file, filename=file.name)

    def formats(self, request: Request, content: dict) -> list[str]:
        return self.review.formats()

    def export(self, request: Request, content: dict) -> dict:
        return self.review.export(content.get('formats'))


async def _content_of(request: Request) -> dict:
    """The JSON object of a request; nothing of one that only asks."""
    if request.method != 'POST':
        return {}
    body = b''
    async for part in request.stream():
        body += part
        if len(body) > _LARGEST_REQUEST:
            raise MMCosegError('the request is too large')
    try:
        content = json.loads(body or b'{}')
    except (ValueError, RecursionError) as error:
        raise MMCosegError(f'the request is not valid json: {error}') from error
    if not isinstance(content, dict):
        raise MMCosegError('the request must be a json object')
    return content


def _kept(file: Path) -> Response:
    """A picture that stays as it is, so that browsers may keep it.

    Raises:
        MMCosegError: if it is not there.
    """
    if not file.exists():
        raise MMCosegError(f'{file.name} is missing from the results; segment its photo anew')
    headers = {'Cache-Control': 'private, max-age=86400, immutable'}
    return FileResponse(file, media_type='image/jpeg', headers=headers)
