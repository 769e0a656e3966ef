"""What there is to choose from, and whether a config fits together."""

from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import Registry, init_default_scope

from .. import registry
from ..errors import MMCosegError
from ..registry import DATASETS, HOOKS, MODELS, TRANSFORMS, VISUALIZERS
from .launch import datasets_of

__all__ = ['check_config', 'components', 'without_weights']


def components() -> dict[str, list[str]]:
    """Our registered components and those of plugins, by registry; empty registries left out."""
    found = {}
    for name, node in sorted(vars(registry).items()):
        if not isinstance(node, Registry):
            continue
        node.import_from_location()
        if node.module_dict:
            found[name] = sorted(node.module_dict)
    return found


def without_weights(cfg: Any) -> Any:
    """A copy of a model's config that needs no pretrained weights."""
    if isinstance(cfg, dict):
        return type(cfg)(
            {
                # A dict of weights is of another kind: those of a mean.
                key: None
                if key in ('weights', 'pretrained') and not isinstance(value, dict)
                else without_weights(value)
                for key, value in cfg.items()
            }
        )
    if isinstance(cfg, (list, tuple)):
        return [without_weights(value) for value in cfg]
    return cfg


def check_config(cfg: Config, data: bool = False) -> Iterator[tuple[str, str | None]]:
    """Build everything that a config names, but no pretrained weights.

    Args:
        cfg: the config.
        data: also open the data sets and take the first item of each through its pipeline;
            otherwise only the names of the transforms are looked up.

    Yields:
        (part of the config, what is wrong with it or None).
    """
    init_default_scope(cfg.get('default_scope', 'mmcoseg'))
    model = None

    def build_model() -> None:
        nonlocal model
        model = MODELS.build(without_weights(cfg.model))

    parts: list[tuple[str, Callable[[], Any]]] = [('model', build_model)]
    if 'optim_wrapper' in cfg:
        parts.append(
            ('optim_wrapper', lambda: model and build_optim_wrapper(model, cfg.optim_wrapper))
        )
    for split in ('train', 'val', 'test'):
        for number, dataset in enumerate(datasets_of(cfg.get(f'{split}_dataloader'))):
            name = f'{split} data set {number}: {dataset.get("type")}'
            parts.append((name, lambda d=dataset: _check_dataset(d, data)))
    for split in ('val', 'test'):
        if cfg.get(f'{split}_evaluator'):
            parts.append((f'{split}_evaluator', lambda s=split: _evaluator(cfg[f'{s}_evaluator'])))
    if 'visualizer' in cfg:
        parts.append(('visualizer', lambda: _require(VISUALIZERS, cfg.visualizer)))
    hooks = [hook for hook in (cfg.get('default_hooks') or {}).values() if hook]
    for hook in [*hooks, *(cfg.get('custom_hooks') or [])]:
        parts.append((f'hook {hook.get("type")}', lambda h=hook: _require(HOOKS, h)))
    for name, check in parts:
        try:
            check()
        except Exception as error:  # whatever is wrong is what the caller asked for
            yield name, f'{type(error).__name__}: {error}'
        else:
            yield name, None


def _require(node: Registry, cfg: dict) -> None:
    if isinstance(cfg.get('type'), str) and node.get(cfg['type']) is None:
        raise MMCosegError(
            f'{cfg["type"]!r} is not registered in {node.name!r}; `mmcoseg list components` shows '
            'ours, custom_imports brings in those of others'
        )


def _evaluator(cfg: Any) -> None:
    named = isinstance(cfg, dict) and 'type' not in cfg
    for one in cfg.values() if named else [cfg]:
        Evaluator(one)


def _check_dataset(cfg: dict, data: bool) -> None:
    _require(DATASETS, cfg)
    if not data:
        _check_pipeline(cfg.get('pipeline', []))
        return
    dataset = DATASETS.build(cfg)
    if dataset[0] is None:
        raise MMCosegError('the pipeline gives nothing for the first item')


def _check_pipeline(pipeline: list[dict]) -> None:
    for step in pipeline:
        _require(TRANSFORMS, step)
        _check_pipeline([inner for inner in step.get('transforms', []) if isinstance(inner, dict)])
