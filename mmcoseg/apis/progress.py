"""How far a run is, for a person at a terminal or for a log."""

import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..export.durations import show_each, show_time
from ..files import display_name

__all__ = ['RunProgress', 'quiet_progress']

#: Share of the time of an image that a stage takes, about.
_STAGES = dict(read=('reading', 0.05), compute=('computing', 0.8), write=('writing', 0.15))


class RunProgress:
    """Shows groups as they are worked on: a bar on a terminal, else a line for each.

    Args:
        stream: to write to.
        quiet: say nothing but what went wrong.
    """

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self.console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self.quiet = quiet
        self.bar: Progress | None = None
        self.task = self.group = None

    def start(self, total: int) -> None:
        """There are so many images to compute."""
        if not self.quiet and self.console.is_terminal and total:
            self.bar = Progress(
                TextColumn('{task.description}', markup=False),
                BarColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self.task = self.bar.add_task('preparing', total=total)
            self.bar.start()

    def begin(self, group: str, count: int) -> None:
        """A group of so many images is begun."""
        self.group, self.count = display_name(group), count
        self.advance('read', 0)

    def advance(self, stage: str, count: float) -> None:
        """A stage of so many images is done. May be called from any thread."""
        if self.bar is not None:
            text, share = _STAGES[stage]
            self.bar.update(self.task, description=f'{self.group}: {text}', advance=share * count)

    def end(
        self,
        group: str,
        count: int,
        seconds: float,
        skipped: Sequence[tuple[str, str]],
        remark: str | None = None,
    ) -> None:
        """A group is finished: so many images were written in this time, and these files left out.

        ``remark`` is what else is to be said of it.
        """
        name = display_name(group)
        if not self.quiet and self.bar is None:
            each = seconds / count if count else None
            self._print(f'{name}: {_images(count)}, {show_time(seconds, each)}')
        if remark and not self.quiet:
            self._print(f'{name}: {remark}')
        if self.bar is not None:  # stages that skipped files never came to
            self.bar.update(self.task, advance=(1 - _STAGES['read'][1]) * len(skipped))
        self._skipped(name, skipped)

    def kept(self, group: str, count: int, skipped: Sequence[tuple[str, str]]) -> None:
        """The group was finished before, its files counted, of which these were left out."""
        if not self.quiet and self.bar is None:
            text = f'{_images(count - len(skipped))}, finished before'
            self._print(f'{display_name(group)}: {text}')
        self._skipped(display_name(group), skipped)

    def _skipped(self, name: str, skipped: Sequence[tuple[str, str]]) -> None:
        for file, reason in skipped:
            self._print(f'skipped {name}/{display_name(file)}: {reason}')

    def note(self, text: str) -> None:
        if not self.quiet:
            self._print(f'note: {text}')

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False)


class _Rate(ProgressColumn):
    """Images done, all of them, and what one takes at the moment."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        text = f'{int(task.completed + 1e-6)}/{int(task.total)}'
        if rate:
            text += f'  {show_each(1 / rate)}'
        return Text(text)


def quiet_progress() -> RunProgress:
    """One that shows nothing, of anything."""
    return _Silent(quiet=True)


class _Silent(RunProgress):
    def _print(self, text: str) -> None:
        pass


def _images(count: int) -> str:
    return f'{count} image' + ('' if count == 1 else 's')
