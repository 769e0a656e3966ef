"""Randomness inside the network as a function of the iteration."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS
from ...seeding import seed_torch

__all__ = ['IterationSeedHook']


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
