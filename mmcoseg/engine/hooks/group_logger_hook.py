"""A log that does not repeat what the loop over groups writes."""

from typing import Any

from mmengine.hooks import LoggerHook

from ...registry import HOOKS

__all__ = ['GroupLoggerHook']


@HOOKS.register_module()
class GroupLoggerHook(LoggerHook):
    """``LoggerHook`` for ``GroupOptimizationLoop``: silent in training, as usual in testing.

    An epoch over a group has a handful of iterations, and ``LoggerHook`` would log the last of each
    epoch. The loop itself logs a few lines per group, with its name, and gives the losses of every
    epoch to the visualizer.

    Args:
        **options: those of ``LoggerHook``.
    """

    def after_train_iter(self, runner: Any, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        """Nothing."""
