"""VGG16 in levels, as SSNM and DeepCO3 use it."""

from collections.abc import Sequence
from typing import Any

import torchvision
from torch import nn
from torchvision.models import vgg

from ...errors import MMCosegError
from ...registry import MODELS
from .base import StagedBackbone
from .weights import load_pretrained, named_by_order

__all__ = ['VGG16']


@MODELS.register_module()
class VGG16(StagedBackbone):
    """torchvision's VGG16; the levels are the outputs of its pooling layers.

    Stages are ``pool1`` to ``pool5`` (strides 2 to 32; 64, 128, 256, 512, 512 channels). ``fc6`` is
    there only if it is asked for: the first layer of the classifier as a 7 x 7 convolution with
    ReLU (stride 32, 4,096 channels), the features of DeepCO3's published code.

    Args:
        batch_norm: the variant with batch normalization, as SSNM's published code.
        out_stages: what to give out, fine to coarse.
        weights: ``'imagenet'`` (torchvision's download), None, or the path of a torchvision file.
        frozen_stages: number of stages, from the first, that are not trained.
        norm_eval: keep batch normalization at its stored statistics in training.
        last_pool: with False the stage ``pool5`` ends before its pooling, at stride 16.
    """

    def __init__(
        self,
        batch_norm: bool = True,
        out_stages: Sequence[str] = ('pool2', 'pool3', 'pool4', 'pool5'),
        weights: str | None = 'imagenet',
        frozen_stages: int = -1,
        norm_eval: bool = False,
        last_pool: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.info = torchvision.models.get_model_weights(
            'vgg16_bn' if batch_norm else 'vgg16'
        ).IMAGENET1K_V1
        self.weights_source = f'{self.info.url} (torchvision)'
        # Only the convolutions: the classifier has nine times as many parameters to initialize.
        layers = list(vgg.make_layers(vgg.cfgs['D'], batch_norm))
        cuts = [0, *(i for i, layer in enumerate(layers, 1) if isinstance(layer, nn.MaxPool2d))]
        strides = [2, 4, 8, 16, 32]
        if not last_pool:
            layers[-1], strides[-1] = nn.Identity(), 16
        for number, channels in enumerate((64, 128, 256, 512, 512), 1):
            stage = nn.Sequential(*layers[cuts[number - 1] : cuts[number]])
            self.add_stage(f'pool{number}', stage, channels, strides[number - 1])
        if 'fc6' in out_stages:
            if batch_norm or not last_pool:
                raise MMCosegError(
                    "the stage 'fc6' needs batch_norm=False and last_pool=True, the network that "
                    f'its weights belong to; got batch_norm={batch_norm}, last_pool={last_pool}'
                )
            fc6 = nn.Sequential(nn.Conv2d(512, 4096, 7, padding=3), nn.ReLU(inplace=True))
            self.add_stage('fc6', fc6, 4096, 32)
        self.finish(out_stages, frozen_stages, norm_eval)
        load_pretrained(self, weights)

    def imagenet_weights(self) -> dict[str, Any]:
        return self.info.get_state_dict(progress=True, check_hash=True)

    def own_names(self, state: dict[str, Any]) -> dict[str, Any]:
        named = named_by_order(self, state)
        weight = named.get('stages.fc6.0.weight')
        if weight is not None:  # of the flattened 7 x 7 map
            named['stages.fc6.0.weight'] = weight.view(4096, 512, 7, 7)
        return named
