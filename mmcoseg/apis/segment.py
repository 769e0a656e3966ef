"""From a folder of images to a folder of results: what ``mmcoseg segment`` does."""

import hashlib
import json
import time
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from io import StringIO
from operator import attrgetter
from pathlib import Path
from typing import Any

from mmengine.config import Config
from PIL import Image

from ..datasets.hint_files import GivenHints
from ..datasets.image_io import BadImageError, image_of
from ..engine.run_config import optimizes_groups
from ..errors import MMCosegError
from ..export import ImageRecord, ResultWriter, SkippedFile, show_time
from ..files import display_name, file_name_of
from ..models.ops import ClassCount
from ..models.segmentors.saved_objects import require_learner, save_object
from ..models.stages import GroupContext
from ..segment_options import SegmentOptions
from ..structures import CoSegDataSample, GroupDataSample
from ..structures.saved_object import OBJECT_SUFFIX
from ..workers import map_in_threads
from .hint_inputs import hints_from, remarks_on_hints, with_hints
from .inference_config import inference_config
from .inferencer import CoSegInferencer
from .inputs import ImageLimits, InputGroup, distinct_names, read_inputs
from .progress import RunProgress
from .run_state import FinishedImage, GroupState, RunState, SkippedImage, only_run, signatures_of
from .sequences import folders_in_order, read_video

__all__ = ['SegmentResult', 'segment_to_folder']


@dataclass
class SegmentResult:
    """What a run did.

    Args:
        out_dir: folder of the results.
        num_written: images whose results were written.
        num_kept: images whose results were there already.
        num_absent: images, of both, that were found not to show the object.
        skipped: group, file and reason of each file that was left out.
        seconds: that the images written took, from reading the first of each group to writing its
            last.
    """

    out_dir: Path
    num_written: int = 0
    num_kept: int = 0
    num_absent: int = 0
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        """What a user wants to know first."""
        text = f'images: {self.num_written} written'
        others = {
            'finished before': self.num_kept,
            'absent': self.num_absent,
            'skipped': len(self.skipped),
        }
        for what, count in others.items():
            if count:
                text += f', {count} {what}'
        if self.num_written:
            text += f' ({show_time(self.seconds, self.seconds / self.num_written)})'
        return f'{text}\nreport: {display_name(str(self.out_dir / "report.html"))}'


def segment_to_folder(
    inputs: Any,
    out_dir: str | Path,
    options: SegmentOptions | None = None,
    progress: RunProgress | None = None,
    **others: Any,
) -> SegmentResult:
    """Segment groups of images and write the results; see docs/segment.md.

    Images whose results are in the folder already are left alone. A group that has others is
    computed as a whole, and the results of those others are written; if its hints have changed, all
    are. Results of images that are not in the input stay where they are, and in the collections.

    Args:
        inputs: as for :func:`~mmcoseg.apis.read_inputs`.
        out_dir: folder of the results; see :class:`~mmcoseg.export.ResultWriter`.
        options: all options.
        progress: is told how far it is; without one nothing is shown.
        others: single fields of ``SegmentOptions``, in place of those in ``options``.

    Raises:
        OSError: if the folder cannot be written to, before anything is computed; or if another
            run is writing to it.
        MMCosegError: if the folder has results of other settings, which it names.
    """
    options = SegmentOptions.of(options, others)
    progress = progress or RunProgress(StringIO())
    limits = options.limits or ImageLimits()
    notes: list[str] = []
    videos: list[Path] = []
    groups = read_inputs(inputs, options.channel_order, notes, videos)
    if options.sequence:
        groups = folders_in_order(groups, options.every, options.num_workers)
    hints = hints_from(options.examples, options.hints)
    settings = _settings(options)
    if not videos:
        groups, files = _with_hints_and_files(groups, hints, options)
    out = Path(out_dir).expanduser()
    with only_run(out), _pillow_takes(limits.max_pixels):
        writer = ResultWriter(
            out, options.formats, options.polygons, copy_images=options.copy_images
        )
        state = RunState(out, writer, settings)
        if not options.overwrite:
            state.check_settings()
        if videos:  # whose frames are written to the folder
            groups = _with_videos(groups, videos, out, options.every, notes)
            groups, files = _with_hints_and_files(groups, hints, options)
        for note in (*notes, *remarks_on_hints(groups)):
            progress.note(display_name(note))
        jobs = []
        for group in groups:
            jobs.append(_Job(group, state, limits, options.overwrite, files.get(group.name)))
        run = _Run(state, options, progress)
        progress.start(sum(len(job.group) for job in jobs if job.needed))
        with _complete_at_the_end(state, progress):
            for job in jobs:
                run.do(job) if job.needed else run.keep(job)
    result = SegmentResult(out, run.num_written, -run.num_written, seconds=run.seconds)
    for job in jobs:
        job.count(state.groups[job.group.name], result)
    return result


