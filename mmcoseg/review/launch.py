"""From ``mmcoseg review RESULTS`` or ``mmcoseg app`` to a page in the browser."""

import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from ..apis.run_state import only_run
from .app import App, guarded
from .review import Review
from .server import Guard, make_app
from .spread import spreading_inferencer

__all__ = ['ReviewServer', 'open_browser', 'serve', 'serve_app']

#: Names by which a server that others cannot reach is called.
_LOOPBACK = ('127.0.0.1', 'localhost', '[::1]')


class _Server(uvicorn.Server):
    """Ends what pages wait for as soon as it is asked to end, so that it need not cut them off."""

    def __init__(self, config: uvicorn.Config, work: Review | App) -> None:
        super().__init__(config)
        self.work = work

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        # Not here: the work may be computing, and a second signal must still be heard.
        threading.Thread(target=self.work.stop, daemon=True).start()


@dataclass
class ReviewServer:
    """A review, or an app that leads to one, that is served.

    Attributes:
        work: whose ``run`` computes in another thread.
        address: with the token, to open in a browser.
        server: of uvicorn.
        reachable_by_others: whether it listens to other machines.
    """

    work: Review | App
    address: str
    server: uvicorn.Server
    socket: socket.socket
    reachable_by_others: bool

    def run(self) -> None:
        """Serve until the process is interrupted."""
        computing = threading.Thread(target=self._compute, name='review')
        computing.start()
        try:
            self.server.run(sockets=[self.socket])
        finally:
            self.work.stop()
            computing.join()

    def _compute(self) -> None:
        try:
            self.work.run()
        finally:  # nothing more would follow of what people say
            self.server.should_exit = True


@contextmanager
def serve(folder: str | Path, host: str = '127.0.0.1', port: int = 0) -> Iterator[ReviewServer]:
    """Open a folder of results for review, and listen; the folder is locked meanwhile.

    Args:
        folder: of results.
        host: address to listen at; one that others can reach needs the token, too.
        port: 0 takes a free one.

    Raises:
        MMCosegError: if the folder holds no results.
        OSError: if another run uses the folder, or the port is taken.
    """
    folder = Path(folder).expanduser()
    with only_run(folder), _listening(host, port) as listening:
        review = Review(folder, spreading_inferencer)
        yield _server_of(review, make_app, host, listening)


@contextmanager
def serve_app(
    folder: str | Path | None = None,
    out: str | Path | None = None,
    host: str = '127.0.0.1',
    port: int = 0,
) -> Iterator[ReviewServer]:
    """Listen for people who choose photos, and then review what is found in them.

    Args:
        folder, out: see :class:`App`; the rest as for :func:`serve`.

    Raises:
        MMCosegError: if there is no photo in the folder.
        OSError: if the port is taken.
    """
    with _listening(host, port) as listening:
        yield _server_of(App(folder, out), guarded, host, listening)


def _server_of(
    work: Review | App,
    make_pages: Callable[[Review | App, set[str], str], Guard],
    host: str,
    listening: socket.socket,
) -> ReviewServer:
    port = listening.getsockname()[1]
    token = secrets.token_urlsafe(24)
    pages = make_pages(work, {f'{name}:{port}' for name in _names_of(host)}, token)
    # Without a configuration of logging, which would close the log files of others.
    config = uvicorn.Config(
        pages, log_config=None, access_log=False, timeout_graceful_shutdown=2, lifespan='off'
    )
    shown = {'127.0.0.1': '127.0.0.1', '::1': '[::1]'}.get(host, _names_of(host)[0])
    address = f'http://{shown}:{port}/?token={token}'
    others = host not in (*_LOOPBACK, '::1')
    return ReviewServer(work, address, _Server(config, work), listening, others)


def _names_of(host: str) -> list[str]:
    """What a server at this address may be called; first what others call it."""
    own = [f'[{host}]' if ':' in host else host]
    if host in ('0.0.0.0', '::'):
        name = socket.gethostname()
        own = [name, socket.getfqdn()]
        with suppress(OSError):
            for *_, (address, *_) in socket.getaddrinfo(name, None):
                own.append(f'[{address}]' if ':' in address else address)
    return [*own, *_LOOPBACK]


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise OSError(
                f'port {port} of {host} cannot be used ({error.strerror}); choose another by --port'
            ) from error
        listening.listen(128)
        yield listening


def open_browser(address: str) -> None:
    """Open a page, if there is a browser."""
    threading.Timer(0.5, webbrowser.open, [address]).start()
