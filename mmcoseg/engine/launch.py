"""Run a config: what ``train`` and ``test`` do."""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader, Runner

from ..compat import state_of_checkpoint, use_safe_checkpoints
from ..config_check import errors_name_keys
from ..errors import MMCosegError
from ..evaluation.metrics.group_metric import GroupMetric
from ..models.backbones.weights import deferred_weights, load_unless_stored
from ..registry import DATASETS, METRICS, RUNNERS
from .hooks.best_score_hook import BestScoreHook
from .hooks.plain_checkpoint_hook import PlainCheckpointHook
from .quiet_runner import QuietRunner
from .run_config import datasets_of, optimizes_groups

__all__ = ['GroupsFailedError', 'build_runner', 'last_checkpoint', 'run_test', 'run_training']

#: Seconds for which processes that optimize groups wait for each other.
_PATIENCE = 14 * 24 * 3600
#: The default hooks that mmengine has, and leaves out where a config says None.
_MMENGINE_HOOKS = frozenset(
    {'checkpoint', 'logger', 'param_scheduler', 'runtime_info', 'sampler_seed', 'timer'}
)


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
    _leave_out_hooks(cfg)
    _say_which_score_is_best(cfg)
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
    with errors_name_keys(cfg):
        return RUNNERS.build(cfg) if 'runner_type' in cfg else QuietRunner.from_cfg(cfg)


def _leave_out_hooks(cfg: Config) -> None:
    """Leave out default hooks that are None, which mmengine does only for its own."""
    hooks = cfg.get('default_hooks') or {}
    for name, hook in list(hooks.items()):
        if hook is None and name not in _MMENGINE_HOOKS:
            del hooks[name]


def _say_which_score_is_best(cfg: Config) -> None:
    """A higher score of ours is a better one; mmengine guesses that by the scores' names."""
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if not checkpoint.get('save_best') or checkpoint.get('rule'):
        return
    evaluators = cfg.get('val_evaluator') or []
    evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
    if all(_is_ours(evaluator.get('type')) for evaluator in evaluators):
        checkpoint.rule = 'greater'


def _is_ours(kind: Any) -> bool:
    kind = METRICS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, GroupMetric)


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


#: What launchers call the variables by which torch names a process.
_PROCESS_VARIABLES = {
    'slurm': dict(
        RANK='SLURM_PROCID',
        LOCAL_RANK='SLURM_LOCALID',
        WORLD_SIZE='SLURM_NTASKS',
        MASTER_ADDR='SLURM_NODELIST',
    ),
    'mpi': dict(
        RANK='OMPI_COMM_WORLD_RANK',
        LOCAL_RANK='OMPI_COMM_WORLD_LOCAL_RANK',
        WORLD_SIZE='OMPI_COMM_WORLD_SIZE',
    ),
    'pytorch': {},  # torchrun sets torch's own
}


def _name_process(launcher: str) -> None:
    """Tell torch by its own variables what slurm or MPI says of the process."""
    theirs = dict(_PROCESS_VARIABLES[launcher])
    if not theirs:
        return
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
    _set_work_dir(cfg, work_dir)
    if resume is not None:
        _resume(cfg, resume)
    on_groups = optimizes_groups(cfg)
    _leave_out_missing_validation(cfg)
    with _no_trace_of_failure(cfg.work_dir):
        runner = build_runner(cfg, from_checkpoint=bool(cfg.get('resume')), **runner_options)
        with errors_name_keys(cfg):
            _ = runner.test_loop if on_groups else runner.train_loop
    if on_groups:
        runner.test()
        _report_failed(runner)
    else:
        runner.train()
    return runner


def _resume(cfg: Config, resume: str) -> None:
    """Set in a config where its training goes on, see :func:`run_training`."""
    if optimizes_groups(cfg):
        if resume != 'auto':
            raise MMCosegError(
                f'--resume {resume}: a method that is optimized on each group keeps finished '
                'groups, in the work folder; give --resume alone'
            )
        cfg.resume, cfg.test_cfg.resume = False, True
    elif resume == 'auto':
        cfg.resume, cfg.load_from = True, last_checkpoint(cfg.work_dir)
    else:
        _require_file(resume)
        cfg.resume, cfg.load_from = True, resume


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


def _leave_out_missing_validation(cfg: Config) -> None:
    """Train without validation where its data set is not there."""
    for dataset in datasets_of(cfg.get('val_dataloader')):
        try:
            DATASETS.build(dict(dataset, lazy_init=False))
        except FileNotFoundError as error:
            cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
            print_log(f'trained without validation: {error}', 'current', logging.WARNING)
            return


class GroupsFailedError(MMCosegError):
    """Some groups could not be optimized, and are scored by the initial weights."""


def _report_failed(runner: Runner) -> None:
    failed = runner.test_loop.failed
    # Only in one process: launchers end the others when the first one fails.
    if failed and runner.rank == 0:
        reasons = '\n'.join(failed[name] for name in sorted(failed))
        raise GroupsFailedError(
            f'{len(failed)} groups could not be optimized, and are scored by the initial weights; '
            'a smaller learning rate, clipping (test_cfg.optim_wrapper.clip_grad) or no --amp may '
            f'help\n'
            f'{reasons}'
        )


def _use_amp(cfg: Config) -> None:
    wrapper = cfg.test_cfg.optim_wrapper if optimizes_groups(cfg) else cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    name = 'AmpOptimWrapper' if torch.cuda.is_available() else 'BFloat16OptimWrapper'
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise MMCosegError(
            f'--amp replaces optim_wrapper.type by {name}, but {cfg.filename} has its own: {kind}; '
            'set mixed precision there'
        )
    wrapper.type = name
    if name == 'AmpOptimWrapper':
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        wrapper.pop('loss_scale', None)
        wrapper.pop('dtype', None)


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
        cfg.test_cfg.resume = resume
    elif resume:
        raise MMCosegError(
            f'--resume: {cfg.filename or "the config"} is not of a method that is optimized on '
            'each group, which alone keeps a part of a test'
        )
    cfg.resume, cfg.load_from = False, _checkpoint_to_test(cfg, checkpoint)
    hooks = list(cfg.get('custom_hooks') or [])
    if out is not None:
        hooks.append(dict(type='SaveMasksHook', out_dir=out))
    cfg.custom_hooks = hooks
    if show_dir is not None:
        defaults = cfg.get('default_hooks') or {}
        drawn = dict(type='GroupVisualizationHook', draw=True, out_dir=show_dir)
        drawn = {**(defaults.get('visualization') or {}), **drawn}
        cfg.default_hooks = {**defaults, 'visualization': drawn}
    runner = build_runner(cfg, work_dir, from_checkpoint=True, **runner_options)
    with errors_name_keys(cfg):
        _ = runner.test_loop
    metrics = runner.test()
    if on_groups:
        _report_failed(runner)
    return metrics


def _checkpoint_to_test(cfg: Config, checkpoint: str | None) -> str | None:
    if checkpoint not in (None, 'none'):
        _require_file(checkpoint)
        return checkpoint
    if optimizes_groups(cfg):
        return cfg.get('load_from')
    if cfg.get('train_cfg') is not None:
        raise MMCosegError(
            f'{cfg.filename or "the config"} is of a model that is trained: give the checkpoint '
            'to test'
        )
    return None


def _require_file(path: str) -> None:
    if '://' not in path and not Path(path).expanduser().is_file():
        raise FileNotFoundError(f'there is no checkpoint {path}')
