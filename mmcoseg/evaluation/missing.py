"""Predictions that do not exist: what they count as, and how messages name them."""

from collections.abc import Sequence
from typing import Literal

__all__ = ['MissingPredictions', 'named', 'refuse_missing']

#: What true images without a prediction are: an error, or images in which nothing was found.
MissingPredictions = Literal['error', 'empty']

_MAX_NAMED = 20  # files in a message


def named(names: Sequence[object]) -> str:
    """The first names and the number of the others, for messages."""
    text = ', '.join(map(str, names[:_MAX_NAMED]))
    more = len(names) - _MAX_NAMED
    return f'{text} and {more} more' if more > 0 else text


def refuse_missing(problem: str, names: Sequence[object], hint: str = '') -> None:
    """Raise FileNotFoundError with the names and what to do."""
    raise FileNotFoundError(
        f'{problem}: {named(names)}{hint}; predict them, score fewer groups (--groups), or take '
        'them as empty (--missing empty)'
    )
