"""Building plug-ins by name, and calling them with what they ask for."""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

from torch import nn

from ..errors import MMCosegError
from ..options import nearest
from ..registry import MODELS

__all__ = ['asks_for', 'build_parts', 'call_by_name', 'call_with_offers']


def build_parts(key: str, configs: Mapping[str, dict | None], **defaults: Any) -> nn.ModuleDict:
    """Modules by name, in the order of their configs; None removes one (the ablations).

    ``key`` is where the configs stand in that of a run, for messages; ``defaults`` are arguments of
    those that do not set them.
    """
    parts = nn.ModuleDict()
    for name, cfg in configs.items():
        if not name or '.' in name or hasattr(parts, name):
            raise MMCosegError(
                f'a part of {key} may not be called {name!r}: torch has another use for names with '
                'a dot and those of its own methods; rename it'
            )
        if cfg:
            parts[name] = MODELS.build({**defaults, **cfg})
    return parts


def asks_for(module: nn.Module, name: str) -> bool:
    """Whether a module's ``forward`` has a parameter of this name."""
    return name in signature(module.forward).parameters


def call_with_offers(module: nn.Module, *args: Any, **offers: Any) -> Any:
    """Call a module with ``args``, and with those of the offers that its ``forward`` takes."""
    taken = {name: value for name, value in offers.items() if asks_for(module, name)}
    return module(*args, **taken)


def call_by_name(module: nn.Module, values: Mapping[str, Callable[[], Any]], key: str) -> Any:
    """Call a module with the values that the parameters of its ``forward`` name.

    Each is made only if it is asked for. Messages name the module by its key in the config.
    """
    given = {}
    for name, parameter in signature(module.forward).parameters.items():
        if name in values:
            given[name] = values[name]()
        elif parameter.default is Parameter.empty and parameter.kind is not Parameter.VAR_KEYWORD:
            raise MMCosegError(
                f'{key}: {type(module).__name__}.forward asks for {name!r}'
                f'{nearest(name, values)}; it may ask for {sorted(values)}'
            )
    return module(**given)
