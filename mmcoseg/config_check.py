"""Check a config before anything is built: is each type known, and does it take its arguments?"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config
from mmengine.registry import FUNCTIONS, Registry

from . import registry as nodes
from .compat import quiet_imports
from .errors import MMCosegError
from .options import nearest

__all__ = ['CHECKED_KEYS', 'config_problems', 'errors_name_keys', 'require_sound']


@dataclass(frozen=True)
class _Place:
    """What stands below a key of a config.

    Attributes:
        node: the registry of its types.
        added: arguments that the builder adds to those in the config.
        removed: keys that the builder takes before it calls the constructor.
        complete: whether the config must have all other arguments that have no default. Models
            may add arguments to the configs of their parts, so those are seen when they are built.
    """

    node: Registry
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    complete: bool = True


_MODEL = _Place(nodes.MODELS, complete=False)
_LOOP = _Place(nodes.LOOPS, added=('runner', 'dataloader', 'evaluator'))
_DATASET = _Place(nodes.DATASETS)
_TRANSFORM = _Place(nodes.TRANSFORMS)
_FUNCTION = _Place(FUNCTIONS, complete=False)
_METRIC = _Place(nodes.METRICS)
_HOOK = _Place(nodes.HOOKS, removed=('priority',))
_OPTIM_WRAPPER = _Place(
    nodes.OPTIM_WRAPPERS, removed=('constructor', 'paramwise_cfg'), complete=False
)
_SCHEDULER = _Place(
    nodes.PARAM_SCHEDULERS, added=('optimizer',), removed=('convert_to_iter_based',)
)
#: Keys at the top of a config below which components are.
_TOP = {
    'model': _MODEL,
    'data_preprocessor': _MODEL,
    'model_wrapper_cfg': _Place(nodes.MODEL_WRAPPERS, added=('module',)),
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
    'visualizer': _Place(nodes.VISUALIZERS, removed=('name', 'save_dir')),
    'log_processor': _Place(nodes.LOG_PROCESSORS),
}
#: The keys at the top of a config that are checked.
CHECKED_KEYS = tuple(_TOP)
#: Keys further down, outside of models, below which components of another kind are.
_BELOW = {
    'sampler': _Place(nodes.DATA_SAMPLERS, added=('dataset', 'seed')),
    'batch_sampler': _Place(nodes.DATA_SAMPLERS, added=('sampler', 'batch_size')),
    'pipeline': _TRANSFORM,
    'transforms': _TRANSFORM,
    'collate_fn': _FUNCTION,
    'worker_init_fn': _FUNCTION,
    'optim_wrapper': _OPTIM_WRAPPER,
    'optimizer': _Place(nodes.OPTIMIZERS, added=('params',)),
    'param_scheduler': _SCHEDULER,
    'vis_backends': _Place(nodes.VISBACKENDS, added=('save_dir',)),
}
#: What types were called in earlier versions, and are called now.
_RENAMED = {'TimmFeatures': 'TimmModel', 'VGG16Pools': 'VGG16'}
#: Keys below the top, such as norm_cfg, of dicts that are no components, or of mmcv's own kind.
_OTHER = re.compile(r'\w+_cfg|\w*kwargs|metainfo')
_SUPER = re.compile(r'super\(.*\)\.__init__')
_NODES = tuple(node for node in vars(nodes).values() if isinstance(node, Registry))


@dataclass(frozen=True)
class _Component:
    """A dict with a type in a config.

    Attributes:
        target: the class or function of that type, if there is one.
        foreign: whether it is inside a component of others, where a type need not be a component.
    """

    key: str
    cfg: dict
    place: _Place
    target: Callable | None
    foreign: bool


def require_sound(cfg: Config, keys: tuple[str, ...] = CHECKED_KEYS) -> None:
    """Refuse a config with types or arguments that do not exist.

    Args:
        cfg: the config, with everything set that will be.
        keys: the keys at the top that are going to be used.

    Raises:
        MMCosegError: that names the keys, what is wrong, and the nearest right word.
    """
    problems = list(config_problems(cfg, keys))
    if problems:
        lines = ''.join(f'\n  {key}: {problem}' for key, problem in problems)
        raise MMCosegError(f'{cfg.filename or "the config"} cannot be built:{lines}')


def config_problems(cfg: Config, keys: tuple[str, ...] = CHECKED_KEYS) -> Iterator[tuple[str, str]]:
    """What is wrong with the types and arguments in a config, as (dotted key, message)."""
    quiet_imports()
    for key in keys:
        yield from _text_problems(cfg.get(key), key)
    for component in _components(cfg, keys):
        yield from _problems(component)


@contextmanager
def errors_name_keys(cfg: Config) -> Iterator[None]:
    """Meanwhile an argument that a constructor refuses, or a type that is not there, gets its key.

    For what :func:`require_sound` cannot see, such as arguments that a constructor passes on.

    Raises:
        MMCosegError: in place of the error of Python or of mmengine's registries.
    """
    try:
        yield
    except (TypeError, KeyError) as error:
        text = str(error.args[0]) if error.args else ''
        keys = _keys_of_error(cfg, text)
        if not keys:
            raise
        source = cfg.filename or 'the config'
        raise MMCosegError(
            f'{source}: {" or ".join(keys)} cannot be built: {text.partition(". Please")[0]}'
        ) from error


def _keys_of_error(cfg: Config, text: str) -> list[str]:
    """The keys of the components that an error in building one may be about."""
    refused = re.match(r'(\w+)\.__init__\(\) (?:got|missing|takes)', text)
    unknown = re.match(r'(\S+) is not in the \S+ registry', text)
    keys = []
    for component in _components(cfg, CHECKED_KEYS):
        if refused:
            classes = [base.__name__ for base in getattr(component.target, '__mro__', ())]
            if refused[1] in classes:
                keys.append(component.key)
        elif unknown and component.cfg['type'] == unknown[1]:
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
            target = _find(node['type'], place.node, scope)
            yield _Component(key, node, place, target, foreign)
            foreign = not getattr(target, '__module__', '').startswith('mmcoseg.')
    for name, part in parts:
        below = place if place is _MODEL else _BELOW.get(name, place)
        if not _OTHER.fullmatch(str(name)):
            yield from _walk(part, f'{key}.{name}', below, scope, foreign)


def _find(kind: Any, node: Registry, scope: str) -> Callable | None:
    """The class or function of a type: of this registry, or else of any other."""
    if not isinstance(kind, str):
        return kind if callable(kind) else None
    if node is FUNCTIONS:
        nodes.DATASETS.import_from_location()  # registers ours
    name = kind if scope == 'mmcoseg' or '.' in kind else f'{scope}.{kind}'
    for one in (node, *_NODES):
        found = one.get(name)
        if found is not None:
            return found
    return None


def _text_problems(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Dicts written as text, as one may try to set them on a command line."""
    if isinstance(node, str) and node.startswith('dict('):
        problem = f'is the text {node!r}; set single keys: --cfg-options {key}.type=...'
        yield key, problem
    elif isinstance(node, dict):
        for name, part in node.items():
            yield from _text_problems(part, f'{key}.{name}')


