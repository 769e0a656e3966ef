"""From a folder of images to a folder of results: what ``mmcoseg segment`` does."""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from mmengine.config import Config
from PIL import Image

from ..datasets.image_io import BadImageError
from ..engine.launch import optimizes_groups
from ..errors import MMCosegError
from ..export import ResultWriter
from ..export.durations import show_time
from ..files import display_name, file_name_of, write_atomically
from ..models.ops import ClassCount
from ..structures import CoSegDataSample, GroupDataSample
from .inferencer import CoSegInferencer, default_workers, inference_config
from .inputs import ImageItem, ImageLimits, InputGroup, read_inputs
from .progress import RunProgress, quiet_progress

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

__all__ = ['SegmentResult', 'segment_to_folder']

#: Where we keep what we know about a folder of results.
_STATE = '.mmcoseg'
#: Of the state files; others are taken for none.
_VERSION = 1
#: Seconds at least between two times that the collections over all images are written, and how
#: many times as long as writing them took.
_PAUSE, _PAUSE_FACTOR = 5.0, 10.0


@dataclass
class SegmentResult:
    """What a run did.

    Args:
        out_dir: folder of the results.
        num_written: images whose results were written.
        num_kept: images whose results were there already.
        num_absent: images, of both, that were found not to show the object.
        skipped: name of the group, of the file and the reason of each file that was left out.
        seconds: that the images written took, from reading the first of each group to writing its
            last; starting up and the collections over all images do not count.
    """

    out_dir: Path
    num_written: int = 0
    num_kept: int = 0
    num_absent: int = 0
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        """What a user wants to know first."""
        counts = dict(
            written=self.num_written,
            **{'finished before': self.num_kept},
            absent=self.num_absent,
            skipped=len(self.skipped),
        )
        text = ', '.join(f'{n} {what}' for what, n in counts.items() if n or what == 'written')
        took = ''
        if self.num_written:
            took = f' ({show_time(self.seconds, self.seconds / self.num_written)})'
        report = display_name(str(self.out_dir / 'report.html'))
        return f'images: {text}{took}\nreport: {report}'


