"""Saliency without labels: where the objects of a single image are, judged by border and contrast.

- :func:`robust_background_detection` (RBD);
- :func:`minimum_barrier` (MB+);
- :func:`fused_saliency`: what both find. The better choice where no more is known.

Each takes an image as (H, W, 3) uint8 BGR or (H, W) uint8 gray and gives (H, W) float32 in [0, 1],
the same for the same image. An image of one color has saliency 0 everywhere.
:func:`load_saliency_mat` reads published maps.
"""

from .fused import fused_saliency
from .minimum_barrier import minimum_barrier
from .published import load_saliency_mat
from .robust_background import robust_background_detection

__all__ = ['fused_saliency', 'load_saliency_mat', 'minimum_barrier', 'robust_background_detection']
