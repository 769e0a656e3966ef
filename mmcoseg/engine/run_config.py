"""From the wishes of a command line to the config of a run."""

import os
from collections.abc import Iterator, Sequence
from inspect import signature
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.utils import ConfigParsingError
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from ..compat import our_configs_as_bases
from ..config_check import class_of, name_of, require_sound, takes_argument
from ..config_files import find_config
from ..datasets.base import group_names
from ..errors import MMCosegError
from ..options import known_keys, nearest
from ..registry import DATASETS, LOOPS
from .loops.group_optimization_loop import GroupOptimizationLoop

__all__ = [
    'datasets_of',
    'hand_over_input_size',
    'keyed_datasets',
    'load_config',
    'merge_options',
    'optimizes_groups',
    'read_config',
    'select_data',
]

#: Keys that the runner and the inferencer look for at the top of a config, beside arguments.
_TOP_KEYS = (
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'sync_bn',
    'test_pipeline',
)


def optimizes_groups(cfg: Config) -> bool:
    """Whether a config's model is optimized on each group that it is tested on."""
    return issubclass(class_of(cfg.get('test_cfg') or {}, LOOPS), GroupOptimizationLoop)


def load_config(
    name: str,
    cfg_options: dict[str, Any] | None = None,
    data_root: str | None = None,
    train_groups: Sequence[str] | None = None,
    test_groups: Sequence[str] | None = None,
    training: bool = False,
    check: bool = True,
) -> Config:
    """Read a config, choose its data, set single keys, and check what it names.

    Args:
        name: path or name.
        cfg_options: see :func:`merge_options`.
        data_root, train_groups, test_groups, training: see :func:`select_data`.
        check: refuse types and arguments that do not exist.
    """
    cfg = read_config(name)
    select_data(cfg, data_root, train_groups, test_groups, training)
    merge_options(cfg, cfg_options)
    hand_over_input_size(cfg)
    if check:
        require_sound(cfg)
    return cfg


def read_config(name: str) -> Config:
    """Read a config by path or name, and import what its ``custom_imports`` name.

    A config anywhere can inherit one of the toolbox: ``_base_ = 'mmcoseg::ssnm/...'``.
    """
    path = str(find_config(name))
    try:
        with our_configs_as_bases():
            cfg = Config.fromfile(path, import_custom_modules=False)
    except (ConfigParsingError, AssertionError, SyntaxError, UnicodeDecodeError) as error:
        raise MMCosegError(f'{path} cannot be read as a config: {error}') from error
    _import_custom(cfg, path)
    return cfg


def merge_options(cfg: Config, options: dict[str, Any] | None) -> None:
    """Set single keys (dotted key -> value) of a config, in place.

    Keys that are not there are made, but not at the top, where nothing would ask for them.
    """
    name = name_of(cfg)
    known = {*cfg.keys(), *signature(Runner).parameters, *_TOP_KEYS}
    for key, value in (options or {}).items():
        first = key.partition('.')[0]
        if first not in known:
            raise MMCosegError(
                f'{name} has no {first} to set {key} in{nearest(first, sorted(known))}'
            )
        parent = _make_way(cfg, key)
        if value is None:
            _require_removable(parent, key)
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, AttributeError) as error:
            raise MMCosegError(
                f'{key} cannot be set to {value!r} in {name}: what stands before one of its dots '
                'is no dict, or a list of fewer entries'
            ) from error
        if first == 'custom_imports':
            _import_custom(cfg, '--cfg-options')


def hand_over_input_size(cfg: Config) -> None:
    """Tell data sets the network's input size, for ``ResizeToInput`` in their pipelines."""
    preprocessor = cfg.get('model', {}).get('data_preprocessor', {})
    if preprocessor.get('size') is None:
        return
    network_input = dict(
        input_size=tuple(preprocessor.size),
        interpolation=preprocessor.get('interpolation', 'area'),
    )
    for _, dataset in keyed_datasets(cfg):
        if takes_argument(class_of(dataset, DATASETS), 'network_input'):
            dataset.setdefault('network_input', network_input)


