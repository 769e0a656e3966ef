"""Several stages' maps as one."""

from collections.abc import Mapping

from torch import Tensor

from ...errors import MMCosegError
from ...options import in_range, known_keys
from ...registry import MODELS
from ..ops.resize import resize
from .group_stage import GroupContext, GroupStage

__all__ = ['WeightedMean']


@MODELS.register_module()
class WeightedMean(GroupStage):
    """Mean of the maps of stages before it, at the finest resolution among them.

    Args:
        weights: name of a stage -> its weight, at least 0, not all of them 0.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        for name, weight in weights.items():
            in_range(f'weights.{name}', weight, 0)
        if not sum(weights.values()) > 0:
            raise MMCosegError(f'weights must not all be 0, got {dict(weights)}')
        self.weights = dict(weights)

    def forward(self, context: GroupContext) -> Tensor:
        """(N, C, h, w)."""
        known_keys('model.stages before WeightedMean', self.weights, context.maps)
        sizes = [context.maps[name].shape[-2:] for name in self.weights]
        size = max(sizes, key=lambda size: size[0] * size[1])
        total = sum(self.weights.values())
        mean = 0
        for name, weight in self.weights.items():
            mean = mean + weight / total * resize(context.maps[name], size)
        return mean
