"""Which components exist, and whether a config fits together."""

from collections.abc import Callable, Iterator
from functools import partial
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
    """Registered components, ours and those of plugins, by registry; without empty registries."""
    found = {}
    for name, node in sorted(vars(registry).items()):
        if isinstance(node, Registry):
            node.import_from_location()
            if node.module_dict:
                found[name] = sorted(node.module_dict)
    return found


def without_weights(cfg: Any) -> Any:
    """A copy of a model's config that needs no pretrained weights."""
    if isinstance(cfg, (list, tuple)):
        return [without_weights(value) for value in cfg]
    if not isinstance(cfg, dict):
        return cfg
    copy = type(cfg)()
    for key, value in cfg.items():
        copy[key] = None if key in ('weights', 'pretrained') else without_weights(value)
    return copy


def check_config(cfg: Config, data: bool = False) -> Iterator[tuple[str, str | None]]:
    """Build everything that a config names, but no pretrained weights.

    Args:
        cfg: the config.
        data: also open the data sets and take the first item of each through its pipeline;
            otherwise only look up the names of the transforms.

    Yields:
        (part of the config, what is wrong with it or None).
    """
    init_default_scope(cfg.get('default_scope', 'mmcoseg'))
    for name, check in _checks(cfg, data):
        try:
            check()
        except Exception as error:  # the caller asks for whatever is wrong
            yield name, f'{type(error).__name__}: {error}'
        else:
            yield name, None


def _checks(cfg: Config, data: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every part of a config and a function that raises what is wrong with it."""
    model = _Model(cfg)
    yield 'model', model.build
    if 'optim_wrapper' in cfg:
        yield 'optim_wrapper', model.build_optimizer
    for split in ('train', 'val', 'test'):
        for number, dataset in enumerate(datasets_of(cfg.get(f'{split}_dataloader'))):
            check = _open_dataset if data else _look_up_dataset
            yield f'{split} data set {number}: {dataset.get("type")}', partial(check, dataset)
    for key in ('val_evaluator', 'test_evaluator'):
        if cfg.get(key):
            yield key, partial(_build_evaluators, cfg[key])
    if 'visualizer' in cfg:
        yield 'visualizer', partial(_require, VISUALIZERS, cfg.visualizer)
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    for hook in filter(None, hooks):
        yield f'hook {hook.get("type")}', partial(_require, HOOKS, hook)


class _Model:
    """The model of a config, whose optimizer can only be built once it is built itself."""

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self.model = None

    def build(self) -> None:
        self.model = MODELS.build(without_weights(self.cfg.model))

    def build_optimizer(self) -> None:
        if self.model is not None:
            build_optim_wrapper(self.model, self.cfg.optim_wrapper)


def _require(node: Registry, cfg: dict) -> None:
    if isinstance(cfg.get('type'), str) and node.get(cfg['type']) is None:
        raise MMCosegError(
            f'{cfg["type"]!r} is not registered in {node.name!r}; `mmcoseg list components` shows '
            'ours, custom_imports brings in those of others'
        )


def _build_evaluators(cfg: Any) -> None:
    named = isinstance(cfg, dict) and 'type' not in cfg
    for one in cfg.values() if named else [cfg]:
        Evaluator(one)


def _look_up_dataset(cfg: dict) -> None:
    _require(DATASETS, cfg)
    _look_up_pipeline(cfg.get('pipeline', []))


def _look_up_pipeline(pipeline: list[dict]) -> None:
    for step in pipeline:
        _require(TRANSFORMS, step)
        inner = step.get('transforms', [])
        _look_up_pipeline([one for one in inner if isinstance(one, dict)])


def _open_dataset(cfg: dict) -> None:
    _require(DATASETS, cfg)
    if DATASETS.build(cfg)[0] is None:
        raise MMCosegError('the pipeline gives nothing for the first item')
