"""The number of threads or processes to use, and work in threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from joblib import cpu_count

__all__ = ['default_workers', 'map_in_threads', 'with_workers']

_chosen: ContextVar[int | None] = ContextVar('workers', default=None)


def default_workers() -> int:
    """The number of :func:`with_workers`; outside of it one per usable core, at most 8."""
    chosen = _chosen.get()
    return min(8, cpu_count()) if chosen is None else chosen


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
