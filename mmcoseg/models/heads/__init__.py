"""From modulated features to logits."""

from .coarse_to_fine_head import CoarseToFineHead

__all__ = ['CoarseToFineHead']
