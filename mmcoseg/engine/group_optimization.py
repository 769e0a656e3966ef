"""Optimizing a model on the images of one group: what a loop and an inferencer have in common."""

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn

from ..options import build_options, whole_number
from ..registry import PARAM_SCHEDULERS
from ..seeding import entropy_of, seed_torch
from ..structures import GroupDataSample, GroupImages

__all__ = [
    'InitialState',
    'NonFiniteLossError',
    'OptimizationSettings',
    'mini_batches',
    'optimize_and_segment',
]


#: Called with the number of an epoch and its mean losses.
AfterEpoch = Callable[[int, dict[str, float]], None]


class NonFiniteLossError(ArithmeticError):
    """The loss or the weights are not finite."""


@dataclass
class OptimizationSettings:
    """How a model is optimized on a group; everything is made anew for each group.

    Args:
        optim_wrapper: config of the optimizer wrapper, as a runner's.
        param_scheduler: configs of parameter schedulers, as a runner's.
        max_epochs: how often every image of the group is seen.
        batch_size: images of a mini-batch, at most.
        seed: of all that is random, together with the group's name.
    """

    optim_wrapper: dict
    param_scheduler: dict | Sequence[dict] | None = None
    max_epochs: int = 40
    batch_size: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number('test_cfg.max_epochs', self.max_epochs, 0)
        whole_number('test_cfg.batch_size', self.batch_size)

    @classmethod
    def from_test_cfg(cls, test_cfg: Mapping[str, Any], seed: int) -> 'OptimizationSettings':
        """Those of a ``test_cfg`` of type ``GroupOptimizationLoop``."""
        given = dict(test_cfg, seed=seed)
        for key in ('type', 'resume'):  # the loop's own
            given.pop(key, None)
        return build_options(cls, given, 'test_cfg')


def mini_batches(
    num_images: int, batch_size: int, seed: int, group: str, epoch: int
) -> list[np.ndarray]:
    """Numbers of the images of each mini-batch of an epoch.

    All images come once, in an order that is a function of (seed, group's name, epoch), in batches
    of nearly equal size: 7 images in batches of at most 6 are 4 and 3, since what images have in
    common cannot be learned from a single one.

    Example:
        >>> [len(batch) for batch in mini_batches(7, 6, seed=0, group='cat', epoch=0)]
        [4, 3]
    """
    rng = np.random.default_rng(entropy_of(seed, group, epoch))
    return np.array_split(rng.permutation(num_images), math.ceil(num_images / batch_size))


class InitialState:
    """What a model was before it was optimized on a group, to be put back exactly.

    Parameters, whether they are trained, buffers (also those that checkpoints leave out) and modes.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = [(module, module.training) for module in model.modules()]
        self._parameters = []
        for parameter in model.parameters():
            value = parameter.detach().clone()
            self._parameters.append((parameter, value, parameter.requires_grad))
        # Copied together, so that modules which share a buffer go on sharing it.
        self._buffers = copy.deepcopy([dict(module._buffers) for module, _ in self._modules])

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back; gradients are dropped."""
        for parameter, value, trained in self._parameters:
            parameter.copy_(value)
            parameter.grad = None
            parameter.requires_grad_(trained)
        for (module, training), buffers in zip(self._modules, copy.deepcopy(self._buffers)):
            module.training = training
            module._buffers.clear()
            module._buffers.update(buffers)


def optimize_and_segment(
    model: nn.Module,
    images: GroupImages,
    group: GroupDataSample,
    initial: InitialState,
    settings: OptimizationSettings,
    after_epoch: AfterEpoch | None = None,
) -> str | None:
    """Optimize a model on a group, from its initial weights, and find the group's soft maps.

    The result is a function of these weights, the group and the settings alone. The samples get
    ``pred_prob``; ``model.finish`` makes masks of it, for which the weights do not matter.

    Args:
        model: on its device; not wrapped for distributed training.
        images: of the group, as the preprocessor gives them.
        after_epoch: called after each epoch, with its number from 0 on and its mean losses.

    Returns:
        Why the group was not optimized but segmented by the initial weights, or None.
    """
    problem = None
    initial.restore()
    try:
        with torch.enable_grad():
            _optimize(model, images, group, settings, after_epoch)
    except NonFiniteLossError as error:
        problem = str(error)
        initial.restore()
    model.eval()
    seed_torch(entropy_of(settings.seed, group.group))
    model.segment(images, group)
    return problem


def _optimize(
    model: nn.Module,
    images: GroupImages,
    group: GroupDataSample,
    settings: OptimizationSettings,
    after_epoch: AfterEpoch | None,
) -> None:
    """Take all steps; refuses losses, and weights in the end, that are not finite."""
    name, seed = group.group, settings.seed
    model.eval()
    seed_torch(entropy_of(seed, name))
    if hasattr(model, 'prepare_group'):
        with torch.no_grad():
            model.prepare_group(images, group)
    length = math.ceil(len(group) / settings.batch_size)
    wrapper = build_optim_wrapper(model, copy.deepcopy(settings.optim_wrapper))
    wrapper.initialize_count_status(model, 0, settings.max_epochs * length)
    schedulers = list(_schedulers(settings, wrapper, length))
    for epoch in range(settings.max_epochs):
        model.train()
        batches = mini_batches(len(group), settings.batch_size, seed, name, epoch)
        means = Counter()
        for number, indices in enumerate(batches):
            seed_torch(entropy_of(seed, name, epoch, number))
            values = _take_step(model, wrapper, images.select(indices), group.select(indices))
            if not math.isfinite(values['loss']):
                raise NonFiniteLossError(
                    f'group {name!r}: the loss is {values.pop("loss")} in epoch {epoch + 1}, '
                    f'mini-batch {number + 1} (parts: {values})'
                )
            for key, value in values.items():
                means[key] += value / len(batches)
            _step(schedulers, by_epoch=False)
        if after_epoch is not None:
            after_epoch(epoch, means)
        _step(schedulers, by_epoch=True)
    for key, parameter in model.named_parameters():
        parameter.grad = None
        if not torch.isfinite(parameter).all():
            raise NonFiniteLossError(
                f'group {name!r}: the last step left {key} with values that are not finite'
            )


def _take_step(
    model: nn.Module, wrapper: OptimWrapper, images: GroupImages, group: GroupDataSample
) -> dict[str, float]:
    """Update the model by the losses of a mini-batch, and return them."""
    with wrapper.optim_context(model):
        losses = model(images, [group], mode='loss')
    total, logged = model.parse_losses(losses)
    wrapper.update_params(total)
    return {key: value.item() for key, value in logged.items()}


def _step(schedulers: Sequence[Any], by_epoch: bool) -> None:
    for scheduler in schedulers:
        if scheduler.by_epoch == by_epoch:
            scheduler.step()


def _schedulers(
    settings: OptimizationSettings, wrapper: OptimWrapper, epoch_length: int
) -> Iterator[Any]:
    configs = settings.param_scheduler or []
    for cfg in [configs] if isinstance(configs, dict) else configs:
        end = settings.max_epochs * (1 if cfg.get('by_epoch', True) else epoch_length)
        cfg = {'end': max(end, cfg.get('begin', 0) + 1), **copy.deepcopy(cfg)}
        default = dict(optimizer=wrapper, epoch_length=epoch_length)
        yield PARAM_SCHEDULERS.build(cfg, default_args=default)
