"""Checkpoints that hold data only."""

import itertools

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS

__all__ = ['PlainCheckpointHook']


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Leave functions out of what is saved of parameter schedulers.

    Some schedulers (OneCycleLR) put a method into their state, and reading it back would mean
    unpickling code. They create it again when they are constructed, so nothing is lost.
    ``engine.launch`` adds this hook to every run.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        schedulers = checkpoint.get('param_schedulers', [])
        groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
        for state in itertools.chain.from_iterable(groups):
            for key, value in list(state.items()):
                if callable(value):
                    del state[key]
