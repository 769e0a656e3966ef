"""Where pretrained weights come from: one rule for all backbones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
from torch import nn

__all__ = ['MissingWeightsError', 'load_pretrained', 'read_state_dict', 'require_reachable']

#: The key by which every config's weights are overridden.
KEY = 'model.backbone.weights'


class MissingWeightsError(FileNotFoundError):
    """Pretrained weights that could not be had; says what to fetch and where to put it."""


def load_pretrained(
    module: nn.Module,
    weights: str | None,
    imagenet: Callable[[], dict[str, Any]],
    source: str,
    translate: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    """Load weights into a backbone. What a file has beyond the module (a classifier) is left out.

    Args:
        module: every parameter of which must be in the file.
        weights: ``'imagenet'`` calls ``imagenet``; None leaves the random initialisation; anything
            else is the path of a file, in the published names or the module's own.
        imagenet: gives the state dict of the ImageNet weights; may download it.
        source: what the weights are called and where they come from, for the message if that fails.
        translate: from the published state dict to the module's own names.

    Raises:
        MissingWeightsError: if the weights cannot be had.
        ValueError: if a file does not fit the module.
    """
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
        raise ValueError(
            f'the weights {weights!r} do not fit {type(module).__name__}; missing: '
            f'{missing if isinstance(missing, str) else missing[:3]}. Set {KEY} to a file of this '
            'architecture'
        )


def read_state_dict(path: str) -> dict[str, Any]:
    """The state dict in a file; a ``state_dict`` or ``model`` key around it is taken off.

    Raises:
        MissingWeightsError: if there is no such file.
        ValueError: if it is no file of tensors.
    """
    if not Path(path).is_file():
        raise MissingWeightsError(
            f"there is no weights file {path}; {KEY} takes 'imagenet', None or the path of a file"
        )
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise ValueError(
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
