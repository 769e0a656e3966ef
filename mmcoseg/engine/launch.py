"""From the wishes of a command line to a run: what ``train`` and ``test`` do."""

import difflib
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader, Runner
from mmengine.utils import import_modules_from_strings

from ..compat import state_of_checkpoint, use_safe_checkpoints
from ..config_files import find_config
from ..datasets.base import group_names
from ..errors import MMCosegError
from ..evaluation.metrics.group_metric import GroupMetric
from ..models.backbones.weights import deferred_weights, load_unless_stored
from ..registry import DATASETS, LOOPS, METRICS, RUNNERS
from .hooks.best_score_hook import BestScoreHook
from .hooks.plain_checkpoint_hook import PlainCheckpointHook
from .loops.group_optimization_loop import GroupOptimizationLoop
from .quiet_runner import QuietRunner

__all__ = [
    'GroupsFailedError',
    'build_runner',
    'datasets_of',
    'keyed_datasets',
    'last_checkpoint',
    'load_config',
    'merge_options',
    'optimizes_groups',
    'read_config',
    'run_test',
    'run_training',
    'select_data',
]


#: Seconds for which processes that optimize groups wait for each other.
_PATIENCE = 14 * 24 * 3600
#: Keys that the runner and the inferencer look for at the top of a config, beside arguments.
_TOP_KEYS = (
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'test_pipeline',
)
#: The default hooks that mmengine has, and leaves out where a config says None.
_MMENGINE_HOOKS = frozenset(
    {'checkpoint', 'logger', 'param_scheduler', 'runtime_info', 'sampler_seed', 'timer'}
)


def optimizes_groups(cfg: Config) -> bool:
    """Whether a config's model is optimized on each of the groups that it is tested on.

    Such a model needs no checkpoint: training and testing are the same.
    """
    kind = (cfg.get('train_cfg') or {}).get('type')
    if isinstance(kind, str):
        kind = LOOPS.get(kind)
    return isinstance(kind, type) and issubclass(kind, GroupOptimizationLoop)


def load_config(
    name: str,
    cfg_options: dict[str, Any] | None = None,
    data_root: str | None = None,
    train_groups: Sequence[str] | None = None,
    test_groups: Sequence[str] | None = None,
    training: bool = False,
) -> Config:
    """Read a config, choose its data, and last apply single keys.

    Args:
        name: path or name, see :func:`mmcoseg.config_files.find_config`.
        cfg_options: dotted key -> value.
        data_root, train_groups, test_groups, training: see :func:`select_data`.
    """
    cfg = read_config(name)
    select_data(cfg, data_root, train_groups, test_groups, training)
    merge_options(cfg, cfg_options or {})
    return cfg


