"""DeepCO3: instance co-segmentation by co-peak search and co-saliency detection (CVPR 2019)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ...errors import MMCosegError
from ...options import build_options, whole_number
from ...registry import MODELS, TASK_UTILS
from ...structures import (
    CoSegDataSample,
    GroupDataSample,
    GroupImages,
    GroupSampleList,
    group_sizes_of,
)
from ..calling import call_with_offers
from ..ops import find_peaks, peak_response_maps
from ..ops.resize import resize
from .base import without_padding
from .optimized_on_group import OptimizedOnGroup, at_quarter_size

__all__ = ['DeepCO3']


@dataclass
class DeepCO3TestOptions:
    """``test_cfg`` of :class:`DeepCO3`.

    Attributes:
        chunk_size: images that go through the network at a time; results do not depend on it.
        max_peaks: so many of the highest peaks of an image are seeds.
        min_peak: co-saliency below which a peak is no seed.
        heat_stage: peaks go back to the input of this stage of the backbone, and what arrives there
            is laid over the image; None: to the image itself, as in the paper, which takes several
            times as long.
        threshold: co-saliency from which a pixel is object.
    """

    chunk_size: int = 6
    max_peaks: int = 32
    min_peak: float = 0.0
    heat_stage: str | None = None
    threshold: float = 0.5

    def __post_init__(self) -> None:
        whole_number('model.test_cfg.chunk_size', self.chunk_size)
        whole_number('model.test_cfg.max_peaks', self.max_peaks)


@MODELS.register_module()
class DeepCO3(OptimizedOnGroup):
    """A network optimized on the very images of one group, and read out by its peaks.

    A head on the backbone's features gives a coarse co-saliency map and the same at the image's
    size. The objective (Eq. 1) is the sum of three losses over a mini-batch of a group's images.
    Peaks of the coarse map are the instances' seeds; peak back-propagation gives each a heat map,
    by which the ranking chooses the best object proposal.

    Args:
        backbone, losses: see :class:`OptimizedOnGroup`. The paper's losses are ``CoPeakLoss``,
            ``AffinityLoss`` and ``CoSaliencyLoss``.
        decode_head: gives the maps, normally ``CoSaliencyHead``.
        ranking: chooses proposals, normally ``InstanceRanking``: called with heat maps (k, H, W),
            co-saliency (H, W) and the image's proposals, it gives indices and scores (k,). None: no
            instances.
        nms: drops doubles, normally ``MaskNMS``: called with masks (k, H, W) bool and scores (k,),
            it gives the indices of those to keep. None: only equal proposals are dropped.
        regions: adds parts of the predicted mask to the instances, and scores all of them alike;
            normally ``SalientRegions``. Not in the paper.
        test_cfg: see :class:`DeepCO3TestOptions`.
        options: further arguments of :class:`OptimizedOnGroup`.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        losses: Mapping[str, dict | None],
        ranking: dict | None = None,
        nms: dict | None = None,
        regions: dict | None = None,
        test_cfg: dict | None = None,
        **options: Any,
    ) -> None:
        self.test_cfg = build_options(DeepCO3TestOptions, test_cfg, 'model.test_cfg')
        super().__init__(
            backbone, decode_head, losses, threshold=self.test_cfg.threshold, **options
        )
        self.ranking, self.nms, self.regions = (
            TASK_UTILS.build(cfg) if cfg else None for cfg in (ranking, nms, regions)
        )
        stage = self.test_cfg.heat_stage
        stages = getattr(self.backbone, 'early_stages', [])
        if stage is not None and stage not in stages:
            raise MMCosegError(
                'model.test_cfg.heat_stage must be None or a stage of the backbone that is not '
                f'behind its first level, one of {stages}; got {stage!r}'
            )

    def _maps(
        self,
        levels: tuple[Tensor, ...],
        coarse: Tensor,
        group_sizes: list[int],
        size: Sequence[int],
    ) -> Tensor:
        """Co-saliency (n, 1, *size)."""
        logits = call_with_offers(self.decode_head, levels, coarse, group_sizes=group_sizes)
        return self.decode_head.predict_by_feat(logits, tuple(size))

    def loss_values(
        self, batch: Tensor, levels: tuple[Tensor, ...], data_samples: GroupSampleList
    ) -> dict[str, Callable[[], Any]]:
        coarse = self.decode_head.coarse_logits(levels)
        sizes, size = group_sizes_of(data_samples), batch.shape[-2:]
        return dict(
            coarse_maps=lambda: torch.sigmoid(coarse.float()),
            maps=lambda: self._maps(levels, coarse, sizes, size),
            initial_maps=lambda: self.initial_maps_at(data_samples, size).to(batch),
        )

    def _forward(self, images: GroupImages, data_samples: GroupSampleList) -> Tensor:
        """Logits (sum N, 1, H', W') at about the images' size."""
        group_sizes = group_sizes_of(data_samples)
        levels = self.levels_of(self.extract_feat(images.batch()), group_sizes)
        coarse = self.decode_head.coarse_logits(levels)
        return call_with_offers(self.decode_head, levels, coarse, group_sizes=group_sizes)

    def soft_maps(self, images: GroupImages, group: GroupDataSample) -> list[Tensor]:
        """Co-saliency of every image, at a quarter of the network's resolution.

        With a ranking, note which proposals are instances, as ``chosen_proposals`` of the samples;
        :meth:`finish` makes ``pred_instances`` of them, the best first.
        """
        probs = []
        for indices, levels in self.mini_batches(images, self.test_cfg.chunk_size):
            coarse = self.decode_head.coarse_logits(levels)
            fine = self._maps(levels, coarse, [len(coarse)], images.size)
            for index, logits, prob in zip(indices, coarse[:, 0], fine):
                sample = group[index]
                prob = without_padding(prob, sample)
                if self.ranking is not None:
                    image = images.batch([index])[0]
                    sample.chosen_proposals = self._choose(sample, image, logits, prob[0])
                probs.append(at_quarter_size(prob, prob.shape[1:]))
        return probs

    def heat_maps(self, image: Tensor, coarse: Tensor) -> Tensor:
        """What of an image (3, H, W) the peaks of its coarse logits (h, w) rest on.

        The logits may be less at the right and the bottom. It gives (k, H, W) float32, one map a
        peak, the highest first, each with the sum 1.
        """
        cfg, stage = self.test_cfg, self.test_cfg.heat_stage
        start = image if stage is None else self.backbone.input_of(image[None], stage)[0]

        def coarse_logits(x: Tensor) -> Tensor:
            feats = self.backbone(x) if stage is None else self.backbone(x, stage)
            # The neck sees each image by itself.
            return self.decode_head.coarse_logits(self.levels_of(tuple(feats), [1] * len(x)))

        peaks = find_peaks(torch.sigmoid(coarse.float()), cfg.max_peaks, cfg.min_peak)
        heat = peak_response_maps(coarse_logits, start, peaks)
        if stage is None:
            return heat
        aligned = getattr(self.decode_head, 'align_corners', False)
        heat = resize(heat[None], image.shape[-2:], align_corners=aligned)[0]
        return heat / heat.sum(dim=(-2, -1), keepdim=True).clamp(min=1e-12)

    def _choose(
        self, sample: CoSegDataSample, image: Tensor, coarse: Tensor, prob: Tensor
    ) -> InstanceData:
        """Which proposals are the instances: ``indices`` (k,) and ``scores`` (k,)."""
        if 'proposals' not in sample:
            raise MMCosegError(
                f'{sample.identity} has no object proposals: put ComputeProposals or LoadProposals '
                'into the pipeline, or set model.ranking=None to do without instances'
            )
        height, width = prob.shape
        rows = ceil(coarse.shape[0] * height / image.shape[1])
        columns = ceil(coarse.shape[1] * width / image.shape[2])
        heat = self.heat_maps(image, coarse[:rows, :columns])[:, :height, :width]
        if min(len(heat), len(sample.proposals)) == 0:
            nothing = torch.zeros(0, device=image.device)
            return InstanceData(indices=nothing.long(), scores=nothing)
        # Compared where the proposals are; their masks are of the original size in the end.
        size = sample.proposals.superpixels.shape
        heat = resize(heat[None], size, antialias=True)[0].clamp(min=0)
        heat = heat / heat.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
        prob = resize(prob[None, None], size, antialias=True)[0, 0].clamp(0, 1)
        indices, scores = self.ranking(heat, prob, sample.proposals)
        return InstanceData(indices=indices, scores=scores.float())

    @torch.no_grad()
    def finish(self, group: GroupDataSample) -> None:
        """As of the base class; takes off the notes of chosen proposals in the end."""
        super().finish(group)
        for sample in group:
            sample.pop('chosen_proposals', None)

    def add_instances(self, group: GroupDataSample) -> None:
        """Make masks of the chosen proposals; their label is the group's first category, or 0."""
        label = next(iter(group.metainfo.get('label_ids', ())), 0)
        for sample in group:
            if 'chosen_proposals' in sample:
                sample.pred_instances = self._instances(sample, label)

    def _instances(self, sample: CoSegDataSample, label: int) -> InstanceData:
        chosen = sample.chosen_proposals
        chosen = chosen[chosen.scores.argsort(descending=True, stable=True)]
        # The best peak of a proposal stands for it.
        _, first = np.unique(chosen.indices.cpu().numpy(), return_index=True)
        chosen = chosen[torch.from_numpy(np.sort(first)).to(chosen.indices.device)]
        masks = torch.from_numpy(sample.proposals[chosen.indices.cpu()].masks())
        masks, scores = masks.to(chosen.indices.device), chosen.scores
        if self.regions is not None:
            mask = sample.pred_sem_seg.data[0] != 0
            saliency = resize(sample.pred_prob.data.float()[None], mask.shape, antialias=True)[0, 0]
            masks, scores = self.regions(masks, mask, saliency.clamp(0, 1))
            order = scores.argsort(descending=True, stable=True)
            masks, scores = masks[order], scores[order]
        labels = torch.full((len(scores),), label, device=scores.device)
        instances = InstanceData(masks=masks, labels=labels, scores=scores)
        if self.nms is not None and len(instances):
            instances = instances[self.nms(instances.masks, instances.scores)]
        return instances
