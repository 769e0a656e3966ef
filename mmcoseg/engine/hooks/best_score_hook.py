"""Whether there is a score by which the best checkpoint is to be chosen."""

from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from ...errors import MMCosegError
from ...registry import HOOKS

__all__ = ['BestScoreHook']


@HOOKS.register_module()
class BestScoreHook(Hook):
    """Say which scores there are, where ``CheckpointHook.save_best`` names one that there is not.

    ``engine.launch`` adds this hook to every run.
    """

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Raises: MMCosegError: naming the score and those that there are."""
        for hook in runner.hooks:
            wanted = hook.save_best if isinstance(hook, CheckpointHook) else None
            unknown = set(wanted or ()) - {'auto'} - set(metrics)
            if unknown:
                raise MMCosegError(
                    f'save_best of the checkpoint hook names {sorted(unknown)}, but the validation '
                    f'gives {list(metrics)}'
                )
