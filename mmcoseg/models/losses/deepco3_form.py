"""The two forms of DeepCO3's objective."""

from typing import Literal

__all__ = ['ObjectiveForm']

#: ``'released'`` is what the authors' code computes and the published numbers come from;
#: ``'paper'`` is Eq. 1 to 6 to the letter, whose sums over pairs of locations and over pixels give
#: the losses weights that differ by orders of magnitude.
ObjectiveForm = Literal['released', 'paper']
