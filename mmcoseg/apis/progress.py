"""How far a run is, for a person at a terminal or for a log."""

import sys
from collections.abc import Collection, Iterable
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..export import SkippedFile, show_time
from ..files import display_name

__all__ = ['RunProgress']


class RunProgress:
    """Shows groups as they are worked on: a bar on a terminal, else a line for each.

    ``quiet``: say nothing but what went wrong.
    """

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self.console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self.quiet = quiet

    def start(self, total: int) -> None:
        """There are so many images to compute."""
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn('{task.description}', markup=False),
            BarColumn(),
            MofNCompleteColumn(separator='/'),
            _Rate(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            speed_estimate_period=3600,  # images of a group are done in bursts
            disable=self.quiet or not self.console.is_terminal or not total,
        )
        self.task = self.bar.add_task('preparing', total=total)
        self.bar.start()

    def begin(self, group: str) -> None:
        """A group is begun."""
        self.bar.update(self.task, description=display_name(group))

    def watch(self, step: str, count: int) -> None:
        """So many images more are past a step on their way; see ``segment_group``.

        May be called from any thread. A terminal does not show it.
        """

    def advance(self, count: int) -> None:
        """So many images more are done with. May be called from any thread."""
        self.bar.advance(self.task, count)

    def end(
        self,
        group: str,
        count: int,
        seconds: float,
        skipped: Iterable[SkippedFile],
        remark: str | None = None,
    ) -> None:
        """So many images of a group were written in this time, and these files left out."""
        took = show_time(seconds, seconds / count) if count else f'{seconds:.1f} s'
        self._group(group, f'{_images(count)}, {took}', skipped)
        if remark and not self.quiet:
            self._print(f'{display_name(group)}: {remark}')

    def kept(self, group: str, count: int, skipped: Collection[SkippedFile]) -> None:
        """The group was finished before, its files counted, of which these were left out."""
        self._group(group, f'{_images(count - len(skipped))}, finished before', skipped)

    def note(self, text: str) -> None:
        if not self.quiet:
            self._print(f'note: {text}')

    def stop(self) -> None:
        self.bar.stop()

    def _group(self, group: str, text: str, skipped: Iterable[SkippedFile]) -> None:
        if not self.quiet and self.bar.disable:
            self._print(f'{display_name(group)}: {text}')
        for file in skipped:
            name = f'{display_name(group)}/{display_name(file.file_name)}'
            self._print(f'skipped {name}: {file.reason}')

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False)


class _Rate(ProgressColumn):
    """What an image takes, on average."""

    def render(self, task: Task) -> Text:
        seconds = 1 / (task.speed or float('inf'))
        return Text(f'{seconds:.2f} s per image')


def _images(count: int) -> str:
    return '1 image' if count == 1 else f'{count} images'
