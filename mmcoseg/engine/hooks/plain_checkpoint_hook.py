"""Checkpoints that hold data only."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS

__all__ = ['PlainCheckpointHook']


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Leave functions out of what is saved of parameter schedulers.

    Some schedulers (OneCycleLR) put a method into their state, which could only be read back by
    unpickling code. They make it anew when they are constructed, so that nothing is lost.
    ``engine.launch`` adds this hook to every run.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        schedulers = checkpoint.get('param_schedulers', [])
        groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
        for group in groups:
            for state in group:
                for key in [key for key, value in state.items() if callable(value)]:
                    del state[key]