def read_config(name: str) -> Config:
    """Read a config, and import what its ``custom_imports`` name.

    Args:
        name: path or name, see :func:`mmcoseg.config_files.find_config`.

    Raises:
        FileNotFoundError: if there is no such config.
        ValueError, ImportError: if its ``custom_imports`` are wrong.
    """
    path = find_config(name)
    cfg = Config.fromfile(str(path), import_custom_modules=False)
    _import_custom(cfg, str(path))
    return cfg


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Set single keys of a config, in place.

    Args:
        cfg: the config.
        options: dotted key -> value. Keys that are not there are made, but not at the top, where
            nothing would ask for them.

    Raises:
        MMCosegError: naming a key that cannot be set.
        ImportError: if ``custom_imports`` are among them, and cannot be imported.
    """
    known = {*cfg.keys(), *signature(Runner).parameters, *_TOP_KEYS}
    for key, value in options.items():
        first = key.partition('.')[0]
        if first not in known:
            near = difflib.get_close_matches(first, known, n=1)
            hint = f'; did you mean {near[0]}?' if near else ''
            raise MMCosegError(
                f'{cfg.filename or "the config"} has no {first} to set {key} in{hint}'
            )
        _make_way(cfg, key)
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, AttributeError) as error:
            raise MMCosegError(
                f'{key} cannot be set to {value!r} in {cfg.filename or "the config"}: what stands '
                'before one of its dots is no dict, or a list of fewer entries'
            ) from error
    if any(key.partition('.')[0] == 'custom_imports' for key in options):
        _import_custom(cfg, '--cfg-options')


def _make_way(cfg: Config, key: str) -> None:
    """Make a dict of what is None on the way to a key."""
    node, names = cfg, key.split('.')
    for name in names[:-1]:
        if not isinstance(node, (Config, dict)) or name not in node:
            return
        if node[name] is None:
            node[name] = ConfigDict()
        node = node[name]


def _import_custom(cfg: Config, source: str) -> None:
    wanted = cfg.get('custom_imports')
    if not wanted:
        return
    if not isinstance(wanted, dict) or not set(wanted) <= {'imports', 'allow_failed_imports'}:
        raise MMCosegError(
            f'custom_imports of {source} must be dict(imports=[<modules>]), got {wanted!r}'
        )
    try:
        import_modules_from_strings(**wanted)
    except (ImportError, TypeError) as error:
        cause = error.__context__ if isinstance(error, ImportError) else None
        raise ImportError(
            f'custom_imports of {source}: {cause or error}; name modules that Python finds (their '
            'folder on PYTHONPATH, or installed)'
        ) from error


def select_data(
    cfg: Config,
    data_root: str | None = None,
    train_groups: Sequence[str] | None = None,
    test_groups: Sequence[str] | None = None,
    training: bool = False,
) -> None:
    """Say in a config, in place, where the data are and which groups train and which test.

    Data sets that are made up on the fly (without a ``data_root``) are left as they are wherever a
    config also has data sets in files. With ``train_groups``, where a category is a group, these
    are the only categories that count, and the classifiers of the modulators get one output each.

    Args:
        cfg: the config.
        data_root: folder of the data set, for the data sets of the config that lie in its
            top-level ``data_root``, or for all of them where they lie in one folder. Others keep
            theirs, which a message says.
        train_groups: names of the groups to train on.
        test_groups: names of the groups to validate and test on.
        training: the config is going to be trained, so that ``test_groups`` must not be among the
            groups it trains on. A finished model may be tested on any.

    Raises:
        MMCosegError: if groups are not given as a list.
        MMCosegError: if the config has no data set that the wish could apply to, or several of
            different folders and no ``data_root`` that tells which is meant; if a group is named
            twice, or would be used both in training and in testing, where at least one of the
            two is wished for; if a method that is optimized on the groups it is tested on is to
            train on others.
    """
    on_groups = optimizes_groups(cfg)
    if on_groups and train_groups is not None:
        raise MMCosegError(
            f'{cfg.filename or "the config"} is of a method that is optimized on the very groups '
            'it is tested on: choose them by --test-groups alone'
        )
    train = list(datasets_of(cfg.get('train_dataloader')))
    test = [*datasets_of(cfg.get('val_dataloader')), *datasets_of(cfg.get('test_dataloader'))]
    if on_groups:
        train, test = [], [*train, *test]
    if data_root is not None:
        _move_data(cfg, data_root)
    for option, groups, datasets in (
        ('--train-groups', train_groups, train),
        ('--test-groups', test_groups, test),
    ):
        if groups is None:
            continue
        if not datasets:
            raise MMCosegError(f'{option} fits no data set of {cfg.filename}: there is none')
        names = group_names(option, groups)
        for dataset in [d for d in datasets if _in_files(d)] or datasets:
            dataset.groups = list(names)
    if train_groups is not None or (training and test_groups is not None):
        _refuse_seen(train, test)
    if train_groups is not None and len(train) == 1 and _is_by_category(train[0]):
        modulators = (cfg.model.get('modulators') or {}).values()
        classifiers = [m for m in modulators if m and m.get('num_classes')]
        for classifier in classifiers:
            classifier.num_classes = len(train_groups)
        if classifiers:
            # A set that knows further categories would number them, too.
            known = dict(train[0].get('metainfo') or {})
            train[0].metainfo = dict(known, classes=sorted(train_groups))


def _is_by_category(dataset: ConfigDict) -> bool:
    kind = dataset.get('type')
    if isinstance(kind, str):
        kind = DATASETS.get(kind)
    return getattr(kind, 'BY_CATEGORY', False)


def _move_data(cfg: Config, data_root: str) -> None:
    datasets = {
        f'{key}.data_root': dataset
        for split in ('train', 'val', 'test')
        for key, dataset in keyed_datasets(cfg, split)
        if _in_files(dataset)
    }
    if not datasets:
        raise MMCosegError(
            f'--data-root {data_root} fits no data set of {cfg.filename}: none has a data_root'
        )
    roots = {key: dataset.data_root for key, dataset in datasets.items()}
    folders = {Path(root) for root in roots.values()}
    here = None if cfg.get('data_root') is None else Path(cfg.data_root)
    if len(folders) == 1:
        here = folders.pop()
    elif here not in folders:
        raise MMCosegError(
            f'--data-root {data_root} could be of any data set of {cfg.filename}, which lie in '
            'different folders; say which is meant, with --cfg-options: '
            + ' '.join(f'{key}={root}' for key, root in roots.items())
        )
    kept = {key: root for key, root in roots.items() if Path(root) != here}
    for key, dataset in datasets.items():
        if key not in kept:
            dataset.data_root = data_root
    if 'data_root' in cfg:
        cfg.data_root = data_root
    if kept:
        print_log(
            f'--data-root {data_root} is for the data sets in {here}; those in '
            f'{", ".join(dict.fromkeys(kept.values()))} stay (set {", ".join(kept)} with '
            '--cfg-options)',
            'current',
        )


def _refuse_seen(train: Sequence[ConfigDict], test: Sequence[ConfigDict]) -> None:
    # After the wishes were applied: the other side's groups may be those that the config names.
    names = [{g for dataset in part for g in dataset.get('groups') or ()} for part in (train, test)]
    both = sorted(names[0] & names[1])
    if both:
        raise MMCosegError(
            f'the groups {both} would be trained on and tested on; results on categories seen in '
            'training say nothing about unseen ones: name each only once, and give both '
            '--train-groups and --test-groups where those of the config do not fit'
        )


def _in_files(dataset: ConfigDict) -> bool:
    return dataset.get('data_root') is not None


def datasets_of(node: Any) -> Iterator[ConfigDict]:
    """Configs of the data sets in a dataloader's config, inside wrappers and named sets, too."""
    for _, dataset in _keyed(node, ''):
        yield dataset


