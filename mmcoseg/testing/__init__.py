"""Small inputs for tests, ours and those of plugins."""

from .demo_inputs import make_group_batch, write_tiny_dataset

__all__ = ['make_group_batch', 'write_tiny_dataset']
