"""SSNM for classes that training has not shown."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import MMCosegError
from ...options import build_options, known_keys, whole_number
from ...registry import MODELS
from ...structures import GroupDataSample, GroupImages, GroupSampleList, group_sizes_of
from ..calling import build_parts
from ..necks.modulator import Modulation, Modulator
from .base import BaseCoSegmentor, ground_truth_of
from .feature_cache import FeatureCache
from .ssnm import SSNM, SSNMTestOptions

__all__ = ['ClassAgnosticSSNM']


@MODELS.register_module()
class ClassAgnosticSSNM(BaseCoSegmentor):
    """SSNM whose modulators are computed from the group and whose head sees their maps.

    With a few training categories, the channels of ``gamma X + S`` teach the head those
    categories. Here the spatial modulator gives S, the semantic one the map
    ``sum_c gamma_c X_c``, and both reach the head as input channels beside the distance to the
    border and the last prediction. The modulators act ``rounds`` times: first from S, then from
    the prediction of the round before, so gamma gets better with the mask.

    Args:
        backbone: gives levels fine to coarse.
        neck: ``FeatureWhitening``. The levels that it gives go to the head and the semantic
            modulator, the backbone's own levels to the spatial one.
        decode_head: ``CueHead``; its ``num_cues`` is set here.
        modulators: ``spatial`` and ``semantic``; None removes one. Without ``spatial``, the middle
            of the images is the first estimate. Losses of their own are not trained here, so they
            may have none.
        rounds: how often modulators and head act, at least 1.
        feature_cache, test_cfg: as of :class:`SSNM`.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        decode_head: dict,
        modulators: dict[str, dict | None],
        rounds: int = 2,
        feature_cache: int = 0,
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] | None = (),
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        whole_number('model.rounds', rounds)
        known_keys('model.modulators of ClassAgnosticSSNM', modulators, ('spatial', 'semantic'))
        self.test_cfg = build_options(SSNMTestOptions, test_cfg, 'model.test_cfg')
        super().__init__(data_preprocessor, postprocessors, self.test_cfg.threshold, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)
        self.modulators = build_parts('model.modulators', modulators)
        for name, modulator in self.modulators.items():
            _require_no_loss(modulator, f'model.modulators.{name}')
        # Border distance, last prediction, whether there is one.
        self.decode_head = MODELS.build(dict(decode_head, num_cues=3 + len(self.modulators)))
        self.feature_cache = FeatureCache(self.backbone, feature_cache)
        self.rounds = rounds

    extract_feat = SSNM.extract_feat

    def loss(self, images: GroupImages, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """Mean of the head's losses over the rounds."""
        target = ground_truth_of(data_samples)
        losses = {}
        for logits in self._rounds_of(images, data_samples, _whole_group_maps(data_samples)):
            for name, value in self.decode_head.loss_by_feat(logits, target).items():
                losses[name] = losses.get(name, 0) + value / self.rounds
        return losses

    def _forward(self, images: GroupImages, data_samples: GroupSampleList) -> Tensor:
        """Logits of the last round, (sum N, 1, h, w)."""
        *_, (fine, _) = self._rounds_of(images, data_samples)
        return fine

    def _rounds_of(
        self, images: GroupImages, data_samples: GroupSampleList, maps: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The head's fine and coarse logits in each round; S is ``maps``, if they are given."""
        group_sizes = group_sizes_of(data_samples)
        feats = self.extract_feat(images.batch())
        levels = self.neck(feats)
        descriptors = self._encode(feats, levels)
        if maps is None or 'spatial' not in self.modulators:
            spatial = self._spatial(descriptors.get('spatial'), group_sizes, levels[-1])
        else:
            spatial = F.adaptive_avg_pool2d(maps, levels[-1].shape[-2:])
        estimate = None
        for _ in range(self.rounds):
            cues = self._cues(descriptors, group_sizes, spatial, estimate)
            logits = self.decode_head(levels, cues)
            yield logits
            estimate = self.decode_head.predict_by_feat(logits, cues.shape[-2:]).detach()

    def _spatial(self, descriptors: Tensor | None, group_sizes: list[int], like: Tensor) -> Tensor:
        """The first estimate of the object, (sum N, 1, h, w): S, or the middle of the images."""
        if descriptors is None:
            return 0.1 + 0.8 * (border_distance(like) > 0.4).to(like.dtype)
        modulator = self.modulators['spatial']
        return modulator.modulate_group(descriptors, group_sizes, Modulation()).shift

    def _encode(self, feats: tuple[Tensor, ...], levels: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The modulators' descriptors: S is found on raw features, gamma on whitened ones."""
        inputs = dict(spatial=feats, semantic=levels)
        return {name: modulator.encode(inputs[name]) for name, modulator in self.modulators.items()}

    def _cues(
        self,
        descriptors: dict[str, Tensor],
        group_sizes: list[int],
        spatial: Tensor,
        estimate: Tensor | None,
    ) -> Tensor:
        """What the head sees of one round, (sum N, num_cues, h, w)."""
        nothing = torch.zeros_like(spatial)
        last = [nothing, nothing] if estimate is None else [estimate, nothing + 1]
        cues = [border_distance(spatial), *last]
        if 'spatial' in self.modulators:
            cues.append(spatial)
        if 'semantic' in self.modulators:
            previous = Modulation(shift=spatial if estimate is None else estimate)
            modulator = self.modulators['semantic']
            modulation = modulator.modulate_group(descriptors['semantic'], group_sizes, previous)
            cues.append(modulation.shift)
        return torch.cat(cues, dim=1)

    @torch.no_grad()
    def prepare_training(self, groups: Iterable[GroupImages]) -> Iterator[Tensor | None]:
        """Look at all whole training groups before training, and fit the neck if it is not fitted.

        Yields:
            S of each group, (N, 1, h, w), found on the mean over images and mirror images; None
            without a spatial modulator.
        """
        samples = []
        for images in groups:
            parts = []
            for indices in images.chunks(self.test_cfg.chunk_size):
                batch = images.batch(indices)
                feats = self.extract_feat(batch)
                if not self.neck.fitted:
                    samples.append(self.neck.sample(feats))
                if 'spatial' in self.modulators:
                    encode = self.modulators['spatial'].encode
                    mirrored = encode(self.extract_feat(batch.flip(-1))).flip(-1)
                    parts.append((encode(feats) + mirrored) / 2)
            yield self._spatial(torch.cat(parts), [len(images)], batch) if parts else None
        if samples:
            self.neck.fit(samples)

    def soft_maps(self, images: GroupImages, group: GroupDataSample) -> Tensor:
        """Probabilities (N, 1, H, W) of one group; S is shared by both directions with ``flip``."""
        directions = [False, True] if self.test_cfg.flip else [False]
        views = [_View(self, images, mirrored) for mirrored in directions]
        members, group_sizes = self.test_cfg.groups_of(len(images))
        descriptors = None
        if 'spatial' in self.modulators:
            found = [view.turned(view.descriptors.pop('spatial')) for view in views]
            descriptors = (sum(found) / len(found))[members]
        like = torch.empty(len(members), 1, *views[0].size, device=images.device)
        spatial = self._spatial(descriptors, group_sizes, like)
        probs = []
        for view in views:
            prob = self._predict_view(view, members, group_sizes, view.turned(spatial))
            probs.append(view.turned(prob))
        return sum(probs) / len(probs)

    def _predict_view(
        self, view: '_View', members: list[int], group_sizes: list[int], spatial: Tensor
    ) -> Tensor:
        """All rounds on one direction of a group: (N, 1, H, W)."""
        descriptors = {name: part[members] for name, part in view.descriptors.items()}
        prob = None
        for left in reversed(range(self.rounds)):
            estimate = None if prob is None else prob[members]
            cues = self._cues(descriptors, group_sizes, spatial, estimate)
            size = view.size if left else view.images.size
            probs = []
            # Fillers come after the group's own images, so they are left out here.
            for levels, chunk in zip(view.levels(), view.chunks):
                logits = self.decode_head(levels, cues[chunk])
                probs.append(self.decode_head.predict_by_feat(logits, size))
            prob = torch.cat(probs)
        return prob


class _View:
    """One direction of a group in prediction: descriptors of its images, levels by chunks."""

    def __init__(self, model: ClassAgnosticSSNM, images: GroupImages, mirrored: bool) -> None:
        self.model, self.images, self.mirrored = model, images, mirrored
        self.chunks = list(images.chunks(model.test_cfg.chunk_size))
        # As in SSNM: the features of a large group are computed again rather than kept.
        keep = len(self.chunks) <= 4
        self.kept: list[tuple[Tensor, ...]] = []
        parts = []
        for chunk in self.chunks:
            feats = self._features(chunk)
            levels = model.neck(feats)
            parts.append(model._encode(feats, levels))
            if keep:
                self.kept.append(levels)
        self.size = tuple(levels[-1].shape[-2:])
        self.descriptors = {
            name: torch.cat([part[name] for part in parts]) for name in model.modulators
        }

    def turned(self, maps: Tensor) -> Tensor:
        """Maps of the images as those of this direction, or the other way round."""
        return maps.flip(-1) if self.mirrored else maps

    def _features(self, chunk: list[int]) -> tuple[Tensor, ...]:
        return self.model.extract_feat(self.turned(self.images.batch(chunk)))

    def levels(self) -> Iterable[tuple[Tensor, ...]]:
        """The levels of each chunk."""
        return self.kept or (self.model.neck(self._features(chunk)) for chunk in self.chunks)


def _whole_group_maps(data_samples: GroupSampleList) -> Tensor | None:
    """S as ``prepare_training`` found it on whole groups, (sum N, 1, h, w), if it did.

    A few images drawn from a group give a much worse S than all of them; the head must learn from
    the S that it gets when whole groups are segmented.
    """
    samples = list(chain.from_iterable(data_samples))
    if not all('saliency' in sample for sample in samples):
        return None
    return torch.stack([sample.saliency.data for sample in samples])


def _require_no_loss(modulator: Modulator, key: str) -> None:
    own = type(modulator).loss is not Modulator.loss
    if own and getattr(modulator, 'loss_weight', None) != 0:
        raise MMCosegError(
            f'{key}: {type(modulator).__name__} has a loss of its own, which ClassAgnosticSSNM '
            f'does not train; choose a modulator without one, or set {key}.loss_weight=0'
        )


def border_distance(like: Tensor) -> Tensor:
    """0 at the border of a map, 1 in its middle, (n, 1, h, w) of the size of ``like``."""
    options = dict(device=like.device, dtype=like.dtype)
    y, x = (torch.linspace(-1, 1, side, **options).abs() for side in like.shape[-2:])
    return (1 - torch.maximum(y[:, None], x)).expand(len(like), 1, -1, -1)
