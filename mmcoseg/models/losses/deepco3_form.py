"""The two forms of DeepCO3's objective, and the batch of groups."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ...options import one_of

__all__ = ['ObjectiveForm', 'check_form', 'mean_over_groups']

#: How the three losses are put together. ``'released'`` is what the authors' code computes and
#: the published numbers came from; ``'paper'`` is Eq. 1 to 6 to the letter, whose sums over pairs
#: of locations and over pixels weigh the losses by many orders of magnitude otherwise.
ObjectiveForm = Literal['released', 'paper']


def check_form(form: str) -> None:
    """Raises: MMCosegError: for an unknown name."""
    one_of('form', form, ObjectiveForm)


def mean_over_groups(losses: Sequence[Tensor]) -> Tensor:
    """Mean over the groups of a batch of what each one costs, a scalar of scalars."""
    return torch.stack(list(losses)).mean()
