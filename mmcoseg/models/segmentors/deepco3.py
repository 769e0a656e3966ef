"""DeepCO3: instance co-segmentation by co-peak search and co-saliency detection (CVPR 2019)."""

from collections.abc import Mapping, Sequence
from math import ceil

import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...registry import MODELS, TASK_UTILS
from ...structures import CoSegDataSample, GroupDataSample, GroupSampleList, group_sizes_of
from ..losses import build_loss
from ..ops import find_peaks, peak_response_maps
from .base import BaseCoSegmentor, require_one_size
from .feature_cache import FeatureCache
from .group_priors import flipped_as, without_predictions

__all__ = ['DeepCO3']

#: The losses a config may name, and what each looks at.
LOSSES = ('co_peak', 'affinity', 'saliency')


@MODELS.register_module()
class DeepCO3(BaseCoSegmentor):
    """A network optimized on the very images of one group, and read out by its peaks.

    A head on the backbone's features gives a coarse co-saliency map and the same at the image's
    size. The objective (Eq. 1) is the sum of three losses over a mini-batch of a group's images.
    Peaks of the coarse map are the instances' seeds; peak back-propagation gives each a heat map,
    by which the ranking chooses the best object proposal.

    Args:
        backbone: gives levels, fine to coarse; the last are the features.
        decode_head: gives the maps, normally ``CoSaliencyHead``.
        losses: ``co_peak``, ``affinity``, ``saliency`` -> config; None or a ``loss_weight`` of
            0 removes one (the ablations). The first two are called with (features, coarse maps,
            group sizes), the last with (maps, the images' saliency, group sizes).
        ranking: config from ``TASK_UTILS`` of what chooses proposals, normally
            ``InstanceRanking``: called with heat maps (k, H, W), co-saliency (H, W) and the image's
            proposals, it gives indices and scores (k,). None: no instances.
        nms: config from ``TASK_UTILS`` of what drops doubles, normally ``MaskNMS``: called with
            masks (k, H, W) bool and scores (k,), it gives the indices of those to keep. None: only
            proposals chosen by several peaks are dropped.
        regions: config from ``TASK_UTILS`` of what adds parts of the predicted mask to the
            instances, and scores all of them alike; normally ``SalientRegions``. Not in the paper.
        prior: config of a segmentor that needs no training. Its soft maps of the whole group stand
            in for the images' own saliency in the loss, and its presence is the prediction's. Not
            in the paper.
        feature_cache: number of images whose features are kept while a group is optimized, for a
            backbone that is not trained.
        test_cfg: how to predict:

            - ``chunk_size``: images that go through the network at a time; bounds the memory, the
              results do not depend on it;
            - ``max_peaks``: the highest so many of an image are seeds; None for all;
            - ``min_peak``: co-saliency below which a peak is no seed; None for 0;
            - ``heat_stage``: peaks go back to the input of this stage of the backbone, and what
              arrives there is laid over the image; None: to the image itself, as in the paper,
              which takes several times as long;
            - ``peak_chunk_size``: peaks of an image that go back at a time; as ``chunk_size``;
            - ``threshold``: co-saliency from which a pixel is object.

    Raises:
        MMCosegError: for unknown losses, none at all, unknown keys or values of ``test_cfg``, a
            feature cache with a backbone that is trained, or a prior that takes images otherwise.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        losses: Mapping[str, dict | None],
        ranking: dict | None = None,
        nms: dict | None = None,
        regions: dict | None = None,
        prior: dict | None = None,
        feature_cache: int = 0,
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] | None = (),
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        self.test_cfg = complete_test_cfg(test_cfg)
        super().__init__(data_preprocessor, postprocessors, self.test_cfg.threshold, init_cfg)
        unknown = sorted(set(losses) - set(LOSSES))
        losses = {name: cfg for name, cfg in losses.items() if cfg and not _weighs_nothing(cfg)}
        if unknown or not losses:
            raise MMCosegError(
                f'model.losses must have at least one of {LOSSES}, and no other; got {list(losses)}'
            )
        self.backbone = MODELS.build(backbone)
        self.decode_head = MODELS.build(decode_head)
        self.losses = nn.ModuleDict(
            {
                name: build_loss(losses[name], f'model.losses.{name}')
                for name in LOSSES
                if name in losses
            }
        )
        self.ranking = TASK_UTILS.build(ranking) if ranking else None
        self.nms = TASK_UTILS.build(nms) if nms else None
        self.regions = TASK_UTILS.build(regions) if regions else None
        self.prior = MODELS.build(prior) if prior else None
        if prior and self.prior.data_preprocessor.defer != self.data_preprocessor.defer:
            raise MMCosegError(
                'model.prior gets the images as the model does: give both the same '
                'data_preprocessor, with the same defer'
            )
        stage = self.test_cfg.heat_stage
        stages = getattr(self.backbone, 'early_stages', [])
        if stage is not None and stage not in stages:
            raise MMCosegError(
                f'model.test_cfg.heat_stage must be None or a stage of the backbone that is not '
                f'behind its first level, one of {stages}; got {stage!r}'
            )
        self.feature_cache = FeatureCache.of_backbone(self.backbone, feature_cache)
        #: By the images' identities: what the prior found, (1, 1, h, w) in [0, 1] and presence.
        self._priors: dict[str, Tensor] = {}
        self._presences: dict[str, float] = {}

    def prepare_group(self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList):
        """Forget other groups' features, and find the prior of this one's images.

        Args:
            inputs: as for :meth:`predict`.
            data_samples: one group.
        """
        if self.feature_cache is not None:
            self.feature_cache.clear()
        self._priors, self._presences = {}, {}
        if self.prior is None:
            return
        groups = [without_predictions(group) for group in data_samples]
        height, width = self._network_size(inputs)
        for group in self.prior.predict(inputs, groups):
            for sample in group:
                size = [side // 4 for side in sample.metainfo.get('img_shape', (height, width))[:2]]
                prob = sample.pred_prob.data[:1].float()
                self._priors[sample.identity] = F.adaptive_avg_pool2d(
                    _resized(prob, tuple(max(a, b) for a, b in zip(prob.shape[1:], size))), size
                )[None]
                if 'presence' in sample:
                    self._presences[sample.identity] = sample.presence

    def _features(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """As :meth:`extract_feat`, of images seen before from the cache."""
        if self.feature_cache is None:
            return self.extract_feat(inputs)
        return self.feature_cache(inputs, self.extract_feat)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The backbone's levels, fine to coarse, of images (n, 3, H, W)."""
        return tuple(self.backbone(inputs))

    def loss(
        self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList
    ) -> dict[str, Tensor]:
        """The objective (Eq. 1), by its parts.

        Args:
            inputs: images of mini-batches of groups, as the preprocessor gives them.
            data_samples: the mini-batches; for the saliency loss, with ``saliency``.

        Raises:
            MMCosegError: naming an image that is smaller than the others, or has no saliency.
        """
        inputs = self._normalized(inputs, self._network_size(inputs))
        size, group_sizes = inputs.shape[-2:], group_sizes_of(data_samples)
        samples = [sample for group in data_samples for sample in group]
        require_one_size(data_samples, size)
        feats = self._features(inputs)
        coarse = self.decode_head.coarse_logits(feats)
        maps = torch.sigmoid(coarse.float())
        losses = {}
        for name, loss in self.losses.items():
            if name == 'saliency':
                fine = self.decode_head.predict_by_feat(self.decode_head(feats, coarse), size)
                value = loss(fine, self._saliency_of(samples, inputs), group_sizes)
            else:
                value = loss(feats[-1], maps, group_sizes)
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
        return losses

    def _forward(
        self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList | None = None
    ) -> Tensor:
        """Logits (sum N, 1, H', W') at about the images' size."""
        feats = self.extract_feat(self._normalized(inputs, self._network_size(inputs)))
        return self.decode_head(feats, self.decode_head.coarse_logits(feats))

    @torch.no_grad()
    def predict(
        self, inputs: Tensor | Sequence[Tensor], data_samples: GroupSampleList
    ) -> GroupSampleList:
        """Co-saliency and, with a ranking, instances of every image.

        Images are looked at some at a time, so groups of any size fit into memory. ``pred_prob``
        is at a quarter of the network's resolution; ``pred_instances`` are at the original size,
        the best first.

        Args:
            inputs: as the preprocessor gives them: (sum N, 3, H, W), or with its ``defer`` a list
                of images (3, h, w).
            data_samples: groups; with a ranking, with ``proposals``.

        Raises:
            MMCosegError: naming an image without proposals.
        """
        samples = [sample for group in data_samples for sample in group]
        labels = [_label_of(group) for group in data_samples for _ in group]
        size = self._network_size(inputs)
        probs = []
        for start in range(0, len(samples), self.test_cfg.chunk_size):
            some = slice(start, start + self.test_cfg.chunk_size)
            images = self._normalized(inputs[some], size)
            feats = self._features(images)
            coarse = self.decode_head.coarse_logits(feats)
            fine = self.decode_head.predict_by_feat(self.decode_head(feats, coarse), size)
            for sample, label, image, logits, prob in zip(
                samples[some], labels[some], images, coarse[:, 0], fine
            ):
                height, width = sample.metainfo.get('img_shape', size)[:2]
                prob = prob[:, :height, :width]
                if self.ranking is not None:
                    self._choose(sample, label, image, logits, prob[0])
                if sample.identity in self._presences:
                    sample.presence = self._presences[sample.identity]
                # Full maps of 1,000 images would take most of a gigabyte.
                shape = ceil(height / 4), ceil(width / 4)
                probs.append(F.adaptive_avg_pool2d(prob, shape))
        return self.add_predictions(data_samples, probs)

    def heat_maps(self, image: Tensor, coarse: Tensor) -> Tensor:
        """What of the image the peaks of its coarse map rest on.

        Args:
            image: (3, H, W), as the network gets it.
            coarse: coarse logits, (h, w) or less at the right and the bottom.

        Returns:
            (k, H, W) float32, one a peak, the highest first, each with the sum 1.
        """
        peaks = find_peaks(
            torch.sigmoid(coarse.float()), self.test_cfg.max_peaks, self.test_cfg.min_peak
        )
        stage, chunk_size = self.test_cfg.heat_stage, self.test_cfg.peak_chunk_size
        if stage is None:
            return peak_response_maps(
                lambda batch: self.decode_head.coarse_logits(self.extract_feat(batch)),
                image,
                peaks,
                chunk_size,
            )
        heat = peak_response_maps(
            lambda x: self.decode_head.coarse_logits(tuple(self.backbone(x, stage))),
            self.backbone.input_of(image[None], stage)[0],
            peaks,
            chunk_size,
        )
        aligned = getattr(self.decode_head, 'align_corners', False)
        heat = F.interpolate(
            heat[None], size=image.shape[-2:], mode='bilinear', align_corners=aligned
        )[0]
        return heat / heat.sum(dim=(-2, -1), keepdim=True).clamp(min=1e-12)

    def _choose(
        self, sample: CoSegDataSample, label: int, image: Tensor, coarse: Tensor, prob: Tensor
    ) -> None:
        """Note which proposals are the instances; their masks are made in :meth:`complete`."""
        if 'proposals' not in sample:
            raise MMCosegError(
                f'{sample.identity} has no object proposals: put ComputeProposals or LoadProposals '
                'into the pipeline, or set model.ranking=None to do without instances'
            )
        height, width = prob.shape
        rows = ceil(coarse.shape[0] * height / image.shape[1])
        columns = ceil(coarse.shape[1] * width / image.shape[2])
        heat = self.heat_maps(image, coarse[:rows, :columns])[:, :height, :width]
        # Compared where the proposals are; their masks are of the original size in the end.
        size = sample.proposals.superpixels.shape
        count = len(sample.proposals)
        if len(heat) and count:
            heat, prob = _resized(heat, size), _resized(prob[None], size)[0].clamp(0, 1)
            heat = heat.clamp(min=0)
            heat = heat / heat.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
            indices, scores = self.ranking(heat, prob, sample.proposals)
        else:
            indices = torch.zeros(0, dtype=torch.long, device=image.device)
            scores = torch.zeros(0, device=image.device)
        sample.chosen_proposals = InstanceData(
            metainfo=dict(label=label),
            indices=indices,
            scores=scores.float(),
            labels=torch.full_like(indices, label),
        )

    def complete(self, group: GroupDataSample) -> None:
        """Make masks of the soft maps and of the chosen proposals, and run the post-processors."""
        super().complete(group)
        for sample in group:
            if 'chosen_proposals' in sample:
                del sample.chosen_proposals

    def add_instances(self, group: GroupDataSample) -> None:
        """Make masks of the chosen proposals."""
        for sample in group:
            if 'chosen_proposals' in sample:
                sample.pred_instances = self._instances(sample)

    def _instances(self, sample: CoSegDataSample) -> InstanceData:
        chosen = sample.chosen_proposals
        # The best peak of a proposal stands for it.
        chosen = chosen[chosen.scores.argsort(descending=True, stable=True)]
        first: dict[int, int] = {}
        for place, index in enumerate(chosen.indices.tolist()):
            first.setdefault(index, place)
        kept = torch.tensor(list(first.values()), dtype=torch.long, device=chosen.indices.device)
        chosen = chosen[kept]
        masks = torch.from_numpy(sample.proposals[chosen.indices.cpu()].masks())
        masks = masks.to(chosen.indices.device)
        scores, labels = chosen.scores, chosen.labels
        if self.regions is not None:
            mask = sample.pred_sem_seg.data[0] != 0
            saliency = _resized(sample.pred_prob.data.float(), tuple(mask.shape))[0]
            masks, scores = self.regions(masks, mask, saliency.clamp(0, 1))
            order = scores.argsort(descending=True, stable=True)
            masks, scores = masks[order], scores[order]
            labels = torch.full((len(scores),), sample.chosen_proposals.label, device=scores.device)
        instances = InstanceData(masks=masks, labels=labels, scores=scores)
        if self.nms is not None and len(instances):
            instances = instances[self.nms(instances.masks, instances.scores)]
        return instances

    def _saliency_of(self, samples: Sequence[CoSegDataSample], inputs: Tensor) -> Tensor:
        """What the saliency loss compares with, (n, 1, H, W)."""
        maps = []
        for sample in samples:
            if self.prior is not None:
                if sample.identity not in self._priors:
                    raise MMCosegError(
                        f'{sample.identity} is not of the group that model.prior has seen: '
                        'optimize by GroupOptimizationLoop, or call prepare_group before'
                    )
                maps.append(flipped_as(sample, self._priors[sample.identity]))
            elif 'saliency' in sample:
                maps.append(sample.saliency.data[None])
            else:
                raise MMCosegError(
                    f'{sample.identity} has no saliency: put ComputeSaliency into the training '
                    'pipeline, or set model.losses.saliency=None'
                )
        size = inputs.shape[-2:]
        return torch.cat(
            [
                F.interpolate(one.to(inputs), size, mode='bilinear', align_corners=False)
                for one in maps
            ]
        )


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (k, h, w) at another size, (k, *size)."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(
        maps[None], size=size, mode='bilinear', align_corners=False, antialias=True
    )[0]


def _weighs_nothing(cfg: object) -> bool:
    return isinstance(cfg, dict) and cfg.get('loss_weight') == 0


def _label_of(group: GroupDataSample) -> int:
    """What the instances of a group are called: its first category, 0 where it has none."""
    return next(iter(group.metainfo.get('label_ids', ())), 0)


def complete_test_cfg(test_cfg: dict | None) -> ConfigDict:
    """Defaults filled in and values checked; see :class:`DeepCO3`."""
    complete = ConfigDict(
        chunk_size=6,
        max_peaks=32,
        min_peak=None,
        peak_chunk_size=10,
        heat_stage=None,
        threshold=0.5,
    )
    unknown = set(test_cfg or {}) - set(complete)
    if unknown:
        raise MMCosegError(
            f'unknown keys in model.test_cfg: {sorted(unknown)}; known: {sorted(complete)}'
        )
    complete.update(test_cfg or {})
    for key in ('chunk_size', 'max_peaks', 'peak_chunk_size'):
        value = complete[key]
        if (value is None and key != 'max_peaks') or (
            value is not None and (not isinstance(value, int) or value < 1)
        ):
            raise MMCosegError(f'model.test_cfg.{key} must be a positive integer, got {value!r}')
    return complete
