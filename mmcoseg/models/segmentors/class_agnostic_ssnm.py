"""SSNM for classes that training has not shown."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...options import build_options, known_keys, whole_number
from ...registry import MODELS
from ...structures import GroupDataSample, GroupImages, GroupSampleList, group_sizes_of
from ..necks.modulator import Modulation, Modulator
from .base import BaseCoSegmentor, ground_truth_of
from .feature_cache import FeatureCache
from .ssnm import SSNMTestOptions

__all__ = ['ClassAgnosticSSNM']


@MODELS.register_module()
class ClassAgnosticSSNM(BaseCoSegmentor):
    """SSNM whose modulators are computed from the group and whose head sees their maps.

    With a few training categories, the channels of ``gamma X + S`` teach the head those
    categories. Here the spatial modulator gives S, the semantic one the map
    ``sum_c gamma_c X_c``, and both reach the head as input channels beside the distance to the
    border and the last prediction. The modulators act ``rounds`` times: first from S, then from
    the prediction of the round before, so that gamma gets better with the mask.

    Args:
        backbone: gives levels fine to coarse.
        neck: ``FeatureWhitening``. The levels that it gives go to the head and the semantic
            modulator, the backbone's own levels to the spatial one.
        decode_head: ``CueHead``; its ``num_cues`` is set here.
        modulators: ``spatial`` and ``semantic``; None removes one. Without ``spatial``, the middle
            of the images is the first estimate.
        rounds: how often modulators and head act, at least 1.
        feature_cache, test_cfg: as of :class:`SSNM`.

    Raises:
        MMCosegError: for wrong arguments, or modulators with losses of their own, which are not
            trained here.
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
        self.modulators = nn.ModuleDict()
        for name, cfg in modulators.items():
            if cfg:
                self.modulators[name] = _without_loss(MODELS.build(cfg), f'model.modulators.{name}')
        # Border distance, last prediction, whether there is one.
        self.decode_head = MODELS.build(dict(decode_head, num_cues=3 + len(self.modulators)))
        self.feature_cache = FeatureCache.of_backbone(self.backbone, feature_cache)
        self.rounds = rounds

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The backbone's levels, fine to coarse, of images (n, 3, H, W).

        In training those of images seen before come from the cache.
        """
        if self.feature_cache is None or not self.training:
            return tuple(self.backbone(inputs))
        return self.feature_cache(inputs, lambda images: tuple(self.backbone(images)))

    def loss(self, images: GroupImages, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """Mean of the head's losses over the rounds."""
        group_sizes = group_sizes_of(data_samples)
        target = ground_truth_of(data_samples)
        feats = self.extract_feat(images.batch())
        levels = self.neck(feats)
        descriptors = self._encode(feats, levels)
        spatial = self._spatial_of_whole_groups(data_samples, levels[-1])
        if spatial is None:
            spatial = self._spatial(descriptors, group_sizes, levels[-1])
        estimate, losses = None, {}
        for _ in range(self.rounds):
            cues = self._cues(descriptors, group_sizes, spatial, estimate)
            logits = self.decode_head(levels, cues)
            for name, value in self.decode_head.loss_by_feat(logits, target).items():
                losses[name] = losses.get(name, 0) + value / self.rounds
            estimate = self.decode_head.predict_by_feat(logits, cues.shape[-2:]).detach()
        return losses

    def _forward(self, images: GroupImages, data_samples: GroupSampleList) -> Tensor:
        """Logits of the last round, (sum N, 1, h, w)."""
        group_sizes = group_sizes_of(data_samples)
        feats = self.extract_feat(images.batch())
        levels = self.neck(feats)
        descriptors = self._encode(feats, levels)
        spatial = self._spatial(descriptors, group_sizes, levels[-1])
        estimate = None
        for _ in range(self.rounds):
            cues = self._cues(descriptors, group_sizes, spatial, estimate)
            logits = self.decode_head(levels, cues)
            estimate = self.decode_head.predict_by_feat(logits, cues.shape[-2:])
        return logits[0]

    def _spatial(
        self, descriptors: dict[str, Tensor], group_sizes: list[int], like: Tensor
    ) -> Tensor:
        """The first estimate of the object, (sum N, 1, h, w): S, or the middle of the images."""
        if 'spatial' in self.modulators:
            modulator = self.modulators['spatial']
            return modulator.modulate_group(descriptors['spatial'], group_sizes, Modulation()).shift
        middle = border_distance(like) > 0.4
        return 0.1 + 0.8 * middle.to(like.dtype)

    def _spatial_of_whole_groups(
        self, data_samples: GroupSampleList, like: Tensor
    ) -> Tensor | None:
        """S as it was computed on the whole groups before training, if it was.

        A few images drawn from a group give a much worse S than all of them; the head must learn
        from the S that it will get when whole groups are segmented.
        """
        samples = [sample for group in data_samples for sample in group]
        if 'spatial' not in self.modulators or not all('saliency' in s for s in samples):
            return None
        maps = torch.stack([sample.saliency.data for sample in samples])
        return F.adaptive_avg_pool2d(maps, like.shape[-2:])

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
        cues = [
            border_distance(spatial),
            nothing if estimate is None else estimate,
            nothing if estimate is None else nothing + 1,
        ]
        if 'spatial' in self.modulators:
            cues.append(spatial)
        if 'semantic' in self.modulators:
            previous = Modulation(shift=spatial if estimate is None else estimate)
            modulator = self.modulators['semantic']
            cues.append(
                modulator.modulate_group(descriptors['semantic'], group_sizes, previous).shift
            )
        return torch.cat(cues, dim=1)

    @torch.no_grad()
    def prepare_training(self, groups: Iterable[GroupImages]) -> Iterator[Tensor | None]:
        """Look at all whole training groups before training on draws from them.

        The statistics of the neck are taken, where it has none yet.

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
            if parts:
                descriptors = dict(spatial=torch.cat(parts))
                yield self._spatial(descriptors, [len(images)], batch)
            else:
                yield None
        if samples:
            self.neck.fit(samples)

    def soft_maps(self, images: GroupImages, group: GroupDataSample) -> Tensor:
        """Probabilities (N, 1, H, W) of one group; S is shared by both directions with ``flip``."""
        views = [_View(self, images, mirrored=False)]
        if self.test_cfg.flip:
            views.append(_View(self, images, mirrored=True))
        members, group_sizes = self.test_cfg.groups_of(len(images))
        spatial_descriptors = {}
        if 'spatial' in self.modulators:
            parts = [view.descriptors.pop('spatial') for view in views]
            if len(parts) == 2:
                parts = [(parts[0] + parts[1].flip(-1)) / 2]
            spatial_descriptors['spatial'] = parts[0][members]
        like = torch.empty(len(members), 1, *views[0].size, device=images.device)
        spatial = self._spatial(spatial_descriptors, group_sizes, like)
        prob = self._predict_view(views[0], members, group_sizes, spatial)
        if self.test_cfg.flip:
            mirrored = self._predict_view(views[1], members, group_sizes, spatial.flip(-1))
            prob = (prob + mirrored.flip(-1)) / 2
        return prob

    def _predict_view(
        self, view: '_View', members: list[int], group_sizes: list[int], spatial: Tensor
    ) -> Tensor:
        """All rounds on one direction of a group: (N, 1, H, W)."""
        descriptors = {name: part[members] for name, part in view.descriptors.items()}
        estimate = None
        for number in range(self.rounds):
            last = number == self.rounds - 1
            cues = self._cues(descriptors, group_sizes, spatial, estimate)
            size = view.images.size if last else view.size
            probs = []
            # Members behind the group's own images are fillers, which repeat its first ones.
            for levels, chunk in zip(view.levels(), view.chunks):
                logits = self.decode_head(levels, cues[chunk])
                probs.append(self.decode_head.predict_by_feat(logits, size))
            estimate = torch.cat(probs)
            if not last:
                estimate = estimate[members]
        return estimate


class _View:
    """One direction of a group in prediction: its modulators' descriptors, its levels by chunks."""

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
        self.descriptors = {}
        for name in model.modulators:
            self.descriptors[name] = torch.cat([part[name] for part in parts])

    def _features(self, chunk: list[int]) -> tuple[Tensor, ...]:
        batch = self.images.batch(chunk)
        return self.model.extract_feat(batch.flip(-1) if self.mirrored else batch)

    def levels(self) -> Iterator[tuple[Tensor, ...]]:
        """The levels of each chunk."""
        if self.kept:
            return iter(self.kept)
        return (self.model.neck(self._features(chunk)) for chunk in self.chunks)


def _without_loss(modulator: Modulator, key: str) -> Modulator:
    """The modulator, which must have no loss of its own."""
    own = type(modulator).loss is not Modulator.loss
    if own and getattr(modulator, 'loss_weight', None) != 0:
        raise MMCosegError(
            f'{key}: {type(modulator).__name__} has a loss of its own, which ClassAgnosticSSNM '
            f'does not train; choose a modulator without one, or set {key}.loss_weight=0'
        )
    return modulator


def border_distance(like: Tensor) -> Tensor:
    """0 at the border of a map, 1 in its middle, (n, 1, h, w) of the size of ``like``."""
    height, width = like.shape[-2:]
    y = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype).abs()[:, None]
    x = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype).abs()[None]
    return (1 - torch.maximum(y, x)).expand(len(like), 1, height, width)
