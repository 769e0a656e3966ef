"""VGG16 in levels, as SSNM and DeepCO3 use it."""

from collections.abc import Sequence

import torchvision
from torch import nn
from torchvision.models import vgg

from ...errors import MMCosegError
from ...registry import MODELS
from .base import StagedBackbone
from .weights import load_pretrained

__all__ = ['VGG16Pools']


@MODELS.register_module()
class VGG16Pools(StagedBackbone):
    """torchvision's VGG16; the levels are the outputs of its pooling layers.

    Taps are ``pool1`` to ``pool5`` (strides 2 to 32; 64, 128, 256, 512, 512 channels), and ``fc6``:
    the first layer of the classifier as a 7 x 7 convolution with ReLU (stride 32, 4,096 channels),
    the features of DeepCO3's published code. It is there only if it is asked for.

    Args:
        batch_norm: the variant with batch normalization, as SSNM's published code.
        out_stages: what to give out, fine to coarse.
        weights: ``'imagenet'`` (torchvision's download), None, or the path of a torchvision file.
        frozen_stages: number of stages, from the first, that are not trained.
        norm_eval: keep batch normalization at its stored statistics in training.
        last_pool: with False the stage ``pool5`` ends before its pooling, at stride 16.

    Raises:
        MMCosegError: if ``fc6`` is asked for without batch normalization being off, for whose features
            it was trained, or without the last pooling.
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
        name = 'vgg16_bn' if batch_norm else 'vgg16'
        info = torchvision.models.get_model_weights(name).IMAGENET1K_V1
        # Only the convolutions: the classifier has nine times as many parameters to initialize.
        features = vgg.make_layers(vgg.cfgs['D'], batch_norm)
        self.stages = nn.ModuleDict()
        self.stage_channels, self.stage_strides = {}, {}
        layers: list[nn.Module] = []
        for layer in features:
            layers.append(layer)
            if isinstance(layer, nn.Conv2d):
                channels = layer.out_channels
            if isinstance(layer, nn.MaxPool2d):
                number = len(self.stages) + 1
                self.stages[f'pool{number}'] = nn.Sequential(*layers)
                self.stage_channels[f'pool{number}'] = channels
                self.stage_strides[f'pool{number}'] = 2**number
                layers = []
        if not last_pool:
            self.stages['pool5'][-1] = nn.Identity()
            self.stage_strides['pool5'] = 16
        if 'fc6' in out_stages:
            if batch_norm or not last_pool:
                raise MMCosegError(
                    "the stage 'fc6' needs batch_norm=False and last_pool=True, the network that its "
                    f'weights belong to; got batch_norm={batch_norm}, last_pool={last_pool}'
                )
            self.stages['fc6'] = nn.Sequential(
                nn.Conv2d(512, 4096, 7, padding=3), nn.ReLU(inplace=True)
            )
            self.stage_channels['fc6'], self.stage_strides['fc6'] = 4096, 32
        self.finish(out_stages, frozen_stages, norm_eval)
        load_pretrained(
            self,
            weights,
            lambda: info.get_state_dict(progress=True, check_hash=True),
            f'{info.url} (torchvision)',
            self._own_names,
        )

    def _own_names(self, state: dict) -> dict:
        """torchvision counts the layers of all pools through: ``features.0`` and so on."""
        names, number = {}, 0
        for stage_name, stage in self.stages.items():
            if stage_name == 'fc6':
                names['classifier.0'] = 'stages.fc6.0'
                continue
            for position in range(len(stage)):
                names[f'features.{number}'] = f'stages.{stage_name}.{position}'
                number += 1
        renamed = {}
        for key, value in state.items():
            layer, _, parameter = key.rpartition('.')
            if layer == 'classifier.0' and parameter == 'weight':
                value = value.view(4096, 512, 7, 7)  # of the flattened 7 x 7 map
            if layer in names:
                renamed[f'{names[layer]}.{parameter}'] = value
        return renamed
