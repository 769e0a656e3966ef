"""Randomness inside the network as a function of the iteration."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS
from ...seeding import seed_torch

__all__ = ['IterationSeedHook']


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seed torch before every training iteration from (seed, rank, iteration).

    Dropout and drop path then do not depend on what was drawn before, so that a resumed run
    equals an uninterrupted one. ``EpisodeSampler`` and ``CoSegDataset`` do the same for the data.

    Args:
        seed: None for the runner's seed.
    """

    # Before hooks that might draw, after RuntimeInfoHook.
    priority = 'HIGH'

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        seed = runner.seed if self.seed is None else self.seed
        seed_torch((seed, runner.rank, runner.iter))
