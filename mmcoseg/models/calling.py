"""Calling plug-ins with what they ask for."""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

from torch import nn

from ..errors import MMCosegError
from ..options import nearest

__all__ = ['asks_for', 'call_by_name', 'call_with_offers']


def asks_for(module: nn.Module, name: str) -> bool:
    """Whether a module's ``forward`` has a parameter of this name."""
    return name in signature(module.forward).parameters


def call_with_offers(module: nn.Module, *args: Any, **offers: Any) -> Any:
    """Call a module with ``args``, and with those of the offers that its ``forward`` takes."""
    taken = {name: value for name, value in offers.items() if asks_for(module, name)}
    return module(*args, **taken)


def call_by_name(module: nn.Module, values: Mapping[str, Callable[[], Any]], key: str) -> Any:
    """Call a module with the values that the parameters of its ``forward`` name.

    Args:
        module: of any type.
        values: what there is by name; each is made only if it is asked for.
        key: where the module stands in the config, for messages.
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
