"""The saliency of single images as a cue."""

import torch
from skimage.filters import threshold_otsu
from torch import Tensor

from ...errors import MMCosegError
from ...registry import MODELS
from .modulator import Modulation, Modulator

__all__ = ['SaliencyModulator']


@MODELS.register_module()
class SaliencyModulator(Modulator):
    """What stands out in each image, whatever the others show.

    Its descriptors are not of the backbone but the images' ``saliency``, which ``ComputeSaliency`` or
    ``LoadPrior`` in the pipeline provides. Each map is shifted such that its own Otsu threshold
    becomes 0.5, and steepened.

    Args:
        slope: steepness at the threshold.
    """

    takes_saliency = True

    def __init__(self, slope: float = 2.0, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.slope = slope

    def encode(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Not from features.

        Raises:
            MMCosegError: always.
        """
        raise MMCosegError(
            'SaliencyModulator looks at the saliency of images, not at features; use it as a cue '
            'of TrainingFreeCoSegmentor'
        )

    def modulate_group(
        self, descriptors: Tensor, group_sizes: list[int], previous: Modulation
    ) -> Modulation:
        """``shift``: (sum N, 1, h, w) in [0, 1]; zeros for images of constant saliency."""
        maps = []
        for saliency in descriptors.float():
            if saliency.max() - saliency.min() < 1e-3:
                maps.append(torch.zeros_like(saliency))
                continue
            threshold = float(threshold_otsu(saliency.cpu().numpy(), nbins=128))
            maps.append((self.slope * (saliency - threshold) + 0.5).clamp(0, 1))
        return Modulation(shift=torch.stack(maps))
