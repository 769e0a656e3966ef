"""What people said of results, on disk before it counts."""

import json
import os
import threading
from pathlib import Path
from typing import Any

from ..errors import MMCosegError

__all__ = ['Action', 'Journal']

#: Plain types; see :func:`~mmcoseg.review.decisions.decide`.
Action = dict[str, Any]

_VERSION = 1


class Journal:
    """The actions of a review, in order, in a file that only grows.

    Each line is a JSON object: ``{"version": 1}`` first, then ``{"do": <action>}``,
    ``{"undo": true}`` or ``{"redo": true}``. A line is on disk when the method that writes it
    returns. Who kills the program loses at most the line that is being written.

    Args:
        file: of the journal; made with its first line.

    Attributes:
        actions: those that count, in order.
        undone: those that were taken back, the last one at the end.

    Raises:
        MMCosegError: naming the file and the line that cannot be read.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self.actions: list[Action] = []
        self.undone: list[Action] = []
        self.length = 0
        self._lock = threading.Lock()
        self._replay()

    def _replay(self) -> None:
        content = self.file.read_bytes() if self.file.exists() else b''
        lines = content.split(b'\n')
        unfinished = lines.pop()  # nothing, unless the program was killed while it wrote
        for number, line in enumerate(lines, 1):
            try:
                self._apply(json.loads(line))
            except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
                raise MMCosegError(
                    f'{self.file}: line {number} cannot be read; put a copy of the file back, or '
                    'delete this line and all after it'
                ) from error
        if unfinished:
            os.truncate(self.file, len(content) - len(unfinished))

    def _apply(self, entry: dict[str, Any]) -> None:
        self.length += 1
        if 'do' in entry:
            self.actions.append(entry['do'])
            self.undone.clear()
        elif 'undo' in entry:
            self.undone.append(self.actions.pop())
        elif 'redo' in entry:
            self.actions.append(self.undone.pop())
        elif entry['version'] != _VERSION:
            raise ValueError

    def _write(self, entry: dict[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        lines = [entry] if self.length else [dict(version=_VERSION), entry]
        text = ''.join(json.dumps(line, allow_nan=False) + '\n' for line in lines)
        with open(self.file, 'ab') as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        for line in lines:
            self._apply(line)

    def add(self, action: Action) -> None:
        """Do something. What was taken back before can no longer be done again."""
        with self._lock:
            self._write(dict(do=action))

    def undo(self) -> Action | None:
        """Take the last action back, and return it; None if there is none."""
        with self._lock:
            if not self.actions:
                return None
            self._write(dict(undo=True))
            return self.undone[-1]

    def redo(self) -> Action | None:
        """Do the action again that was taken back last, and return it; None if there is none."""
        with self._lock:
            if not self.undone:
                return None
            self._write(dict(redo=True))
            return self.actions[-1]
