"""Where pretrained weights come from: one rule for all backbones."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
from torch import nn

from ...errors import MMCosegError

__all__ = [
    'MissingWeightsError',
    'WeightsToLoad',
    'deferred_weights',
    'load_pretrained',
    'load_unless_stored',
    'read_state_dict',
    'require_reachable',
]

#: The key by which every config's weights are overridden.
KEY = 'model.backbone.weights'


#: Backbones, and what loads the pretrained weights of each.
WeightsToLoad = list[tuple[nn.Module, Callable[[], None]]]

_deferred: ContextVar[WeightsToLoad | None] = ContextVar('deferred weights', default=None)


class MissingWeightsError(FileNotFoundError):
    """Pretrained weights that could not be had; says what to fetch and where to put it."""


@contextmanager
def deferred_weights() -> Iterator[WeightsToLoad]:
    """Meanwhile backbones are built without pretrained weights, whose loading is noted instead.

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
    """Load pretrained weights into those backbones of which a checkpoint has none.

    Args:
        model: built with :func:`deferred_weights`.
        noted: what that gave.
        state: the checkpoint's state dict.
        source: what the checkpoint is called, for messages.

    Raises:
        MissingWeightsError: as :func:`load_pretrained`.
        MMCosegError: if a checkpoint has a part of a backbone only, the rest of which would be
            random.
    """
    names = {id(module): name for name, module in model.named_modules()}
    for module, load in noted:
        name = names.get(id(module))
        if name is None:  # built, and then not used
            continue
        own = {f'{name}.{key}': value for key, value in module.state_dict().items()}
        if not set(own) & set(state):
            load()
            continue
        missing = [
            key
            for key, value in own.items()
            # PyTorch fills in the count of batches itself.
            if getattr(state.get(key), 'shape', None) != value.shape
            and not key.endswith('num_batches_tracked')
        ]
        if missing:
            raise MMCosegError(
                f'{source} has only a part of model.{name}: {len(missing)} of {len(own)} tensors '
                f'are missing or of another shape, such as {missing[0]}, and would be random; give '
                'a checkpoint of this model'
            )


def load_pretrained(
    module: nn.Module,
    weights: str | None,
    imagenet: Callable[[], dict[str, Any]],
    source: str,
    translate: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """Load weights into a backbone. What a file has beyond the module (a classifier) is left out.

    Within :func:`deferred_weights` this is only noted.

    Args:
        module: every parameter of which must be in the file.
        weights: ``'imagenet'`` calls ``imagenet``; None leaves the random initialization; anything
            else is the path of a file, in the published names or the module's own.
        imagenet: gives the state dict of the ImageNet weights; may download it.
        source: what the weights are called and where they come from, for the message if that fails.
        translate: from the published state dict to the module's own names.

    Raises:
        MissingWeightsError: if the weights cannot be had.
        MMCosegError: if a file does not fit the module.
    """
    noted = _deferred.get()
    load = partial(_load, module, weights, imagenet, source, translate)
    if noted is None:
        load()
    else:
        noted.append((module, load))


def _load(
    module: nn.Module,
    weights: str | None,
    imagenet: Callable[[], dict[str, Any]],
    source: str,
    translate: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    if weights is None:
        return
    if weights == 'imagenet':
        try:
            state = imagenet()
        except Exception as error:  # downloaders raise whatever their network stack does
            cause = ' '.join(str(error).split())[:200]
            raise MissingWeightsError(
                f'the ImageNet weights of {type(module).__name__} could not be had '
                f'({type(error).__name__}: {cause}). They come from {source}. Either make that '
                f'reachable, or fetch them elsewhere and say where the file is with --cfg-options '
                f'{KEY}=/path/to/file, or start without them with --cfg-options {KEY}=None'
            ) from error
    else:
        state = read_state_dict(weights)
    own = module.state_dict()
    if not set(state) & set(own):
        state = translate(state)
    try:
        missing = module.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as error:  # a parameter of another shape
        missing = ' '.join(str(error).split())[:300]
    if missing:
        raise MMCosegError(
            f'the weights {weights!r} do not fit {type(module).__name__}; missing: '
            f'{missing if isinstance(missing, str) else missing[:3]}. Set {KEY} to a file of this '
            'architecture'
        )


def read_state_dict(path: str) -> dict[str, Any]:
    """The state dict in a file; a ``state_dict`` or ``model`` key around it is taken off.

    Raises:
        MissingWeightsError: if there is no such file.
        MMCosegError: if it is no file of tensors.
    """
    if not Path(path).is_file():
        raise MissingWeightsError(
            f"there is no weights file {path}; {KEY} takes 'imagenet', None or the path of a file"
        )
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise MMCosegError(
            f'{path} is not a file of PyTorch tensors ({type(error).__name__}); files that hold '
            'other Python objects are not read, because reading them can run any code'
        ) from error
    for key in ('state_dict', 'model'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    return content


def require_reachable(address: str, timeout: float = 5.0) -> None:
    """Fail at once where there is no network, instead of after a downloader's many retries.

    Args:
        address: of the server; proxies set in the environment are used.
        timeout: in seconds.

    Raises:
        OSError: if no answer comes; any answer, even a refusal, is one.
    """
    try:
        urlopen(Request(address, method='HEAD'), timeout=timeout).close()
    except HTTPError:
        pass
