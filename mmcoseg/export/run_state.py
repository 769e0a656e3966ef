"""The state of a folder of results: lets a run continue where an earlier one stopped.

``DIR/.mmcoseg/groups/<group>.json`` holds the :class:`GroupState` of each group.
"""

import json
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from ..errors import MMCosegError
from ..files import display_name, file_name_of, write_atomically, write_json
from .records import GroupRecord, ImageRecord, SkippedFile
from .writer import ResultWriter

__all__ = ['FinishedImage', 'GroupState', 'RunState', 'SkippedImage', 'has_results', 'only_run']

#: Folder of the state, in the folder of results.
_STATE = '.mmcoseg'
#: Version of the state files. Files of another version count as missing.
_VERSION = 1
#: Least pause between two times that the collections over all images are written: seconds, and
#: multiples of the time that writing them took.
_PAUSE, _PAUSE_FACTOR = 5.0, 10.0

#: Identifies the content of an input; None if it is not there.
Signature = list[int | str] | None


@dataclass
class FinishedImage:
    """An image with results, and the signature of its file when they were made."""

    file_name: str
    signature: Signature
    record: ImageRecord


@dataclass(frozen=True)
class SkippedImage(SkippedFile):
    """A skipped file, its signature, and the limits it was checked against."""

    signature: Signature
    limits: list[float]


@dataclass
class GroupState:
    """Results of a group, and the settings of the run that computed them.

    ``finished`` is False while they are being overwritten.
    """

    name: str
    settings: dict[str, Any]
    images: list[FinishedImage] = field(default_factory=list)
    skipped: list[SkippedImage] = field(default_factory=list)
    class_count: dict[str, Any] | None = None
    finished: bool = True

    @classmethod
    def read(cls, file: Path) -> 'GroupState | None':
        """The state in a file; None if that is damaged or of another version."""
        try:
            content = json.loads(file.read_bytes())
            if content.pop('version') != _VERSION:
                return None
            state = cls(**content)
            state.images = [FinishedImage(**image) for image in state.images]
            state.skipped = [SkippedImage(**image) for image in state.skipped]
            for image in state.images:
                image.record = ImageRecord(**image.record)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return state

    def write(self, file: Path) -> None:
        write_json(file, dict(version=_VERSION, **asdict(self)))

    def files(self) -> set[str]:
        """Relative paths of all files of its images."""
        files: set[str] = set()
        for image in self.images:
            files.update(image.record.files.values(), image.record.thumbnails.values())
            if image.record.soft_map is not None:
                files.add(image.record.soft_map)
        return files

    def skipped_among(self, wanted: Collection[str]) -> list[SkippedImage]:
        """The skipped files that are among these."""
        return [image for image in self.skipped if image.file_name in wanted]


class RunState:
    """The states of all groups in a folder of results; ``settings`` are those of this run."""

    def __init__(self, out: Path, writer: ResultWriter, settings: dict[str, Any]) -> None:
        self.out = out
        self.writer = writer
        self.settings = settings
        self.groups: dict[str, GroupState] = {}
        self._folder = out / _STATE / 'groups'
        for file in sorted(self._folder.glob('*.json')):
            state = GroupState.read(file)
            if state is not None:
                self.groups[state.name] = state
        self._changed = True
        self._pause_until = time.monotonic() + _PAUSE

    def check_settings(self) -> None:
        """Refuse to mix results of other settings with those of this run."""
        for name, state in self.groups.items():
            different = []
            for key in {**self.settings, **state.settings}:
                now, before = self.settings.get(key), state.settings.get(key)
                if now != before:
                    different.append(f'{key} is {now!r} now, but was {before!r}')
            if different:
                raise MMCosegError(
                    f'{self.out} has results of other settings (group {display_name(name)!r}): '
                    f'{"; ".join(different)}. Use --overwrite to compute the groups of the input '
                    'anew, or another folder'
                )

    def withdraw(self, name: str) -> None:
        """Mark all images of a group as unfinished before its results are overwritten.

        Otherwise a killed run would leave a mixture of old and new results that looks finished.
        """
        images = [replace(image, signature='') for image in self.groups[name].images]
        self._keep(GroupState(name, self.settings, images, finished=False))

    def forget_skipped(self, name: str, wanted: Collection[str]) -> None:
        """Drop skipped files of a group that are no longer in the input."""
        state = self.groups[name]
        skipped = state.skipped_among(wanted)
        if len(skipped) < len(state.skipped):
            self.save(replace(state, settings=self.settings, skipped=skipped))

    def save(self, state: GroupState) -> None:
        """Store the state of a finished group, and delete files that no longer belong to it."""
        before = self.groups.get(state.name, state)
        self._keep(state)
        files = state.files()
        for path in map(PurePosixPath, before.files() - files):
            if not path.is_absolute() and '..' not in path.parts:
                (self.out / path).unlink(missing_ok=True)
        # Half-written files of a run that was killed.
        for folder in {(self.out / file).parent for file in files}:
            for file in folder.glob('.mmcoseg-*.tmp'):
                file.unlink(missing_ok=True)
        self._changed = True

    def _keep(self, state: GroupState) -> None:
        state.write(self._folder / file_name_of(state.name, '.json'))
        self.groups[state.name] = state

    def assemble(self, finish: bool = False) -> None:
        """Write the collections over all images, unless that was done a short while ago."""
        start = time.monotonic()
        if not self._changed or (start < self._pause_until and not finish):
            return
        groups = []
        for _, state in sorted(self.groups.items()):
            if state.finished:
                settings = None if state.settings == self.settings else state.settings
                images = [image.record for image in state.images]
                group = GroupRecord(state.name, images, state.skipped, state.class_count, settings)
                groups.append(group)
        self.writer.write_collections(groups, self.settings)
        self._changed = False
        end = time.monotonic()
        self._pause_until = end + max(_PAUSE, _PAUSE_FACTOR * (end - start))


def has_results(folder: Path) -> bool:
    """Whether there is the state of any group in a folder."""
    return any((folder / _STATE / 'groups').glob('*.json'))


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Make the folder of results and lock it against a second run, as long as this process lives.

    Raises:
        OSError: if it cannot be written to, or another run holds the lock.
    """
    lock = FileLock(out / _STATE / 'lock')
    try:
        with write_atomically(out / _STATE / 'writable'):
            pass
        (out / _STATE / 'writable').unlink()
    except OSError as error:
        raise OSError(f'results cannot be written to {out}: {error.strerror or error}') from error
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError(
            f'another run or review is using {out}; wait for it, or end it'
        ) from None
    except (NotImplementedError, OSError):
        pass  # some network file systems have no locks
    try:
        yield
    finally:
        lock.release()
