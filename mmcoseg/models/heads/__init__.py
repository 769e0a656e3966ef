"""From modulated features to logits."""

from .co_saliency_head import CoSaliencyHead
from .coarse_to_fine_head import CoarseToFineHead
from .cue_head import CueHead
from .multiclass_head import MultiClassHead

__all__ = ['CoSaliencyHead', 'CoarseToFineHead', 'CueHead', 'MultiClassHead']