def _problems(component: _Component) -> Iterator[tuple[str, str]]:
    key, cfg, place, target = component.key, component.cfg, component.place, component.target
    if target is None:
        if not component.foreign:
            yield f'{key}.type', _unknown_type(cfg['type'], place.node)
        return
    if 'constructor' in cfg:
        return  # it decides what the optimizer wrapper gets
    arguments = _arguments(target)
    theirs = {*place.added, *place.removed}
    if arguments.closed:
        takes = sorted(arguments.names - theirs)
        for name in sorted(set(cfg) - arguments.names - theirs - {'type', '_scope_'}):
            hint = nearest(name, takes)
            yield f'{key}.{name}', f'{_name(target)} has no such argument{hint}; it takes {takes}'
    if place.complete:
        for name in sorted(arguments.required - set(cfg) - theirs):
            yield f'{key}.{name}', f'is missing; {_name(target)} needs it'


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


def _name(target: Callable) -> str:
    return getattr(target, '__name__', str(target))


@dataclass
class _Arguments:
    """What a class or function can be called with.

    Attributes:
        names: of its arguments, with those of base classes that it passes ``**kwargs`` on to.
        required: those of its own that have no default.
        closed: whether it takes no others.
    """

    names: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    closed: bool = False


def _arguments(target: Callable) -> _Arguments:
    arguments = _Arguments()
    for function in _functions(target):
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # of a class in C
            break
        if inspect.isclass(target):
            del parameters[0]  # self
        is_own = not arguments.names
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                arguments.names.add(parameter.name)
                if is_own and parameter.default is parameter.empty:
                    arguments.required.add(parameter.name)
        arguments.closed = not parameters or parameters[-1].kind is not parameters[-1].VAR_KEYWORD
        if arguments.closed or not _only_passes_on(function, parameters[-1].name):
            break
    return arguments


def _functions(target: Callable) -> list[Callable]:
    """What is called with the arguments: of a class its constructor, and those of its bases."""
    if not inspect.isclass(target):
        return [target]
    return [vars(kind)['__init__'] for kind in target.__mro__ if '__init__' in vars(kind)]


def _only_passes_on(constructor: Callable, name: str) -> bool:
    """Whether a constructor gives its ``**name`` to the next one, and does nothing else with it."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(constructor)))
    except (OSError, TypeError, SyntaxError):
        return False
    uses = passed_on = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == name:
            uses += 1
        elif isinstance(node, ast.Call) and _SUPER.fullmatch(ast.unparse(node.func)):
            passed_on += f'**{name})' in ast.unparse(node)
    return uses == passed_on == 1
