"""Which components exist, and whether a config fits together."""

from collections.abc import Iterator

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import Registry, init_default_scope

from .. import registry
from ..config_check import CHECKED_KEYS, config_problems, errors_name_keys
from ..models.backbones.weights import deferred_weights
from ..registry import DATASETS, MODELS
from .run_config import datasets_of

__all__ = ['check_config', 'components']


def components() -> dict[str, list[str]]:
    """Registered components, ours and those of plugins, by registry; without empty registries."""
    found = {}
    for name, node in sorted(vars(registry).items()):
        if isinstance(node, Registry):
            node.import_from_location()
            if node.module_dict:
                found[name] = sorted(node.module_dict)
    return found


def check_config(cfg: Config, data: bool = False) -> Iterator[tuple[str, str | None]]:
    """Check all types and arguments in a config, and build what needs no weights and no data.

    With ``data``, also open the data sets and take the first item of each through its pipeline.
    Yields (key of the config, what is wrong with it or None).
    """
    init_default_scope(cfg.get('default_scope', 'mmcoseg'))
    for key in CHECKED_KEYS:
        if not cfg.get(key):
            continue
        problems = [f'{where}: {problem}' for where, problem in config_problems(cfg, (key,))]
        yield key, '; '.join(problems) or _build_problem(cfg, key, data)


def _build_problem(cfg: Config, key: str, data: bool) -> str | None:
    """What goes wrong in building what stands below a key of a config."""
    try:
        with errors_name_keys(cfg), deferred_weights():
            if key == 'model':
                MODELS.build(cfg.model)
            elif key == 'optim_wrapper':
                build_optim_wrapper(MODELS.build(cfg.model), cfg.optim_wrapper)
            elif key.endswith('_evaluator'):
                named = isinstance(cfg[key], dict) and 'type' not in cfg[key]
                for one in cfg[key].values() if named else [cfg[key]]:
                    Evaluator(one)
            elif key.endswith('_dataloader') and data:
                for dataset in datasets_of(cfg[key]):
                    DATASETS.build(dataset)[0]
    except Exception as error:  # whatever is wrong is what the caller asked for
        return f'{type(error).__name__}: {error}'
    return None
