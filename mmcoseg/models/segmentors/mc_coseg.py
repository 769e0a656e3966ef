"""Unsupervised co-segmentation of several classes with contrastively learned CNNs."""

from collections.abc import Mapping, Sequence
from math import ceil

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from ...registry import MODELS
from ...structures import CoSegDataSample, GroupSampleList, group_sizes_of
from ..ops import ClassDiscriminants, min_max_maps
from ..ops.locations import maps_at_locations
from .base import BaseCoSegmentor, require_one_size
from .feature_cache import FeatureCache
from .group_priors import flipped_as, without_predictions
from .ssnm import wrap_around_groups

__all__ = ['MultiClassCoSeg']

#: The losses a config may name, and what each looks at.
LOSSES = ('co_attention', 'area', 'entropy', 'prior')
#: Of the discriminants that the head begins with.
PRIOR_RIDGE = 1.0


@MODELS.register_module()
class MultiClassCoSeg(BaseCoSegmentor):
    """A network optimised on a group's own images until each of its maps cuts out one class.

    The generator (backbone, attention, head) gives each image K + 1 maps that share out its pixels,
    the background first. A frozen extractor turns the image masked by each of them (Eq. 1) into a
    vector, and the objective (Eq. 4) wants the vectors of a class alike over the images and unlike
    those of the image's other maps. K = 1 is the co-attention network of Hsu et al. (IJCAI 2018).

    **Attention sees mini-batches.** In training those of the loop; in prediction the group in the
    given order, cut into mini-batches of ``test_cfg.group_size``, the last one filled up with the
    first images of the group. So with mutual attention an image's maps depend on the images beside
    it; without, they do not depend on any other image.

    Args:
        num_classes: K, object classes in the group. The head and the prior get it.
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
            evaluation mode. Images reach it normalised as they reach ``backbone``, so that a masked
            pixel has the preprocessor's mean colour. Built only where the co-attention loss is.
        extractor_size: height and width at which images and maps meet the extractor and the losses,
            a number for both; None for those of the generator's input.
        vector_length: None for the extractor's vectors as they are, as in the paper. Otherwise that
            of an image of the mean colour is subtracted, and what is left gets the length
            ``vector_length * sqrt(c)``, so that what the loss sees depends on what a map shows and
            not on how much it shows; squared distances, divided by c, are then at most
            ``4 vector_length^2``.
        prior: config of a module whose ``predict_maps(inputs, data_samples)``, called with a whole
            group as :meth:`predict` is, gives (K + 1, h, w) maps of each image, background first,
            each pixel's sum 1. Built only where the loss of that name is.
        prior_start: begin with a head whose coarse logits are the linear discriminants of the
            prior's maps (:class:`~mmcoseg.models.ops.ClassDiscriminants`), rather than with a
            random one. Needs the prior; not in the paper.
        feature_cache: number of images whose features are kept while a group is optimised, for a
            backbone that is not trained.
        test_cfg: how to predict:

            - ``chunk_size``: images that go through the backbone at a time; bounds the memory, the
              results do not depend on it;
            - ``group_size``: images of a mini-batch, see above;
            - ``min_max``: stretch each map of an image to [0, 1] (Eq. 8).

    Raises:
        ValueError: for a wrong number of classes; for unknown losses, none at all, or one without
            what it looks at; for unknown keys or values of ``test_cfg``; for a feature cache with a
            backbone that is trained.
    """

    def __init__(
        self,
        num_classes: int,
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
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] | None = (),
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        self.test_cfg = complete_test_cfg(test_cfg)
        super().__init__(data_preprocessor, postprocessors, init_cfg=init_cfg)
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(
                f'model.num_classes must be a positive whole number, got {num_classes!r}'
            )
        unknown = sorted(set(losses) - set(LOSSES))
        if unknown or not any(losses.values()):
            raise ValueError(
                f'model.losses must have at least one of {LOSSES}, and no other; got '
                f'{ {name: bool(cfg) for name, cfg in losses.items()} }'
            )
        for name, part, cfg in (
            ('co_attention', 'extractor', extractor),
            ('prior', 'prior', prior),
        ):
            if losses.get(name) and not cfg:
                raise ValueError(
                    f'model.losses.{name} needs model.{part}; give one, or set '
                    f'model.losses.{name}=None'
                )
        self.num_classes = num_classes
        default = dict(num_classes=num_classes)
        self.backbone = MODELS.build(backbone)
        self.attention = MODELS.build(attention) if attention else None
        self.decode_head = MODELS.build(decode_head, default_args=default)
        self.losses = nn.ModuleDict(
            {name: MODELS.build(losses[name]) for name in LOSSES if losses.get(name)}
        )
        self.extractor = MODELS.build(extractor) if 'co_attention' in self.losses else None
        if self.extractor is not None:
            self.extractor.requires_grad_(False)
        self.extractor_size = _size(extractor_size)
        if vector_length is not None and not vector_length > 0:
            raise ValueError(f'model.vector_length must be above 0, or None, got {vector_length!r}')
        self.vector_length = vector_length
        self.prior = None
        if 'prior' in self.losses:
            self.prior = MODELS.build(prior, default_args=default)
        elif prior_start:
            raise ValueError(
                'model.prior_start=True begins with the maps of model.prior, which is there only '
                'with model.losses.prior; give both, or set model.prior_start=False'
            )
        self.prior_start = prior_start
        self.feature_cache = FeatureCache.of_backbone(self.backbone, feature_cache)
        #: By the images' identities: what the prior found, (1, K + 1, h, w).
        self._priors: dict[str, Tensor] = {}
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
            ValueError: if the prior gives another number of maps.
        """
        if self.feature_cache is not None:
            self.feature_cache.clear()
        self._priors = {}
        if self.prior is None:
            return
        groups = [without_predictions(group) for group in data_samples]
        samples = [sample for group in groups for sample in group]
        for sample, maps in zip(samples, self.prior.predict_maps(inputs, groups), strict=True):
            if maps.dim() != 3 or len(maps) != self.num_classes + 1:
                raise ValueError(
                    f'model.prior must give {self.num_classes + 1} maps of each image, the '
                    f'background and model.num_classes={self.num_classes}, as (K + 1, h, w); got '
                    f'{tuple(maps.shape)} of {sample.identity}'
                )
            self._priors[sample.identity] = maps[None].float()
        if self.prior_start:
            self._start_head(inputs, samples)

    def _start_head(
        self, inputs: Tensor | Sequence[Tensor], samples: Sequence[CoSegDataSample]
    ) -> None:
        """Give the head the weights that linear discriminants of the prior's maps are."""
        size = self._network_size(inputs)
        found = ClassDiscriminants()
        for start in range(0, len(samples), self.test_cfg.chunk_size):
            some = slice(start, start + self.test_cfg.chunk_size)
            images = self._normalised(inputs[some], size)
            features = self.decode_head.coarse_features(self._features(images))
            shape = tuple(features.shape[-2:])
            priors = [self._priors[sample.identity] for sample in samples[some]]
            shares = torch.cat([maps_at_locations(maps, shape, size) for maps in priors])
            found.add(features, shares)
        directions, offsets = found.solve(PRIOR_RIDGE)
        conv = self.decode_head.conv
        conv.weight.copy_(directions.t()[:, :, None, None])
        conv.bias.copy_(offsets)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The backbone's levels, fine to coarse, of images (n, 3, H, W)."""
        return tuple(self.backbone(inputs))

    def _features(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """As :meth:`extract_feat`, of images seen before from the cache."""
        if self.feature_cache is None:
            return self.extract_feat(inputs)
        return self.feature_cache(inputs, self.extract_feat)

    def _logits(self, feats: tuple[Tensor, ...], group_sizes: list[int]) -> Tensor:
        """Logits (sum N, K + 1, H', W') of the backbone's levels."""
        if self.attention is not None:
            feats = (*feats[:-1], self.attention(feats[-1], group_sizes))
        return self.decode_head(feats)

    def extract_vectors(self, images: Tensor, maps: Tensor) -> Tensor:
        """What the extractor sees in images through maps (Eq. 1).

        Args:
            images: (n, 3, h, w), normalised.
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
        vectors = F.normalize(vectors - nothing, dim=-1)
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
            ValueError: naming an image that is smaller than the others, or whose group the prior
                has not seen.
        """
        inputs = self._normalised(inputs, self._network_size(inputs))
        group_sizes = group_sizes_of(data_samples)
        require_one_size(data_samples, inputs.shape[-2:])
        size = self.extractor_size or tuple(inputs.shape[-2:])
        maps = self.decode_head.predict_by_feat(
            self._logits(self._features(inputs), group_sizes), size
        )
        losses = {}
        for name, loss in self.losses.items():
            if name == 'co_attention':
                vectors = self.extract_vectors(_resized(inputs, size), maps)
                value = loss(vectors, group_sizes)
            elif name == 'prior':
                samples = [sample for group in data_samples for sample in group]
                value = loss(maps, self._prior_of(samples, maps), group_sizes)
            else:
                value = loss(maps, group_sizes)
            losses[loss.loss_name] = value
        return losses

    def _prior_of(self, samples: Sequence[CoSegDataSample], maps: Tensor) -> Tensor:
        """What the prior found in these images, of the shape of ``maps``."""
        found = []
        for sample in samples:
            if sample.identity not in self._priors:
                raise ValueError(
                    f'{sample.identity} is not of the group that model.prior has seen: optimise by '
                    'GroupOptimizationLoop, or call prepare_group before'
                )
            prior = flipped_as(sample, self._priors[sample.identity]).to(maps)
            found.append(_resized(prior, maps.shape[-2:]))
        return torch.cat(found)

    def _forward(
        self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList | None = None
    ) -> Tensor:
        """Logits (sum N, K + 1, H', W') at about the images' size, each group a mini-batch."""
        group_sizes = [len(inputs)] if data_samples is None else group_sizes_of(data_samples)
        feats = self.extract_feat(self._normalised(inputs, self._network_size(inputs)))
        return self._logits(feats, group_sizes)

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
            data_samples: groups.
        """
        size = self._network_size(inputs)
        start = 0
        for group in data_samples:
            images = inputs[start : start + len(group)]
            start += len(group)
            if not len(group):
                continue
            # Nobody is a reference of its own.
            length = min(self.test_cfg.group_size, len(group))
            indices, _ = wrap_around_groups(len(group), length)
            probs: list[Tensor] = []
            for first in range(0, len(indices), length):
                some = indices[first : first + length]
                wanted = some[: len(group) - first]
                for index, maps in zip(wanted, self._maps([images[i] for i in some], size)):
                    height, width = group[index].metainfo.get('img_shape', size)[:2]
                    maps = maps[:, :height, :width]
                    if self.test_cfg.min_max:
                        maps = min_max_maps(maps)
                    # Full maps of 1,000 images would take gigabytes.
                    probs.append(F.adaptive_avg_pool2d(maps, (ceil(height / 4), ceil(width / 4))))
            self.add_predictions([group], probs)
        return data_samples

    def _maps(self, images: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Maps (n, K + 1, *size) of the images of a mini-batch."""
        parts = []
        for start in range(0, len(images), self.test_cfg.chunk_size):
            some = images[start : start + self.test_cfg.chunk_size]
            if getattr(self.data_preprocessor, 'defer', False):
                some = self.data_preprocessor.normalise(some, size)
            else:
                some = torch.stack(list(some))
            parts.append(self._features(some))
        feats = tuple(torch.cat(level) for level in zip(*parts))
        return self.decode_head.predict_by_feat(self._logits(feats, [len(images)]), size)


def _resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """Images (n, c, h, w) at another size."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(
        images, size=tuple(size), mode='bilinear', align_corners=False, antialias=True
    )


def _size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(
            f'model.extractor_size must be a side or (height, width) in pixels, or None; got '
            f'{size!r}'
        )
    return sides


def complete_test_cfg(test_cfg: dict | None) -> ConfigDict:
    """Defaults filled in and values checked; see :class:`MultiClassCoSeg`."""
    complete = ConfigDict(chunk_size=6, group_size=3, min_max=True)
    unknown = set(test_cfg or {}) - set(complete)
    if unknown:
        raise ValueError(
            f'unknown keys in model.test_cfg: {sorted(unknown)}; known: {sorted(complete)}'
        )
    complete.update(test_cfg or {})
    for key in ('chunk_size', 'group_size'):
        if not isinstance(complete[key], int) or complete[key] < 1:
            raise ValueError(
                f'model.test_cfg.{key} must be a positive integer, got {complete[key]!r}'
            )
    return complete
