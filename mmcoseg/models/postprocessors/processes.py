"""Small helper processes for work that holds the interpreter's lock.

Not multiprocessing, because a forked copy of a process that runs threads can hang, and a spawned
one imports the main program again, and with it torch: seconds, and hundreds of megabytes each.
With joblib the first results took a second longer, and one process that dies ends the whole call.

Here a helper is a plain Python that loads one file (``serve.py``), reads calls from its standard
input and writes the results to its standard output; it ends when its input does, however the
program that started it came to its end.
"""

import atexit
import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from joblib import cpu_count

__all__ = ['HelperDied', 'Helpers', 'default_workers']

SERVER = Path(__file__).with_name('serve.py')


class HelperDied(RuntimeError):
    """A helper process ended in the middle of a call."""


class Helper:
    """One process that answers calls of one function, one at a time."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), inspect.getfile(function), function.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One process a core: threads within them would only be in each other's way.
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'},
            # Out of reach of the terminal's Ctrl-C.
            start_new_session=True,
        )
        self._send(sys.path)

    def call(self, args: tuple, kwargs: dict) -> tuple[bool, Any]:
        """``(True, result)`` of the function, or ``(False, exception)`` that it raised.

        Raises:
            HelperDied: if the process does not answer.
        """
        self._send((args, kwargs))
        try:
            return pickle.load(self.process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise HelperDied(self._epitaph()) from error

    def _send(self, message: Any) -> None:
        data = pickle.dumps(message, protocol=5)
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except OSError as error:
            raise HelperDied(self._epitaph()) from error

    def _epitaph(self) -> str:
        self.close()
        code = self.process.returncode
        return f'killed by signal {-code}' if code < 0 else f'ended with status {code}'

    def close(self) -> None:
        """End the process; at most a moment after the call that it works on."""
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:
                pass  # it is dead already
        try:
            self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Helpers:
    """Helper processes for one function, started when needed and kept for the next use.

    Args:
        function: of a file that can be loaded by itself, and whose arguments and results can be
            pickled.

    Example:
        >>> from mmcoseg.models.postprocessors.mean_field import check_crf_options
        >>> helpers = Helpers(check_crf_options)
        >>> calls = [((5, None, None, (0.1, 0.9), 0, 500), {})] * 3
        >>> list(helpers.map(calls, num_workers=2))
        [None, None, None]
        >>> helpers.close()
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._forget()
        atexit.register(self.close)
        if hasattr(os, 'register_at_fork'):
            # The pipes of a forked process lead to helpers that are not its own.
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        # What a fork leaves behind is kept out of sight, lest its end is noticed as an error.
        self._inherited = getattr(self, '_idle', [])
        self._idle: list[Helper] = []
        self._lock = threading.Lock()

    @property
    def idle(self) -> tuple[Helper, ...]:
        """The helpers that wait for work."""
        return tuple(self._idle)

    def map(self, calls: Iterable[tuple[tuple, dict]], num_workers: int) -> Iterator[Any]:
        """Results of calls ``(args, kwargs)``, in their order.

        Calls are taken as helpers become free, so that only a few wait in memory. What a call
        raises is raised here, and ends the others.

        Args:
            num_workers: number of helpers; 0 or 1 works in this process, and so does a process
                that may not have any of its own (workers of data loaders).
        """
        if num_workers < 2 or multiprocessing.current_process().daemon or not sys.executable:
            for args, kwargs in calls:
                yield self.function(*args, **kwargs)
            return
        waiting: deque[Future] = deque()
        threads = ThreadPoolExecutor(num_workers, 'mmcoseg-helper')
        try:
            for args, kwargs in calls:
                waiting.append(threads.submit(self._call, args, kwargs))
                if len(waiting) >= 2 * num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)

    def _call(self, args: tuple, kwargs: dict) -> Any:
        """One call, given to a second, new helper where the first one dies over it."""
        try:
            good, result = self._ask(self._take(), args, kwargs)
        except HelperDied:
            try:
                good, result = self._ask(Helper(self.function), args, kwargs)
            except HelperDied as error:
                raise HelperDied(
                    f'a helper process of {self.function.__name__} died twice over one call '
                    f'({error}); if memory is short, set a smaller num_workers or max_side; '
                    'num_workers=0 works without helpers'
                ) from error
        if good:
            return result
        raise result

    def _ask(self, helper: Helper, args: tuple, kwargs: dict) -> tuple[bool, Any]:
        reply = helper.call(args, kwargs)
        with self._lock:  # not after an error, for then the helper may be in the middle of a word
            self._idle.append(helper)
        return reply

    def _take(self) -> Helper:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Helper(self.function)

    def close(self) -> None:
        """End all helpers; the next use starts new ones."""
        with self._lock:
            helpers, self._idle = self._idle, []
        for helper in helpers:
            helper.close()


def default_workers() -> int:
    """Number of cores that this process may use, shared with the others of a distributed run."""
    return max(1, cpu_count() // int(os.environ.get('LOCAL_WORLD_SIZE', 1)))
