"""Hooks that every run has; ``engine.launch`` adds those that guard its checkpoints."""

import itertools

from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from ...errors import MMCosegError
from ...registry import HOOKS
from ...seeding import seed_torch

__all__ = ['BestScoreHook', 'IterationSeedHook', 'PlainCheckpointHook']


@HOOKS.register_module()
class BestScoreHook(Hook):
    """Say which scores exist if ``CheckpointHook.save_best`` names another one."""

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Raises: MMCosegError: with the score and those that exist."""
        for hook in runner.hooks:
            wanted = hook.save_best if isinstance(hook, CheckpointHook) else None
            unknown = set(wanted or ()) - {'auto'} - set(metrics)
            if unknown:
                raise MMCosegError(
                    f'save_best of the checkpoint hook names {sorted(unknown)}, but the validation '
                    f'gives {list(metrics)}'
                )


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Leave functions out of what is saved of parameter schedulers.

    Some schedulers (OneCycleLR) put a method into their state, and reading it back would mean
    unpickling code. They create it again when they are constructed, so nothing is lost.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        schedulers = checkpoint.get('param_schedulers', [])
        groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
        for state in itertools.chain.from_iterable(groups):
            for key, value in list(state.items()):
                if callable(value):
                    del state[key]


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seed torch before every training iteration from (seed, rank, iteration).

    Dropout and drop path then do not depend on earlier random numbers, so a resumed run equals an
    uninterrupted one. ``EpisodeSampler`` and ``CoSegDataset`` do the same for the data.
    """

    # Before hooks that might draw random numbers, after RuntimeInfoHook.
    priority = 'HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        seed_torch((runner.seed, runner.rank, runner.iter))
