"""Any backbone of timm: HRNet, ResNet, vision transformers, ..."""

from collections.abc import Sequence
from typing import Any

import timm
from huggingface_hub import try_to_load_from_cache
from torch import Tensor

from ...errors import MMCosegError
from ...registry import MODELS
from .base import Backbone
from .weights import load_pretrained, require_reachable

__all__ = ['TimmModel']

HUB = 'https://huggingface.co/'


@MODELS.register_module()
class TimmModel(Backbone):
    """Feature levels of a model of timm, fine to coarse.

    ``hrnet_w18`` gives four levels at strides 4, 8, 16, 32: those of its classifier (128 to 1024
    channels), or with ``model_kwargs=dict(feature_location='')`` the four branches themselves (18
    to 144 channels), which is what SSNM uses. ``resnet50`` gives its four stages; a vision
    transformer (``vit_small_patch14_dinov2``) the patch tokens of the chosen blocks as
    maps.

    Args:
        model_name: name in timm; ``timm.list_models()`` lists them.
        out_indices: which of the model's feature levels to give out; negative ones count from
            the last.
        weights: ``'imagenet'`` for timm's pretrained weights (a download, whatever they were
            trained on), None, or the path of a file of timm's format for this model.
        frozen: train nothing.
        norm_eval: keep batch normalization at its stored statistics in training.
        model_kwargs: further arguments of ``timm.create_model``, such as ``img_size``.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] = (-4, -3, -2, -1),
        weights: str | None = 'imagenet',
        frozen: bool = False,
        norm_eval: bool = False,
        model_kwargs: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not timm.is_model(model_name):
            near = timm.list_models(f'*{model_name[:4]}*')[:8]
            raise MMCosegError(f'timm has no model {model_name!r}; similar ones: {near}')
        self.model_name = model_name
        self.options = dict(model_kwargs or {}, features_only=True, out_indices=tuple(out_indices))
        self.pretrained = timm.get_pretrained_cfg(model_name)
        self.weights_source = f'nowhere: timm has no pretrained weights for {model_name}'
        if self.pretrained is not None:
            repository = self.pretrained.hf_hub_id
            self.weights_source = HUB + repository if repository else str(self.pretrained.url)
        self.net = timm.create_model(model_name, pretrained=False, **self.options)
        self.out_channels = self.net.feature_info.channels()
        self.strides = self.net.feature_info.reduction()
        self.rest([self.net] if frozen else [], norm_eval)
        load_pretrained(self, weights)

    def imagenet_weights(self) -> dict[str, Any]:
        if self.pretrained is None:
            raise MMCosegError('no pretrained weights exist')
        repository = self.pretrained.hf_hub_id
        if repository and not _is_cached(repository):
            require_reachable(HUB)
        net = timm.create_model(self.model_name, pretrained=True, **self.options)
        return {f'net.{key}': value for key, value in net.state_dict().items()}

    def own_names(self, state: dict[str, Any]) -> dict[str, Any]:
        """Feature extractors name a part ``layer1_0`` where the classifier says ``layer1.0``.

        By hand, because timm ignores what a file lacks for a feature extractor.
        """
        theirs = {key.replace('.', '_'): value for key, value in state.items()}
        renamed = {}
        for key in self.state_dict():
            flat = key.removeprefix('net.').removeprefix('model.').replace('.', '_')
            if flat in theirs:
                renamed[key] = theirs[flat]
        return renamed

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Levels of images (n, 3, H, W)."""
        return tuple(self.net(x))


def _is_cached(repository: str) -> bool:
    files = ('model.safetensors', 'pytorch_model.bin')
    return any(isinstance(try_to_load_from_cache(repository, file), str) for file in files)
