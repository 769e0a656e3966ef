"""A group at work: what its images' masks are, after all that people said."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from mmengine.structures import PixelData
from torch import Tensor
from torch.nn import functional as F

from ..apis import CoSegInferencer
from ..apis.run_state import FinishedImage, GroupState
from ..compat import return_freed_memory
from ..datasets.hint_files import read_hint
from ..files import file_name_of
from ..models.ops import mask_of_prob
from ..models.ops.hints import expected_overlap
from ..models.postprocessors import InstancesFromMask
from ..models.segmentors.hinted_images import hinted_images, refine_by_hints
from ..structures import (
    Box,
    CoSegDataSample,
    ExampleMask,
    GroupDataSample,
    Hint,
    to_numpy,
)
from ..structures.hints import HintMap
from .decisions import TO_DRAW, Decision
from .results import Results, as_png, labels_of_png
from .spread import GroupFeatures, Spreader, compute_features

__all__ = ['VIEW_SIDE', 'GroupBench', 'ReviewedImage']

#: Longer side of photos and masks that the page shows.
VIEW_SIDE = 2048
#: Share of an image's pixels that must change for a coarse mask to be another one.
_CHANGE = 0.002
#: Longer side of the soft maps that stay in memory, and of those that say how sure a mask is.
_MAP_SIDE, _SURE_SIDE = 256, 64
#: Images after whose loading freed memory is given back.
_TRIM = 32


@dataclass
class ReviewedImage:
    """An image of a group under review.

    Args:
        number: in its group, from 0.
        finished: its results.
        decision: what people said of it.
        version: of its mask.
        drawn: its mask as PNG, at the original size; None while only the coarse one is known.
        view: the same for the page, with numbers of instances where there are any.
        coarse: the coarse mask of its soft map, (h, w) uint8, at most 256 pixels a side; None
            before the group is loaded.
        basis: the coarse mask that its mask is made of.
        answer: the coarse mask that hints on the image make of it by themselves, until it is drawn.
        changed: whether other images' hints changed it since somebody looked.
        unwritten: whether its files are not yet what was said.
        sureness: 0 to 1; None where it is not known.
        blank: whether its drawn mask is empty.
        value: how much its answer would tell about the other images, 0 to 1.
    """

    number: int
    finished: FinishedImage
    decision: Decision
    version: int = 0
    drawn: bytes | None = None
    view: bytes | None = None
    coarse: np.ndarray | None = None
    basis: np.ndarray | None = None
    answer: np.ndarray | None = None
    changed: bool = False
    unwritten: bool = False
    sureness: float | None = None
    blank: bool = False
    value: float = 0.0

    @property
    def stem(self) -> str:
        return self.finished.record.stem

    @property
    def undecided(self) -> bool:
        return self.decision.state == 'unseen'

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the original."""
        return self.finished.record.height, self.finished.record.width


class _ReducedMask(ExampleMask):
    """An example mask that is smaller than its image, which is enough to compare features."""

    def paint(self, known: HintMap, original: tuple[int, int]) -> None:
        super().paint(known, self.mask.shape)


