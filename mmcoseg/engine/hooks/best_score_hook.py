"""Check that the score which chooses the best checkpoint exists."""

from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from ...errors import MMCosegError
from ...registry import HOOKS

__all__ = ['BestScoreHook']


@HOOKS.register_module()
class BestScoreHook(Hook):
    """Say which scores exist if ``CheckpointHook.save_best`` names another one.

    ``engine.launch`` adds this hook to every run.
    """

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
