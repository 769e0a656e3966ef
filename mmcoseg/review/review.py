"""A review: what people say, what follows of it, and who must hear of it."""

import hashlib
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ..apis import CoSegInferencer
from ..apis.hint_inputs import image_called, images_by_name
from ..compat import give_way, keep_little_memory, return_freed_memory
from ..datasets.hint_files import GivenHints, read_hint, write_hints
from ..errors import MMCosegError, naming
from ..export import FORMATS
from ..export.results import export_unlocked
from ..files import file_name_of
from ..segment_options import chosen_formats
from ..structures import Absent, ExampleMask, Hint, hint_map
from ..structures.hints import UNKNOWN
from ..structures.saved_object import OBJECT_SUFFIX
from .decisions import TO_DRAW, ImageKey, State, decide, image_keys
from .group_bench import VIEW_SIDE, GroupBench, ReviewedImage
from .journal import Action, Journal
from .results import Results, as_png
from .writing import ResultsUpdater

__all__ = ['Review']

#: Events that are kept for pages that were away for a moment.
_KEPT_EVENTS = 200
#: Longer side of the masks in a grid.
_SMALL_SIDE = 480
#: Seconds without any work after which annotations, summary and report are written anew.
_PAUSE = 5.0
#: Seconds in which nothing is computed, so that the page appears at once, unless somebody acts.
FIRST_SCREEN = 3.0


