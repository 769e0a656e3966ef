"""Checks of what users choose; each raises one clear error that names the option."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar, get_args

from .errors import MMCosegError

__all__ = ['build_options', 'in_range', 'known_keys', 'nearest', 'one_of', 'whole_number']

T = TypeVar('T')


def one_of(name: str, value: Any, choices: Any) -> None:
    """Refuse a value that is none of the choices.

    Args:
        name: of the option.
        choices: a ``Literal`` type.
    """
    if value not in get_args(choices):
        raise MMCosegError(f'{name} must be one of {get_args(choices)}, got {value!r}')


def whole_number(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is no whole number, or one below ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise MMCosegError(f'{name} must be a whole number, at least {least}, got {value!r}')


def in_range(name: str, value: Any, low: float, high: float = float('inf')) -> None:
    """Refuse what is no number from ``low`` to ``high``, both included."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        limits = f'at least {low}' if high == float('inf') else f'from {low} to {high}'
        raise MMCosegError(f'{name} must be a number {limits}, got {value!r}')


def known_keys(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a key that is not known, with the nearest one that is."""
    known = sorted(known)
    for key in given:
        if key not in known:
            raise MMCosegError(f'{name} has no {key!r}{nearest(key, known)}; it has {known}')


def nearest(word: str, known: Iterable[str]) -> str:
    """``', did you mean ...?'`` with the word that is most alike, or nothing."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f' (did you mean {matches[0]!r}?)' if matches else ''


def build_options(kind: type[T], given: Mapping[str, Any] | None, name: str) -> T:
    """A dataclass of options from a config, whose keys are checked.

    Args:
        kind: the dataclass; its ``__post_init__`` checks values.
        given: the config, or None for all defaults.
        name: of the config, for messages: ``'model.test_cfg'``.
    """
    given = given or {}
    known_keys(name, given, [field.name for field in fields(kind)])
    return kind(**given)
