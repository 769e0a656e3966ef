"""Timing and the table that every benchmark prints."""

import statistics
import time
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ['markdown_table', 'ratio_table', 'seconds']


def seconds(function: Callable[[], Any], repeat: int = 5, warm_up: int = 1) -> float:
    """Median time of a call, in seconds, after ``warm_up`` calls that are not counted."""
    for _ in range(warm_up):
        function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def ratio_table(times: dict[str, float], baseline: str, unit: str = 'ms') -> str:
    """A Markdown table of times, and of how many times faster each is than the baseline.

    Args:
        times: seconds, by what was timed.
        baseline: the key of ``times`` whose ratio is 1.
        unit: ``'s'``, ``'ms'`` or ``'us'``.

    Raises:
        ValueError: for an unknown unit or baseline.
    """
    scales = dict(s=1, ms=1e3, us=1e6)
    if unit not in scales:
        raise ValueError(f'unit must be one of {sorted(scales)}, got {unit!r}')
    if baseline not in times:
        raise ValueError(f'baseline {baseline!r} is not among {sorted(times)}')
    rows = []
    for name, value in times.items():
        ratio = 'baseline' if name == baseline else f'{times[baseline] / value:.3g} x'
        rows.append((name, f'{scales[unit] * value:.4g}', ratio))
    return markdown_table(('', f'time ({unit})', f'faster than {baseline}'), rows)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    table = Table(box=box.MARKDOWN)
    for index, name in enumerate(header):
        table.add_column(name, justify='right' if index else 'left', no_wrap=True)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console = Console(file=StringIO(), width=240, markup=False)
    console.print(table)
    return '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines()).strip('\n')
