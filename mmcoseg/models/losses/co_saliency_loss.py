"""DeepCO3's loss of saliency."""

import torch
from torch import Tensor, nn

from ...options import one_of
from ...registry import MODELS
from ...structures import split_groups
from ..ops.precision import at_least_float32
from ..ops.resize import resize
from .deepco3_form import ObjectiveForm

__all__ = ['CoSaliencyLoss', 'balanced_square_error']


def balanced_square_error(maps: Tensor, saliency: Tensor) -> Tensor:
    """``l_s(n) = mean over p of rho(p) (S_n(p) - S^_n(p))^2`` of each image (DeepCO3, Eq. 6).

    Pixels whose saliency S^ is above its mean are salient; with e their share of the image they
    weigh 1 - e and the others e, so that both weigh the same in sum. A saliency without contrast
    says nothing: 0. (The paper has a sum over the pixels.)

    Args:
        maps: (n, 1, H, W), in [0, 1].
        saliency: (n, 1, h, w), in [0, 1], at any resolution; resized to that of the maps.

    Returns:
        (n,), float32 or float64.

    Example:
        >>> maps, saliency = torch.zeros(1, 1, 1, 4), torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
        >>> balanced_square_error(maps, saliency)  # (1 - 1/4) * 1 / 4
        tensor([0.1875])
    """
    maps = at_least_float32(maps)
    saliency = resize(saliency.to(maps.dtype), maps.shape[-2:])
    salient = saliency > saliency.mean(dim=(-2, -1), keepdim=True)
    share = salient.to(maps.dtype).mean(dim=(-2, -1), keepdim=True)
    weight = torch.where(salient, 1 - share, share)
    return (weight * (maps - saliency).square()).mean(dim=(-3, -2, -1))


@MODELS.register_module()
class CoSaliencyLoss(nn.Module):
    """Holds the co-saliency near what each image's own saliency says (DeepCO3, Eq. 6).

    A group costs the sum over its images of

    - ``'released'``: :func:`balanced_square_error`, a mean over the pixels;
    - ``'paper'``: the same as a sum over the pixels.

    Args:
        form: which of the two.
        loss_weight, loss_name: factor of the result, 1 in the paper; name in the log.
    """

    def __init__(
        self,
        form: ObjectiveForm = 'released',
        loss_weight: float = 1.0,
        loss_name: str = 'loss_saliency',
    ) -> None:
        super().__init__()
        one_of('form', form, ObjectiveForm)
        self.form = form
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, maps: Tensor, saliency: Tensor, group_sizes: list[int]) -> Tensor:
        """The mean over the groups of co-saliency (sum N, 1, H, W) and saliency (sum N, 1, h, w).

        Both are in [0, 1]; the saliency is found without labels.
        """
        errors = balanced_square_error(maps, saliency)
        if self.form == 'paper':
            errors = errors * (maps.shape[-2] * maps.shape[-1])
        losses = [group.sum() for group in split_groups(errors, group_sizes)]
        return self.loss_weight * torch.stack(losses).mean()
