"""From ``mmcoseg review RESULTS`` to a page in the browser."""

import secrets
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from ..apis.run_state import only_run
from .review import Review
from .server import make_app
from .spread import spreading_inferencer

__all__ = ['ReviewServer', 'serve']

#: Names by which a server that others cannot reach is called.
_LOOPBACK = ('127.0.0.1', 'localhost', '[::1]')


@dataclass
class ReviewServer:
    """A review that is served.

    Attributes:
        review: what is said and follows.
        address: with the token, to open in a browser.
        server: of uvicorn.
        reachable_by_others: whether it listens to other machines.
    """

    review: Review
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
            self.review.stop()
            computing.join()

    def _compute(self) -> None:
        try:
            self.review.run()
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
        port = listening.getsockname()[1]
        names = {*_LOOPBACK, f'[{host}]' if ':' in host else host}
        token = secrets.token_urlsafe(24)
        app = make_app(review, {f'{name}:{port}' for name in names}, token)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=2, lifespan='off'
        )
        shown = '127.0.0.1' if host in _LOOPBACK else host
        address = f'http://{shown}:{port}/?token={token}'
        server = uvicorn.Server(config)
        others = host not in (*_LOOPBACK, '::1')
        yield ReviewServer(review, address, server, listening, others)


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