def segment_to_folder(
    inputs: Any,
    out_dir: str | Path,
    *,
    method: str = 'consensus',
    config: str | Path | Config | None = None,
    weights: str | Path | None = None,
    device: str | None = None,
    cfg_options: dict[str, Any] | None = None,
    num_classes: int | Literal['auto'] | None = None,
    crf: bool = True,
    min_area: float | None = None,
    largest: bool = False,
    presence_threshold: float | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    formats: Sequence[str] = ('masks', 'overlays', 'coco'),
    polygons: bool = False,
    copy_images: bool = False,
    overwrite: bool = False,
    limits: ImageLimits | None = None,
    channel_order: str = 'bgr',
    trust_weights: bool = False,
    progress: RunProgress | None = None,
) -> SegmentResult:
    """Segment groups of images and write the results; see docs/segment.md.

    Images whose results are in the folder already are left alone. A group that has others is
    computed as a whole, and the results of those others are written. Results of images that are
    not in the input stay where they are, and in the collections.

    Args:
        inputs: as for :func:`~mmcoseg.apis.read_inputs`.
        out_dir: folder of the results; see :class:`~mmcoseg.export.ResultWriter`.
        method, config, weights, device, cfg_options, num_classes, crf, min_area, largest,
            presence_threshold, seed, num_workers, limits, trust_weights: as for
            :class:`~mmcoseg.apis.CoSegInferencer`.
        formats: some of ``mmcoseg.export.FORMATS``.
        polygons: polygons instead of RLE in ``annotations.json``.
        copy_images: copies of the images in ``yolo/images``, instead of links.
        overwrite: compute all groups of the input anew, and take away what results they had.
        channel_order: of arrays, ``'bgr'`` or ``'rgb'``.
        progress: is told how far it is.

    Returns:
        What was done.

    Raises:
        OSError: if the folder cannot be written to, before anything is computed; or if another
            run is writing to it.
        MMCosegError: if the folder has results of other settings, which it names.
    """
    progress = progress or quiet_progress()
    limits = limits or ImageLimits()
    notes: list[str] = []
    groups = read_inputs(inputs, channel_order, notes)
    model_options = dict(
        method=method,
        config=config,
        cfg_options=cfg_options,
        crf=crf,
        num_classes=num_classes,
        min_area=min_area,
        largest=largest,
    )
    settings = _settings(
        inference_config(**model_options),
        **model_options,
        weights=weights,
        presence_threshold=presence_threshold,
        seed=seed,
        formats=formats,
        polygons=polygons,
        copy_images=copy_images,
    )
    out = _checked_folder(out_dir)
    with _only_run(out), _pillow_takes(limits.max_pixels):
        writer = ResultWriter(out, formats, polygons, copy_images=copy_images)
        settings['formats'] = list(writer.formats)
        results = _Results(out, writer, settings)
        if not overwrite:
            results.check_settings()
        for note in notes:
            progress.note(display_name(note))
        jobs = [_Job(group, results.load(group.name), limits, overwrite, out) for group in groups]
        run = _Run(results, progress, default_workers() if num_workers is None else num_workers)
        progress.start(sum(len(job.group) for job in jobs if job.todo))
        inferencer = None
        try:
            for job in jobs:
                if not job.todo:
                    results.forget_skipped(job.group.name, set(job.signatures))
                    progress.kept(job.group.name, len(job.group), job.skipped_before())
                    continue
                if inferencer is None:
                    inferencer = CoSegInferencer(
                        **model_options,
                        weights=weights,
                        device=device,
                        presence_threshold=presence_threshold,
                        seed=seed,
                        num_workers=num_workers,
                        limits=limits,
                        trust_weights=trust_weights,
                    )
                run(job, inferencer)
        except BaseException as error:
            # Finished groups are to be complete whatever happens; what happened is said then.
            progress.stop()
            if isinstance(error, KeyboardInterrupt):
                progress.note('interrupted; run it again to go on from the finished groups')
            with suppress(OSError):
                if any(state['finished'] for state in results.groups.values()):
                    results.assemble(finish=True)
            raise
        progress.stop()
        results.assemble(finish=True)
    result = SegmentResult(out, run.num_written, seconds=run.seconds)
    for job in jobs:
        state = results.groups[job.group.name]
        wanted = {item.file_name for item in job.group.items}
        images = [entry for entry in state['images'] if entry['file_name'] in wanted]
        result.num_kept += len(images)
        result.num_absent += sum(entry['record']['absent'] for entry in images)
        result.skipped += [
            (job.group.name, entry['file_name'], entry['reason'])
            for entry in state['skipped']
            if entry['file_name'] in wanted
        ]
    result.num_kept -= result.num_written
    return result


class _Job:
    """What there is to do for a group.

    Args:
        group: of the input.
        state: what is known of its results; None where there are none.
    """

    def __init__(
        self,
        group: InputGroup,
        state: dict[str, Any] | None,
        limits: ImageLimits,
        overwrite: bool,
        out: Path,
    ) -> None:
        self.group = group
        self.limits = [limits.max_pixels, limits.max_aspect]
        # Before anything is read: a file that changes later is then seen to have changed.
        self.signatures = {item.file_name: _signature(item) for item in group.items}
        self.old = state or dict(images=[], skipped=[])
        finished: set[str] = set()
        if not overwrite:
            stems = {item.file_name: item.stem for item in group.items}
            finished = {
                entry['file_name']
                for entry in self.old['images']
                if entry['signature'] == self.signatures.get(entry['file_name'])
                and entry['record']['stem'] == stems.get(entry['file_name'])
                # Of a link, where it leads to: photographs may have moved.
                and all(os.path.exists(out / file) for file in entry['record']['files'].values())
            }
            finished |= {
                entry['file_name']
                for entry in self.old['skipped']
                if entry['signature'] == self.signatures.get(entry['file_name'], 'gone')
                and entry['limits'] == self.limits
            }
        self.todo = {item.file_name for item in group.items} - finished
        self.overwrite = overwrite

    def skipped_before(self) -> list[tuple[str, str]]:
        """Name and reason of files of the input that an earlier run left out."""
        return [
            (entry['file_name'], entry['reason'])
            for entry in self.old['skipped']
            if entry['file_name'] in self.signatures
        ]

    def new_state(self, entries: list[dict], skipped: list[dict]) -> dict[str, Any]:
        """The group's state with these images and skipped files in it."""
        names = {entry['file_name'] for entry in (*entries, *skipped)}
        stems = {entry['record']['stem'] for entry in entries}
        images = list(entries)
        if not self.overwrite:
            images += [
                entry
                for entry in self.old['images']
                if entry['file_name'] not in names and entry['record']['stem'] not in stems
            ]
        return dict(
            images=sorted(images, key=lambda entry: entry['file_name']),
            skipped=sorted(skipped, key=lambda entry: entry['file_name']),
        )


