"""Guards of checkpoints, which ``engine.launch`` adds to every run."""

import itertools

from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from ...errors import MMCosegError
from ...registry import HOOKS

__all__ = ['BestScoreHook', 'PlainCheckpointHook']


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
