"""What all our backbones share: weights, named stages, frozen parts, normalization."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import MMCosegError

__all__ = ['Backbone', 'StagedBackbone']


class Backbone(BaseModule):
    """A backbone with pretrained weights, parts of which may be at rest in training.

    Subclasses call :meth:`rest` and then :func:`.weights.load_pretrained`.

    Attributes:
        out_channels (list[int]): channels of the levels, fine to coarse.
        strides (list[int]): their strides in pixels of the input.
        weights_source (str): what the ImageNet weights are called, and where they come from.
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
        """Say what stays as it is in training.

        Args:
            frozen: parts that are not trained.
            norm_eval: keep batch normalization at its stored statistics in training.
        """
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
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


class StagedBackbone(Backbone):
    """A backbone of consecutive stages, some of whose outputs are its levels.

    Subclasses call :meth:`add_stage` for each stage, in order, and then :meth:`finish`.

    Attributes:
        out_stages (tuple[str, ...]): names of the stages that are given out, fine to coarse.
    """

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.stages = nn.ModuleDict()
        self._channels: dict[str, int] = {}
        self._strides: dict[str, int] = {}

    def add_stage(self, name: str, stage: nn.Module, channels: int, stride: int) -> None:
        """Add the next stage; ``stride`` is that of its output in pixels of the input."""
        self.stages[name] = stage
        self._channels[name] = channels
        self._strides[name] = stride

    def finish(self, out_stages: Sequence[str], frozen_stages: int, norm_eval: bool) -> None:
        """Check and keep the common options, and leave out the stages behind the last output.

        Args:
            out_stages: names of the stages to give out.
            frozen_stages: number of stages, from the first on, that are not trained; -1 or 0 for
                none.
            norm_eval: keep batch normalization at its stored statistics in training.

        Raises:
            MMCosegError: for an unknown stage or too many frozen stages.
        """
        names = list(self.stages)
        if not out_stages or not set(out_stages) <= set(names):
            raise MMCosegError(f'out_stages must be some of {names}, got {list(out_stages)}')
        if frozen_stages > len(names):
            raise MMCosegError(
                f'frozen_stages must be at most {len(names)} ({names}), got {frozen_stages}'
            )
        self.out_stages = tuple(out_stages)
        self.out_channels = [self._channels[stage] for stage in out_stages]
        self.strides = [self._strides[stage] for stage in out_stages]
        last = max(names.index(stage) for stage in out_stages)
        for name in names[last + 1 :]:
            del self.stages[name]
        self.rest(list(self.stages.values())[: max(frozen_stages, 0)], norm_eval)

    def forward(self, x: Tensor, start: str | None = None) -> tuple[Tensor, ...]:
        """Levels of images, one a stage, in the order of the out_stages.

        Args:
            x: images (n, 3, H, W); with ``start`` what :meth:`input_of` that stage gives.
            start: first of the stages to run, none behind a stage; None for all.

        Raises:
            MMCosegError: if ``start`` is none of :attr:`early_stages`.
        """
        if start is not None and start not in self.early_stages:
            raise MMCosegError(f'start must be one of {self.early_stages}, got {start!r}')
        outputs = {}
        for name, stage in self.stages.items():
            if start in (None, name):
                x, start = stage(x), None
                outputs[name] = x
        return tuple(outputs[stage] for stage in self.out_stages)

    @property
    def early_stages(self) -> list[str]:
        """Names of the stages with which :meth:`forward` may start: none is behind a stage."""
        names = list(self.stages)
        return names[: 1 + min(names.index(stage) for stage in self.out_stages)]

    def input_of(self, x: Tensor, stage: str) -> Tensor:
        """What a stage gets of images (n, 3, H, W).

        Raises:
            MMCosegError: if there is no such stage before the first stage.
        """
        early = self.early_stages
        if stage not in early:
            raise MMCosegError(f'the stage must be one of {early}, got {stage!r}')
        for name in early[: early.index(stage)]:
            x = self.stages[name](x)
        return x
