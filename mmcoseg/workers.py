"""How many threads or processes a machine should be given, and work in threads."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from joblib import cpu_count

__all__ = ['default_workers', 'map_in_threads']


def default_workers() -> int:
    """One a core that this process may use, at most 8."""
    return min(8, cpu_count())


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