class _Run:
    """Computes groups and writes their images."""

    def __init__(self, results: '_Results', progress: RunProgress, num_workers: int) -> None:
        self.results = results
        self.progress = progress
        self.num_workers = num_workers
        self.num_written = 0
        self.seconds = 0.0

    def __call__(self, job: _Job, inferencer: CoSegInferencer) -> None:
        group = job.group
        start = time.perf_counter()
        self.progress.begin(group.name, len(group))
        skipped: dict[str, str] = {}
        entries: list[dict] = []
        count = None
        withdraw = job.overwrite and bool(job.old['images'])
        # Part by part: masks of a thousand photographs would not fit into memory together.
        for part in inferencer.stream([group], progress=self.progress.advance, parts=True):
            if withdraw:
                self.results.withdraw(group.name, job.old['images'])
                withdraw = False
            skipped |= {file.file_name: file.reason for file in part.skipped}
            count = _described(part.get('class_count'))
            written, failed = self._write_part(part, job)
            entries += written
            skipped |= failed
            del part  # before the next one is made
        reasons = [
            dict(
                file_name=name,
                reason=display_name(reason),
                signature=job.signatures[name],
                limits=job.limits,
            )
            for name, reason in skipped.items()
        ]
        # The one clock of a run: terminal, summary and report all show this time. Images of a
        # group are computed together, so that each has the same share of it.
        seconds = time.perf_counter() - start
        for entry in entries:
            entry['record']['seconds'] = round(seconds / len(entries), 6)
        state = dict(job.new_state(entries, reasons), class_count=count)
        self.results.save(group.name, state, job.old['images'])
        self.num_written += len(entries)
        self.seconds += seconds
        self.progress.end(
            group.name,
            len(entries),
            seconds,
            [(r['file_name'], r['reason']) for r in reasons],
            count and count['text'],
        )
        self.results.assemble()

    def _write_part(self, part: GroupDataSample, job: _Job) -> tuple[list[dict], dict[str, str]]:
        """What is to be known about the images written, and why others could not be."""
        wanted = [image for image in part if image.file_name in job.todo]
        # Those whose results are kept are done with.
        self.progress.advance('write', len(part) - len(wanted))
        entries, failed = [], {}
        for image, record in zip(wanted, self._write(wanted, part)):
            if isinstance(record, str):
                failed[image.file_name] = record
            else:
                signature = job.signatures[image.file_name]
                entries.append(dict(file_name=image.file_name, signature=signature, record=record))
        return entries, failed

    def _write(
        self, images: Sequence[CoSegDataSample], group: GroupDataSample
    ) -> list[dict[str, Any] | str]:
        """Records of the images, or why there is none."""
        write = partial(self._write_image, classes=group.get('classes'))
        if self.num_workers < 2 or len(images) < 2:
            return [write(image) for image in images]
        pool = ThreadPoolExecutor(self.num_workers)
        try:
            return list(pool.map(write, images))
        finally:
            pool.shutdown(cancel_futures=True)

    def _write_image(
        self, image: CoSegDataSample, classes: Sequence[str] | None
    ) -> dict[str, Any] | str:
        try:
            record = self.results.writer.write_image(
                image, classes=classes, warnings=image.get('warnings', ())
            )
        except (BadImageError, FileNotFoundError) as error:
            if not isinstance(error, BadImageError) and os.path.lexists(
                image.get('img_path') or ''
            ):
                raise  # it was not the image that was not there
            return f'changed while it was worked on: {error}'
        self.progress.advance('write', 1)
        return record