def keyed_datasets(cfg: Config, split: str) -> Iterator[tuple[str, ConfigDict]]:
    """The data sets of a split, ``'train'``, ``'val'`` or ``'test'``, with their dotted keys."""
    yield from _keyed(cfg.get(f'{split}_dataloader'), f'{split}_dataloader')


def _keyed(node: Any, key: str) -> Iterator[tuple[str, ConfigDict]]:
    if isinstance(node, (list, tuple)):
        for i, part in enumerate(node):
            yield from _keyed(part, f'{key}.{i}')
    elif isinstance(node, dict):
        if 'dataset' in node or 'datasets' in node:
            yield from _leaves(node.get('dataset'), f'{key}.dataset')
            yield from _leaves(node.get('datasets'), f'{key}.datasets')
        elif 'type' not in node:  # MultiTestLoop's name -> dataloader
            for name, part in node.items():
                yield from _keyed(part, f'{key}.{name}')


def _leaves(node: Any, key: str) -> Iterator[tuple[str, ConfigDict]]:
    if isinstance(node, (list, tuple)):
        for i, part in enumerate(node):
            yield from _leaves(part, f'{key}.{i}')
    elif isinstance(node, dict):
        if 'dataset' in node or 'datasets' in node:
            yield from _keyed(node, key)
        else:
            yield key, node


