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
    ``{"undo": true}``, ``{"redo": true}`` or ``{"drawn": {<stem>: <mask>, ...}, "group": <name>}``,
    the masks of what was accepted before it was drawn. A line is on disk when the method that
    writes it returns. Who kills the program loses at most the line that is being written.

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
        elif 'drawn' in entry:
            self._take_drawn(entry['group'], entry['drawn'])
        elif entry['version'] != _VERSION:
            raise ValueError

    def _take_drawn(self, group: str, masks: dict[str, str | None]) -> None:
        """Put the masks in the actions that accepted them, the last ones about these images."""
        for stem, mask in masks.items():
            for action in reversed(self.actions):
                if action['group'] == group and stem in action.get('images', ()):
                    action['images'][stem] = mask
                    break

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

    def add_drawn(self, group: str, masks: dict[str, str | None]) -> None:
        """Say which masks were accepted, now that they are drawn; it is no action of its own."""
        with self._lock:
            self._write(dict(drawn=masks, group=group))

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
