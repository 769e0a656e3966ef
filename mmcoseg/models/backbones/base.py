"""What all our backbones share: named stages, frozen parts, normalization."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import MMCosegError

__all__ = ['StagedBackbone']


class StagedBackbone(BaseModule):
    """A backbone of consecutive stages, some of whose outputs are its levels.

    Subclasses set ``stages`` (name -> module, in order), ``stage_channels`` and ``stage_strides``
    (name -> int) and then call :meth:`finish`.

    Attributes:
        out_stages (tuple[str, ...]): names of the stages that are given out, fine to coarse.
        out_channels (list[int]): their channels.
        strides (list[int]): their strides in pixels of the input.
    """

    stages: nn.ModuleDict
    stage_channels: dict[str, int]
    stage_strides: dict[str, int]

    def finish(self, out_stages: Sequence[str], frozen_stages: int, norm_eval: bool) -> None:
        """Check and keep the common options.

        Args:
            out_stages: names of the stages to give out.
            frozen_stages: number of stages, from the first on, that are not trained; -1 or 0 for
                none.
            norm_eval: keep batch normalization at its stored statistics in training.

        Raises:
            MMCosegError: for an unknown stage or too many frozen stages.
        """
        unknown = [stage for stage in out_stages if stage not in self.stages]
        if unknown or not out_stages:
            raise MMCosegError(
                f'out_stages must be some of {list(self.stages)}, got {list(out_stages)}'
            )
        if frozen_stages > len(self.stages):
            raise MMCosegError(
                f'frozen_stages must be at most {len(self.stages)} ({list(self.stages)}), '
                f'got {frozen_stages}'
            )
        self.out_stages = tuple(out_stages)
        self.out_channels = [self.stage_channels[stage] for stage in out_stages]
        self.strides = [self.stage_strides[stage] for stage in out_stages]
        self.frozen = list(self.stages)[: max(frozen_stages, 0)]
        self.norm_eval = norm_eval
        # What lies behind the last stage is never run.
        names = list(self.stages)
        for name in names[max(names.index(stage) for stage in out_stages) + 1 :]:
            del self.stages[name]
        for name in self.frozen:
            if name in self.stages:
                self.stages[name].requires_grad_(False)
        # Modules are born in training mode without anybody calling `train`.
        self.train(self.training)

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

    def train(self, mode: bool = True) -> 'StagedBackbone':
        super().train(mode)
        for name in self.frozen:
            if name in self.stages:
                self.stages[name].eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