class _Results:
    """The folder of results and what is known about it.

    ``DIR/.mmcoseg/groups/<group>.json`` holds, for a group that is finished, the settings, and
    each image's record with the size and time of its file.
    """

    def __init__(self, out: Path, writer: ResultWriter, settings: dict[str, Any]) -> None:
        self.out = out
        self.writer = writer
        self.settings = settings
        self.folder = out / _STATE / 'groups'
        self.groups: dict[str, dict[str, Any]] = {}
        for file in sorted(self.folder.glob('*.json')):
            state = _read_state(file)
            if state is not None:
                self.groups[state['name']] = state
        self._dirty = True
        self._pause_until = time.monotonic() + _PAUSE

    def load(self, name: str) -> dict[str, Any] | None:
        return self.groups.get(name)

    def check_settings(self) -> None:
        """Raises:
        MMCosegError: if there are results of other settings.
        """
        for name, state in self.groups.items():
            there = state['settings']
            different = [
                f'{key} is {self.settings.get(key)!r} now, but was {there.get(key)!r}'
                for key in {**self.settings, **there}
                if self.settings.get(key) != there.get(key)
            ]
            if different:
                raise MMCosegError(
                    f'{self.out} has results of other settings (group {display_name(name)!r}): '
                    f'{"; ".join(different)}. Use --overwrite to compute the groups of the input '
                    'anew, or another folder'
                )

    def withdraw(self, name: str, images: Sequence[dict]) -> None:
        """Before the results of a group are overwritten: none of its images is finished.

        Otherwise, if the run ended now, the next would take old and new results for finished.
        """
        images = [dict(entry, signature='') for entry in images]
        self._write(name, dict(finished=False, images=images, skipped=[]))

    def forget_skipped(self, name: str, wanted: Collection[str]) -> None:
        """Take files that are not in the input any more from the skipped ones of a group."""
        state = self.groups[name]
        skipped = [entry for entry in state['skipped'] if entry['file_name'] in wanted]
        if len(skipped) < len(state['skipped']):
            kept = dict(state, skipped=skipped)
            content = {key: kept.get(key) for key in ('images', 'skipped', 'class_count')}
            self.save(name, content, state['images'])

    def _write(self, name: str, content: dict[str, Any]) -> None:
        state = dict(version=_VERSION, name=name, settings=self.settings, **content)
        with write_atomically(self.folder / file_name_of(name, '.json')) as file:
            file.write(json.dumps(state).encode('ascii'))
        self.groups[name] = state

    def save(self, name: str, content: dict[str, Any], old: Sequence[dict]) -> None:
        """Keep the state of a group; take away files of its old images that it has no more."""
        self._write(name, dict(finished=True, **content))
        obsolete = _files_of(old) - _files_of(content['images'])
        for path in map(PurePosixPath, obsolete):
            if not path.is_absolute() and '..' not in path.parts:
                (self.out / path).unlink(missing_ok=True)
        # Half-written files of a run that was killed.
        for folder in {(self.out / file).parent for file in _files_of(content['images'])}:
            for file in folder.glob('.mmcoseg-*.tmp'):
                file.unlink(missing_ok=True)
        self._dirty = True

    def assemble(self, finish: bool = False) -> None:
        """Write what covers all images, unless that was done a short while ago."""
        if not self._dirty or not (finish or time.monotonic() >= self._pause_until):
            return
        start = time.monotonic()
        groups = []
        for name in sorted(self.groups):
            state = self.groups[name]
            if not state['finished']:
                continue
            group = dict(
                name=name,
                images=[entry['record'] for entry in state['images']],
                skipped=[
                    dict(file_name=entry['file_name'], reason=entry['reason'])
                    for entry in state['skipped']
                ],
            )
            if state.get('class_count'):
                group['class_count'] = state['class_count']
            if state['settings'] != self.settings:
                group['settings'] = state['settings']
            groups.append(group)
        self.writer.write_collections(groups, self.settings)
        self._dirty = False
        end = time.monotonic()
        # So that all of this takes a tenth of the time at most, however many groups there are.
        self._pause_until = end + max(_PAUSE, _PAUSE_FACTOR * (end - start))


