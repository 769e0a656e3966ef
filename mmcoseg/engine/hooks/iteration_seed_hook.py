"""Randomness inside the network as a function of the iteration."""

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...registry import HOOKS

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
        sequence = np.random.SeedSequence((seed, runner.rank, runner.iter))
        # Seeds the CPU and all CUDA devices.
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
