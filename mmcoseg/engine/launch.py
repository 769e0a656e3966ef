"""Run a config: what ``train`` and ``test`` do."""

import logging
import os
import subprocess
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader, Runner, find_latest_checkpoint

from ..compat import state_of_checkpoint, unwrapped, use_safe_checkpoints
from ..config_check import class_of, errors_name_keys, name_of
from ..errors import MMCosegError
from ..models.backbones.weights import deferred_weights, load_unless_stored
from ..options import one_of
from ..registry import DATASETS, LOOPS
from .hooks.run_hooks import BestScoreHook, PlainCheckpointHook
from .loops.multi_test_loop import MultiTestLoop
from .quiet_runner import QuietRunner
from .run_config import datasets_of, optimizes_groups

__all__ = ['GroupsFailedError', 'build_runner', 'last_checkpoint', 'run_test', 'run_training']


#: The default hooks that mmengine leaves out where they are None.
_HOOKS_OF_MMENGINE = frozenset(
    {'runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint'}
)


def build_runner(
    cfg: Config,
    launcher: str = 'none',
    trust_checkpoint: bool = False,
    from_checkpoint: bool = False,
) -> Runner:
    """The runner of a config, with what depends on this machine filled in, in place.

    Args:
        launcher: ``'none'``, ``'pytorch'`` (torchrun), ``'slurm'`` or ``'mpi'``.
        trust_checkpoint: see :func:`mmcoseg.compat.load_checkpoint_file`.
        from_checkpoint: the model is that of the checkpoint ``load_from``, so that no pretrained
            weights are asked for, but of backbones that the checkpoint leaves out.
    """
    _set_work_dir(cfg, None)
    cfg.launcher = launcher
    if launcher != 'none':
        _prepare_processes(cfg)
    use_safe_checkpoints(trust_checkpoint)
    hooks = cfg.get('default_hooks') or {}
    for name in set(hooks) - _HOOKS_OF_MMENGINE:
        if hooks[name] is None:
            del hooks[name]
    stored = from_checkpoint and cfg.get('load_from') is not None
    with deferred_weights() if stored else nullcontext() as noted, errors_name_keys(cfg):
        runner = QuietRunner.from_cfg(cfg)
    if stored:
        content = CheckpointLoader.load_checkpoint(cfg.load_from, map_location='cpu')
        load_unless_stored(
            unwrapped(runner.model), noted, state_of_checkpoint(content), cfg.load_from
        )
    runner.register_hook(PlainCheckpointHook())
    runner.register_hook(BestScoreHook())
    return runner


def _set_work_dir(cfg: Config, work_dir: str | None) -> None:
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename or 'unnamed').stem)


def last_checkpoint(work_dir: str | Path) -> str | None:
    """The checkpoint that a work folder's file ``last_checkpoint`` names, None where there is none.

    The name is an absolute path. In a folder that was moved it is the file of that name there.
    """
    named = find_latest_checkpoint(str(work_dir))
    if not named:
        return None
    if '://' in named or Path(named).is_file():
        return named
    here = Path(work_dir) / Path(named).name
    if here.is_file():
        return str(here)
    raise FileNotFoundError(
        f'last_checkpoint names {named}, which is neither there nor in {work_dir}; give a '
        'checkpoint (--resume CHECKPOINT), or start anew in another work folder'
    )


def _prepare_processes(cfg: Config) -> None:
    """Make several processes work without a GPU, where mmengine only knows GPUs."""
    options = cfg.get('env_cfg', {}).get('dist_cfg', {})
    if optimizes_groups(cfg):
        # A process that is done with its groups waits for the slowest, for hours perhaps.
        options = {'timeout': 14 * 24 * 3600, **options}
        cfg.merge_from_dict({'env_cfg.dist_cfg': options})
    if torch.cuda.is_available():
        cfg.setdefault('sync_bn', 'torch')
        return
    cfg.merge_from_dict({'env_cfg.dist_cfg.backend': 'gloo'})
    wrapper = dict(
        type='MMDistributedDataParallel',
        find_unused_parameters=cfg.get('find_unused_parameters', False),
        device_ids=None,
        broadcast_buffers=False,
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {})}
    if not torch.distributed.is_initialized():
        _name_process(cfg.launcher)
        timeout = timedelta(seconds=options.get('timeout', 1800))
        torch.distributed.init_process_group('gloo', timeout=timeout)


#: What launchers call the variables by which torch names a process; torchrun sets torch's own.
_PROCESS_VARIABLES = {
    'slurm': dict(RANK='SLURM_PROCID', LOCAL_RANK='SLURM_LOCALID', WORLD_SIZE='SLURM_NTASKS'),
    'mpi': dict(
        RANK='OMPI_COMM_WORLD_RANK',
        LOCAL_RANK='OMPI_COMM_WORLD_LOCAL_RANK',
        WORLD_SIZE='OMPI_COMM_WORLD_SIZE',
    ),
    'pytorch': {},
}


def _name_process(launcher: str) -> None:
    """Tell torch by its own variables what slurm or MPI says of the process."""
    theirs = _PROCESS_VARIABLES[launcher]
    missing = [name for name in theirs.values() if name not in os.environ]
    if missing:
        raise MMCosegError(
            f'--launcher {launcher} needs the variables {missing}, which are not set: start the '
            'processes by srun (slurm) or mpirun (mpi)'
        )
    for ours, name in theirs.items():
        os.environ[ours] = os.environ[name]
    os.environ.setdefault('MASTER_PORT', '29500')
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']]
        nodes = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        os.environ['MASTER_ADDR'] = nodes.split()[0]


