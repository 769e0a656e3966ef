"""Mixed precision where there is no GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPERS

__all__ = ['BFloat16OptimWrapper']


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes under bfloat16 autocast, on any device.

    bfloat16 has the range of float32, so that no loss has to be scaled. mmengine's
    ``AmpOptimWrapper`` does float16 with loss scaling, and only on GPUs.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        device = get_device().split(':')[0]
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