class GroupBench:
    """The images of a group, their hints, and their masks.

    Only one thread may call what computes: :meth:`load`, :meth:`prepare`, :meth:`spread`,
    :meth:`take_maps`, :meth:`weigh` and :meth:`draw`.

    Args:
        results: the folder.
        state: of the group.
        decisions: stem -> what people said.

    Attributes:
        said: how often hints have changed.
        followed: how many of these changes masks have followed.
        prepared: 0 to 1; from 1 on hints count for the whole group.
        unweighed: whether masks or decisions have changed since the last :meth:`weigh`.
    """

    def __init__(self, results: Results, state: GroupState, decisions: dict[str, Decision]) -> None:
        self.results = results
        self.state = state
        self.name = state.name
        self.classes = results.classes_of(state)
        self.has_instances = any('instances' in i.record.files for i in state.images)
        self.images: list[ReviewedImage] = []
        for number, finished in enumerate(state.images):
            decision = decisions.get(finished.record.stem, Decision())
            image = ReviewedImage(number, finished, decision, sureness=finished.record.sureness)
            self.images.append(image)
        self.by_stem = {image.stem: image for image in self.images}
        self.samples: dict[str, CoSegDataSample] = {}
        self.first: dict[str, np.ndarray] = {}
        self._examples: dict[str, ExampleMask] = {}
        self.spreader: Spreader | None = None
        self.prepared = 0.0
        self.unweighed = True
        self.said = int(self._has_hints)
        self.followed = self._following = 0
        for image in self.images:
            image.unwritten = results.was_overwritten(image.finished)
            if image.decision.state != 'unseen':
                self.resolve(image)
        self.weigh()

    def hints_of(self, image: ReviewedImage, reduced: bool = False) -> tuple[Hint, ...]:
        """What people said of an image's pixels; example masks may be small, and kept then."""
        hints = []
        for entry in image.decision.said:
            if 'example' not in entry:
                hints.append(read_hint(entry, self.classes))
            elif reduced:
                hints.append(self._reduced_example(entry['example']))
            else:
                mask = labels_of_png(self.results.stored_mask(entry['example']))
                hints.append(ExampleMask(mask))
        return tuple(hints)

    def _reduced_example(self, name: str) -> ExampleMask:
        if name not in self._examples:
            mask = labels_of_png(self.results.stored_mask(name))
            self._examples[name] = _ReducedMask(_viewed(mask, _MAP_SIDE))
        return self._examples[name]

    @property
    def _has_hints(self) -> bool:
        return any(image.decision.said for image in self.images)

    @property
    def unsaid(self) -> str | None:
        """``'object'`` or ``'background'`` while no hint shows it; None when both are shown.

        Hints of one kind alone say little of other images, see
        :class:`~mmcoseg.models.ops.hints.HintPosterior`.
        """
        shown = set()
        for image in self.images:
            for hint in self.hints_of(image, reduced=True):
                if hint.label and isinstance(hint, (Box, ExampleMask)):
                    return None
                shown.add('object' if hint.label else 'background')
        missing = {'object', 'background'} - shown
        return missing.pop() if len(missing) == 1 else None

    def load(self) -> None:
        """Read the soft maps of all images; small ones are kept."""
        for image in self.images:
            if image.number % _TRIM == 0:  # large maps leave holes between the small ones
                return_freed_memory()
            sample = self.results.sample_of(self.state, image.finished)
            sample.pred_prob = PixelData(data=_shrunk(sample.pred_prob.data, _MAP_SIDE).half())
            self.samples[image.stem] = sample
            prob = self._small_map(image)
            image.coarse = image.basis = self.first[image.stem] = _coarse_mask(prob)
            image.sureness = _sureness(prob)

    def prepare(self, inferencer: CoSegInferencer) -> Iterator[None]:
        """Compute the features that hints spread by, some images at a time, or read them."""
        group = self.results.group_of(self.state)
        items = [item for item in group.items if item.path is not None and item.path.exists()]
        signatures = [(image.stem, image.finished.signature) for image in self.images]
        key = hashlib.sha1(repr((signatures, inferencer.cfg.model.backbone)).encode()).hexdigest()
        file = self.results.review / 'features' / file_name_of(self.name, '.npz')
        features = GroupFeatures.read(file, key)
        if features is None:
            for found in compute_features(inferencer, replace(group, items=items)):
                if isinstance(found, GroupFeatures):
                    features = found
                    features.write(file, key)
                else:
                    self.prepared = min(found, 0.99)
                    yield
        if features is not None:
            self._spread_by(features, inferencer)
        self.prepared = 1.0
        yield

    def _spread_by(self, features: GroupFeatures, inferencer: CoSegInferencer) -> None:
        """Let hints count for the whole group from now on."""
        self.spreader = Spreader(inferencer, features, self.samples)
        self.unweighed = True
        self.said += self._has_hints

    @property
    def outdated(self) -> bool:
        """Whether hints have changed since masks followed them."""
        return self.said != self.followed

    def answer(self, image: ReviewedImage) -> None:
        """Find at once what the hints on an image make of it; :meth:`draw` does it well."""
        sample = self.sample_of(image)
        if 'hints' not in sample:
            return
        sample.pred_prob = PixelData(data=_shrunk(sample.pred_prob.data, _MAP_SIDE))
        thumbnail = self.results.folder / image.finished.record.thumbnails['image']
        if not thumbnail.exists():
            return
        sample.set_metainfo(dict(img_path=str(thumbnail)))
        refine_by_hints(hinted_images(GroupDataSample([sample])))
        image.answer = _coarse_mask(sample.pred_prob.data)

    def spread(self) -> None:
        """Find what all hints together say of the images, for :meth:`take_maps`."""
        self._following = self.said
        hinted = []
        for image in self.images:
            sample = self.samples[image.stem]
            hints = self.hints_of(image, reduced=True)
            if 'hints' in sample:
                del sample.hints
            if hints:
                sample.hints = hints
                hinted.append(image)
        if self.spreader is not None:
            self.spreader() if hinted else self.spreader.forget()

    def take_maps(self) -> list[ReviewedImage]:
        """Let coarse masks follow :meth:`spread`; images whose coarse masks are others now."""
        self.followed = self._following
        self.unweighed = True
        changed = []
        for image in self.images:
            prob = self._map_after(image, self._small_map(image))
            coarse = _coarse_mask(prob)
            image.sureness = _sureness(prob)
            if _differs(coarse, image.coarse):
                image.coarse = coarse
                changed.append(image)
            if not image.decision.is_settled and _differs(coarse, image.basis):
                self.redraw(image)
        return changed

    def weigh(self) -> None:
        """Find how much the answer for each undecided image would tell about the others.

        It is how much what its mask is unsure of looks like that of others, times how unsure its
        mask is; before the group is prepared, the latter alone.
        """
        self.unweighed = False
        undecided = [image for image in self.images if image.undecided]
        told = {}
        if self.spreader is not None:
            told = self.spreader.telling({image.stem for image in undecided})
        most = max([*told.values(), 1e-12])
        for image in undecided:
            doubt = 1 - (1.0 if image.sureness is None else image.sureness)
            image.value = doubt * told.get(image.stem, most) / most

    def redraw(self, image: ReviewedImage) -> None:
        """An image's mask must be made again, of its coarse mask."""
        image.drawn = image.view = None
        image.basis = image.coarse
        image.version += 1
        image.unwritten = True

    def resolve(self, image: ReviewedImage) -> None:
        """Take over what was decided of an image."""
        state = image.decision.state
        if state == 'rejected':
            self.set_mask(image, np.zeros(image.size, np.uint8))
        elif state == 'accepted' and image.decision.is_settled:
            self.set_mask(image, self.accepted_mask(image))
        elif state == 'unseen':
            image.answer = None
            self.redraw(image)
        image.unwritten = self.unweighed = True

    def accepted_mask(self, image: ReviewedImage) -> np.ndarray:
        if image.decision.mask is None:
            return self.results.first_mask(image.finished)
        return labels_of_png(self.results.stored_mask(image.decision.mask))

    def set_mask(
        self, image: ReviewedImage, labels: np.ndarray, shown: np.ndarray | None = None
    ) -> None:
        """Set what an image's mask is: labels (H, W), and what the page shows of it."""
        image.answer = None
        image.drawn = as_png(labels)
        image.blank = not labels.any()
        image.view = as_png(_viewed(labels if shown is None else shown))
        image.version += 1
        image.unwritten = True

    def is_first(self, image: ReviewedImage) -> bool:
        """Whether an image's mask is what was found before any review."""
        decision = image.decision
        if decision.state == 'accepted' and decision.is_settled:
            return decision.mask is None
        if decision.is_settled or decision.said:
            return False
        return image.coarse is None or not _differs(image.coarse, self.first[image.stem])

    def shows_nothing(self, image: ReviewedImage) -> bool:
        """Whether no object was found in an image."""
        if image.drawn is not None:
            return image.blank
        if image.stem in self.first:
            return not self.first[image.stem].any()
        return not image.finished.record.annotations

    def needs_drawing(self, image: ReviewedImage) -> bool:
        """Whether only the coarse mask of an image is known."""
        if image.decision.is_settled or image.drawn is not None:
            return False
        return not self.is_first(image)

    def to_settle(self) -> list[ReviewedImage]:
        """Images that were accepted before they were drawn, and are drawn now."""
        if self.outdated or not self.samples:
            return []
        waiting = [image for image in self.images if image.decision.mask == TO_DRAW]
        return [image for image in waiting if not self.needs_drawing(image)]

    def draw(
        self, image: ReviewedImage, inferencer: CoSegInferencer
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """An image's mask, drawn at the edges, and numbers of instances: for :meth:`set_mask`."""
        sample = self.finished_sample(image, inferencer)
        shown = None
        if 'pred_instances' in sample:
            shown = _numbered(to_numpy(sample.pred_instances.masks))
        return to_numpy(sample.pred_sem_seg.data[0]), shown

    def coarse_labels(self, image: ReviewedImage) -> np.ndarray:
        """An image's mask without edges, (H, W) uint8."""
        prob = self.sample_of(image).pred_prob.data
        return to_numpy(mask_of_prob(prob, image.size)[0])

    def _small_map(self, image: ReviewedImage) -> Tensor:
        """An image's soft map before all hints, (C, h, w), at most 256 pixels a side."""
        return self.samples[image.stem].pred_prob.data.float()

    def _map_after(self, image: ReviewedImage, before: Tensor) -> Tensor:
        return before if self.spreader is None else self.spreader.map_after(image.stem, before)

    def sample_of(self, image: ReviewedImage) -> CoSegDataSample:
        """An image with its soft map after all hints, at the resolution of that before."""
        sample = self.results.sample_of(self.state, image.finished)
        hints = self.hints_of(image)
        if hints:
            sample.hints = hints
        prob = self._map_after(image, sample.pred_prob.data)
        sample.pred_prob = PixelData(data=prob)
        return sample

    def finished_sample(self, image: ReviewedImage, inferencer: CoSegInferencer) -> CoSegDataSample:
        """An image with its mask, and instances where the group has some."""
        metainfo = dict(group=self.name, category=self.name, label_ids=())
        part = GroupDataSample([self.sample_of(image)], metainfo=metainfo)
        part = inferencer.finished(part, self.results.group_of(self.state))
        if self.has_instances:
            InstancesFromMask()(part)
        return part[0]

    def _first_shown(self, image: ReviewedImage) -> np.ndarray | None:
        """Numbers of the instances that were found first; None where there are none."""
        return self.results.first_instances(image.finished) if self.has_instances else None

    def mask_for_page(self, image: ReviewedImage, side: int = VIEW_SIDE) -> bytes:
        """The mask as PNG, of a longer side; coarse if it is not drawn yet."""
        if image.view is not None:
            if side == VIEW_SIDE:
                return image.view
            labels = labels_of_png(image.view)
        elif self.needs_drawing(image) and image.answer is not None:
            labels = image.answer
        elif self.needs_drawing(image) and image.coarse is not None:
            labels = image.coarse
        elif side < VIEW_SIDE and not self.results.was_overwritten(image.finished):
            labels = self.results.small_mask(image.finished)
        else:
            shown = self._first_shown(image)
            labels = self.results.first_mask(image.finished) if shown is None else shown
        return as_png(_viewed(labels, side))

    def known_maps(self) -> dict[str, Tensor]:
        """Stem -> soft map, (C, h, w), of the images whose masks were decided."""
        known = {}
        channels = 1 + len(self.classes)
        for image in self.images:
            if image.drawn is None or image.decision.state not in ('accepted', 'rejected'):
                continue
            small = _viewed(labels_of_png(image.drawn), _MAP_SIDE)
            labels = torch.from_numpy(small.astype(np.int64))
            if channels == 1:
                known[image.stem] = (labels > 0).float()[None]
            else:
                classes = F.one_hot(labels.clamp(max=channels - 1), channels)
                known[image.stem] = classes.permute(2, 0, 1).float()
        return known


def _shrunk(prob: Tensor, side: int) -> Tensor:
    """A map (C, h, w) whose longer side is at most this."""
    scale = side / max(prob.shape[-2:])
    if scale >= 1:
        return prob
    size = [max(1, round(scale * length)) for length in prob.shape[-2:]]
    return F.adaptive_avg_pool2d(prob, size)


def _sureness(prob: Tensor) -> float:
    """How sure the mask of a map (C, h, w) is, 0 to 1, judged by a smaller one."""
    return expected_overlap(_shrunk(prob, _SURE_SIDE))


def _coarse_mask(prob: Tensor) -> np.ndarray:
    """The mask (h, w) uint8 of a soft map (C, h, w), before edges are looked at."""
    return to_numpy(mask_of_prob(prob, prob.shape[-2:])[0])


def _differs(mask: np.ndarray, other: np.ndarray) -> bool:
    if mask is other:
        return False
    return mask.shape != other.shape or np.mean(mask != other) > _CHANGE


def _viewed(labels: np.ndarray, side: int = VIEW_SIDE) -> np.ndarray:
    """Labels at a size that the page shows."""
    scale = min(1.0, side / max(labels.shape))
    if scale == 1:
        return labels
    size = tuple(max(1, round(side * scale)) for side in labels.shape[::-1])
    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)


def _numbered(masks: np.ndarray) -> np.ndarray:
    """Numbers of instances from 1, (H, W) uint8; the first one of masks (n, H, W) that overlap."""
    numbers = np.zeros(masks.shape[1:], np.uint8)
    for number in reversed(range(min(len(masks), 255))):
        numbers[masks[number] > 0] = number + 1
    return numbers