def run_training(
    cfg: Config,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    **runner_options: Any,
) -> None:
    """Train, validating and saving as the config says, which is changed in place.

    Args:
        resume: ``'auto'`` for the last checkpoint in the work folder (a new start if there is
            none), or a checkpoint's path. For a method that is optimized on each group,
            ``'auto'`` keeps the groups that are finished.
        amp: mixed precision: float16 with loss scaling on a GPU, bfloat16 elsewhere.
        auto_scale_lr: scale the learning rate by the global batch size over the config's
            ``auto_scale_lr.base_batch_size``.
        work_dir: folder for checkpoints and logs; by default the config's, or
            ``work_dirs/<name of the config>``.
        runner_options: see :func:`build_runner`.

    Raises:
        GroupsFailedError: in the end, if groups could not be optimized.
    """
    on_groups = optimizes_groups(cfg)
    if amp:
        _use_amp(cfg.test_cfg.optim_wrapper if on_groups else cfg.optim_wrapper)
    if auto_scale_lr:
        cfg.merge_from_dict({'auto_scale_lr.enable': True})
        if not on_groups and 'base_batch_size' not in cfg.auto_scale_lr:
            raise MMCosegError(
                f'--auto-scale-lr needs auto_scale_lr.base_batch_size in {cfg.filename}'
            )
    if on_groups:
        if resume not in (None, 'auto'):
            raise MMCosegError(
                f'--resume {resume}: such a method keeps finished groups, in the work folder; '
                'give --resume alone'
            )
        run_test(cfg, work_dir=work_dir, resume=resume is not None, **runner_options)
        return
    _set_work_dir(cfg, work_dir)
    if resume is not None:
        cfg.resume = True
        cfg.load_from = last_checkpoint(cfg.work_dir) if resume == 'auto' else resume
    _leave_out_missing_validation(cfg)
    from_checkpoint = bool(cfg.get('resume'))
    _ready_runner(cfg, 'train_loop', from_checkpoint=from_checkpoint, **runner_options).train()


def _ready_runner(cfg: Config, loop: str, **options: Any) -> Runner:
    """The runner of a config, its loop built."""
    runner = build_runner(cfg, **options)
    with errors_name_keys(cfg):
        getattr(runner, loop)
    return runner


def _leave_out_missing_validation(cfg: Config) -> None:
    """Train without validation where its data set is not there."""
    datasets = list(datasets_of(cfg.get('val_dataloader')))
    missing = []
    for dataset in datasets:
        try:
            DATASETS.build(dict(dataset, lazy_init=False))
        except FileNotFoundError as error:
            missing.append(str(error))
    # MultiTestLoop leaves single sets out by itself.
    by_set = issubclass(class_of(cfg.get('val_cfg') or {}, LOOPS), MultiTestLoop)
    if missing and not (by_set and len(missing) < len(datasets)):
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        print_log(f'trained without validation: {missing[0]}', 'current', logging.WARNING)


class GroupsFailedError(MMCosegError):
    """Some groups could not be optimized, and are scored by the initial weights."""


def _use_amp(wrapper: ConfigDict) -> None:
    kinds = Literal['OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper']
    one_of('--amp replaces optim_wrapper.type, which', wrapper.get('type', 'OptimWrapper'), kinds)
    if torch.cuda.is_available():
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        wrapper.type = 'BFloat16OptimWrapper'
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
    """Test a model, and return the metrics by name; the config is changed in place.

    Args:
        checkpoint: path of the weights; None or ``'none'`` for the config of a method that is not
            trained.
        out: folder for the predicted masks, ``<out>/<group>/<stem>.png``.
        show_dir: folder for one contact sheet a group.
        resume: of a method that is optimized on each group, keep the groups that are finished in
            the work folder.
        work_dir: see :func:`run_training`.
        runner_options: see :func:`build_runner`.

    Raises:
        MMCosegError: without a checkpoint of a model that is trained; to resume the test of a model
            that is not optimized on each group.
        GroupsFailedError: in the end, if groups could not be optimized.
    """
    _set_start(cfg, checkpoint, resume)
    if out is not None:
        masks = dict(type='SaveMasksHook', out_dir=out)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), masks]
    if show_dir is not None:
        sheets = dict(type='GroupVisualizationHook', draw=True, out_dir=show_dir)
        cfg.default_hooks = {**(cfg.get('default_hooks') or {}), 'visualization': sheets}
    _set_work_dir(cfg, work_dir)
    runner = _ready_runner(cfg, 'test_loop', from_checkpoint=True, **runner_options)
    metrics = runner.test()
    failed = getattr(runner.test_loop, 'failed', {})
    # Only in one process: launchers end the others when the first one fails.
    if failed and runner.rank == 0:
        reasons = '\n'.join(map(failed.get, sorted(failed)))
        raise GroupsFailedError(
            f'{len(failed)} groups could not be optimized, and are scored by the initial weights; '
            'a smaller learning rate, clipping (test_cfg.optim_wrapper.clip_grad) or no --amp may '
            f'help\n{reasons}'
        )
    return metrics


def _set_start(cfg: Config, checkpoint: str | None, resume: bool) -> None:
    """Set the weights that a test starts from, and whether it keeps finished groups."""
    name = name_of(cfg)
    on_groups = optimizes_groups(cfg)
    if on_groups:
        cfg.test_cfg.resume = resume
    elif resume:
        raise MMCosegError(
            f'--resume: {name} is not of a method that is optimized on each group, which alone '
            'keeps a part of a test'
        )
    cfg.resume = False
    if checkpoint not in (None, 'none'):
        cfg.load_from = checkpoint
    elif not on_groups:
        if cfg.get('train_cfg') is not None:
            raise MMCosegError(
                f'{name} has a model that must be trained: give the checkpoint to test'
            )
        cfg.load_from = None
