"""What segmentors share that are optimized on the very group that they segment."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from math import ceil
from typing import Any

import torch
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...registry import MODELS
from ...structures import (
    CoSegDataSample,
    GroupDataSample,
    GroupImages,
    GroupSampleList,
    group_sizes_of,
)
from ..calling import asks_for, call_by_name, call_with_offers
from ..losses import build_loss
from ..ops.resize import resize
from .base import BaseCoSegmentor, require_one_size
from .feature_cache import FeatureCache
from .ssnm import wrap_around_groups

__all__ = ['OptimizedOnGroup', 'at_quarter_size']


class OptimizedOnGroup(BaseCoSegmentor):
    """Base class of segmentors that ``GroupOptimizationLoop`` optimizes on each group by itself.

    **Losses.** There may be any number of them under any names. The ``forward`` of each is called
    with what its parameters name:

    - ``features``: the last level behind the neck, (sum N, C, h, w);
    - ``coarse_maps``: the head's maps at the features' resolution, where the method has some;
    - ``maps``: the maps at the images' size, (sum N, K or K + 1, H, W) in [0, 1];
    - ``vectors``: what an extractor sees through the maps, (sum N, K + 1, c), where there is one;
    - ``saliency``: the images' own, (sum N, 1, h, w) in [0, 1]; with an initial segmentor of one
      map, that map;
    - ``initial_maps``: what the initial segmentor found, like ``maps``;
    - ``images``: normalized, (sum N, 3, H, W);
    - ``group_sizes``: number of images of each group, list[int].

    **Neck and head** get ``group_sizes``, too, if their ``forward`` has such a parameter. In
    prediction they see mini-batches of :attr:`group_size` images in the given order, the last one
    filled up with the group's first images.

    Args:
        backbone: gives levels, fine to coarse.
        decode_head: makes maps of the levels.
        losses: name -> config; None or a ``loss_weight`` of 0 removes one (the ablations).
        neck: called with the levels, gives levels; None for none.
        initial_segmentor: config of a segmentor that needs no training and looks at the whole
            group first (:meth:`prepare_group`); it shares the model's backbone if that is the same
            and frozen. Not in the papers.
        feature_cache: number of images whose features are kept while a group is optimized, for a
            frozen backbone.
    """

    #: Images that a neck or a head sees together in prediction.
    group_size = 6

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        losses: Mapping[str, dict | None],
        neck: dict | None = None,
        initial_segmentor: dict | None = None,
        feature_cache: int = 0,
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] | None = (),
        threshold: float | str = 0.5,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, postprocessors, threshold, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck else None
        self.decode_head = MODELS.build(decode_head)
        self.losses = nn.ModuleDict()
        for name, cfg in losses.items():
            if cfg and not (isinstance(cfg, dict) and cfg.get('loss_weight') == 0):
                self.losses[name] = build_loss(cfg, f'model.losses.{name}')
        if not self.losses:
            raise MMCosegError(f'model.losses has no loss to optimize by, got {dict(losses)}')
        self.feature_cache = FeatureCache(self.backbone, feature_cache)
        self.initial_segmentor = None
        #: Parts that are not optimized, and stay in evaluation mode.
        self.resting: list[nn.Module] = []
        if initial_segmentor:
            self.initial_segmentor = MODELS.build(self._sharing(initial_segmentor, backbone))
            self.resting.append(self.initial_segmentor.eval())

    def train(self, mode: bool = True) -> 'OptimizedOnGroup':
        super().train(mode)
        for part in self.resting:
            part.eval()
        return self

    def _sharing(self, initial_segmentor: dict, backbone: dict) -> dict:
        """The config of the initial segmentor, with the model's backbone where it is the same."""
        frozen = not any(parameter.requires_grad for parameter in self.backbone.parameters())
        if frozen and initial_segmentor.get('backbone') == backbone:
            return dict(initial_segmentor, backbone=self.backbone)
        return initial_segmentor

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The backbone's levels, fine to coarse, of images (n, 3, H, W); kept, if any are."""
        return self.feature_cache(inputs)

    def levels_of(self, feats: tuple[Tensor, ...], group_sizes: list[int]) -> tuple[Tensor, ...]:
        """What the head gets: the backbone's levels, through the neck."""
        if self.neck is None:
            return feats
        return tuple(call_with_offers(self.neck, feats, group_sizes=group_sizes))

    @torch.no_grad()
    def prepare_group(self, images: GroupImages, group: GroupDataSample) -> None:
        """Look at a whole group before the model is optimized on mini-batches of it.

        Forget other groups' features, and let the initial segmentor set ``initial_maps`` and
        ``presence`` of this one's samples.
        """
        self.feature_cache.clear()
        if self.initial_segmentor is None or not len(group):
            return
        found = _without_predictions(group)
        self.initial_segmentor.predict(images, [found])
        if 'class_count' in found:
            group.set_metainfo(dict(class_count=found.class_count))
        for sample, initial in zip(group, found):
            shape = sample.metainfo.get('img_shape', images.size)
            maps = at_quarter_size(initial.pred_prob.data.float(), shape)
            sample.initial_maps = PixelData(data=maps)
            if 'presence' in initial:
                sample.presence = initial.presence

    def initial_maps_of(self, sample: CoSegDataSample) -> Tensor:
        """What the initial segmentor found in an image, (C, h, w)."""
        if 'initial_maps' not in sample:
            raise MMCosegError(
                f'{sample.identity} has no maps of an initial segmentor: set '
                'model.initial_segmentor, and optimize by GroupOptimizationLoop or call '
                'prepare_group before'
            )
        return sample.initial_maps.data

    def initial_maps_at(self, data_samples: GroupSampleList, size: Sequence[int]) -> Tensor:
        """What the initial segmentor found in all images, (sum N, C, *size)."""
        samples = chain.from_iterable(data_samples)
        return torch.cat([resize(self.initial_maps_of(sample)[None], size) for sample in samples])

    def loss(self, images: GroupImages, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """The objective, by its parts, of mini-batches of groups; all images have one size."""
        require_one_size(data_samples, images.size)
        group_sizes = group_sizes_of(data_samples)
        batch = images.batch()
        levels = self.levels_of(self.extract_feat(batch), group_sizes)
        values: dict[str, Callable[[], Any]] = dict(
            features=lambda: levels[-1],
            saliency=lambda: self._saliency_of(data_samples, batch),
            images=lambda: batch,
            group_sizes=lambda: group_sizes,
            **self.loss_values(batch, levels, data_samples),
        )
        values = {name: cache(value) for name, value in values.items()}
        losses: dict[str, Tensor] = {}
        for name, loss in self.losses.items():
            value = call_by_name(loss, values, f'model.losses.{name}')
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
        return losses

    @abstractmethod
    def loss_values(
        self, batch: Tensor, levels: tuple[Tensor, ...], data_samples: GroupSampleList
    ) -> dict[str, Callable[[], Any]]:
        """What losses may ask for beside what every method has; each is made when asked for.

        Of the mini-batches' normalized images (sum N, 3, H, W), and the levels that the head gets.
        """

    def _saliency_of(self, data_samples: GroupSampleList, batch: Tensor) -> Tensor:
        """(sum N, 1, H, W): the initial segmentor's maps if it gives one each, else saliency."""
        maps = []
        for sample in chain.from_iterable(data_samples):
            found = () if self.initial_segmentor is None else self.initial_maps_of(sample)
            if len(found) != 1 and 'saliency' not in sample:
                raise MMCosegError(
                    f'{sample.identity} has no saliency: put ComputeSaliency into the pipeline, '
                    'set model.initial_segmentor, or leave out the loss that asks for it '
                    '(model.losses.<name>=None)'
                )
            one = found if len(found) == 1 else sample.saliency.data
            maps.append(resize(one[None].to(batch), batch.shape[-2:]))
        return torch.cat(maps)

    def mini_batches(self, images: GroupImages, chunk_size: int) -> Iterator[tuple[list[int], Any]]:
        """The images of a group in prediction, some at a time, as the head gets them.

        Yields:
            Indices of the images; and the head's levels (n, C, h, w) of these images, then of those
            that only fill the mini-batch up.
        """
        if self.neck is None and not asks_for(self.decode_head, 'group_sizes'):
            for indices in images.chunks(chunk_size):
                yield indices, self.extract_feat(images.batch(indices))
            return
        # An image is never its own reference, so there are no more fillers than images.
        length = min(self.group_size, len(images))
        order, _ = wrap_around_groups(len(images), length)
        for start in range(0, len(order), length):
            part = images.select(order[start : start + length])
            chunks = [self.extract_feat(part.batch(indices)) for indices in part.chunks(chunk_size)]
            feats = tuple(torch.cat(level) for level in zip(*chunks))
            wanted = list(range(start, min(start + length, len(images))))
            yield wanted, self.levels_of(feats, [length])


def at_quarter_size(maps: Tensor, shape: Sequence[int]) -> Tensor:
    """Maps (C, h, w) at no more than a quarter of an image's (height, width, ...).

    Full maps of 1,000 images would take gigabytes.
    """
    size = [min(ceil(side / 4), n) for side, n in zip(shape, maps.shape[-2:])]
    return F.adaptive_avg_pool2d(maps, size)


def _without_predictions(group: GroupDataSample) -> GroupDataSample:
    """The group with nothing but what a method that needs no training looks at."""
    samples = []
    for sample in group:
        bare = CoSegDataSample(metainfo=sample.metainfo)
        if 'saliency' in sample:
            bare.saliency = sample.saliency
        samples.append(bare)
    return GroupDataSample(samples, metainfo=group.metainfo)
