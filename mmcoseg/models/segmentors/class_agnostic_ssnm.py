"""SSNM for classes that training has not shown."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import MMCosegError
from ...registry import MODELS
from ...structures import GroupSampleList, group_sizes_of
from ..necks.modulator import Modulation, Modulator
from .base import ground_truth_of
from .ssnm import SSNM

__all__ = ['ClassAgnosticSSNM']


@MODELS.register_module()
class ClassAgnosticSSNM(SSNM):
    """SSNM whose modulators are computed from the group and whose head sees their maps.

    With a few training categories, the channels of ``gamma X + S`` teach the head those
    categories. Here the spatial modulator gives S, the semantic one the map
    ``sum_c gamma_c X_c``, and both reach the head as input channels beside the distance to the
    border and the last prediction. The modulators act ``rounds`` times: first from S, then from
    the prediction of the round before, so that gamma gets better with the mask.

    The arguments are those of :class:`SSNM`, where

    - ``neck`` is ``FeatureWhitening``: the levels that it gives go to the head and the semantic
      modulator, the backbone's own levels to the spatial one;
    - ``modulators`` may have ``spatial`` and ``semantic``; without ``spatial``, the middle of the
      images is the first estimate;
    - ``decode_head`` is ``CueHead``, whose ``num_cues`` is completed here.

    Args:
        rounds: how often modulators and head act, at least 1.

    Raises:
        MMCosegError: for wrong arguments, or modulators with losses of their own, which are not
            trained here.
    """

    def __init__(
        self,
        *args,
        decode_head: dict,
        modulators: dict,
        rounds: int = 2,
        **kwargs,
    ) -> None:
        if rounds < 1:
            raise MMCosegError(f'rounds must be at least 1, got {rounds}')
        unknown = set(modulators) - {'spatial', 'semantic'}
        if unknown:
            raise MMCosegError(
                f"ClassAgnosticSSNM has the modulators 'spatial' and 'semantic', got {unknown}"
            )
        present = sum(cfg is not None for cfg in modulators.values())
        # Border distance, last prediction, whether there is one.
        decode_head = dict(decode_head, num_cues=3 + present)
        super().__init__(*args, decode_head=decode_head, modulators=modulators, **kwargs)
        for name, modulator in self.modulators.items():
            own = type(modulator).loss is not Modulator.loss
            if own and getattr(modulator, 'loss_weight', None) != 0:
                raise MMCosegError(
                    f'model.modulators.{name}: {type(modulator).__name__} has a loss of its own, '
                    'which ClassAgnosticSSNM does not train; choose a modulator without one, or '
                    f'set model.modulators.{name}.loss_weight=0'
                )
        self.rounds = rounds

    def loss(self, inputs: Tensor, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """Mean of the head's losses over the rounds."""
        group_sizes = group_sizes_of(data_samples)
        target = ground_truth_of(data_samples)
        feats = self.extract_feat(inputs)
        levels = self.neck(feats)
        descriptors = self._encode_both(feats, levels)
        spatial = self._prior(data_samples, levels[-1])
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

    def _forward(self, inputs: Tensor, data_samples: GroupSampleList | None = None) -> Tensor:
        """Logits of the last round, (sum N, 1, h, w)."""
        group_sizes = [len(inputs)] if data_samples is None else group_sizes_of(data_samples)
        feats = self.extract_feat(inputs)
        levels = self.neck(feats)
        descriptors = self._encode_both(feats, levels)
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

    def _prior(self, data_samples: GroupSampleList, like: Tensor) -> Tensor | None:
        """S as it was computed on the whole groups before training, if it was.

        A few images drawn from a group give a much worse S than all of them; the head must learn
        from the S that it will get when whole groups are segmented.
        """
        samples = [sample for group in data_samples for sample in group]
        if 'spatial' not in self.modulators or not all('saliency' in s for s in samples):
            return None
        maps = torch.stack([sample.saliency.data for sample in samples])
        return F.adaptive_avg_pool2d(maps, like.shape[-2:])

    def _encode_both(
        self, feats: tuple[Tensor, ...], levels: tuple[Tensor, ...]
    ) -> dict[str, Tensor]:
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

    def spatial_descriptors(self, images: Tensor) -> Tensor:
        """What S of a group is found on: the mean over the images and their mirror images.

        Args:
            images: (n, 3, H, W), any part of a group.

        Returns:
            (n, d, h, w).
        """
        encode = self.modulators['spatial'].encode
        mirrored = encode(self.extract_feat(images.flip(-1))).flip(-1)
        return (encode(self.extract_feat(images)) + mirrored) / 2

    def _predict_views(self, images: Tensor) -> Tensor:
        """Probabilities (N, 1, H, W) of one group; S is shared by both directions with ``flip``."""
        chunks = images.split(self.test_cfg.chunk_size)
        # As in SSNM: the features of a large group are computed again rather than kept.
        keep = len(chunks) <= 4
        views = [_View(self, chunks, keep)]
        if self.test_cfg.flip:
            views.append(_View(self, [chunk.flip(-1) for chunk in chunks], keep))
        members, group_sizes = self._groups_for(len(images))
        spatial_descriptors = {}
        if 'spatial' in self.modulators:
            descriptors = [view.descriptors.pop('spatial') for view in views]
            if len(descriptors) == 2:
                descriptors = [(descriptors[0] + descriptors[1].flip(-1)) / 2]
            spatial_descriptors['spatial'] = descriptors[0][members]
        like = images.new_empty(len(members), 1, *views[0].size)
        spatial = self._spatial(spatial_descriptors, group_sizes, like)
        probs = [
            self._predict_view(view, members, group_sizes, s, images.shape[-2:])
            for view, s in zip(views, (spatial, spatial.flip(-1)))
        ]
        return probs[0] if len(probs) == 1 else (probs[0] + probs[1].flip(-1)) / 2

    def _predict_view(
        self,
        view: '_View',
        members: list[int],
        group_sizes: list[int],
        spatial: Tensor,
        size: tuple[int, int],
    ) -> Tensor:
        """All rounds on one direction of a group: (N, 1, *size)."""
        descriptors = {name: code[members] for name, code in view.descriptors.items()}
        estimate = None
        for number in range(self.rounds):
            last = number == self.rounds - 1
            # Members behind the group's own images are fillers, which repeat its first ones.
            cues = self._cues(descriptors, group_sizes, spatial, estimate)[: view.num_images]
            probs = [
                self.decode_head.predict_by_feat(
                    self.decode_head(levels, part), size if last else view.size
                )
                for levels, part in zip(view.levels(), cues.split(self.test_cfg.chunk_size))
            ]
            estimate = torch.cat(probs)
            if not last:
                estimate = estimate[members]
        return estimate


