"""What all our backbones share: named taps, frozen parts, normalisation."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ['StagedBackbone']


class StagedBackbone(BaseModule):
    """A backbone of consecutive stages, some of whose outputs are its levels.

    Subclasses set ``stages`` (name -> module, in order), ``tap_channels`` and ``tap_strides``
    (name -> int) and then call :meth:`finish`.

    Attributes:
        taps (tuple[str, ...]): names of the stages that are given out, fine to coarse.
        out_channels (list[int]): their channels.
        strides (list[int]): their strides in pixels of the input.
    """

    stages: nn.ModuleDict
    tap_channels: dict[str, int]
    tap_strides: dict[str, int]

    def finish(self, taps: Sequence[str], frozen_stages: int, norm_eval: bool) -> None:
        """Check and keep the common options.

        Args:
            taps: names of the stages to give out.
            frozen_stages: number of stages, from the first on, that are not trained; -1 or 0 for
                none.
            norm_eval: keep batch normalisation at its stored statistics in training.

        Raises:
            ValueError: for an unknown tap or too many frozen stages.
        """
        unknown = [tap for tap in taps if tap not in self.stages]
        if unknown or not taps:
            raise ValueError(f'taps must be some of {list(self.stages)}, got {list(taps)}')
        if frozen_stages > len(self.stages):
            raise ValueError(
                f'frozen_stages must be at most {len(self.stages)} ({list(self.stages)}), '
                f'got {frozen_stages}'
            )
        self.taps = tuple(taps)
        self.out_channels = [self.tap_channels[tap] for tap in taps]
        self.strides = [self.tap_strides[tap] for tap in taps]
        self.frozen = list(self.stages)[: max(frozen_stages, 0)]
        self.norm_eval = norm_eval
        # What lies behind the last tap is never run.
        names = list(self.stages)
        for name in names[max(names.index(tap) for tap in taps) + 1 :]:
            del self.stages[name]
        for name in self.frozen:
            if name in self.stages:
                self.stages[name].requires_grad_(False)
        # Modules are born in training mode without anybody calling `train`.
        self.train(self.training)

    def forward(self, x: Tensor, start: str | None = None) -> tuple[Tensor, ...]:
        """Levels of images, one a tap, in the order of the taps.

        Args:
            x: images (n, 3, H, W); with ``start`` what :meth:`input_of` that stage gives.
            start: first of the stages to run, none behind a tap; None for all.

        Raises:
            ValueError: if ``start`` is none of :attr:`early_stages`.
        """
        if start is not None and start not in self.early_stages:
            raise ValueError(f'start must be one of {self.early_stages}, got {start!r}')
        outputs = {}
        for name, stage in self.stages.items():
            if start in (None, name):
                x, start = stage(x), None
                outputs[name] = x
        return tuple(outputs[tap] for tap in self.taps)

    @property
    def early_stages(self) -> list[str]:
        """Names of the stages with which :meth:`forward` may start: none is behind a tap."""
        names = list(self.stages)
        return names[: 1 + min(names.index(tap) for tap in self.taps)]

    def input_of(self, x: Tensor, stage: str) -> Tensor:
        """What a stage gets of images (n, 3, H, W).

        Raises:
            ValueError: if there is no such stage before the first tap.
        """
        early = self.early_stages
        if stage not in early:
            raise ValueError(f'the stage must be one of {early}, got {stage!r}')
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
