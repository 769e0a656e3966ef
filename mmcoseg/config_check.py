"""Check a config before anything is built: is each type known, and does it take its arguments?"""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mmengine.config import Config
from mmengine.registry import FUNCTIONS, Registry

from . import registry as nodes
from .compat import quiet_imports
from .errors import MMCosegError, naming
from .options import nearest

__all__ = [
    'CHECKED_KEYS',
    'class_of',
    'config_problems',
    'errors_name_keys',
    'find_component',
    'name_of',
    'require_sound',
    'takes_argument',
]


@dataclass(frozen=True)
class _Place:
    """What stands below a key of a config.

    The builder adds the arguments ``builders``, or takes them itself. ``complete``: the config must
    have all others without a default. Models may add arguments to the configs of their parts.
    """

    node: Registry
    builders: tuple[str, ...] = ()
    complete: bool = True


_MODEL = _Place(nodes.MODELS, complete=False)
_LOOP = _Place(nodes.LOOPS, ('runner', 'dataloader', 'evaluator'))
_DATASET = _Place(nodes.DATASETS)
_TRANSFORM = _Place(nodes.TRANSFORMS)
_FUNCTION = _Place(FUNCTIONS, complete=False)
_METRIC = _Place(nodes.METRICS)
_HOOK = _Place(nodes.HOOKS, ('priority',))
_OPTIM_WRAPPER = _Place(nodes.OPTIM_WRAPPERS, ('constructor', 'paramwise_cfg'), complete=False)
_SCHEDULER = _Place(nodes.PARAM_SCHEDULERS, ('optimizer', 'convert_to_iter_based'))
#: Keys at the top of a config below which components are.
_TOP = {
    'model': _MODEL,
    'data_preprocessor': _MODEL,
    'model_wrapper_cfg': _Place(nodes.MODEL_WRAPPERS, ('module',)),
    'train_dataloader': _DATASET,
    'val_dataloader': _DATASET,
    'test_dataloader': _DATASET,
    'test_pipeline': _TRANSFORM,
    'train_cfg': _LOOP,
    'val_cfg': _LOOP,
    'test_cfg': _LOOP,
    'optim_wrapper': _OPTIM_WRAPPER,
    'param_scheduler': _SCHEDULER,
    'val_evaluator': _METRIC,
    'test_evaluator': _METRIC,
    'default_hooks': _HOOK,
    'custom_hooks': _HOOK,
    'visualizer': _Place(nodes.VISUALIZERS, ('name', 'save_dir')),
    'log_processor': _Place(nodes.LOG_PROCESSORS),
}
#: The keys at the top of a config that are checked.
CHECKED_KEYS = tuple(_TOP)
#: Keys further down, outside of models, below which components of another kind are.
_BELOW = {
    'sampler': _Place(nodes.DATA_SAMPLERS, ('dataset', 'seed')),
    'batch_sampler': _Place(nodes.DATA_SAMPLERS, ('sampler', 'batch_size')),
    'pipeline': _TRANSFORM,
    'transforms': _TRANSFORM,
    'collate_fn': _FUNCTION,
    'worker_init_fn': _FUNCTION,
    'optim_wrapper': _OPTIM_WRAPPER,
    'optimizer': _Place(nodes.OPTIMIZERS, ('params',)),
    'param_scheduler': _SCHEDULER,
    'vis_backends': _Place(nodes.VISBACKENDS, ('save_dir',)),
}
#: What types were called in earlier versions, and are called now.
_RENAMED = {
    'KMeansCue': 'ConsensusCue (num_clusters=[K], num_seeds=1)',
    'TimmFeatures': 'TimmModel',
    'VGG16Pools': 'VGG16',
}
#: Keys below the top, such as norm_cfg, of dicts that are no components, or of mmcv's own kind.
_OTHER = re.compile(r'\w+_cfg|\w*kwargs|metainfo')
_NODES = tuple(node for node in vars(nodes).values() if isinstance(node, Registry))


@dataclass(frozen=True)
class _Component:
    """A dict with a type in a config, and the class or function of that type, if there is one.

    ``foreign``: inside a component of others, where a type need not be a component.
    """

    key: str
    cfg: dict
    place: _Place
    target: Callable | None
    foreign: bool


def name_of(cfg: Config) -> str:
    """What messages call a config: its file, if it has one."""
    return cfg.filename or 'the config'


def require_sound(cfg: Config, keys: tuple[str, ...] = CHECKED_KEYS) -> None:
    """Refuse a config with types or arguments that do not exist below these keys at its top.

    Raises:
        MMCosegError: that names the keys, what is wrong, and the nearest right word.
    """
    problems = list(config_problems(cfg, keys))
    if problems:
        lines = ''.join(f'\n  {key}: {problem}' for key, problem in problems)
        raise MMCosegError(f'{name_of(cfg)} cannot be built:{lines}')


def config_problems(cfg: Config, keys: tuple[str, ...] = CHECKED_KEYS) -> Iterator[tuple[str, str]]:
    """What is wrong with the types and arguments in a config, as (dotted key, message)."""
    for component in _components(cfg, keys):
        yield from _problems(component)


@contextmanager
def errors_name_keys(cfg: Config) -> Iterator[None]:
    """Meanwhile an argument that a constructor refuses, or a type that is not there, gets its key.

    For what :func:`require_sound` cannot see, such as arguments that a constructor passes on.
    """
    try:
        with naming(name_of(cfg)):
            yield
    except (TypeError, KeyError) as error:
        text = str(*error.args[:1])
        keys = _keys_of_error(cfg, text)
        if not keys:
            raise
        raise MMCosegError(
            f'{name_of(cfg)}: {" or ".join(keys)} cannot be built: {text.partition(". Please")[0]}'
        ) from error