def _described(count: ClassCount | None) -> dict[str, Any] | None:
    """An estimated number of classes as plain types, and in words."""
    if count is None:
        return None
    text = str(count)
    if not count.is_sure:
        text += '; if you know how many there are, say so with --classes K'
    return dict(num_classes=count.num_classes, shares=list(count.shares), text=text)


def _read_state(file: Path) -> dict[str, Any] | None:
    try:
        state = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and state.get('version') == _VERSION else None


def _files_of(entries: Sequence[dict]) -> set[str]:
    records = [entry['record'] for entry in entries]
    return {
        file for r in records for part in (r['files'], r['thumbnails']) for file in part.values()
    }


def _signature(item: ImageItem) -> list | str | None:
    """What tells whether an input is still the one that it was; None: it is not there."""
    if item.path is None:
        pixels = np.asarray(item.image)
        return hashlib.sha1(pixels.tobytes() + str(pixels.shape).encode()).hexdigest()
    try:
        status = os.stat(item.path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _settings(
    cfg: Config,
    *,
    method: str,
    config: Any,
    weights: Any,
    cfg_options: dict[str, Any] | None,
    **others: Any,
) -> dict[str, Any]:
    """What results depend on, as plain types. Not the device nor the number of workers."""
    parts = [cfg.model, cfg.test_pipeline]
    if optimizes_groups(cfg):
        parts += [cfg.train_cfg, cfg.optim_wrapper, cfg.get('param_scheduler')]
        parts += [cfg.train_dataloader.batch_size]
    content = json.dumps(parts, sort_keys=True, default=str)
    settings = dict(
        method=method if config is None else Path(cfg.filename or 'config').stem,
        model=hashlib.sha1(content.encode()).hexdigest()[:10],
        weights=None,
        cfg_options={key: str(value) for key, value in (cfg_options or {}).items()},
        **others,
    )
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f'there is no checkpoint {path}')
        with open(path, 'rb') as file:
            digest = hashlib.sha1()
            while block := file.read(1 << 20):
                digest.update(block)
        settings['weights'] = f'{path.name} ({digest.hexdigest()[:10]})'
    return settings


def _checked_folder(out_dir: str | Path) -> Path:
    """The folder of results, made, and found to be one that can be written to."""
    out = Path(out_dir).expanduser()
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f'{out} is a file; results need a folder')
    try:
        with write_atomically(out / _STATE / 'writable') as file:
            file.write(b'')
        (out / _STATE / 'writable').unlink()
    except OSError as error:
        raise OSError(f'results cannot be written to {out}: {error.strerror or error}') from error
    return out


@contextmanager
def _pillow_takes(max_pixels: int) -> Iterator[None]:
    """Let Pillow read whatever is within our limit; it warns and refuses from its own on.

    Its warnings of damaged metadata name no file, and the pixels are good all the same.
    """
    before = Image.MAX_IMAGE_PIXELS
    if before is not None:
        Image.MAX_IMAGE_PIXELS = max(before, max_pixels)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', module=r'PIL\.')
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


@contextmanager
def _only_run(out: Path) -> Iterator[None]:
    """Keep a second run out of the folder; the system ends this with the process."""
    with open(out / _STATE / 'lock', 'wb') as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(f'another run is writing to {out}; wait for it') from None
            except OSError:
                pass  # some network file systems have no locks
        yield
