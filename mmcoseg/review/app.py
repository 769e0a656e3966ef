"""From photos to a review: one page to choose them, and to watch as they are segmented."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from ..apis.inputs import read_inputs
from ..apis.progress import RunProgress
from ..apis.run_state import RunState, only_run
from ..apis.segment import segment_to_folder
from ..datasets.image_io import IMAGE_SUFFIXES
from ..errors import MMCosegError
from ..export.run_state import has_results
from ..files import display_name, file_name_of, write_atomically
from .review import Review
from .server import STATIC, Guard, answered, review_pages, told
from .spread import spreading_inferencer

__all__ = ['App', 'guarded']

#: Addresses of the app's own; all others are the review's, once there is one.
_ADDRESS = '/api/app'
_UPLOADS = f'{_ADDRESS}/photos/'
#: How many photos may be dropped, and bytes of one. Folders may hold any number.
_MOST_PHOTOS = 2000
_LARGEST_PHOTO = 200_000_000
#: Notes that a page shows at most, the last ones.
_MOST_NOTES = 500


#: Steps of an image on its way to a mask, and about what each takes, in comparison.
_STEPS = dict(read=1, described=5, drawn=2)


class _Cancelled(Exception):
    """Somebody wants no more of it."""


class _PageProgress(RunProgress):
    """How far a run is, for a page; ends the run where it is asked to."""

    def __init__(self) -> None:
        super().__init__(StringIO(), quiet=True)
        self.notes: list[str] = []
        self.group: str | None = None
        self.total = 0
        self.cancelled = False
        self._begun = time.monotonic()
        self._past = Counter[str]()
        self._lock = threading.Lock()

    def start(self, total: int) -> None:
        self._go_on()
        self.total = total

    def begin(self, group: str) -> None:
        self._go_on()
        self.group = display_name(group)

    def watch(self, step: str, count: int) -> None:
        self._go_on()
        with self._lock:
            self._past[step] += count

    def advance(self, count: int) -> None:
        self.watch('drawn', count)

    def end(self, *arguments: Any, **options: Any) -> None:
        super().end(*arguments, **options)
        for step in _STEPS:  # files that cannot be read have not gone all the way
            self._past[step] = self._past['drawn']

    def note(self, text: str) -> None:
        self._print(text)

    def stop(self) -> None:
        pass

    def state(self) -> dict[str, Any]:
        """What the page shows of it; None is what cannot be known yet."""
        share, seconds = self._share(), time.monotonic() - self._begun
        rate = left = None
        if share:
            rate, left = share * self.total / seconds, seconds * (1 - share) / share
        return dict(
            group=self.group,
            done=self._past['drawn'],
            total=self.total,
            share=share,
            rate=rate,
            left=left,
            notes=self.notes[-_MOST_NOTES:],
        )

    def _share(self) -> float:
        """How much of the work is done."""
        done = 0
        for step, part in _STEPS.items():  # some methods describe images several times
            done += part * min(self._past[step], self._past['read'])
        return min(1.0, done / max(1, self.total * sum(_STEPS.values())))

    def _go_on(self) -> None:
        if self.cancelled:
            raise _Cancelled

    def _print(self, text: str) -> None:
        self.notes.append(text)


class App:
    """Photos that are chosen, segmented and then reviewed; used by several threads.

    One thread computes (:meth:`run`); requests of pages come from others.

    Args:
        folder: of photos, to begin with. If all of its photos have results, or if it is a folder
            of results, the review begins at once.
        out: folder of the results; by default beside the photos, with ``-results`` in its name.
        home: where a new folder for dropped photos is made.
        options: of :func:`~mmcoseg.apis.segment_to_folder`.

    Attributes:
        stage: ``choose``, ``running`` or ``review``.

    Raises:
        OSError, MMCosegError: if the folder is not there, or holds no photos.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        out: str | Path | None = None,
        home: str | Path = '.',
        **options: Any,
    ) -> None:
        self.stage = 'choose'
        self.folder: Path | None = None
        self.out: Path | None = None
        self.error: str | None = None
        self.progress = _PageProgress()
        self.photos: dict[int, Path] = {}
        self.review: Review | None = None
        self._pages = _app_pages(self)
        self._review_pages: Starlette | None = None
        self._given_out = None if out is None else Path(out).expanduser()
        self._home = Path(home)
        self._new_folder: Path | None = None
        self._options = options
        self._changed = threading.Condition()
        self._stopped = False
        if folder is not None:
            self._take(folder)
            if self._all_done():
                self.stage = 'running'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pages = self._pages
        if self._review_pages is not None and not scope['path'].startswith(_ADDRESS):
            pages = self._review_pages
        await pages(scope, receive, send)

    # ---- what pages ask and say

    def state(self) -> dict[str, Any]:
        """Everything that the page shows."""
        with self._changed:
            return dict(
                stage=self.stage,
                folder=_shown(self.folder),
                out=_shown(self.out),
                photos=len(self.photos),
                error=self.error,
                **self.progress.state(),
            )

    def start(self, folder: Any) -> dict[str, Any]:
        """Begin with a folder; what it lacks of results is computed.

        Raises:
            MMCosegError: if there is no such folder, or something is begun already.
        """
        if not isinstance(folder, str) or not folder.strip():
            raise MMCosegError('choose photos, or give the path of a folder')
        with self._changed:
            self._require_choosing()
            self._take(folder.strip())
            self.error = None
            self.progress = _PageProgress()
            self.stage = 'running'
            self._changed.notify_all()
        return self.state()

    def cancel(self) -> dict[str, Any]:
        """End the run as soon as it says how far it is; what is finished stays."""
        with self._changed:
            self.progress.cancelled = True
        return self.state()

    @contextmanager
    def place_for(self, number: int, name: str) -> Iterator[Path]:
        """Where the photo of a number is to be written; its name is free again if that fails.

        Raises:
            MMCosegError: if there are too many, or it is no photo by its name.
        """
        if number >= _MOST_PHOTOS:
            raise MMCosegError(
                f'no more than {_MOST_PHOTOS} photos can be dropped; give the path of their folder'
            )
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in IMAGE_SUFFIXES or name.startswith('.'):
            raise MMCosegError(
                f'{display_name(name)} is not an image by its name; choose files that end with '
                f'{", ".join(IMAGE_SUFFIXES)}'
            )
        with self._changed:
            self._require_choosing()
            if number in self.photos:
                raise MMCosegError(f'photo {number} was given already')
            self._take(self._folder_for_photos())
            others = [file.name.casefold() for file in self.photos.values()]
            file_name = file_name_of(stem, suffix)
            while file_name.casefold() in others:
                stem += f'~{number}'
                file_name = file_name_of(stem, suffix)
            file = self.photos[number] = self.folder / file_name
        try:
            yield file
        except BaseException:
            with self._changed:
                self.photos.pop(number, None)
            raise

    def _require_choosing(self) -> None:
        if self.stage != 'choose':
            raise MMCosegError('photos are being segmented already; wait, or cancel it')

    def _folder_for_photos(self) -> Path:
        """The folder for photos that are dropped, which is new."""
        if self._new_folder is None:
            folder = self._home / time.strftime('photos-%Y-%m-%d-%H%M%S')
            folder.mkdir()
            self._new_folder = folder
        return self._new_folder

    def _take(self, folder: str | Path) -> None:
        """Choose a folder of photos, or of results."""
        folder = Path(folder).expanduser().resolve()
        if not folder.is_dir():
            raise MMCosegError(f'there is no folder {folder}')
        beside = folder.with_name(f'{folder.name}-results')
        self.out = folder if has_results(folder) else self._given_out or beside
        self.folder = folder

    # ---- what follows

    def run(self) -> None:
        """Segment what is chosen, and then compute for the review, until :meth:`stop`."""
        while self._has_begun():
            try:
                self._segment()
                self._hold_review()
            except Exception as error:
                if self.stage == 'review':
                    raise
                self._go_back(error)

    def stop(self) -> None:
        """End :meth:`run` soon."""
        with self._changed:
            self._stopped = True
            self.progress.cancelled = True
            self._changed.notify_all()
            if self.review is not None:
                self.review.stop()

    def _has_begun(self) -> bool:
        """Wait until something is begun; False if nothing will be."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self.stage == 'running')
            return not self._stopped

    def _all_done(self) -> bool:
        """Whether all photos have results, or were skipped."""
        if self.out == self.folder:
            return True
        known = set()
        for state in RunState(self.out, None, {}).groups.values():
            if state.finished:
                known |= {(state.name, file.file_name) for file in (*state.images, *state.skipped)}
        wanted = set()
        for group in read_inputs(self.folder):
            wanted |= {(group.name, item.file_name) for item in group.items}
        return wanted <= known

    def _segment(self) -> None:
        """Compute the results that are missing."""
        if self._all_done():
            return
        result = segment_to_folder(self.folder, self.out, progress=self.progress, **self._options)
        if result.num_written + result.num_kept == 0:
            raise MMCosegError(
                f'none of the {len(result.skipped)} photos can be read: {result.skipped[0][2]}'
            )

    def _hold_review(self) -> None:
        """Review the results until somebody ends it."""
        with only_run(self.out):
            review = Review(self.out, spreading_inferencer)
            with self._changed:
                if self._stopped:
                    return
                self._review_pages = review_pages(review)
                self.review = review
                self.stage = 'review'
            review.run()

    def _go_back(self, error: Exception) -> None:
        """Let people choose again, and say why."""
        users = isinstance(error, (MMCosegError, OSError, ImportError))
        text = str(error) if users else f'{type(error).__name__}: {error}'
        with self._changed:
            self.stage = 'choose'
            if isinstance(error, _Cancelled):
                self.progress.note('Cancelled. What is finished stays; the next start goes on.')
            else:
                self.error = display_name(text)


def _shown(path: Path | None) -> str | None:
    return None if path is None else display_name(str(path))


def guarded(app: App, hosts: set[str], token: str) -> Guard:
    """The app, for those who have the token; see :class:`Guard`."""
    return Guard(app, token, hosts, _UPLOADS)


def _app_pages(app: App) -> Starlette:
    """What is asked and said before there is a review."""

    async def index(request: Request) -> Response:
        return FileResponse(STATIC / 'app.html', headers={'Cache-Control': 'no-store'})

    def state(request: Request, content: dict) -> dict:
        return app.state()

    def start(request: Request, content: dict) -> dict:
        return app.start(content.get('folder'))

    def cancel(request: Request, content: dict) -> dict:
        return app.cancel()

    async def photo(request: Request) -> dict:
        number, name = request.path_params['number'], request.query_params.get('name', '')
        with app.place_for(number, name) as file, write_atomically(file) as target:
            size = 0
            async for part in request.stream():
                size += len(part)
                if size > _LARGEST_PHOTO:
                    raise MMCosegError(
                        f'{display_name(name)} is larger than {_LARGEST_PHOTO // 10**6} MB'
                    )
                target.write(part)
        return app.state()

    return Starlette(
        routes=[
            Route('/', index),
            Route(_ADDRESS, answered(state)),
            Route(f'{_ADDRESS}/start', answered(start), methods=['POST']),
            Route(f'{_ADDRESS}/cancel', answered(cancel), methods=['POST']),
            Route(f'{_UPLOADS}{{number:int}}', told(photo), methods=['PUT']),
            Mount('/static', StaticFiles(directory=STATIC)),
        ]
    )