def _make_way(cfg: Config, key: str) -> Any:
    """Make a dict of what is None on the way to a key; returns what the key is in."""
    node = cfg
    for name in key.split('.')[:-1]:
        if not isinstance(node, (Config, dict)) or name not in node:
            return None
        if node[name] is None:
            node[name] = ConfigDict()
        node = node[name]
    return node


def _require_removable(parts: Any, key: str) -> None:
    """Refuse to take a part out of a model's stages, losses and the like that is not there."""
    where, _, name = key.rpartition('.')
    if where.startswith('model.') and isinstance(parts, dict):
        if all(isinstance(part, dict | None) for part in parts.values()):
            known_keys(where, [name], parts)


def _import_custom(cfg: Config, source: str) -> None:
    wanted = cfg.get('custom_imports') or {'imports': None}
    try:
        import_modules_from_strings(**wanted)
    except (ImportError, TypeError) as error:
        raise ImportError(
            f'custom_imports of {source}: {error.__context__ or error}; it must be '
            'dict(imports=[<modules>]), of modules that Python finds (their folder on PYTHONPATH, '
            'or installed)'
        ) from error


def select_data(
    cfg: Config,
    data_root: str | None = None,
    train_groups: Sequence[str] | None = None,
    test_groups: Sequence[str] | None = None,
    training: bool = False,
) -> None:
    """Set in a config, in place, where the data are, which groups train, and which test.

    Data sets that are made up (without a ``data_root``) are left as they are where the config also
    has some in files. First, the environment variable ``MMCOSEG_DATA`` names the folder that the
    configs of the toolbox call ``data``.

    Args:
        data_root: replaces the folder of all data sets or, where they lie in several, the config's
            top-level ``data_root``. Data sets outside of it stay, which a message says.
        train_groups: names of the groups to train on. Where a category is a group, the modulators
            classify exactly these.
        test_groups: names of the groups to validate and test on.
        training: refuse ``test_groups`` that the config trains on. A finished model may be tested
            on any.

    Raises:
        MMCosegError: for groups that are not different names, a wish that fits no data set or
            several, and a group used both in training and in testing.
    """
    train = list(datasets_of(cfg.get('train_dataloader')))
    test = [*datasets_of(cfg.get('val_dataloader')), *datasets_of(cfg.get('test_dataloader'))]
    if train_groups is not None and optimizes_groups(cfg):
        raise MMCosegError(
            f'{name_of(cfg)} is of a method that is optimized on the very groups '
            'it is tested on: choose them by --test-groups alone'
        )
    _move(cfg, 'data', os.environ.get('MMCOSEG_DATA', 'data'))
    if data_root is not None:
        _set_data_root(cfg, data_root)
    _choose_groups(cfg, '--train-groups', train_groups, train)
    _choose_groups(cfg, '--test-groups', test_groups, test)
    if train_groups is not None or (training and test_groups is not None):
        _refuse_seen(train, test)
    if train_groups is not None and len(train) == 1:
        _fit_classifiers(cfg, train[0])


def _choose_groups(
    cfg: Config, option: str, groups: Sequence[str] | None, datasets: Sequence[ConfigDict]
) -> None:
    if groups is None:
        return
    if not datasets:
        raise MMCosegError(f'{option} fits no data set of {cfg.filename}: there is none')
    names = group_names(option, groups)
    in_files = [dataset for dataset in datasets if dataset.get('data_root')]
    for dataset in in_files or datasets:
        dataset.groups = list(names)