@contextmanager
def _complete_at_the_end(state: RunState, progress: RunProgress) -> Iterator[None]:
    """Write the collections of all finished groups, also if a run fails or is interrupted."""
    try:
        yield
    except BaseException as error:
        progress.stop()
        if isinstance(error, KeyboardInterrupt):
            progress.note('interrupted; run it again to go on from the finished groups')
        with suppress(OSError):
            if any(group.finished for group in state.groups.values()):
                state.assemble(finish=True)
        raise
    progress.stop()
    state.assemble(finish=True)


class _Job:
    """A group of the input, and which of its images still need results.

    ``object_file`` is where the group's object is to be saved, if it is.
    """

    def __init__(
        self,
        group: InputGroup,
        state: RunState,
        limits: ImageLimits,
        overwrite: bool,
        object_file: Path | None,
    ) -> None:
        self.group = group
        self.object_file = object_file
        self.limits = [limits.max_pixels, limits.max_aspect]
        self.old = GroupState(group.name, state.settings)
        if not overwrite:
            self.old = state.groups.get(group.name, self.old)
        # Taken before anything is read, so that later changes of a file are noticed.
        self.signatures = signatures_of(group)
        self.stems = {item.file_name: item.stem for item in group.items}
        self.todo = set(self.stems)
        done = [image for image in self.old.images if self._has(image, state.out)]
        done += [image for image in self.old.skipped if image.limits == self.limits]
        for image in done:
            if image.signature == self.signatures.get(image.file_name, ''):
                self.todo.discard(image.file_name)

    @property
    def needed(self) -> bool:
        """Whether the group must be computed: for its results, or for its object."""
        lacks_object = self.object_file is not None and not self.object_file.exists()
        return bool(self.todo) or lacks_object

    def rest(self) -> tuple[InputGroup, dict[str, SkippedImage]]:
        """The group of the images that need results, and the others that stay skipped, by name."""
        items = [item for item in self.group.items if item.file_name in self.todo]
        kept = self.old.skipped_among(set(self.stems) - self.todo)
        return replace(self.group, items=items), {image.file_name: image for image in kept}

    def _has(self, image: FinishedImage, out: Path) -> bool:
        """Whether the results of an image are there, under its name."""
        # Of a link, where it leads to: photographs may have moved.
        files = map(out.joinpath, image.record.files.values())
        return image.record.stem == self.stems.get(image.file_name) and all(map(Path.exists, files))

    def new_images(
        self, images: Sequence[FinishedImage], skipped: Collection[str]
    ) -> list[FinishedImage]:
        """The group's images after this run: these, and older ones that stay."""
        names = {*skipped, *(image.file_name for image in images)}
        stems = {image.record.stem for image in images}
        images = list(images)
        for image in self.old.images:
            if image.file_name not in names and image.record.stem not in stems:
                images.append(image)
        return sorted(images, key=attrgetter('file_name'))

    def count(self, state: GroupState, result: SegmentResult) -> None:
        """Add the counts of this group to the result of a run."""
        for image in state.images:
            if image.file_name in self.stems:
                result.num_kept += 1
                result.num_absent += image.record.absent
        for file in state.skipped_among(self.stems):
            result.skipped.append((state.name, file.file_name, file.reason))


