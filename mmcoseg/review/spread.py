"""From a person's hints to the soft maps of a group, for results of any method."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from torch import Tensor
from torch.nn import functional as F

from ..apis import CoSegInferencer
from ..apis.inputs import InputGroup
from ..config_files import config_of_method
from ..engine.run_config import read_config
from ..files import write_atomically
from ..models.ops.locations import maps_at_locations
from ..models.ops.resize import resize
from ..models.segmentors.saved_objects import learn_object, require_learner
from ..models.segmentors.training_free import BASIS_IMAGES, describe, in_basis, maps_of_images
from ..models.stages import GroupContext
from ..models.stages.feature_store import FeatureStore
from ..structures import (
    CoSegDataSample,
    GroupDataSample,
    GroupImages,
    SavedObject,
    shallow_copy,
)

__all__ = ['GroupFeatures', 'Spreader', 'compute_features', 'spreading_inferencer']

#: Images that are described at a time; the first ones decide in which basis.
PART = 16


def spreading_inferencer(settings: dict[str, Any]) -> CoSegInferencer:
    """What spreads hints and draws masks: of the default method, what follows hints.

    ``settings`` are those by which the results were made.
    """
    cfg = read_config(config_of_method('consensus'))
    stages = cfg.model.stages
    cfg.model.stages = ConfigDict(follow_hints=stages.follow_hints)
    for step in cfg.test_dataloader.dataset.pipeline:
        if 'transforms' in step:
            kept = [one for one in step['transforms'] if one['type'] != 'ComputeSaliency']
            step['transforms'] = kept
    chosen = {}
    for name in ('crf', 'min_area', 'largest', 'presence_threshold'):
        if name in settings:
            chosen[name] = settings[name]
    return CoSegInferencer(config=cfg, **chosen)


@dataclass
class GroupFeatures:
    """What is compared to spread hints over a group.

    Args:
        stems: of the N images that can be read.
        descriptors: (N, h, w, d) float16, as the stage ``FollowHints`` wants them.
        basis: (d', d), in which they are of the backbone's d' channels; (0, 0) for the channels.
        shapes: (N, 2) int, height and width that each image has in the network's input.
        size: height and width of the input.
    """

    stems: tuple[str, ...]
    descriptors: np.ndarray
    basis: np.ndarray
    shapes: np.ndarray
    size: tuple[int, int]

    def write(self, file: Path, key: str) -> None:
        """Write them to a file; ``key`` says of which images and by which backbone they are."""
        with write_atomically(file) as target:
            np.savez(
                target,
                key=np.array(key),
                stems=np.array(self.stems),
                descriptors=self.descriptors,
                basis=self.basis,
                shapes=self.shapes,
                size=np.array(self.size),
            )

    @classmethod
    def read(cls, file: Path, key: str) -> 'GroupFeatures | None':
        """Those in a file; None if it is not there, damaged, or of another key."""
        try:
            with np.load(file, allow_pickle=False) as content:
                if content['key'].item() != key:
                    return None
                return cls(
                    tuple(content['stems'].tolist()),
                    content['descriptors'],
                    content['basis'],
                    content['shapes'],
                    tuple(content['size'].tolist()),
                )
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            return None


def compute_features(
    inferencer: CoSegInferencer, group: InputGroup
) -> Iterator[float | GroupFeatures]:
    """Describe a group's images, some at a time.

    Yields:
        The share of the group that is done; in the end the features, if any image can be read.
    """
    described = _Described(inferencer)
    for start in range(0, len(group), PART):
        described.add(replace(group, items=group.items[start : start + PART]))
        yield min(1.0, (start + PART) / len(group))
    if described.stems:
        yield described.features()


class _Described:
    """Descriptors of the images so far."""

    def __init__(self, inferencer: CoSegInferencer) -> None:
        self.inferencer = inferencer
        self.kind = require_learner(inferencer.model).descriptors
        self.stems: list[str] = []
        self.shapes: list[tuple[int, int]] = []
        self.size = (0, 0)
        self.basis: Tensor | None = None
        self._waiting: list[Tensor] = []  # until there are enough to choose the basis
        self._parts: list[np.ndarray] = []

    def add(self, part: InputGroup) -> None:
        """Describe some images."""
        images, sample, _ = self.inferencer.load(part)
        if images is None:
            return
        self.size = images.size
        self.stems += [image.stem for image in sample]
        self.shapes += [image.img_shape[:2] for image in sample]
        model, numbers = self.inferencer.model, range(len(images))
        with torch.no_grad(), self.inferencer.reproducibly():
            for _, found in describe(model.backbone, images, numbers, [self.kind], model.test_cfg):
                self._waiting.append(found[self.kind])
        if len(self.stems) >= BASIS_IMAGES:
            self._take_waiting()

    def _take_waiting(self) -> None:
        """Put what was described last into the basis, which the first images choose."""
        if not self._parts:
            self.basis = self.inferencer.model.basis(self.kind, self._waiting)
        for found in self._waiting:
            rows = in_basis(found, self.basis).permute(0, 2, 3, 1)
            self._parts.append(rows.half().numpy())
        self._waiting = []

    def features(self) -> GroupFeatures:
        self._take_waiting()
        basis = np.zeros((0, 0), np.float32) if self.basis is None else self.basis.numpy()
        descriptors = np.concatenate(self._parts)
        return GroupFeatures(
            tuple(self.stems), descriptors, basis, np.array(self.shapes), tuple(self.size)
        )


class Spreader:
    """Soft maps of a group's images after hints, from those before.

    The stage ``FollowHints`` compares features and corrects coarse maps; their change is added to
    the maps that were there, whatever method they are from. So images that hints do not concern
    keep their maps.

    Args:
        inferencer: whose stage spreads the hints.
        features: of the images.
        samples: stem -> image, with ``pred_prob``, (C, h, w), before any hint, of any resolution.

    Attributes:
        changes: stem -> by how much the hints change its map, (C, h', w'), or the map itself where
            they have other classes; of all images or none.
    """

    def __init__(
        self,
        inferencer: CoSegInferencer,
        features: GroupFeatures,
        samples: dict[str, CoSegDataSample],
    ) -> None:
        self.stage = require_learner(inferencer.model)
        self.reproducibly: Callable = inferencer.reproducibly
        chosen = []
        for stem, shape in zip(features.stems, features.shapes.tolist()):
            samples[stem].set_metainfo(dict(img_shape=tuple(shape)))
            chosen.append(samples[stem])
        self.group = GroupDataSample(chosen, metainfo=dict(group=chosen[0].group))
        self.changes: dict[str, Tensor] = {}
        size = features.size
        blank = torch.zeros((), dtype=torch.uint8).expand(len(chosen), 3, *size)
        descriptors = torch.from_numpy(features.descriptors).permute(0, 3, 1, 2)
        self.context = GroupContext(
            GroupImages.of(blank),
            self.group,
            descriptors={self.stage.descriptors: descriptors},
        )
        basis = torch.from_numpy(features.basis) if features.basis.size else None
        self.context.stores[self.stage.descriptors] = FeatureStore(0, 0, basis)
        self.coarse = self.after = _at_locations(self.group, descriptors.shape[-2:], size)

    @torch.no_grad()
    def __call__(self) -> None:
        """Find what the hints change that the images have now."""
        self.context.prob = self.coarse
        with self.reproducibly():
            self.after = self.stage(self.context)
        change = self.after - self.coarse if self.keeps_classes else self.after
        changes = maps_of_images(change, self.context.images.size, self.group)
        self.changes = {sample.stem: change for sample, change in zip(self.group, changes)}

    def forget(self) -> None:
        """There are no hints any more."""
        self.after, self.changes = self.coarse, {}

    @property
    def keeps_classes(self) -> bool:
        """Whether the hints have no other classes than the maps."""
        return self.after.shape == self.coarse.shape

    def map_after(self, stem: str, before: Tensor) -> Tensor:
        """The soft map of an image after the hints, from that before, (C, h, w)."""
        change = self.changes.get(stem)
        if change is None:
            return before
        return _added(before, change) if self.keeps_classes else change

    def telling(self, stems: Collection[str]) -> dict[str, float]:
        """How much the answer for each of these images would tell about the others.

        See :meth:`~mmcoseg.models.ops.hints.HintPosterior.telling`.
        """
        asked = torch.tensor([sample.stem in stems for sample in self.group])
        prob = self.after if self.after.shape[1] > 1 else torch.cat([self.after, 1 - self.after], 1)
        unsure = (1 - prob.square().sum(dim=1)) * asked[:, None, None]
        told = self.stage.posterior(self.context).telling(unsure)
        return {sample.stem: value for sample, value in zip(self.group, told.tolist())}

    def learn(
        self, inferencer: CoSegInferencer, known: dict[str, Tensor], names: Sequence[str]
    ) -> SavedObject:
        """What tells the group's object from everything else.

        Args:
            known: stem -> soft map, (C, h, w), of images whose masks are right.
            names: of the classes.
        """
        samples = []
        for sample in self.group:
            sample = shallow_copy(sample)
            prob = self.map_after(sample.stem, sample.pred_prob.data)
            sample.pred_prob = PixelData(data=known.get(sample.stem, prob))
            samples.append(sample)
        descriptors = self.context.descriptors[self.stage.descriptors]
        prob = _at_locations(samples, descriptors.shape[-2:], self.context.images.size)
        context = replace(self.context, prob=prob)
        return learn_object(inferencer.model, context, names)


def _added(before: Tensor, change: Tensor) -> Tensor:
    """A map (C, h, w) with a change, (C, h', w'), added to it; itself where nothing changes."""
    if not change.any():
        return before
    after = (before.float() + resize(change[None], before.shape[-2:])[0]).clamp(0, 1)
    if len(after) > 1:
        after = after / after.sum(dim=0, keepdim=True).clamp(min=1e-6)
    return after


def _at_locations(
    group: Sequence[CoSegDataSample], shape: Sequence[int], size: tuple[int, int]
) -> Tensor:
    """The images' maps (N, C, h, w) at the locations of their features."""
    maps = []
    for sample in group:
        height, width = sample.img_shape[:2]
        full = resize(sample.pred_prob.data.float()[None], (height, width))
        padded = F.pad(full, (0, size[1] - width, 0, size[0] - height))
        maps.append(maps_at_locations(padded, tuple(shape), size)[0])
    return torch.stack(maps)
