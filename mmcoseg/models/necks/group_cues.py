"""Modulators that know no class: for objects that no training image has shown."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import MMCosegError
from ...registry import MODELS
from ...structures import split_groups
from ..ops.clustering import consensus_foreground
from ..ops.discriminant import group_discriminant
from .modulator import Modulation, Modulator

__all__ = ['ConsensusModulator', 'DiscriminantModulator', 'KMeansModulator']


@MODELS.register_module()
class ConsensusModulator(Modulator):
    """A spatial modulator whose S is the agreement of many clusterings of the group's locations.

    It takes the place of the two-way spectral clustering of SSNM, which on raw CNN features mostly
    finds their common mean. Nothing in it is trained; see :func:`consensus_foreground`.

    Args:
        level: index of the level that is clustered.
        num_clusters, num_seeds, num_components: of :func:`consensus_foreground`.
        prior_exponent: how much the maps of the modulators before it (in a training-free
            segmentor, the saliency of the images) count in the choice of clusters; 0 for not at
            all.
    """

    rotation_invariant = True

    def __init__(
        self,
        level: int = -1,
        num_clusters: Sequence[int] = (4, 5, 6, 8),
        num_seeds: int = 4,
        num_components: int = 64,
        prior_exponent: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.level = level
        self.prior_exponent = prior_exponent
        self.options = dict(
            num_clusters=tuple(num_clusters), num_seeds=num_seeds, num_components=num_components
        )

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The chosen level, (n, d, h, w)."""
        return feats[self.level].detach()

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: S of all images, (sum N, 1, h, w) in [0, 1].

        Raises:
            MMCosegError: with ``prior_exponent``, if no modulator before it gave maps.
        """
        if not self.prior_exponent:
            priors = [None] * len(group_sizes)
        elif previous.shift is None:
            raise MMCosegError(
                f'{type(self).__name__} with prior_exponent={self.prior_exponent} needs the maps '
                "of a modulator before it, or the images' saliency (ComputeSaliency in the "
                'pipeline); or set prior_exponent=0'
            )
        else:
            prior = F.adaptive_avg_pool2d(previous.shift.float(), descriptors.shape[-2:])[:, 0]
            priors = split_groups(prior, group_sizes)
        maps = [
            consensus_foreground(
                group, prior=prior, prior_exponent=self.prior_exponent, **self.options
            )
            for group, prior in zip(split_groups(descriptors, group_sizes), priors)
        ]
        return Modulation(shift=torch.cat(maps).unsqueeze(1))


@MODELS.register_module()
class KMeansModulator(ConsensusModulator):
    """One k-means clustering of the group's locations: 1 in the clusters off the borders.

    The baseline of :class:`ConsensusModulator`; its result depends on K and on the seed.

    Args:
        level: index of the level that is clustered.
        num_clusters: K, at least 2; with 6 and more, two clusters may be object.
        seed: of the clustering.
        num_components: dimensions kept by PCA.

    Raises:
        MMCosegError: for fewer than two clusters.
    """

    def __init__(
        self,
        level: int = -1,
        num_clusters: int = 4,
        seed: int = 0,
        num_components: int = 64,
        init_cfg: dict | None = None,
    ) -> None:
        if num_clusters < 2:
            raise MMCosegError(f'num_clusters must be at least 2, got {num_clusters}')
        super().__init__(level, (num_clusters,), 1, num_components, init_cfg=init_cfg)
        self.options['seed'] = seed


@MODELS.register_module()
class DiscriminantModulator(Modulator):
    """A semantic modulator whose gamma is Fisher's discriminant of the group itself.

    What the modulators before it found (S, or in later rounds the last prediction) parts the
    group's locations into object and background; gamma are the channel factors that tell the two
    apart. Being computed from the group instead of learned from class labels, it serves classes
    that were never seen. The sum over the channels of ``gamma_c X_c`` is the map it passes on.

    Args:
        level: index of the level that is used.
        ridge: of :func:`group_discriminant`.
    """

    def __init__(self, level: int = -1, ridge: float = 0.1, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.level = level
        self.ridge = ridge

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The chosen level, (n, d, h, w)."""
        return feats[self.level]

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: the discriminant's map, (sum N, 1, h, w); ``scale``: gamma (sum N, d).

        Raises:
            MMCosegError: if no modulator before it gave an estimate of the object.
        """
        if previous.shift is None:
            raise MMCosegError(
                'DiscriminantModulator needs an estimate of the object to start from; put a '
                'spatial modulator before it'
            )
        foreground = previous.shift[:, 0].clamp(0.02, 0.98)
        maps, gammas = [], []
        for x, weight in zip(
            split_groups(descriptors, group_sizes), split_groups(foreground, group_sizes)
        ):
            values, gamma = group_discriminant(x, weight, self.ridge)
            maps.append(values)
            gammas.append(gamma.expand(len(x), -1))
        return Modulation(scale=torch.cat(gammas), shift=torch.cat(maps))