class _Run:
    """Computes groups and writes their images."""

    def __init__(self, state: RunState, options: SegmentOptions, progress: RunProgress) -> None:
        self.state = state
        self.options = options
        self.progress = progress
        self.num_written = 0
        self.seconds = 0.0

    @cached_property
    def inferencer(self) -> CoSegInferencer:
        """Made for the first group that needs it."""
        inferencer = CoSegInferencer(options=self.options)
        if self.options.save_object is not None:
            require_learner(inferencer.model)
        return inferencer

    def keep(self, job: _Job) -> None:
        """Count a group whose results are there."""
        name, skipped = job.group.name, job.old.skipped_among(job.stems)
        self.state.forget_skipped(name, job.stems)
        self.progress.kept(name, len(job.group), skipped)

    def do(self, job: _Job) -> None:
        group = job.group
        start = time.perf_counter()
        self.progress.begin(group.name)
        if any(item.hints for item in group.items):
            for remark in self.inferencer.remarks_on_method():
                self.progress.note(remark)
        skipped: dict[str, SkippedImage] = {}
        if self.inferencer.model.independent_images:
            group, skipped = job.rest()
            self.progress.advance(len(job.group) - len(group) - len(skipped))
        images, count = self._segment(group, job, skipped)
        self.progress.advance(len(skipped))
        # Terminal, summary and report all show this time. A group is computed as a whole, so each
        # image gets an equal share.
        seconds = time.perf_counter() - start
        for image in images:
            image.record.seconds = round(seconds / len(images), 6)
        state = GroupState(
            group.name,
            self.state.settings,
            job.new_images(images, skipped),
            sorted(skipped.values(), key=attrgetter('file_name')),
            count,
        )
        self.state.save(state)
        self.num_written += len(images)
        self.seconds += seconds
        remark = count and count['text']
        self.progress.end(group.name, len(images), seconds, skipped.values(), remark)
        self.state.assemble()

    def _segment(
        self, group: InputGroup, job: _Job, skipped: dict[str, SkippedImage]
    ) -> tuple[list[FinishedImage], dict[str, Any] | None]:
        """Write the images of a group: those written, and the number of classes in it."""
        look = job.object_file and partial(self._save_object, job=job)
        images: list[FinishedImage] = []
        # Part by part: masks of a thousand photographs would not fit into memory together.
        for part in self.inferencer.segment_group(
            group, parts=True, look=look, watch=self.progress.watch
        ):
            for text in _contradictions(part):
                self.progress.note(text)
            if self.options.overwrite and group.name in self.state.groups:
                self.state.withdraw(group.name)
            count = _described(part.get('class_count'))
            for result in (*part.skipped, *self._write_part(part, job)):
                if isinstance(result, SkippedFile):
                    name, reason = result.file_name, display_name(result.reason)
                    skipped[name] = SkippedImage(name, reason, job.signatures[name], job.limits)
                else:
                    signature = job.signatures[result.name]
                    images.append(FinishedImage(result.name, signature, result))
            del part  # before the next one is made
        return images, count

    def _save_object(self, context: GroupContext, job: _Job) -> None:
        try:
            save_object(self.inferencer.model, context, job.group.classes, job.object_file)
        except MMCosegError as error:  # the results are worth keeping
            self.progress.note(f'{job.object_file} was not written: {error}')

    def _write_part(self, part: GroupDataSample, job: _Job) -> list[ImageRecord | SkippedFile]:
        """Write the images of a part: their records, or why one could not be written."""
        wanted = [image for image in part if image.file_name in job.todo]
        # The others keep the results that they have.
        self.progress.advance(len(part) - len(wanted))
        return map_in_threads(self._write_image, wanted, self.inferencer.num_workers)

    def _write_image(self, image: CoSegDataSample) -> ImageRecord | SkippedFile:
        try:
            pixels = image_of(image)
        except (BadImageError, FileNotFoundError) as error:
            return SkippedFile(image.file_name, f'changed while it was worked on: {error}')
        record = self.state.writer.write_image(image, pixels)
        self.progress.advance(1)
        return record


