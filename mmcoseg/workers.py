"""The number of workers to use, and work in threads and in processes."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from joblib import cpu_count
from joblib.externals.loky import ProcessPoolExecutor

from .errors import MMCosegError

__all__ = ['default_workers', 'map_in_processes', 'map_in_threads', 'with_workers']

#: Seconds after which idle processes end.
_IDLE = 60

#: The pools of this process, by its id (a fork cannot use its parent's) and their size.
_pools: dict[tuple[int, int], ProcessPoolExecutor] = {}

_chosen: ContextVar[int | None] = ContextVar('workers', default=None)


def default_workers() -> int:
    """The number of :func:`with_workers`; outside of it one per usable core, at most 8.

    The processes of a distributed run share the cores.
    """
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    return max(1, min(8, cpu_count() // int(os.environ.get('LOCAL_WORLD_SIZE', 1))))


@contextmanager
def with_workers(number: int) -> Iterator[None]:
    """Set the default number of workers for a block; 0 and 1 mean no parallel work."""
    token = _chosen.set(number)
    try:
        yield
    finally:
        _chosen.reset(token)


def map_in_threads(
    function: Callable[[Any], Any], items: Iterable[Any], num_workers: int
) -> list[Any]:
    """Results of a function that mostly reads or writes files, in order.

    Calls that have not begun when one fails, or the user interrupts, are not made.
    """
    items = list(items)
    if num_workers < 2 or len(items) < 2:
        return [function(item) for item in items]
    pool = ThreadPoolExecutor(num_workers)
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)


def map_in_processes(
    function: Callable[..., Any], calls: Iterable[tuple[tuple, dict]], num_workers: int
) -> Iterator[Any]:
    """Results of calls ``(args, kwargs)`` of a function, in their order.

    Calls are taken as processes become free, so that only a few wait in memory. The processes stay
    for the next use. If one dies, the calls that wait are made once more. What a call raises is
    raised here.

    Args:
        function: of a module that is light to import, since every process imports it.
        calls: arguments that can be pickled.
        num_workers: number of processes; with 0 or 1 this process works itself, and so does one
            that may not have any of its own (the workers of data loaders).

    Raises:
        MMCosegError: if processes die twice over the same calls.
    """
    if num_workers < 2 or multiprocessing.current_process().daemon:
        for args, kwargs in calls:
            yield function(*args, **kwargs)
        return
    waiting: deque[tuple[tuple[tuple, dict], Any]] = deque()
    try:
        for call in calls:
            waiting.append((call, _submit(function, call, num_workers)))
            if len(waiting) >= 2 * num_workers:
                yield _first_result(function, waiting, num_workers)
        while waiting:
            yield _first_result(function, waiting, num_workers)
    finally:
        for _, future in waiting:
            future.cancel()


def _first_result(function: Callable[..., Any], waiting: deque, num_workers: int) -> Any:
    """Of the first call, which waits no longer then."""
    for last in (False, True):
        try:
            result = waiting[0][1].result()
            waiting.popleft()
            return result
        except BrokenProcessPool as error:
            if last:
                _forget(num_workers)
                raise MMCosegError(
                    f'a process of {function.__name__} died twice over the same call ({error}). If '
                    'memory is short, set a smaller num_workers or max_side; num_workers=0 works '
                    'without processes'
                ) from error
            again = [(call, _submit(function, call, num_workers)) for call, _ in waiting]
            waiting.clear()
            waiting.extend(again)


def _submit(function: Callable[..., Any], call: tuple[tuple, dict], num_workers: int) -> Any:
    args, kwargs = call
    try:
        return _pool(num_workers).submit(function, *args, **kwargs)
    except BrokenProcessPool:  # a process has died while it was idle
        _forget(num_workers)
        return _pool(num_workers).submit(function, *args, **kwargs)


def _pool(num_workers: int) -> ProcessPoolExecutor:
    key = os.getpid(), num_workers
    if key not in _pools:
        _pools[key] = ProcessPoolExecutor(
            num_workers,
            timeout=_IDLE,
            # Ctrl-C reaches all processes of a terminal; whether to go on is the caller's decision.
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
            # One process a core: threads within them would only be in each other's way.
            env=dict(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1'),
        )
    return _pools[key]


def _forget(num_workers: int) -> None:
    _pools.pop((os.getpid(), num_workers)).shutdown(wait=False, kill_workers=True)