def build_runner(
    cfg: Config,
    work_dir: str | None = None,
    launcher: str = 'none',
    local_rank: int | None = None,
    trust_checkpoint: bool = False,
    from_checkpoint: bool = False,
) -> Runner:
    """The runner of a config, with what depends on this machine filled in.

    Args:
        cfg: the config; ``work_dir``, ``launcher`` and, without a GPU, the distributed backend
            are set in place.
        work_dir: folder for checkpoints and logs; by default the config's, or
            ``work_dirs/<name of the config>``.
        launcher: ``'none'``, ``'pytorch'`` (torchrun), ``'slurm'`` or ``'mpi'``.
        local_rank: as old launchers pass it; the variable LOCAL_RANK wins.
        trust_checkpoint: see :func:`mmcoseg.compat.load_checkpoint_file`.
        from_checkpoint: the model is that of the checkpoint ``load_from``, so that no pretrained
            weights are asked for, but of backbones that the checkpoint leaves out.

    Raises:
        MMCosegError: if the checkpoint has a part of a backbone only.
    """
    if local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(local_rank))
    _set_work_dir(cfg, work_dir)
    cfg.launcher = launcher
    if launcher != 'none':
        if optimizes_groups(cfg):
            # A process that is done waits for the slowest, hours perhaps, where half an hour is
            # usual for torch.
            timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout', _PATIENCE)
            cfg.merge_from_dict({'env_cfg.dist_cfg.timeout': timeout})
        _prepare_processes(cfg)
    use_safe_checkpoints(trust_checkpoint)
    _set_default_hooks(cfg)
    if from_checkpoint and cfg.get('load_from') is not None:
        with deferred_weights() as noted:
            runner = _build(cfg)
        content = CheckpointLoader.load_checkpoint(cfg.load_from, map_location='cpu')
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        load_unless_stored(model, noted, state_of_checkpoint(content), cfg.load_from)
    else:
        runner = _build(cfg)
    runner.register_hook(PlainCheckpointHook())
    runner.register_hook(BestScoreHook())
    return runner


def _build(cfg: Config) -> Runner:
    return RUNNERS.build(cfg) if 'runner_type' in cfg else QuietRunner.from_cfg(cfg)


def _set_default_hooks(cfg: Config) -> None:
    """Leave out hooks of ours that are None, and say that a higher score is a better one.

    mmengine does the first only for its own hooks, and guesses the second by the scores' names.
    """
    hooks = cfg.get('default_hooks') or {}
    for name in [name for name, hook in hooks.items() if hook is None]:
        if name not in _MMENGINE_HOOKS:
            del hooks[name]
    checkpoint, evaluators = hooks.get('checkpoint'), cfg.get('val_evaluator') or []
    if not checkpoint or not checkpoint.get('save_best') or checkpoint.get('rule'):
        return
    evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
    kinds = [evaluator.get('type') for evaluator in evaluators]
    kinds = [METRICS.get(kind) if isinstance(kind, str) else kind for kind in kinds]
    if all(isinstance(kind, type) and issubclass(kind, GroupMetric) for kind in kinds):
        checkpoint.rule = 'greater'


def _set_work_dir(cfg: Config, work_dir: str | None) -> None:
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename or 'unnamed').stem)


