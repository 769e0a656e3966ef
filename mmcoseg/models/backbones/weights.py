"""Where pretrained weights come from: one rule for all backbones."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from torch import nn

from ...compat import load_checkpoint_file
from ...errors import MMCosegError
from .base import Backbone

__all__ = [
    'MissingWeightsError',
    'WeightsToLoad',
    'deferred_weights',
    'load_pretrained',
    'load_unless_stored',
    'named_by_order',
    'read_state_dict',
    'require_reachable',
]

#: The key by which every config's weights are overridden.
KEY = 'model.backbone.weights'
#: What PyTorch fills in itself where a state dict lacks it.
_COUNT = 'num_batches_tracked'
#: Backbones, and what loads the pretrained weights of each.
WeightsToLoad = list[tuple[nn.Module, Callable[[], None]]]

_deferred: ContextVar[WeightsToLoad | None] = ContextVar('deferred weights', default=None)


class MissingWeightsError(FileNotFoundError):
    """Pretrained weights that could not be had; says what to fetch and where to put it."""


@contextmanager
def deferred_weights() -> Iterator[WeightsToLoad]:
    """Build backbones without pretrained weights, and note how to load them.

    For a model whose weights come from a checkpoint: see :func:`load_unless_stored`.
    """
    noted: WeightsToLoad = []
    token = _deferred.set(noted)
    try:
        yield noted
    finally:
        _deferred.reset(token)


def load_unless_stored(
    model: nn.Module, noted: WeightsToLoad, state: Mapping[str, Any], source: str
) -> None:
    """Load pretrained weights into the backbones that a checkpoint does not have.

    The model was built with :func:`deferred_weights`, which gave ``noted``; ``source`` names the
    checkpoint in messages. One with only a part of a backbone is refused: the rest would be random.
    """
    names = {id(module): name for name, module in model.named_modules()}
    for module, load in noted:
        name = names.get(id(module))
        if name is None:  # built, and then not used
            continue
        own = module.state_dict(prefix=f'{name}.')
        if not set(own) & set(state):
            load()
            continue
        missing = []
        for key, value in own.items():
            if getattr(state.get(key), 'shape', None) != value.shape and not key.endswith(_COUNT):
                missing.append(key)
        if missing:
            raise MMCosegError(
                f'{source} has only a part of model.{name}: {len(missing)} of {len(own)} tensors '
                f'are missing or of another shape, such as {missing[0]}, and would be random; give '
                'a checkpoint of this model'
            )


def load_pretrained(backbone: Backbone, weights: str | None) -> None:
    """Load weights into a backbone. What a file has beyond it (a classifier) is left out.

    Within :func:`deferred_weights` this is only noted. Weights are ``'imagenet'``, None for the
    random initialization, or the path of a file in the published names or the backbone's own; they
    must have all of its parameters.
    """
    noted = _deferred.get()
    load = partial(_load, backbone, weights)
    if noted is None:
        load()
    else:
        noted.append((backbone, load))


def _load(backbone: Backbone, weights: str | None) -> None:
    if weights is None:
        return
    state = _imagenet(backbone) if weights == 'imagenet' else read_state_dict(weights)
    if not set(state) & set(backbone.state_dict()):
        state = backbone.own_names(state)
    try:
        missing = str(backbone.load_state_dict(state, strict=False).missing_keys[:3] or '')
    except RuntimeError as error:  # a parameter of another shape
        missing = ' '.join(str(error).split())[:300]
    if missing:
        raise MMCosegError(
            f'the weights {weights!r} do not fit {type(backbone).__name__}; missing: {missing}. '
            f'Set {KEY} to a file of this architecture'
        )


def _imagenet(backbone: Backbone) -> dict[str, Any]:
    try:
        return backbone.imagenet_weights()
    except Exception as error:  # downloaders raise whatever their network stack does
        cause = ' '.join(str(error).split())[:200]
        raise MissingWeightsError(
            f'the ImageNet weights of {type(backbone).__name__} could not be had '
            f'({type(error).__name__}: {cause}). They come from {backbone.weights_source}. Either '
            f'make that reachable, or fetch them elsewhere and say where the file is with '
            f'--cfg-options {KEY}=/path/to/file, or start without them with --cfg-options '
            f'{KEY}=None'
        ) from error


def named_by_order(module: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict in a module's names, where both have the same tensors in the same order.

    What the state dict has beyond the module is left out, and so are counts of batches.
    """
    names = [key for key in module.state_dict() if not key.endswith(_COUNT)]
    values = [value for key, value in state.items() if not key.endswith(_COUNT)]
    return dict(zip(names, values))


def read_state_dict(path: str) -> dict[str, Any]:
    """The state dict in a file, perhaps in its key ``state_dict`` or ``model``."""
    if not Path(path).is_file():
        raise MissingWeightsError(
            f"there is no weights file {path}; {KEY} takes 'imagenet', None or the path of a file"
        )
    content = load_checkpoint_file(path)
    for key in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    return content


def require_reachable(address: str) -> None:
    """Raise OSError at once without a network, instead of after a downloader's many retries.

    Any answer of the server counts, even a refusal.
    """
    try:
        urlopen(Request(address, method='HEAD'), timeout=5).close()
    except HTTPError:
        pass
