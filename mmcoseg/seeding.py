"""Randomness as a function of what it belongs to, not of what was drawn before."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ['all_seeded', 'entropy_of', 'random_state', 'seed_torch']


def entropy_of(seed: int, group: str, *numbers: int) -> tuple[int, ...]:
    """Entropy for ``numpy.random.SeedSequence`` that is a function of these alone."""
    # Names of folders may be of bytes that are no text.
    digest = hashlib.sha256(group.encode(errors='surrogateescape')).digest()
    return (seed, int.from_bytes(digest[:8], 'big'), *numbers)


def seed_torch(entropy: tuple[int, ...]) -> None:
    """Seed torch's generators, of the CPU and of all GPUs."""
    state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> 1))


@contextmanager
def _put_back() -> Iterator[None]:
    """Let ``random`` and ``numpy.random`` go on outside as if nothing happened inside."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def random_state(entropy: tuple[int, ...]) -> Iterator[None]:
    """Seed ``random`` and ``numpy.random`` inside; they go on outside as if nothing happened."""
    python, numpy = np.random.SeedSequence(entropy).generate_state(2)
    with _put_back():
        random.seed(int(python))
        np.random.seed(int(numpy))
        yield


@contextmanager
def all_seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed all generators inside; they go on outside as if nothing happened."""
    with _put_back(), torch.random.fork_rng([device] if device.type == 'cuda' else []):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        yield