def last_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint that a work folder's file ``last_checkpoint`` names, None where there is none.

    The name is an absolute path, which a folder that was moved or copied does not have any more:
    then it is the file of that name in the folder itself.

    Raises:
        FileNotFoundError: if the checkpoint is in neither place.
    """
    pointer = Path(work_dir) / 'last_checkpoint'
    named = pointer.read_text(encoding='utf-8').strip() if pointer.is_file() else ''
    if not named:
        return None
    if '://' in named or Path(named).is_file():
        return named
    here = pointer.with_name(Path(named).name)
    if not here.is_file():
        raise FileNotFoundError(
            f'{pointer} names {named}, which is neither there nor in {work_dir}; give a checkpoint '
            '(--resume CHECKPOINT), or start anew in another work folder'
        )
    return str(here)


def _prepare_processes(cfg: Config) -> None:
    """Make several processes work without a GPU, where mmengine only knows GPUs."""
    if torch.cuda.is_available():
        cfg.setdefault('sync_bn', 'torch')
        return
    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
    wrapper = cfg.get('model_wrapper_cfg') or dict(type='MMDistributedDataParallel')
    wrapper.setdefault('device_ids', None)
    wrapper.setdefault('broadcast_buffers', False)
    wrapper.setdefault('find_unused_parameters', cfg.get('find_unused_parameters', False))
    cfg.model_wrapper_cfg = wrapper
    if not torch.distributed.is_initialized():
        _name_process(cfg.launcher)
        timeout = cfg.env_cfg.dist_cfg.get('timeout')
        torch.distributed.init_process_group(
            'gloo', timeout=timedelta(seconds=timeout) if timeout else None
        )


def _name_process(launcher: str) -> None:
    """Tell torch by its own variables what slurm or MPI says of the process."""
    if launcher == 'slurm':
        theirs = dict(RANK='SLURM_PROCID', LOCAL_RANK='SLURM_LOCALID', WORLD_SIZE='SLURM_NTASKS')
        theirs['MASTER_ADDR'] = 'SLURM_NODELIST'
    elif launcher == 'mpi':
        prefix = 'OMPI_COMM_WORLD'
        theirs = {key: f'{prefix}_{key}' for key in ('RANK', 'LOCAL_RANK')}
        theirs['WORLD_SIZE'] = f'{prefix}_SIZE'
    else:
        return  # torchrun has done it
    if 'MASTER_ADDR' in os.environ:
        theirs.pop('MASTER_ADDR', None)
    missing = [name for name in theirs.values() if name not in os.environ]
    if missing:
        raise MMCosegError(
            f'--launcher {launcher} needs the variables {missing}, which are not set: start the '
            f'processes by {"srun" if launcher == "slurm" else "mpirun"}'
        )
    for ours, name in theirs.items():
        os.environ[ours] = os.environ[name]
    nodes = os.environ.get('MASTER_ADDR', '')
    if '[' in nodes or ',' in nodes:
        command = ['scontrol', 'show', 'hostnames', nodes]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        os.environ['MASTER_ADDR'] = listed.split()[0]
    os.environ.setdefault('MASTER_PORT', '29500')


def run_training(
    cfg: Config,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    **runner_options: Any,
) -> Runner:
    """Train, validating and saving as the config says.

    Args:
        cfg: the config, changed in place.
        work_dir: see :func:`build_runner`.
        resume: ``'auto'`` for the last checkpoint in the work folder (a new start if there is
            none), or a checkpoint's path. For a method that is optimized on each group,
            ``'auto'`` keeps the groups that are finished.
        amp: mixed precision: float16 with loss scaling on a GPU, bfloat16 elsewhere.
        auto_scale_lr: scale the learning rate by the global batch size over the config's
            ``auto_scale_lr.base_batch_size``.
        runner_options: the rest of :func:`build_runner`'s arguments.

    Raises:
        MMCosegError: if the config lacks what an option needs.
        FileNotFoundError: if the training set is not there (a validation set that is not is left
            out), the checkpoint to resume is not, or that which the work folder names as its last.
        GroupsFailedError: in the end, if groups could not be optimized.
    """
    if amp:
        _use_amp(cfg)
    if auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise MMCosegError(
                f'--auto-scale-lr needs auto_scale_lr.base_batch_size in {cfg.filename}'
            )
        cfg.auto_scale_lr.enable = True
    if optimizes_groups(cfg):
        if resume not in (None, 'auto'):
            raise MMCosegError(
                f'--resume {resume}: what is kept of a method that is optimized on each group are '
                'finished groups, in the work folder; give --resume alone'
            )
        cfg.resume, cfg.train_cfg.resume = False, resume == 'auto'
    elif resume == 'auto':
        _set_work_dir(cfg, work_dir)
        cfg.resume, cfg.load_from = True, last_checkpoint(cfg.work_dir)
    elif resume is not None:
        _require_file(resume)
        cfg.resume, cfg.load_from = True, resume
    _set_work_dir(cfg, work_dir)
    with _no_trace_of_failure(cfg.work_dir):
        runner = build_runner(cfg, from_checkpoint=bool(cfg.get('resume')), **runner_options)
        _build_loops(runner)
    runner.train()
    _report_failed(runner)
    return runner


@contextmanager
def _no_trace_of_failure(work_dir: str) -> Iterator[None]:
    """Meanwhile an error takes the work folder away again, unless it was there before."""
    folder = Path(work_dir)
    was_there = folder.exists()
    try:
        yield
    except BaseException:
        if not was_there:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _build_loops(runner: Runner) -> None:
    """Open the data sets before anything is run; that of the validation may be missing."""
    if runner.train_loop is None:
        return  # of which the runner says more
    try:
        _ = runner.val_loop
    except FileNotFoundError as error:
        runner._val_loop = None
        print_log(f'trained without validation: {error}', 'current', logging.WARNING)


class GroupsFailedError(MMCosegError):
    """Some groups could not be optimized, and are scored by the initial weights."""


def _report_failed(runner: Runner) -> None:
    failed = getattr(runner.train_loop, 'failed', None)
    # Only in one process: launchers end the others when the first one fails.
    if failed and runner.rank == 0:
        reasons = '\n'.join(failed[name] for name in sorted(failed))
        raise GroupsFailedError(
            f'{len(failed)} groups could not be optimized, and are scored by the initial weights; '
            f'a smaller learning rate, clipping (optim_wrapper.clip_grad) or no --amp may help\n'
            f'{reasons}'
        )


def _use_amp(cfg: Config) -> None:
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    name = 'AmpOptimWrapper' if torch.cuda.is_available() else 'BFloat16OptimWrapper'
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise MMCosegError(
            f'--amp replaces optim_wrapper.type by {name}, but {cfg.filename} has its own: {kind}; '
            'set mixed precision there'
        )
    cfg.optim_wrapper.type = name
    if name == 'AmpOptimWrapper':
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    else:
        cfg.optim_wrapper.pop('loss_scale', None)
        cfg.optim_wrapper.pop('dtype', None)


def run_test(
    cfg: Config,
    checkpoint: str | None = None,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    resume: bool = False,
    **runner_options: Any,
) -> dict[str, float]:
    """Test a model.

    Args:
        cfg: the config, changed in place.
        checkpoint: path of the weights; None or ``'none'`` for the config of a method that is not
            trained.
        work_dir: see :func:`build_runner`.
        out: folder for the predicted masks, ``<out>/<group>/<stem>.png``.
        show_dir: folder for one contact sheet a group.
        resume: of a method that is optimized on each group, keep the groups that are finished in
            the work folder.
        runner_options: the rest of :func:`build_runner`'s arguments.

    Returns:
        The metrics by name.

    Raises:
        MMCosegError: without a checkpoint of a model that is trained; to resume the test of a model
            that is not optimized on each group.
        FileNotFoundError: if there is no such checkpoint.
        GroupsFailedError: in the end, if groups could not be optimized.
    """
    on_groups = optimizes_groups(cfg)
    if on_groups:
        cfg.train_cfg.resume = resume
    elif resume:
        raise MMCosegError(
            f'--resume: {cfg.filename or "the config"} is not of a method that is optimized on '
            'each group, of whose test something is kept'
        )
    if checkpoint in (None, 'none'):
        checkpoint = cfg.get('load_from') if on_groups else None
        if not on_groups and cfg.get('train_cfg') is not None:
            raise MMCosegError(
                f'{cfg.filename or "the config"} is of a model that is trained: give the '
                'checkpoint to test'
            )
    else:
        _require_file(checkpoint)
    cfg.resume, cfg.load_from = False, checkpoint
    hooks = list(cfg.get('custom_hooks') or [])
    if out is not None:
        hooks.append(dict(type='SaveMasksHook', out_dir=out))
    cfg.custom_hooks = hooks
    if show_dir is not None:
        defaults = cfg.get('default_hooks') or {}
        drawn = dict(type='GroupVisualizationHook', draw=True, interval=1, out_dir=show_dir)
        drawn = {**(defaults.get('visualization') or {}), **drawn}
        cfg.default_hooks = {**defaults, 'visualization': drawn}
    runner = build_runner(cfg, work_dir, from_checkpoint=True, **runner_options)
    metrics = runner.test()
    if on_groups:
        _report_failed(runner)
    return metrics


def _require_file(path: str) -> None:
    if '://' not in path and not Path(path).expanduser().is_file():
        raise FileNotFoundError(f'there is no checkpoint {path}')