def _keys_of_error(cfg: Config, text: str) -> list[str]:
    """The keys of the components that an error in building one may be about."""
    about = re.match(
        r'(\w+)\.__init__\(\) (got|missing|takes)|(\S+) is not in the \S+ registry', text
    )
    keys = []
    for component in _components(cfg, CHECKED_KEYS) if about else ():
        classes = [base.__name__ for base in getattr(component.target, '__mro__', ())]
        if (about[1] or about[3]) in (component.cfg['type'], *classes):
            keys.append(component.key)
    return keys


def _components(cfg: Config, keys: tuple[str, ...]) -> Iterator[_Component]:
    scope = cfg.get('default_scope') or 'mmcoseg'
    for key in keys:
        yield from _walk(cfg.get(key), key, _TOP[key], scope)


def _walk(
    node: Any, key: str, place: _Place, scope: str, foreign: bool = False
) -> Iterator[_Component]:
    parts = []
    if isinstance(node, (list, tuple)):
        parts = enumerate(node)
    elif isinstance(node, dict):
        parts = node.items()
        scope = node.get('_scope_', scope)
        if 'type' in node:
            target = find_component(node['type'], place.node, scope)
            yield _Component(key, node, place, target, foreign)
            foreign = not getattr(target, '__module__', '').startswith('mmcoseg.')
    for name, part in parts:
        below = place if place is _MODEL else _BELOW.get(name, place)
        if not _OTHER.fullmatch(str(name)):
            yield from _walk(part, f'{key}.{name}', below, scope, foreign and name not in _BELOW)


def find_component(kind: Any, node: Registry, scope: str = 'mmcoseg') -> Callable | None:
    """The class or function of a type: of this registry, or else of any other."""
    if not isinstance(kind, str):
        return kind if callable(kind) else None
    quiet_imports()
    nodes.DATASETS.import_from_location()  # registers our functions, too
    name = kind if scope == 'mmcoseg' or '.' in kind else f'{scope}.{kind}'
    found = (one.get(name) for one in (node, *_NODES))
    return next(filter(None, found), None)


def class_of(cfg: dict, node: Registry) -> type:
    """The class that a part of a config names, in this registry first; ``object`` for none."""
    kind = find_component(cfg.get('type'), node)
    return kind if isinstance(kind, type) else object


def _problems(component: _Component) -> Iterator[tuple[str, str]]:
    key, cfg, place, target = component.key, component.cfg, component.place, component.target
    if target is None and not component.foreign:
        yield f'{key}.type', _unknown_type(cfg['type'], place.node)
    # A constructor decides what the optimizer wrapper gets.
    if target is None or 'constructor' in cfg:
        return
    names, required, closed = _arguments(target)
    takes = sorted(names - {*place.builders})
    kind = getattr(target, '__name__', target)
    given = {*cfg}
    if closed:
        for name in sorted(given - names - {*place.builders, 'type', '_scope_'}):
            wrong = f'{kind} has no such argument{nearest(name, takes)}; it takes {takes}'
            yield f'{key}.{name}', wrong
    if place.complete:
        for name in sorted(required - given - {*place.builders}):
            yield f'{key}.{name}', f'is missing; {kind} needs it'


def _unknown_type(kind: Any, node: Registry) -> str:
    if kind in _RENAMED:
        return f'{kind} is now called {_RENAMED[kind]}'
    known, parent = set(), node
    while parent is not None:
        known.update(parent.module_dict)
        parent = parent.parent
    return (
        f'there is no {node.name} {kind!r}{nearest(str(kind), sorted(known))}; '
        '`mmcoseg list components` shows ours, custom_imports brings in those of others'
    )


def _arguments(target: Callable) -> tuple[set[str], set[str], bool]:
    """Names of its arguments, those of its own without default, and whether it takes no others.

    The first have those of base classes, too, as far as it passes ``**kwargs`` on to them.
    """
    functions = [target]
    if inspect.isclass(target):
        functions = [vars(kind)['__init__'] for kind in target.__mro__ if '__init__' in vars(kind)]
    names, required, others = _parameters(functions[0])
    for function, base in pairwise(functions):
        if others is None or not _only_passes_on(function, others):
            break
        more, _, others = _parameters(base)
        names |= more
    return names, required, others is None


def _parameters(function: Callable) -> tuple[set[str], set[str], str | None]:
    """Names of its arguments, those without default, and the name of its ``**kwargs``."""
    try:
        spec = inspect.getfullargspec(function)
    except TypeError:  # of a class in C
        return set(), set(), 'any'
    names = {*spec.args, *spec.kwonlyargs} - {'self'}
    defaults = spec.args[len(spec.args) - len(spec.defaults or ()) :]
    return names, names - {*defaults, *(spec.kwonlydefaults or ())}, spec.varkw


def takes_argument(target: Callable, name: str) -> bool:
    """Whether a class or function may be given an argument of this name."""
    names, _, closed = _arguments(target)
    return name in names or not closed


def _only_passes_on(constructor: Callable, name: str) -> bool:
    """Whether a constructor gives its ``**name`` to the next one, and does nothing else with it."""
    try:
        source = inspect.getsource(constructor)
    except (OSError, TypeError):
        return False
    uses = re.findall(rf'(\*\*)?\b{name}\b', source)
    passes = re.search(rf'super\([^)]*\)\.__init__\(.*\*\*{name},?\s*\)', source, re.DOTALL)
    return uses == ['**', '**'] and passes is not None
