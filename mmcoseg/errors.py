"""What is raised when the user can mend it."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['MMCosegError', 'naming']


class MMCosegError(ValueError):
    """Something in the user's files, config or arguments is wrong.

    The message names the file or key, says what is wrong and what to do. The command line prints
    it without a traceback; any other error is a bug.
    """


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Put the name of a file, an image or a key before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise MMCosegError(f'{what}: {error}') from error
