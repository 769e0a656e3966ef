"""What tells a group's object from its surroundings, channel by channel."""

import torch
from torch import Tensor

from .precision import without_autocast
from .spectral import CHUNK, row_chunks

__all__ = ['group_discriminant']


def group_discriminant(x: Tensor, foreground: Tensor, ridge: float = 0.1) -> tuple[Tensor, Tensor]:
    """Fisher's linear discriminant of one group's object against its background.

    With weighted means m_f, m_b and the mean of both classes' covariances S_w,
    ``gamma = (S_w + ridge * mean(diag S_w) I)^-1 (m_f - m_b)``, scaled such that the discriminant
    ``sum_c gamma_c (x_c - (m_f + m_b)_c / 2)`` is on average 1 on the object and -1 elsewhere. It
    has no trained parameter, and does not depend on the order of the images.

    Args:
        x: features, (N, d, h, w).
        foreground: how much a location belongs to the object, (N, h, w) in (0, 1).
        ridge: regularization, relative to the mean variance.

    Returns:
        - the discriminant at every location, (N, 1, h, w);
        - gamma, (d,).
    """
    n, d, height, width = x.shape
    points = x.permute(0, 2, 3, 1).reshape(-1, d)
    weight = foreground.reshape(-1, 1).to(x.device, torch.float32)
    object_weight = weight / weight.sum().clamp(min=1e-3)
    other_weight = (1 - weight) / (1 - weight).sum().clamp(min=1e-3)
    weights = torch.cat([object_weight, other_weight], dim=1)
    means = torch.zeros(2, d, device=x.device)
    scatter = torch.zeros(d, d, device=x.device)
    with without_autocast(x):
        for rows, w in zip(row_chunks(points), weights.split(CHUNK)):
            means += w.t() @ rows
            scatter += (rows * w.sum(dim=1, keepdim=True)).t() @ rows
        object_mean, other_mean = means
        # Both classes weigh one half, and each has its own mean taken off.
        within = 0.5 * (scatter - means.t() @ means)
        within = within + ridge * within.diagonal().mean().clamp(min=1e-6) * torch.eye(
            d, device=x.device
        )
        difference = object_mean - other_mean
        gamma = torch.linalg.solve(within, difference)
        gamma = 2 * gamma / (difference @ gamma).clamp(min=1e-3)
        middle = (object_mean + other_mean) / 2
        values = torch.cat([(rows - middle) @ gamma for rows in row_chunks(points)])
    return values.view(n, 1, height, width), gamma
