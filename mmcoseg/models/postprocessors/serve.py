"""What a helper process runs: answer calls of one function of one file until the input ends.

Started by ``processes.py`` as a script, with the path of the file and the name of the function.
Only the standard library is imported here; what the file imports is its own business.
"""

import importlib.util
import os
import pickle
import signal
import sys
from collections.abc import Callable
from typing import Any, BinaryIO


def main() -> None:
    # Ctrl-C reaches all processes of a terminal; whether to go on is the caller's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = sys.stdin.buffer
    # Whatever a library prints must not get between the answers.
    replies = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)
    try:
        sys.path[:] = pickle.load(requests)
        function = load(*sys.argv[1:])
        while True:
            answer(replies, function, *pickle.load(requests))
    except (EOFError, BrokenPipeError):
        pass  # the caller has ended, or has closed this process


def load(path: str, name: str) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location('served', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def answer(replies: BinaryIO, function: Callable[..., Any], args: tuple, kwargs: dict) -> None:
    """Write ``(True, result)``, or ``(False, exception)``."""
    try:
        reply = pickle.dumps((True, function(*args, **kwargs)), protocol=5)
    except Exception as error:
        reply = pickle.dumps((False, error), protocol=5)
    replies.write(reply)
    replies.flush()


if __name__ == '__main__':
    main()
