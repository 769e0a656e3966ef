"""Unsupervised co-segmentation of several classes with contrastively learned CNNs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...registry import MODELS
from ...structures import (
    CoSegDataSample,
    GroupDataSample,
    GroupSampleList,
    NumClasses,
    check_num_classes,
    group_sizes_of,
    num_classes_of,
)
from ..losses import build_loss
from ..ops import ClassCount, ClassDiscriminants, min_max_maps
from ..ops.locations import maps_at_locations
from .base import BaseCoSegmentor, require_one_size
from .feature_cache import FeatureCache
from .group_priors import flipped_as, without_predictions
from .ssnm import wrap_around_groups

__all__ = ['MultiClassCoSeg']

#: The losses a config may name, and what each looks at.
LOSSES = ('co_attention', 'area', 'entropy', 'prior')
#: Shorter vectors, relative to that of the mean color, are not stretched to the full length.
LEAST_VECTOR = 0.01
#: Of the discriminants that the head begins with.
PRIOR_RIDGE = 1.0


@MODELS.register_module()
class MultiClassCoSeg(BaseCoSegmentor):
    """A network optimized on a group's own images until each of its maps cuts out one class.

    The generator (backbone, attention, head) gives each image K + 1 maps that share out its pixels,
    the background first. A frozen extractor turns the image masked by each of them (Eq. 1) into a
    vector, and the objective (Eq. 4) wants the vectors of a class alike over the images and unlike
    those of the image's other maps. K = 1 is the co-attention network of Hsu et al. (IJCAI 2018).

    **Attention sees mini-batches.** In training those of the loop; in prediction the group in the
    given order, cut into mini-batches of ``test_cfg.group_size``, the last one filled up with the
    first images of the group. So with mutual attention an image's maps depend on the images beside
    it; without, they do not depend on any other image.

    **The number of classes is a matter of the group.** The head makes maps of ``max_classes``; a
    group uses the first K + 1 of them, as if there were no others. A group is optimized and
    predicted with the same K.

    Args:
        num_classes: K, object classes in a group:

            - a number: that of every group;
            - ``'data'``: what the data set says of each group (metainfo ``num_classes``);
            - ``'auto'``: that of the maps which the prior finds in the group. What the prior says
              of its estimate, the group's metainfo ``class_count``, the predictions keep.

            The prior gets it, too; with ``'auto'`` also ``max_classes``.
        backbone: gives levels, fine to coarse; attention acts on the last.
        decode_head: makes logits (n, K + 1, h, w) of the levels, and maps of these; normally
            ``MultiClassHead``.
        losses: config by name; None removes one. Only the first is in the paper.

            - ``co_attention``: called with (vectors (sum N, K + 1, c), group sizes);
            - ``area``, ``entropy``: with (maps (sum N, K + 1, h, w), group sizes);
            - ``prior``: with (maps, maps of the prior, group sizes).
        attention: config of what is called with (features, group sizes) and gives features alike;
            normally ``GatedAttention``. None for none.
        extractor: a backbone; its last level, averaged over the image, is the vector. Frozen, in
            evaluation mode. Images reach it normalized as they reach ``backbone``, so that a masked
            pixel has the preprocessor's mean color. Built only where the co-attention loss is.
        extractor_size: height and width at which images and maps meet the extractor and the losses,
            a number for both; None for those of the generator's input.
        vector_length: None for the extractor's vectors as they are, as in the paper. Otherwise that
            of an image of the mean color is subtracted, and what is left gets the length
            ``vector_length * sqrt(c)``, so that what the loss sees depends on what a map shows and
            not on how much it shows; squared distances, divided by c, are then at most
            ``4 vector_length^2``.
        prior: config of a module whose ``predict_maps(inputs, data_samples)``, called with a whole
            group as :meth:`predict` is, gives (K + 1, h, w) maps of each image, background first,
            each pixel's sum 1. Built only where the loss of that name is.
        prior_start: begin with a head whose coarse logits are the linear discriminants of the
            prior's maps (:class:`~mmcoseg.models.ops.ClassDiscriminants`), rather than with a
            random one. Needs the prior; not in the paper.
        feature_cache: number of images whose features are kept while a group is optimized, for a
            backbone that is not trained.
        max_classes: the largest K of a group; the head gets it. None for ``num_classes``, if that
            is a number.
        test_cfg: how to predict:

            - ``chunk_size``: images that go through the backbone at a time; bounds the memory, the
              results do not depend on it;
            - ``group_size``: images of a mini-batch, see above;
            - ``min_max``: stretch each map of an image to [0, 1] (Eq. 8);
            - ``prior_weight``: from 0 to 1, how much of the prior's maps the maps get, a weighted
              mean, before they are stretched. Needs the prior; not in the paper.

    Raises:
        MMCosegError: for a wrong number of classes, ``'data'`` or ``'auto'`` without
            ``max_classes``, ``'auto'`` without a prior; for unknown losses, none at all, or one
            without what it looks at; for unknown keys or values of ``test_cfg``; for a feature
            cache with a backbone that is trained. While working, naming the group: if it is not
            known how many classes it has, or they are more than ``max_classes``.
    """

    def __init__(
        self,
        num_classes: NumClasses,
        backbone: dict,
        decode_head: dict,
        losses: Mapping[str, dict | None],
        attention: dict | None = None,
        extractor: dict | None = None,
        extractor_size: int | Sequence[int] | None = None,
        vector_length: float | None = None,
        prior: dict | None = None,
        prior_start: bool = False,
        feature_cache: int = 0,
        max_classes: int | None = None,
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] | None = (),
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        self.test_cfg = complete_test_cfg(test_cfg)
        super().__init__(data_preprocessor, postprocessors, init_cfg=init_cfg)
        self.num_classes = num_classes
        self.max_classes = _max_classes(num_classes, max_classes)
        unknown = sorted(set(losses) - set(LOSSES))
        if unknown or not any(losses.values()):
            raise MMCosegError(
                f'model.losses must have at least one of {LOSSES}, and no other; got '
                f'{ {name: bool(cfg) for name, cfg in losses.items()} }'
            )
        for name, part, cfg in (
            ('co_attention', 'extractor', extractor),
            ('prior', 'prior', prior),
        ):
            if losses.get(name) and not cfg:
                raise MMCosegError(
                    f'model.losses.{name} needs model.{part}; give one, or set '
                    f'model.losses.{name}=None'
                )
        if num_classes == 'auto' and not losses.get('prior'):
            raise MMCosegError(
                "model.num_classes='auto' needs a prior that finds out how many classes a group "
                'has (model.prior and model.losses.prior), and this model has none: set '
                'model.num_classes to the number of classes (`mmcoseg segment --classes K`)'
            )
        self.backbone = MODELS.build(backbone)
        self.attention = MODELS.build(attention) if attention else None
        self.decode_head = MODELS.build(
            decode_head, default_args=dict(num_classes=self.max_classes)
        )
        self.losses = nn.ModuleDict(
            {
                name: build_loss(losses[name], f'model.losses.{name}')
                for name in LOSSES
                if losses.get(name)
            }
        )
        self.extractor = MODELS.build(extractor) if 'co_attention' in self.losses else None
        if self.extractor is not None:
            self.extractor.requires_grad_(False)
        self.extractor_size = _size(extractor_size)
        if vector_length is not None and not vector_length > 0:
            raise MMCosegError(
                f'model.vector_length must be above 0, or None, got {vector_length!r}'
            )
        self.vector_length = vector_length
        self.prior = None
        if 'prior' in self.losses:
            default = dict(num_classes=num_classes)
            if num_classes == 'auto':
                default.update(max_classes=self.max_classes)
            self.prior = MODELS.build(prior, default_args=default)
        elif prior_start:
            raise MMCosegError(
                'model.prior_start=True begins with the maps of model.prior, which is there only '
                'with model.losses.prior; give both, or set model.prior_start=False'
            )
        self.prior_start = prior_start
        if self.test_cfg.prior_weight and self.prior is None:
            raise MMCosegError(
                'model.test_cfg.prior_weight takes the maps of model.prior, which is there only '
                'with model.losses.prior; give both, or set model.test_cfg.prior_weight=0'
            )
        self.feature_cache = FeatureCache.of_backbone(self.backbone, feature_cache)
        #: By the images' identities: what the prior found, (1, K + 1, h, w).
        self._priors: dict[str, Tensor] = {}
        #: By groups' names: what the prior says of its estimate of K.
        self._counts: dict[str, ClassCount] = {}
        self.train(self.training)

    def train(self, mode: bool = True) -> 'MultiClassCoSeg':
        super().train(mode)
        for part in (self.extractor, self.prior):
            if part is not None:
                part.eval()
        return self

    @torch.no_grad()
    def prepare_group(self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList):
        """Forget other groups' features, and find the prior of this one's images.

        Args:
            inputs: as for :meth:`predict`.
            data_samples: one group.

        Raises:
            MMCosegError: if it is not known how many classes the group has, or they are too many; if
                the prior gives another number of maps.
        """
        if self.feature_cache is not None:
            self.feature_cache.clear()
        self._priors, self._counts = {}, {}
        if self.num_classes != 'auto':
            for group in data_samples:
                self._num_classes_of(group)  # what is wrong with it is said now
        if self.prior is not None:
            self._find_prior(inputs, data_samples)
        if self.prior_start:
            self._start_head(inputs, [sample for group in data_samples for sample in group])

    def _start_head(
        self, inputs: Tensor | Sequence[Tensor], samples: Sequence[CoSegDataSample]
    ) -> None:
        """Give the head the weights that linear discriminants of the prior's maps are.

        Args:
            inputs: as for :meth:`predict`.
            samples: the images of one group.
        """
        size = self._network_size(inputs)
        found = ClassDiscriminants()
        for start in range(0, len(samples), self.test_cfg.chunk_size):
            some = slice(start, start + self.test_cfg.chunk_size)
            images = self._normalized(inputs[some], size)
            features = self.decode_head.coarse_features(self._features(images))
            shape = tuple(features.shape[-2:])
            priors = [self._priors[sample.identity] for sample in samples[some]]
            shares = torch.cat([maps_at_locations(maps, shape, size) for maps in priors])
            found.add(features, shares)
        directions, offsets = found.solve(PRIOR_RIDGE)
        # The head may have maps for more classes than the group has.
        conv = self.decode_head.conv
        conv.weight[: len(offsets)] = directions.t()[:, :, None, None].to(conv.weight)
        conv.bias[: len(offsets)] = offsets.to(conv.bias)

    def _find_prior(self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList) -> None:
        """Keep the prior of whole groups, beside that of others."""
        groups = [without_predictions(group) for group in data_samples]
        samples = [sample for group in groups for sample in group]
        maps = self.prior.predict_maps(inputs, groups)
        self._priors |= {s.identity: m[None].float() for s, m in zip(samples, maps, strict=True)}
        for group in groups:
            if 'class_count' in group:
                self._counts[group.get('group')] = group.class_count
            maps_wanted = self._num_classes_of(group) + 1 if len(group) else 0
            for sample in group:
                found = self._priors[sample.identity][0]
                if found.dim() != 3 or len(found) != maps_wanted or maps_wanted < 2:
                    raise MMCosegError(
                        f'model.prior must give {maps_wanted} maps of each image of '
                        f'{group.get("group")!r}, the background and its {maps_wanted - 1} '
                        f'classes, as (K + 1, h, w); got {tuple(found.shape)} of {sample.identity}'
                    )

    def _num_classes_of(self, group: GroupDataSample) -> int:
        """K of a group, or of a mini-batch of it.

        Raises:
            MMCosegError: naming the group, if it is not known, or too large.
        """
        number = self.num_classes
        if number == 'auto':
            number = self._prior_of(group[0]).shape[1] - 1
        return num_classes_of(group, number, self.max_classes, 'model.num_classes')

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The backbone's levels, fine to coarse, of images (n, 3, H, W)."""
        return tuple(self.backbone(inputs))

    def _features(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """As :meth:`extract_feat`, of images seen before from the cache."""
        if self.feature_cache is None:
            return self.extract_feat(inputs)
        return self.feature_cache(inputs, self.extract_feat)

    def _attended(self, feats: tuple[Tensor, ...], group_sizes: list[int]) -> tuple[Tensor, ...]:
        """The backbone's levels, the last one with attention."""
        if self.attention is None:
            return feats
        return (*feats[:-1], self.attention(feats[-1], group_sizes))

    def extract_vectors(self, images: Tensor, maps: Tensor) -> Tensor:
        """What the extractor sees in images through maps (Eq. 1).

        Args:
            images: (n, 3, h, w), normalized.
            maps: (n, k, h, w), in [0, 1].

        Returns:
            (n, k, c), float32; derivatives flow to the maps.
        """
        masked = (maps[:, :, None] * images[:, None]).flatten(0, 1)
        if images.is_contiguous(memory_format=torch.channels_last):
            masked = masked.contiguous(memory_format=torch.channels_last)
        vectors = self._vectors(masked).view(*maps.shape[:2], -1)
        if self.vector_length is None:
            return vectors
        with torch.no_grad():
            nothing = self._vectors(torch.zeros_like(images[:1]))
        # What a map shows that is nearly empty has hardly a direction.
        least = max(float(nothing.norm()) * LEAST_VECTOR, torch.finfo(nothing.dtype).tiny)
        vectors = F.normalize(vectors - nothing, dim=-1, eps=least)
        return vectors * self.vector_length * vectors.shape[-1] ** 0.5

    def _vectors(self, images: Tensor) -> Tensor:
        """The extractor's last level, averaged over the image, (n, c) float32."""
        return self.extractor(images)[-1].float().mean(dim=(2, 3))

    def loss(
        self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList
    ) -> dict[str, Tensor]:
        """The objective, by its parts.

        Args:
            inputs: images of mini-batches of groups, as the preprocessor gives them.
            data_samples: the mini-batches.

        Raises:
            MMCosegError: naming an image that is smaller than the others, or whose group the prior
                has not seen; naming a group, see above.
        """
        inputs = self._normalized(inputs, self._network_size(inputs))
        group_sizes = group_sizes_of(data_samples)
        require_one_size(data_samples, inputs.shape[-2:])
        feats = self._attended(self._features(inputs), group_sizes)
        numbers = [self._num_classes_of(group) for group in data_samples]
        losses: dict[str, Tensor] = {}
        # Each loss is a mean over groups. Those of one K go together.
        for number in sorted(set(numbers)):
            chosen = [n == number for n in numbers]
            groups = [group for group, is_of in zip(data_samples, chosen) if is_of]
            images, levels = inputs, feats
            if len(groups) < len(data_samples):
                of_image = torch.tensor(chosen, device=inputs.device).repeat_interleave(
                    torch.tensor(group_sizes, device=inputs.device)
                )
                images, levels = inputs[of_image], tuple(level[of_image] for level in feats)
            share = len(groups) / len(data_samples)
            for name, value in self._losses_of(images, levels, groups, number).items():
                losses[name] = losses.get(name, 0) + share * value
        return losses

    def _losses_of(
        self,
        inputs: Tensor,
        feats: tuple[Tensor, ...],
        groups: GroupSampleList,
        num_classes: int,
    ) -> dict[str, Tensor]:
        """The losses of groups of one K."""
        group_sizes = group_sizes_of(groups)
        size = self.extractor_size or tuple(inputs.shape[-2:])
        logits = self.decode_head(feats, num_classes=num_classes)
        maps = self.decode_head.predict_by_feat(logits, size)
        losses = {}
        for name, loss in self.losses.items():
            if name == 'co_attention':
                vectors = self.extract_vectors(_resized(inputs, size), maps)
                value = loss(vectors, group_sizes)
            elif name == 'prior':
                priors = [
                    _resized(flipped_as(sample, self._prior_of(sample)).to(maps), size)
                    for group in groups
                    for sample in group
                ]
                value = loss(maps, torch.cat(priors), group_sizes)
            else:
                value = loss(maps, group_sizes)
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
        return losses

    def _prior_of(self, sample: CoSegDataSample) -> Tensor:
        """What the prior found in the upright image, (1, K + 1, h, w)."""
        if sample.identity not in self._priors:
            raise MMCosegError(
                f'{sample.identity} is not of the group that model.prior has seen: optimize by '
                'GroupOptimizationLoop, or call prepare_group before'
            )
        return self._priors[sample.identity]

    def _forward(
        self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList | None = None
    ) -> Tensor:
        """Logits (sum N, K + 1, H', W') at about the images' size, each group a mini-batch.

        K is ``max_classes`` unless ``num_classes`` is a number.
        """
        group_sizes = [len(inputs)] if data_samples is None else group_sizes_of(data_samples)
        feats = self.extract_feat(self._normalized(inputs, self._network_size(inputs)))
        number = self.num_classes if isinstance(self.num_classes, int) else self.max_classes
        return self.decode_head(self._attended(feats, group_sizes), num_classes=number)

    @torch.no_grad()
    def predict(
        self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList
    ) -> GroupSampleList:
        """The maps of every image; ``pred_prob`` is at a quarter of the network's resolution.

        Mini-batches of a group go through the network one after the other, so groups of any size
        fit into memory.

        Args:
            inputs: as the preprocessor gives them: (sum N, 3, H, W), or with its ``defer`` a list
                of images (3, h, w).
            data_samples: groups. With ``'auto'`` their metainfo gets the prior's ``class_count``.
        """
        size = self._network_size(inputs)
        start = 0
        for group in data_samples:
            images = inputs[start : start + len(group)]
            start += len(group)
            if not len(group):
                continue
            with self._prior_at_hand(images, group):
                probs = self._predict_group(images, group, size)
            self.add_predictions([group], probs)
        return data_samples

    def _predict_group(
        self, images: Tensor | Sequence[Tensor], group: GroupDataSample, size: tuple[int, int]
    ) -> list[Tensor]:
        """Maps (K + 1, h, w) of each image of a group, without its padding."""
        number = self._num_classes_of(group)
        # Nobody is a reference of its own.
        length = min(self.test_cfg.group_size, len(group))
        indices, _ = wrap_around_groups(len(group), length)
        probs: list[Tensor] = []
        for first in range(0, len(indices), length):
            some = indices[first : first + length]
            wanted = some[: len(group) - first]
            parts = self._maps([images[i] for i in some], size, number)
            for index, maps in zip(wanted, parts):
                height, width = group[index].metainfo.get('img_shape', size)[:2]
                maps = maps[:, :height, :width]
                if self.test_cfg.prior_weight:
                    prior = _resized(self._prior_of(group[index]).to(maps), (height, width))[0]
                    maps = torch.lerp(maps, prior, self.test_cfg.prior_weight)
                if self.test_cfg.min_max:
                    maps = min_max_maps(maps)
                # Full maps of 1,000 images would take gigabytes.
                probs.append(F.adaptive_avg_pool2d(maps, (ceil(height / 4), ceil(width / 4))))
        return probs

    @contextmanager
    def _prior_at_hand(
        self, images: Tensor | Sequence[Tensor], group: GroupDataSample
    ) -> Iterator[None]:
        """Meanwhile the prior of a whole group is known, where it is asked for.

        It is that by which the group was optimized, if it was. The group is told its count.
        """
        before = self._priors, self._counts
        asked = self.num_classes == 'auto' or self.test_cfg.prior_weight
        if asked and any(sample.identity not in self._priors for sample in group):
            self._priors, self._counts = {}, {}
            self._find_prior(images, [group])
        count = self._counts.get(group.get('group'))
        if count is not None:
            group.set_metainfo(dict(class_count=count))
        try:
            yield
        finally:
            self._priors, self._counts = before

    def _maps(self, images: Sequence[Tensor], size: tuple[int, int], num_classes: int) -> Tensor:
        """Maps (n, K + 1, *size) of the images of a mini-batch."""
        parts = []
        for start in range(0, len(images), self.test_cfg.chunk_size):
            some = images[start : start + self.test_cfg.chunk_size]
            if getattr(self.data_preprocessor, 'defer', False):
                some = self.data_preprocessor.normalize(some, size)
            else:
                some = torch.stack(list(some))
            parts.append(self._features(some))
        feats = tuple(torch.cat(level) for level in zip(*parts))
        logits = self.decode_head(self._attended(feats, [len(images)]), num_classes=num_classes)
        return self.decode_head.predict_by_feat(logits, size)


def _resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Images (n, c, h, w) at another size."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(
        images, size=tuple(size), mode='bilinear', align_corners=False, antialias=True
    )


