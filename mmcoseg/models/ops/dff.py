"""Deep feature factorization."""

import warnings

import torch
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn import functional as F

from .clustering import FIT_LOCATIONS, border_ring
from .precision import without_autocast
from .spectral import row_chunks

__all__ = ['deep_feature_factorization', 'factor_off_border', 'nonnegative_coefficients']


@torch.no_grad()
def deep_feature_factorization(features: Tensor, num_factors: int = 4) -> tuple[Tensor, Tensor]:
    """Factors of a group's non-negative features, and where each of them is.

    Collins, Achanta, Süsstrunk: *Deep feature factorization for concept discovery*, ECCV 2018.
    The matrix A of all locations of all images is approximated by ``H W`` with ``H, W >= 0``, such
    that ``|A - H W|_F^2`` is small (Eq. 1); a row of W is a factor, the column of H that belongs to
    it shows where it is. The factors are found on up to 12,000 locations, spread evenly over the
    range of their lengths, so that they do not depend on the order of the images; H is then the
    best one for these factors.

    Args:
        features: of the group's N images, (N, d, h, w); negative values count as 0.
        num_factors: k.

    Returns:
        - H as maps, (N, k, h, w), at least float32;
        - W, (k, d), of the same type, its rows of unit length (zero for a factor that is not used).
    """
    n, d, height, width = features.shape
    rows = features.permute(0, 2, 3, 1).flatten(0, 2)
    dtype = torch.promote_types(features.dtype, torch.float32)
    lengths = torch.cat([part.clamp(min=0).norm(dim=1) for part in row_chunks(rows)])
    k = min(num_factors, len(rows), d)
    factors = torch.zeros(num_factors, d, dtype=dtype, device=features.device)
    if lengths.max() > 0:
        order = lengths.argsort(stable=True)[:: -(-len(rows) // FIT_LOCATIONS)]
        points = rows[order.to(rows.device)].to(dtype).clamp(min=0).cpu().numpy()
        model = NMF(k, init='nndsvda', max_iter=100, tol=1e-4, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ConvergenceWarning)
            model.fit(points)
        found = torch.from_numpy(model.components_).to(factors)
        factors[:k] = F.normalize(found, dim=1)
    coefficients = torch.cat(
        [nonnegative_coefficients(part.clamp(min=0), factors) for part in row_chunks(rows)]
    )
    return coefficients.view(n, height, width, -1).permute(0, 3, 1, 2), factors


def nonnegative_coefficients(x: Tensor, factors: Tensor, num_sweeps: int = 50) -> Tensor:
    """The ``h >= 0`` (n, k) with the least ``|x - h W|`` of each row of x (n, d).

    By coordinate descent: each sweep brings every coefficient to its optimum for fixed others. W
    are the factors (k, d), rows of unit length or zero.
    """
    with without_autocast(x):
        target, gram = x @ factors.t(), factors @ factors.t()
        h = torch.zeros_like(target)
        for _ in range(num_sweeps):
            before = h.clone()
            for j in range(len(factors)):
                if gram[j, j] > 0:
                    rest = target[:, j] - h @ gram[:, j] + h[:, j] * gram[j, j]
                    h[:, j] = (rest / gram[j, j]).clamp(min=0)
            if (h - before).abs().max() <= 1e-6 * h.abs().max():
                break
    return h


def factor_off_border(maps: Tensor) -> int:
    """The factor that is object: the one that lies least at the image borders.

    Judged by its mean over :func:`border_ring` / its mean over everything, of non-negative maps
    (N, k, h, w). A factor that is nowhere is none; if there are only such, 0.
    """
    ring = border_ring(*maps.shape[-2:]).to(maps.device)
    everywhere = maps.mean(dim=(0, 2, 3), dtype=torch.float64)
    at_border = maps[:, :, ring].mean(dim=(0, 2), dtype=torch.float64)
    used = everywhere > 1e-6 * everywhere.max()
    score = torch.where(used, at_border / everywhere, torch.inf)
    return int(score.argmin())
