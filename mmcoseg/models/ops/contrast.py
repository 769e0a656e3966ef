"""From values that are larger on objects to soft maps."""

import torch
from skimage.filters import threshold_otsu
from torch import Tensor

__all__ = ['soften_by_otsu']


def soften_by_otsu(maps: Tensor) -> Tensor:
    """Soft maps of a whole group from one threshold: ``sigmoid(2 (x - otsu) / std)``.

    Otsu's threshold parts the values of all images (N, h, w), larger on objects, into two classes
    of least variance; values at it become 0.5. All become 0 where they do not differ.

    Example:
        >>> soften_by_otsu(torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])).round(decimals=2)
        tensor([[[0.1200, 0.1200, 0.8800, 0.8800]]])
    """
    deviation = maps.std(correction=0)
    if deviation <= 1e-6 * maps.abs().max():
        return torch.zeros_like(maps)
    values = maps.detach().double().flatten().cpu().numpy()
    threshold = threshold_otsu(values)
    # Between the two classes; skimage's threshold is the middle of the last bin of the lower one.
    middle = (values[values <= threshold].max() + values[values > threshold].min()) / 2
    return torch.sigmoid(2.0 * (maps - middle) / deviation)