def _max_classes(num_classes: NumClasses, max_classes: int | None) -> int:
    check_num_classes(num_classes, 'model.num_classes')
    if max_classes is None:
        if not isinstance(num_classes, int):
            raise MMCosegError(
                f'model.num_classes={num_classes!r} needs model.max_classes, the largest number of '
                'classes that a group may have'
            )
        return num_classes
    if isinstance(max_classes, bool) or not isinstance(max_classes, int) or max_classes < 1:
        raise MMCosegError(
            f'model.max_classes must be a positive whole number, got {max_classes!r}'
        )
    if isinstance(num_classes, int) and num_classes > max_classes:
        raise MMCosegError(
            f'model.num_classes={num_classes} is more than model.max_classes={max_classes}: set '
            f'model.max_classes={num_classes}'
        )
    return max_classes


def _size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise MMCosegError(
            f'model.extractor_size must be a side or (height, width) in pixels, or None; got '
            f'{size!r}'
        )
    return sides


def complete_test_cfg(test_cfg: dict | None) -> ConfigDict:
    """Defaults filled in and values checked; see :class:`MultiClassCoSeg`."""
    complete = ConfigDict(chunk_size=6, group_size=3, min_max=True, prior_weight=0.0)
    unknown = set(test_cfg or {}) - set(complete)
    if unknown:
        raise MMCosegError(
            f'unknown keys in model.test_cfg: {sorted(unknown)}; known: {sorted(complete)}'
        )
    complete.update(test_cfg or {})
    for key in ('chunk_size', 'group_size'):
        if not isinstance(complete[key], int) or complete[key] < 1:
            raise MMCosegError(
                f'model.test_cfg.{key} must be a positive integer, got {complete[key]!r}'
            )
    if not 0 <= complete.prior_weight <= 1:
        raise MMCosegError(
            f'model.test_cfg.prior_weight must be from 0 to 1, got {complete.prior_weight!r}'
        )
    return complete
