"""How many threads or processes a machine should be given, and a pool of processes."""

from joblib import cpu_count

__all__ = ['default_workers']


def default_workers() -> int:
    """One a core that this process may use, at most 8."""
    return min(8, cpu_count())