def _refuse_seen(train: Sequence[ConfigDict], test: Sequence[ConfigDict]) -> None:
    # After the wishes were applied: the other side's groups may be those that the config names.
    trained = chain.from_iterable(dataset.get('groups') or () for dataset in train)
    tested = chain.from_iterable(dataset.get('groups') or () for dataset in test)
    both = sorted(set(trained).intersection(tested))
    if both:
        raise MMCosegError(
            f'the groups {both} would be trained on and tested on; results on categories seen in '
            'training say nothing about unseen ones: name each only once, and give both '
            '--train-groups and --test-groups where those of the config do not fit'
        )


def _fit_classifiers(cfg: Config, dataset: ConfigDict) -> None:
    """Where a category is a group, give the modulators that classify one output for each."""
    if not getattr(class_of(dataset, DATASETS), 'BY_CATEGORY', False):
        return
    for modulator in (cfg.model.get('modulators') or {}).values():
        if modulator and modulator.get('num_classes'):
            modulator.num_classes = len(dataset.groups)
            # A set that knows further categories would number them, too.
            metainfo = dataset.get('metainfo') or {}
            dataset.metainfo = {**metainfo, 'classes': sorted(dataset.groups)}


def _set_data_root(cfg: Config, data_root: str) -> None:
    roots = _roots(cfg)
    if not roots:
        raise MMCosegError(
            f'--data-root {data_root} fits no data set of {cfg.filename}: none has a data_root'
        )
    folders = {Path(root) for root in roots.values()}
    old = folders.pop() if len(folders) == 1 else cfg.get('data_root')
    kept = roots if old is None else _move(cfg, old, data_root)
    if kept == roots:
        raise MMCosegError(
            f'--data-root {data_root} could be of any data set of {cfg.filename}, which lie in '
            'different folders; set MMCOSEG_DATA to the folder that has all of them, or say which '
            f'is meant, with --cfg-options: {_listed(roots)}'
        )
    if 'data_root' in cfg:
        cfg.data_root = data_root
    if kept:
        print_log(
            f'--data-root {data_root} is for the data sets in {old}; others stay, which you can '
            f'set with --cfg-options: {_listed(kept)}',
            'current',
        )


def _listed(roots: dict[str, str]) -> str:
    return ' '.join(f'{key}={root}' for key, root in roots.items())


def _roots(cfg: Config) -> dict[str, str]:
    """The folders of the data sets that lie in files, by their dotted keys."""
    roots = {}
    for key, dataset in keyed_datasets(cfg):
        if dataset.get('data_root') is not None:
            roots[f'{key}.data_root'] = dataset.data_root
    return roots


def _move(cfg: Config, old: str | Path, new: str) -> dict[str, str]:
    """Put ``new`` in place of the folder ``old`` in all paths; returns those outside of it."""
    kept = _roots(cfg)
    for key, node in [('', cfg), *keyed_datasets(cfg)]:
        root = node.get('data_root')
        if root is not None and Path(root).is_relative_to(old):
            node.data_root = str(Path(new) / Path(root).relative_to(old))
            kept.pop(f'{key}.data_root', None)
    return kept


def datasets_of(node: Any) -> Iterator[ConfigDict]:
    """Configs of the data sets in a dataloader's config, inside wrappers and named sets, too."""
    for _, dataset in _keyed(node, ''):
        yield dataset


def keyed_datasets(cfg: Config) -> Iterator[tuple[str, ConfigDict]]:
    """All data sets of a config with their dotted keys."""
    for split in ('train', 'val', 'test'):
        yield from _keyed(cfg.get(f'{split}_dataloader'), f'{split}_dataloader')


def _keyed(node: Any, key: str) -> Iterator[tuple[str, ConfigDict]]:
    if isinstance(node, (list, tuple)):
        for number, part in enumerate(node):
            yield from _keyed(part, f'{key}.{number}')
    if not isinstance(node, dict):
        return
    wrapped = node.keys() & {'dataset', 'datasets'}
    if '.dataset' in key and not wrapped:
        yield key, node
        return
    # Other names are those of MultiTestLoop's dataloaders.
    for name in wrapped or node:
        yield from _keyed(node[name], f'{key}.{name}')
