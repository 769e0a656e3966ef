"""From modulated features to logits."""

from .coarse_to_fine_head import CoarseToFineHead
from .cue_head import CueHead

__all__ = ['CoarseToFineHead', 'CueHead']
