"""Packages that only some parts of the toolbox need."""

from importlib import import_module
from types import ModuleType

__all__ = ['import_optional']


def import_optional(module: str, purpose: str, advice: str) -> ModuleType:
    """Import a package that may be missing.

    Args:
        module: name to import.
        purpose: what needs it, for the message.
        advice: what to do without it, for the message.

    Raises:
        ImportError: if it is missing.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f'{purpose} needs the package {module!r} ({error}). {advice}') from error