class _View:
    """One direction of a group in prediction: its modulators' descriptors, and its levels by chunks."""

    def __init__(self, model: ClassAgnosticSSNM, chunks: Sequence[Tensor], keep: bool) -> None:
        self.model = model
        self.chunks = chunks
        self.num_images = sum(len(chunk) for chunk in chunks)
        self.kept: list[tuple[Tensor, ...]] = []
        descriptors = []
        for chunk in chunks:
            feats = model.extract_feat(chunk)
            levels = model.neck(feats)
            descriptors.append(model._encode_both(feats, levels))
            if keep:
                self.kept.append(levels)
        self.size = tuple(levels[-1].shape[-2:])
        self.descriptors = {
            name: torch.cat([code[name] for code in descriptors]) for name in descriptors[0]
        }

    def levels(self) -> Iterator[tuple[Tensor, ...]]:
        """The levels of each chunk."""
        if self.kept:
            return iter(self.kept)
        return (self.model.neck(self.model.extract_feat(chunk)) for chunk in self.chunks)


def border_distance(like: Tensor) -> Tensor:
    """0 at the border of a map, 1 in its middle, (n, 1, h, w) of the size of ``like``."""
    height, width = like.shape[-2:]
    y = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype).abs()[:, None]
    x = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype).abs()[None]
    return (1 - torch.maximum(y, x)).expand(len(like), 1, height, width)
