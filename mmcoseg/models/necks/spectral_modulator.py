"""Two-way spectral clustering as a cue, without anything trained."""

from typing import Literal

import torch
from torch import Tensor

from ...options import one_of
from ...registry import MODELS
from ...structures import split_groups
from ..ops.contrast import soften_by_otsu
from ..ops.landmarks import landmark_bipartition
from ..ops.spectral import orient_by_border, row_chunks, spectral_bipartition
from .modulator import Modulation, Modulator

__all__ = ['SpectralModulator']

Affinity = Literal['gram', 'centered', 'landmarks']
Threshold = Literal['zero', 'otsu']


@MODELS.register_module()
class SpectralModulator(Modulator):
    """Which side of the group's best cut in two each location is on; S of SSNM on raw features.

    The side that touches the image borders less is the object; see :func:`orient_by_border`.

    Args:
        level: index of the level that is used.
        affinity: what is cut:

            - ``'gram'``: ``X^T X - 1 1^T``, as SSNM does (Eq. 10). On features that were not
              trained for it, it mostly finds their common mean;
            - ``'centered'``: the Gram matrix of the descriptors minus their mean;
            - ``'landmarks'``: a sparse graph, see :func:`landmark_bipartition`.
        normalize: l2-normalize the descriptors, as in the paper. The length of raw features tells
            objects from surroundings, too.
        threshold: ``'zero'``: 1 on the object's side; ``'otsu'``: soft maps, see
            :func:`soften_by_otsu`.
        num_landmarks: of :func:`landmark_bipartition`.

    Raises:
        MMCosegError: for another affinity or threshold.
    """

    rotation_invariant = True

    def __init__(
        self,
        level: int = -1,
        affinity: Affinity = 'gram',
        normalize: bool = True,
        threshold: Threshold = 'zero',
        num_landmarks: int = 300,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        one_of('affinity', affinity, Affinity)
        one_of('threshold', threshold, Threshold)
        self.level = level
        self.affinity = affinity
        self.normalize = normalize
        self.threshold = threshold
        self.num_landmarks = num_landmarks

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The chosen level, (n, d, h, w)."""
        return feats[self.level].detach()

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: (sum N, 1, h, w) in [0, 1]; zeros where nothing in the group differs."""
        maps = []
        for group in split_groups(descriptors, group_sizes):
            n, _, height, width = group.shape
            s, eigenvalue = self._cut(group.permute(0, 2, 3, 1).flatten(0, 2))
            values = orient_by_border(s.view(n, height, width)) * (eigenvalue != 0)
            soft = self.threshold == 'otsu'
            maps.append(soften_by_otsu(values) if soft else (values > 0).to(values.dtype))
        return Modulation(shift=torch.cat(maps).unsqueeze(1))

    def _cut(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if self.affinity == 'landmarks':
            return landmark_bipartition(rows, self.num_landmarks, normalize=self.normalize)
        if self.normalize:
            rows = torch.cat([part.to(rows.dtype) for part in row_chunks(rows, normalize=True)])
        return spectral_bipartition(rows, center=self.affinity == 'centered')