def _with_hints_and_files(
    groups: Sequence[InputGroup], hints: GivenHints, options: SegmentOptions
) -> tuple[list[InputGroup], dict[str, Path]]:
    """The groups with their hints, and where their objects are to be saved."""
    groups = with_hints(groups, hints)
    return groups, _object_files(options.save_object, groups)


def _with_videos(
    groups: list[InputGroup],
    videos: Sequence[Path],
    out: Path,
    every: int | None,
    notes: list[str],
) -> list[InputGroup]:
    """The groups, and the scenes of the videos."""
    taken = [group.name for group in groups]
    names = distinct_names([*taken, *(video.stem for video in videos)])[len(taken) :]
    for video, name in zip(videos, names):
        groups = [*groups, *read_video(video, name, out, every, notes)]
    # Scenes of a video may be called as another.
    names = distinct_names([group.name for group in groups])
    return [replace(group, name=name) for group, name in zip(groups, names)]


def _object_files(path: Any, groups: Sequence[InputGroup]) -> dict[str, Path]:
    """Group -> the file of its object; nothing where none are to be saved."""
    if path is None:
        return {}
    path = Path(path).expanduser()
    if path.suffix == OBJECT_SUFFIX and not path.is_dir():
        if len(groups) > 1:
            raise MMCosegError(
                f'--save-object {path} is one file, but the input has {len(groups)} groups: give a '
                f'folder, which gets <group>{OBJECT_SUFFIX} for each'
            )
        _require_writable(path.parent)
        return {groups[0].name: path}
    if path.is_file():
        raise MMCosegError(f'--save-object {path} must end with {OBJECT_SUFFIX}, or be a folder')
    _require_writable(path)
    return {group.name: path / file_name_of(group.name, OBJECT_SUFFIX) for group in groups}


def _require_writable(folder: Path) -> None:
    """Refuse a folder that objects cannot be saved to, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f'--save-object: {folder} cannot be made: {error.strerror}') from error


def _contradictions(part: GroupDataSample) -> list[str]:
    """What hints on its images contradict each other."""
    texts = []
    for sample in part:
        if 'hints' in sample:
            texts += [f'{sample.identity}: {text}' for text in sample.get('warnings', ())]
    return texts


def _described(count: ClassCount | None) -> dict[str, Any] | None:
    """An estimated number of classes as plain types and as a sentence."""
    if count is None:
        return None
    text = str(count)
    if not count.is_sure:
        text += '; if you know how many there are, say so with --classes K'
    return dict(num_classes=count.num_classes, shares=list(count.shares), text=text)


def _settings(options: SegmentOptions) -> dict[str, Any]:
    """All that results depend on, as plain types; neither device nor number of workers."""
    cfg = inference_config(options)
    cfg_options = options.cfg_options or {}
    settings = dict(
        method=options.method if options.config is None else Path(cfg.filename or 'config').stem,
        model=_fingerprint(cfg),
        weights=None if options.weights is None else _described_file(options.weights),
        cfg_options={key: str(value) for key, value in cfg_options.items()},
        **options.settings(),
    )
    if options.objects:
        settings['objects'] = [_described_file(file) for file in options.objects]
    return settings


def _fingerprint(cfg: Config) -> str:
    """A hash of the model, its test pipeline, and how it is optimized."""
    model = dict(cfg.model)
    model.pop('objects', None)  # known by their content, wherever they are
    parts = [model, cfg.test_pipeline]
    if optimizes_groups(cfg):
        parts.append(cfg.test_cfg)
    content = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha1(content.encode()).hexdigest()[:10]


def _described_file(file: str | Path) -> str:
    """Name and hash of a checkpoint or a saved object."""
    path = Path(file).expanduser()
    return f'{path.name} ({hashlib.sha1(path.read_bytes()).hexdigest()[:10]})'


@contextmanager
def _pillow_takes(max_pixels: int) -> Iterator[None]:
    """Let Pillow read whatever is within our limit; it warns and refuses from its own on.

    Its warnings of damaged metadata name no file, and the pixels are good all the same.
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = before and max(before, max_pixels)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', module=r'PIL\.')
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