class Review:
    """A folder of results under review; used by several threads.

    One thread computes (:meth:`run`); requests of pages come from others. What people say is in the
    journal before a method returns. All else follows from it, also after a restart.

    Args:
        folder: of results.
        make_inferencer: makes what spreads hints and draws masks, when it is first needed.

    Attributes:
        revision: goes up with every event.

    Raises:
        MMCosegError: if the folder holds no results, or its journal is damaged.
    """

    def __init__(self, folder: str | Path, make_inferencer: Callable[[dict], CoSegInferencer]):
        self.results = Results(folder)
        self.journal = Journal(self.results.review / 'journal.jsonl')
        decisions = decide(self.journal.actions)
        self.benches: list[GroupBench] = []
        for name, state in self.results.states.items():
            own = {stem: d for (group, stem), d in decisions.items() if group == name}
            self.benches.append(GroupBench(self.results, state, own))
        self.by_name = {bench.name: bench for bench in self.benches}
        self.files = ResultsUpdater(self.results)
        self.revision = 0
        self.looking: tuple[int, list[int]] = (0, [])
        self._make_inferencer = make_inferencer
        self._events: deque[tuple[int, dict]] = deque(maxlen=_KEPT_EVENTS)
        self._changed = threading.Condition(threading.RLock())
        self._preparing: dict[int, Iterator[None]] = {}
        self._stopped = False
        self._flushing = 0
        self._requests = 0
        self._failed: set[tuple] = set()
        self._inferencer: CoSegInferencer | None = None
        self._last_hint: tuple[int, int] | None = None

    # ---- what pages are told

    def state(self) -> dict[str, Any]:
        """Everything but the images."""
        with self._changed:
            return dict(
                title=self.results.folder.resolve().name,
                revision=self.revision,
                seq=self.journal.length,
                can_undo=bool(self.journal.actions),
                can_redo=bool(self.journal.undone),
                method=str(self.results.settings.get('method')),
                groups=[self._group(number) for number in range(len(self.benches))],
            )

    def _group(self, number: int) -> dict[str, Any]:
        bench = self.benches[number]
        counts = dict.fromkeys(('unseen', 'accepted', 'corrected', 'rejected', 'left_out'), 0)
        surenesses = []
        for image in bench.images:
            counts[image.decision.shown.replace(' ', '_')] += 1
            if image.undecided and image.sureness is not None:
                surenesses.append(image.sureness)
        skipped = [dict(file_name=s.file_name, reason=s.reason) for s in bench.state.skipped]
        return dict(
            name=bench.name,
            number=number,
            images=len(bench.images),
            counts=counts,
            classes=list(bench.classes) or ['object'],
            instances=bench.has_instances,
            sureness=sum(surenesses) / len(surenesses) if surenesses else 1.0,
            prepared=round(bench.prepared, 3),
            skipped=skipped,
        )

    def group(self, number: int) -> dict[str, Any]:
        with self._changed:
            bench = self.bench(number)
            images = [self._image(bench, image) for image in bench.images]
            return dict(name=bench.name, number=number, images=images, revision=self.revision)

    def image(self, group: int, number: int) -> dict[str, Any]:
        """An image with its hints."""
        with self._changed:
            bench = self.bench(group)
            image = self._image_of(bench, number)
            hints = []
            for entry in image.decision.hints:
                hints.append(dict(example=True) if 'example' in entry else entry)
            image.changed = False
            return dict(self._image(bench, image), hints=hints)

    @staticmethod
    def _image(bench: GroupBench, image: ReviewedImage) -> dict[str, Any]:
        record = image.finished.record
        sureness = image.sureness
        return dict(
            number=image.number,
            file_name=image.finished.file_name,
            width=record.width,
            height=record.height,
            state=image.decision.shown,
            sureness=sureness,
            presence=record.presence,
            value=image.value,
            version=image.version,
            coarse=bench.needs_drawing(image),
            hints=len(image.decision.hints),
            changed=image.changed,
            empty=bench.shows_nothing(image),
        )

    def bench(self, number: int) -> GroupBench:
        """Raises: KeyError: if there is no such group."""
        if not 0 <= number < len(self.benches):
            raise KeyError(number)
        return self.benches[number]

    @staticmethod
    def _image_of(bench: GroupBench, number: int) -> ReviewedImage:
        if not 0 <= number < len(bench.images):
            raise KeyError(number)
        return bench.images[number]

    def image_at(self, group: int, number: int) -> ReviewedImage:
        """Raises: KeyError: if there is no such image."""
        return self._image_of(self.bench(group), number)

    def mask(self, group: int, number: int, small: bool = False) -> bytes:
        """An image's mask as PNG."""
        image = self.image_at(group, number)
        return self.bench(group).mask_for_page(image, _SMALL_SIDE if small else VIEW_SIDE)

    def _tell(self, kind: str, **content: Any) -> None:
        self.revision += 1
        self._events.append((self.revision, dict(content, kind=kind, revision=self.revision)))
        self._changed.notify_all()

    def _tell_images(self, group: int, images: Sequence[ReviewedImage]) -> None:
        bench = self.benches[group]
        found = [self._image(bench, image) for image in images]
        if found:
            self._tell('images', group=group, images=found)

    def events_after(self, revision: int, timeout: float) -> list[dict[str, Any]] | None:
        """Events after a revision, waiting for one; None if some are gone by now, or the end."""
        with self._changed:
            if not self._stopped and self.revision <= revision:
                self._changed.wait(timeout)
            oldest = self._events[0][0] if self._events else self.revision + 1
            if revision > self.revision or revision < oldest - 1:
                return None
            return [event for number, event in self._events if number > revision]

    # ---- what people say

    def act(self, action: dict[str, Any]) -> dict[str, int]:
        """Do what a page asks for; it is in the journal then.

        Args:
            action: ``{"hint": <entry>, "group": g, "image": i}``, or ``{"decide": <state>,
                "group": g, "images": [i, ...]}``.

        Raises:
            MMCosegError: saying what is wrong with it.
            KeyError: for a group or image that is not there.
        """
        bench = self.bench(_number(action, 'group'))
        if 'hint' in action:
            image = self._image_of(bench, _number(action, 'image'))
            self._require_hint(bench, image, action['hint'])
            said = dict(hint=action['hint'], group=bench.name, image=image.stem)
            return self._say(said)
        if action.get('decide') not in get_args(State):
            raise MMCosegError(
                f'an action has a "hint", or "decide" with one of {list(get_args(State))}'
            )
        numbers = action.get('images')
        if not isinstance(numbers, list) or not numbers:
            raise MMCosegError('"images" must be a list of numbers, at least one')
        images = [self._image_of(bench, _number(dict(image=n), 'image')) for n in numbers]
        state = action['decide']
        if state == 'accepted':
            return self._accept(bench, images)
        stems = dict.fromkeys(image.stem for image in images)
        return self._say(dict(decide=state, group=bench.name, images=stems))

    @staticmethod
    def _require_hint(bench: GroupBench, image: ReviewedImage, entry: Any) -> None:
        hint = read_hint(entry, bench.classes)
        photo = bench.results.photo(image.finished)
        if photo is None or not photo.exists():
            raise MMCosegError(
                'it takes no hints, since its photo is not where it was: put it back, or segment '
                'it anew'
            )
        hint_map([hint], image.size)

    def _accept(self, bench: GroupBench, images: Sequence[ReviewedImage]) -> dict[str, int]:
        """Accept masks; those that are only coarse are drawn and stored later."""
        with self._changed:
            masks = {}
            for image in images:
                waits = bench.outdated or bench.needs_drawing(image)
                masks[image.stem] = TO_DRAW if waits else self._accepted_name(bench, image)
            return self._say(dict(decide='accepted', group=bench.name, images=masks))

    def _settle(self, group: int) -> bool:
        """Store the masks that were accepted before they were drawn."""
        bench = self.benches[group]
        with self._changed:
            images = bench.to_settle()
            masks = {image.stem: self._accepted_name(bench, image) for image in images}
            self.journal.add_drawn(bench.name, masks)
            for image in images:
                image.decision.mask = masks[image.stem]
        return True

    def _accepted_name(self, bench: GroupBench, image: ReviewedImage) -> str | None:
        """The name of an image's stored mask; None where it is the first one."""
        if image.decision.state == 'accepted' and image.decision.is_settled:
            return image.decision.mask
        if image.drawn is None:
            return None
        name = hashlib.sha1(image.drawn).hexdigest()
        self.results.store_mask(image.drawn, name)
        return name

    def _say(self, action: Action) -> dict[str, int]:
        with self._changed:
            self.journal.add(action)
            self._follow(action)
            self._wake()
            return dict(seq=self.journal.length, revision=self.revision)

    def take_corrections(self, given: GivenHints) -> int:
        """Accept masks that come back from elsewhere; corrected ones steer the other images, too.

        Args:
            given: as :func:`~mmcoseg.export.corrections.read_corrections` reads them; an absence
                rejects its image.

        Returns:
            The number of images.

        Raises:
            MMCosegError: for an image that is not there, a mask of another size, or other classes.
        """
        groups = [self.results.group_of(bench.state) for bench in self.benches]
        owners = images_by_name(groups)
        said: dict[tuple[str, str], dict[str, str | None]] = defaultdict(dict)
        for name, hints in given.by_image.items():
            with naming(name):
                group, stem = image_called(name, owners)
                decision, mask = self._correction(self.by_name[group], stem, given, hints[-1])
                said[group, decision][stem] = mask
        for (group, decision), images in said.items():  # nothing is said before all is checked
            self._say(dict(decide=decision, group=group, images=images))
        return len(given.by_image)

    def _correction(
        self, bench: GroupBench, stem: str, given: GivenHints, hint: Hint
    ) -> tuple[str, str | None]:
        """What a mask from elsewhere decides, and the name under which it is stored."""
        if isinstance(hint, Absent):
            return 'rejected', None
        classes = given.classes_of(bench.name)
        if len(bench.classes or ('',)) < max(hint.classes, default=0) or (
            classes and bench.classes and classes != bench.classes
        ):
            raise MMCosegError(
                f'its classes are {list(classes)}; those of the group are {list(bench.classes)}'
            )
        image = bench.by_stem[stem]
        hint_map([hint], image.size)
        labels = np.where(hint.mask == UNKNOWN, 0, hint.mask)
        untouched = np.array_equal(labels, self.results.written_mask(image.finished))
        decision = 'accepted' if untouched else 'corrected'
        if untouched and not self.results.was_overwritten(image.finished):
            return decision, None
        png = as_png(labels)
        name = hashlib.sha1(png).hexdigest()
        self.results.store_mask(png, name)
        return decision, name

    def undo(self) -> dict[str, Any]:
        with self._changed:
            return self._stepped(self.journal.undo())

    def redo(self) -> dict[str, Any]:
        with self._changed:
            return self._stepped(self.journal.redo())

    def _stepped(self, action: Action | None) -> dict[str, Any]:
        found: dict[str, Any] = dict(seq=self.journal.length, group=None, image=None, what='')
        if action is not None:
            self._follow(action)
            self._wake()
            bench = self.by_name.get(action['group'])
            keys = image_keys(action)
            if bench is not None and keys[0][1] in bench.by_stem:
                found['group'] = self.benches.index(bench)
                found['image'] = bench.by_stem[keys[0][1]].number
            found['what'] = _described(action)
        return dict(found, revision=self.revision)

    def _follow(self, action: Action) -> None:
        """Take over what an action, or taking it back, changes."""
        decisions = decide(self.journal.actions)
        bench = self.by_name.get(action['group'])
        if bench is None:
            return
        images = []
        for key in image_keys(action):
            image = bench.by_stem.get(key[1])
            if image is not None:
                self._decide(bench, image, key, decisions)
                images.append(image)
        group = self.benches.index(bench)
        if 'hint' in action and images:
            self._last_hint = group, images[0].number
        self._tell_images(group, images)
        self._tell('state', state=self.state())

    @staticmethod
    def _decide(bench: GroupBench, image: ReviewedImage, key: ImageKey, decisions: dict) -> None:
        before, state = image.decision.said, image.decision.state
        image.decision = decisions.get(key) or type(image.decision)()
        hints_changed = image.decision.said != before
        bench.said += hints_changed
        if hints_changed or image.decision.state != state:
            bench.resolve(image)
        if hints_changed and image.undecided:
            bench.answer(image)

    def look(self, group: int, images: Sequence[int]) -> None:
        """Say which images a page shows: they are drawn first."""
        with self._changed:
            bench = self.bench(group)
            for number in images:
                self._image_of(bench, number)
            self.looking = group, list(images)
            self._wake()

    # ---- what follows

    def run(self) -> None:
        """Compute what follows until :meth:`stop`; then write what is not written yet."""
        self._let_page_appear()
        give_way()
        inferencer = self._inferencer = self._make_inferencer(self.results.settings)
        while not self._stopped:
            before = self._requests
            if not self.step(inferencer) and self._idle_since(before):
                self.files.assemble()
        self.finish_writing()

    def _let_page_appear(self) -> None:
        length = self.journal.length
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or self.journal.length != length, FIRST_SCREEN
            )

    def _idle_since(self, requests: int) -> bool:
        """Wait for a request; whether none came for a while."""
        with self._changed:
            self._changed.wait_for(lambda: self._requests != requests, _PAUSE)
            return self._requests == requests

    def _wake(self) -> None:
        """Let :meth:`run` look for what is to be done."""
        self._requests += 1
        self._changed.notify_all()

    def finish_writing(self) -> None:
        """Bring all files up to date."""
        for bench in self.benches:
            for image in bench.images:
                self.files.write(bench, image)
            self.files.save(bench)
        self.files.assemble(finish=True)

    def stop(self) -> None:
        """End :meth:`run` soon."""
        with self._changed:
            self._tell('bye')
            self._stopped = True
            self._wake()

    def step(self, inferencer: CoSegInferencer) -> bool:
        """Do the next thing that is to be done; False if there is none.

        What fails is told, and not tried again: one image must not end a review.
        """
        for key, task in self._tasks(inferencer):
            if key in self._failed:
                continue
            try:
                found = task()
                return_freed_memory()
                return found
            except Exception as error:
                self._failed.add(key)
                with self._changed:
                    self._tell('problem', text=f'{type(error).__name__}: {error}')
                return True
        return False

    def _tasks(self, inferencer: CoSegInferencer) -> Iterator[tuple[tuple, Callable[[], bool]]]:
        """What is to be done, in order: names, and what does it."""
        order = self._order()
        for group in order:
            if self.benches[group].outdated:
                key = 'update', group, self.journal.length
                yield key, partial(self._update, group)
        for group in order:
            if self.benches[group].to_settle():
                yield ('settle', group, self.journal.length), partial(self._settle, group)
        yield from self._draw_tasks(self._wanted(), inferencer)
        if self._flushing:
            yield from self._writing_tasks(order, inferencer)
        for group in order:
            if self.benches[group].unweighed:
                yield ('weigh', group, self.revision), partial(self._weigh, group)
        for group in order:
            if self.benches[group].prepared < 1:
                yield ('prepare', group), partial(self._prepare, group, inferencer)
        yield from self._writing_tasks(order, inferencer)

    def _writing_tasks(
        self, order: Sequence[int], inferencer: CoSegInferencer
    ) -> Iterator[tuple[tuple, Callable[[], bool]]]:
        """Draw all images, and write them."""
        images = [(group, i) for group in order for i in range(len(self.benches[group].images))]
        yield from self._draw_tasks(images, inferencer)
        yield ('write', self.revision), self._write_next

    def _draw_tasks(
        self, images: Sequence[tuple[int, int]], inferencer: CoSegInferencer
    ) -> Iterator[tuple[tuple, Callable[[], bool]]]:
        """Draw those of these images whose masks are only coarse."""
        for group, number in images:
            bench = self.benches[group]
            if bench.samples and bench.needs_drawing(bench.images[number]):
                key = 'draw', group, number, bench.images[number].version
                yield key, partial(self._draw, group, number, inferencer)

    def _wanted(self) -> list[tuple[int, int]]:
        """Groups and numbers of the images whose masks somebody waits for."""
        group, shown = self.looking
        looked_at = [(group, number) for number in shown]
        accepted = []
        for number, bench in enumerate(self.benches):
            for image in bench.images:
                if image.decision.mask == TO_DRAW:
                    accepted.append((number, image.number))
        return [*looked_at[:1], *accepted, *looked_at[1:]]

    def _write_next(self) -> bool:
        """Write one image; False if all are written, and the records are, too."""
        if self.files.write_next(self.benches):
            return True
        with self._changed:
            self._changed.notify_all()
        return False

    def _order(self) -> list[int]:
        """Numbers of the groups, the one that somebody looks at first."""
        first = self.looking[0]
        return [first, *(n for n in range(len(self.benches)) if n != first)]

    def _update(self, group: int) -> bool:
        bench = self.benches[group]
        if not bench.samples:
            bench.load()
        try:
            bench.spread()
        except Exception:
            bench.followed = bench.said  # or nothing would be accepted or written any more
            raise
        return_freed_memory()
        with self._changed:
            before = [image.sureness for image in bench.images]
            changed = bench.take_maps()
            last, self._last_hint = self._last_hint, None
            others = [image for image in changed if last != (group, image.number)]
            for image in others:
                image.changed = not bench.is_first(image)
            self._tell_images(group, _to_tell(bench.images, before, changed))
            if last is not None and last[0] == group:
                self._tell_spread(group, last[1], others)
        return True

    def _tell_spread(self, group: int, hinted: int, others: Sequence[ReviewedImage]) -> None:
        """Tell which other images a hint has changed, or would change if they were undecided."""
        bench = self.benches[group]
        asked = []
        for image in others:
            if image.decision.state == 'accepted' and image.decision.is_settled:
                asked.append(image.number)
        self._tell(
            'spread',
            group=group,
            hint_image=hinted,
            changed=len(others),
            accepted_changed=len(asked),
            asked=asked,
            unsaid=None if bench.spreader is None else bench.unsaid,
        )

    def _draw(self, group: int, number: int, inferencer: CoSegInferencer) -> bool:
        bench = self.benches[group]
        image = bench.images[number]
        version, problem = image.version, None
        try:
            drawn = bench.draw(image, inferencer)
        except Exception as error:  # such as a photo that has gone
            drawn = bench.coarse_labels(image), None
            problem = f'{image.finished.file_name}: its edges could not be drawn: {error}'
        with self._changed:
            if image.version == version:  # nobody has said anything of it meanwhile
                bench.set_mask(image, *drawn)
                self._tell_images(group, [image])
            if problem is not None:
                self._tell('problem', text=problem)
        return True

    def _weigh(self, group: int) -> bool:
        bench = self.benches[group]
        bench.weigh()
        with self._changed:
            values = [round(image.value, 4) for image in bench.images]
            self._tell('values', group=group, values=values)
        return True

    def _prepare(self, group: int, inferencer: CoSegInferencer) -> bool:
        bench = self.benches[group]
        if not bench.samples:
            bench.load()
            with self._changed:
                self._tell_images(group, bench.images)
        if group not in self._preparing:
            self._preparing[group] = bench.prepare(inferencer)
        try:
            next(self._preparing[group])
        except Exception:
            bench.prepared = 1.0  # hints act on their own images only
            raise
        finally:
            if all(bench.prepared == 1 for bench in self.benches):
                keep_little_memory()
            with self._changed:
                self._tell('progress', group=group, prepared=bench.prepared)
                if bench.prepared == 1:
                    self._tell('state', state=self.state())
        return True

    # ---- what can be taken along

    def write_hints(self, file: Path) -> None:
        """Write all hints as ``mmcoseg segment --hints`` reads them, but for example masks."""
        by_image: dict[str, list] = {}
        classes: tuple[str, ...] = ()
        for bench in self.benches:
            for image in bench.images:
                hints = [h for h in bench.hints_of(image) if not isinstance(h, ExampleMask)]
                if hints:
                    by_image[f'{bench.name}/{image.finished.file_name}'] = hints
                    classes = classes or bench.classes
        write_hints(file, by_image, classes)

    def write_object(self, group: int) -> Path:
        """Learn a group's object, for `mmcoseg apply`; the file.

        Raises:
            MMCosegError: if the group is not prepared yet, or shows nothing.
        """
        bench = self.bench(group)
        file = self.results.review / file_name_of(bench.name, OBJECT_SUFFIX)
        with self._changed:
            if bench.spreader is None or self._inferencer is None:
                raise MMCosegError('the group is not prepared yet; try again in a moment')
            learned = bench.spreader.learn(self._inferencer, bench.known_maps(), bench.classes)
        learned.write(file)
        return file

    def formats(self) -> list[str]:
        """Formats that results can be exported to."""
        return list(FORMATS)

    def export(self, formats: Any) -> dict[str, Any]:
        """Write the results in other formats to the folder ``exported``, as they are decided now.

        Raises:
            MMCosegError: for a format that is not known.
        """
        listed = isinstance(formats, list) and all(isinstance(name, str) for name in formats)
        if not listed or not formats:
            raise MMCosegError(f'"formats" must be a list of some of {list(FORMATS)}')
        chosen = chosen_formats(formats)
        with self._changed:
            self._flushing += 1
            self._wake()
            while self._flushing and not self._stopped and self._unwritten():
                self._changed.wait(1.0)
            self._flushing -= 1
            result = export_unlocked(self.results.folder, chosen, self.results.folder / 'exported')
        skipped = [dict(file_name=name, reason=reason) for name, reason in result.skipped]
        return dict(folder=str(result.out_dir), images=result.num_images, skipped=skipped)

    def _unwritten(self) -> bool:
        """Whether files of results are not what was decided."""
        for bench in self.benches:
            if bench.outdated or any(image.unwritten for image in bench.images):
                return True
        return self.files.has_unsaved


def _to_tell(
    images: Sequence[ReviewedImage],
    before: Sequence[float | None],
    changed: Sequence[ReviewedImage],
) -> list[ReviewedImage]:
    """Images that have changed, or whose sureness is another one than before."""
    numbers = {image.number for image in changed}
    told = []
    for image, sureness in zip(images, before):
        if image.number in numbers or image.sureness != sureness:
            told.append(image)
    return told


def _number(action: dict[str, Any], key: str) -> int:
    value = action.get(key)
    if type(value) is not int:
        raise MMCosegError(f'"{key}" must be a whole number, got {value!r}')
    return value


def _described(action: Action) -> str:
    """What an action was, in words."""
    if 'hint' in action:
        kind = next(key for key in action['hint'] if key != 'object')
        return f'{kind} on {action["image"]}'
    images = list(action['images'])
    what = images[0] if len(images) == 1 else f'{len(images)} images'
    return f'{what}: {action["decide"]}'
