"""What all our backbones share: weights, named stages, frozen parts, normalization."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import MMCosegError
from ...options import in_range

__all__ = ['Backbone', 'StagedBackbone']


class Backbone(BaseModule):
    """A backbone with pretrained weights, parts of which may be frozen.

    Subclasses call :meth:`rest` and then :func:`.weights.load_pretrained`.

    Attributes:
        out_channels: channels of the levels, fine to coarse.
        strides: their strides in pixels of the input.
        weights_source: where the ImageNet weights come from, for messages.
    """

    out_channels: list[int]
    strides: list[int]
    weights_source: str

    def imagenet_weights(self) -> dict[str, Any]:
        """The state dict of the ImageNet weights; may download it."""
        raise NotImplementedError

    def own_names(self, state: dict[str, Any]) -> dict[str, Any]:
        """A published state dict in the names of this class."""
        raise NotImplementedError

    def rest(self, frozen: Sequence[nn.Module], norm_eval: bool) -> None:
        """Freeze parts, and with ``norm_eval`` all statistics of batch normalization."""
        self.frozen = list(frozen)
        self.norm_eval = norm_eval
        for part in self.frozen:
            part.requires_grad_(False)
        # Modules are born in training mode without a call of `train`.
        self.train(self.training)

    def train(self, mode: bool = True) -> 'Backbone':
        super().train(mode)
        for part in self.frozen:
            part.eval()
        for module in self.modules():
            if self.norm_eval and isinstance(module, _BatchNorm):
                module.eval()
        return self


class StagedBackbone(Backbone):
    """A backbone of consecutive stages, some of whose outputs are its levels.

    Subclasses call :meth:`add_stage` for each stage, in order, and then :meth:`finish`.
    """

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.stages = nn.ModuleDict()
        #: Channels and stride of each stage.
        self._outputs: dict[str, tuple[int, int]] = {}

    def add_stage(self, name: str, stage: nn.Module, channels: int, stride: int) -> None:
        """Add the next stage; ``stride`` is that of its output in pixels of the input."""
        self.stages[name] = stage
        self._outputs[name] = channels, stride

    def finish(self, out_stages: Sequence[str], frozen_stages: int, norm_eval: bool) -> None:
        """Check and keep the common options, and drop the stages after the last output.

        ``frozen_stages``, from the first on, are not trained; -1 or 0 for none.
        """
        names = list(self.stages)
        if not out_stages or not set(out_stages) <= set(names):
            raise MMCosegError(f'out_stages must be some of {names}, got {list(out_stages)}')
        in_range('frozen_stages', frozen_stages, -1, len(names))
        self.out_stages = tuple(out_stages)
        channels, strides = zip(*map(self._outputs.get, out_stages))
        self.out_channels, self.strides = list(channels), list(strides)
        for name in names[1 + max(map(names.index, out_stages)) :]:
            del self.stages[name]
        self.rest(list(self.stages.values())[: max(frozen_stages, 0)], norm_eval)

    def forward(self, x: Tensor, start: str | None = None) -> tuple[Tensor, ...]:
        """Levels of images (n, 3, H, W), in the order of ``out_stages``.

        Or of what :meth:`input_of` gives, from a stage on that is one of :attr:`early_stages`.
        """
        first = 0 if start is None else self.early_stages.index(start)
        outputs = {}
        for name in list(self.stages)[first:]:
            x = outputs[name] = self.stages[name](x)
        return tuple(outputs[stage] for stage in self.out_stages)

    @property
    def early_stages(self) -> list[str]:
        """Names of the stages that :meth:`forward` may start with: none is after an output."""
        names = list(self.stages)
        return names[: 1 + min(map(names.index, self.out_stages))]

    def input_of(self, x: Tensor, stage: str) -> Tensor:
        """What one of the :attr:`early_stages` gets of images (n, 3, H, W)."""
        for name in self.early_stages[: self.early_stages.index(stage)]:
            x = self.stages[name](x)
        return x
