"""Optimizing a model on the images of one group: what a loop and an inferencer have in common."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from ..datasets.collate import group_collate
from ..errors import MMCosegError
from ..registry import PARAM_SCHEDULERS
from ..seeding import entropy_of, random_state, seed_torch

__all__ = [
    'GroupBatches',
    'InitialState',
    'NonFiniteLossError',
    'OptimizationEvents',
    'OptimizationSettings',
    'loss_value',
    'optimize_group',
]


class NonFiniteLossError(ArithmeticError):
    """The optimization of a group came to a loss or to weights that are no finite numbers."""


@dataclass
class OptimizationSettings:
    """How a model is optimized on a group; everything is made anew for each group.

    Args:
        optim_wrapper: config of the optimizer wrapper, as the runner's.
        param_scheduler: configs of parameter schedulers, as the runner's.
        max_epochs: how often every image of the group is seen.
        seed: of all that is random, together with the group's name.
    """

    optim_wrapper: dict
    param_scheduler: dict | Sequence[dict] | None = None
    max_epochs: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.optim_wrapper, dict):
            raise MMCosegError(
                'optim_wrapper must be a config, since each group needs a new one, got '
                f'{type(self.optim_wrapper).__name__}'
            )
        if not isinstance(self.max_epochs, int) or self.max_epochs < 0:
            raise MMCosegError(f'max_epochs must be a whole number >= 0, got {self.max_epochs!r}')

    @classmethod
    def from_config(cls, cfg: Config) -> 'OptimizationSettings':
        """Those of a config whose ``train_cfg`` is of a ``GroupOptimizationLoop``."""
        seed = cfg.train_cfg.get('seed')
        if seed is None:
            seed = cfg.get('randomness', {}).get('seed')
        return cls(
            cfg.optim_wrapper, cfg.get('param_scheduler'), cfg.train_cfg.max_epochs, seed or 0
        )


class GroupBatches(Dataset):
    """The mini-batches of one group, loaded one after the other.

    In each epoch all images come once, in an order that is a function of (seed, group's name,
    epoch), in batches of nearly equal size: 7 images in batches of at most 6 are 4 and 3, since
    what images have in common cannot be learned from a single one. Everything random about an
    item's pipeline is a function of these and of the batch's number, whatever the workers.

    Args:
        record: the group record, see docs/architecture.md.
        pipeline: called with the record of a batch's images; gives an item as
            ``PackGroupInputs`` makes it.
        batch_size: images of a batch, at most.
        seed: see above.
        collate_fn: makes a batch of the list of the one item.
        loader: further arguments of the ``DataLoader``, such as ``num_workers``.

    Raises:
        MMCosegError: if ``batch_size`` is not positive, or the group has no image.

    Example:
        >>> record = dict(group='cat', images=[dict(stem=str(i)) for i in range(7)])
        >>> batches = GroupBatches(record, lambda r: r, 6, 0, collate_fn=lambda items: items[0])
        >>> [len(batch['images']) for batch in batches.loader]
        [4, 3]
    """

    #: Images kept at hand for those of a batch that cannot be read.
    SPARES = 20

    def __init__(
        self,
        record: dict,
        pipeline: Callable[[dict], dict],
        batch_size: int,
        seed: int = 0,
        collate_fn: Callable[[list], Any] = group_collate,
        **loader: Any,
    ) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise MMCosegError(f'batch_size must be a positive whole number, got {batch_size!r}')
        self.record, self.pipeline = record, pipeline
        self.group, self.seed = record['group'], seed
        self.num_images = len(record['images'])
        if not self.num_images:
            raise MMCosegError(f'the group {self.group!r} has no image to optimize on')
        self.num_batches = math.ceil(self.num_images / batch_size)
        self.sampler = _EpochSampler(self.num_batches)
        self.loader = DataLoader(
            self, sampler=self.sampler, batch_size=1, collate_fn=collate_fn, **loader
        )

    def __len__(self) -> int:
        return self.num_batches

    def order(self, epoch: int) -> list[np.ndarray]:
        """Numbers of the images of each batch of an epoch."""
        rng = np.random.default_rng(entropy_of(self.seed, self.group, epoch))
        return np.array_split(rng.permutation(self.num_images), self.num_batches)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, number = key
        order = self.order(epoch)
        images = self.record['images']
        record = dict(self.record)
        record['images'] = [copy.copy(images[i]) for i in order[number]]
        others = np.concatenate([part for i, part in enumerate(order) if i != number] or [[]])
        record['spares'] = [copy.copy(images[int(i)]) for i in others[: self.SPARES]]
        with random_state(entropy_of(self.seed, self.group, epoch, number)):
            return self.pipeline(record)


class _EpochSampler(Sampler):
    """(epoch, number of the batch) of one epoch after the other."""

    def __init__(self, num_batches: int) -> None:
        self.num_batches = num_batches
        self.epoch = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter([(self.epoch, number) for number in range(self.num_batches)])

    def __len__(self) -> int:
        return self.num_batches

    def set_epoch(self, epoch: int) -> None:
        """Nothing: mmengine's hook would count the epochs of all groups."""


class InitialState:
    """What a model was before it was optimized on a group, to be put back exactly.

    Parameters, whether they are trained, buffers (also those that checkpoints leave out), what
    modules save beside them (``get_extra_state``), and modes.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = [
            (parameter, parameter.detach().clone(), parameter.requires_grad)
            for parameter in model.parameters()
        ]
        self._modules = [
            (
                module,
                module.training,
                {
                    name: buffer if buffer is None else buffer.detach().clone()
                    for name, buffer in module._buffers.items()
                },
                copy.deepcopy(module.get_extra_state()) if _has_extra(module) else None,
            )
            for module in model.modules()
        ]

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back; gradients are dropped."""
        for parameter, value, trained in self._parameters:
            parameter.copy_(value)
            parameter.grad = None
            parameter.requires_grad_(trained)
        for module, training, buffers, extra in self._modules:
            module.training = training
            for name in module._buffers.keys() - buffers.keys():
                del module._buffers[name]
            for name, buffer in buffers.items():
                _restore_buffer(module, name, buffer)
            if _has_extra(module):
                module.set_extra_state(copy.deepcopy(extra))


def _restore_buffer(module: nn.Module, name: str, value: Tensor | None) -> None:
    present = module._buffers.get(name)
    if value is None:
        module._buffers[name] = None
    elif present is not None and (present.shape, present.dtype) == (value.shape, value.dtype):
        present.copy_(value)  # in place: modules may share it
    else:
        module._buffers[name] = value.clone()


def _has_extra(module: nn.Module) -> bool:
    return type(module).get_extra_state is not nn.Module.get_extra_state


class OptimizationEvents:
    """What happens around the steps of :func:`optimize_group`: schedulers take theirs.

    A loop overrides these methods to call its runner's hooks instead.
    """

    #: Set to True to end the optimization of the group after the step.
    stop = False

    def start(self, optim_wrapper: OptimWrapper, schedulers: Any, batches: GroupBatches) -> None:
        """Before the first epoch."""
        self._schedulers = schedulers

    def before_epoch(self, epoch: int) -> None:
        """Before the first batch of an epoch, counted from 0."""

    def before_iter(self, number: int, batch: Any) -> None:
        """Before a step with the epoch's batch of this number."""

    def after_iter(self, number: int, batch: Any, losses: dict[str, Any]) -> None:
        """After a step."""
        self._step(by_epoch=False)

    def after_epoch(self, epoch: int) -> None:
        """After the last batch of an epoch."""
        self._step(by_epoch=True)

    def _step(self, by_epoch: bool) -> None:
        schedulers = self._schedulers
        for part in schedulers.values() if isinstance(schedulers, dict) else [schedulers or []]:
            for scheduler in part:
                if scheduler.by_epoch == by_epoch:
                    scheduler.step()


def optimize_group(
    model: nn.Module,
    batches: GroupBatches,
    settings: OptimizationSettings,
    events: OptimizationEvents | None = None,
    whole: dict | None = None,
) -> None:
    """Optimize a model on a group, in place, from its present weights.

    First its ``prepare_group``, if it has one, sees the whole group at once, as predicting does:
    what holds for all mini-batches can be found there.

    The result is a function of these weights, the group and the settings alone: torch's generators
    are seeded before every step. To have the weights back for the next group, take an
    :class:`InitialState` before.

    Args:
        model: on its device; not wrapped for distributed training.
        batches: the group's mini-batches.
        settings: how.
        events: what else happens around the steps.
        whole: the group as a batch for prediction, for ``prepare_group``; None leaves that out.

    Raises:
        NonFiniteLossError: naming the group, when a loss, or a weight in the end, is not finite.
    """
    events = events or OptimizationEvents()
    if whole is not None and hasattr(model, 'prepare_group'):
        model.eval()
        seed_torch(entropy_of(settings.seed, batches.group))
        with torch.no_grad():
            model.prepare_group(**model.data_preprocessor(whole, False))
    wrapper = build_optim_wrapper(model, copy.deepcopy(settings.optim_wrapper))
    max_iters = settings.max_epochs * len(batches)
    schedulers = _schedulers(settings, wrapper, len(batches))
    wrapper.initialize_count_status(model, 0, max_iters)
    events.start(wrapper, schedulers, batches)
    for epoch in range(settings.max_epochs):
        batches.sampler.epoch = epoch
        events.before_epoch(epoch)
        model.train()
        for number, batch in enumerate(batches.loader):
            events.before_iter(number, batch)
            seed_torch(entropy_of(settings.seed, batches.group, epoch, number))
            losses = model.train_step(batch, optim_wrapper=wrapper)
            _check_losses(losses, batches.group, epoch, number)
            events.after_iter(number, batch, losses)
            if events.stop:
                break
        events.after_epoch(epoch)
        if events.stop:
            break
    for name, parameter in model.named_parameters():
        parameter.grad = None
        if not torch.isfinite(parameter).all():
            raise NonFiniteLossError(
                f'group {batches.group!r}: the last step left {name} with values that are not '
                'finite'
            )


def _check_losses(losses: dict[str, Any], group: str, epoch: int, number: int) -> None:
    values = {name: loss_value(value) for name, value in losses.items()}
    total = values.pop('loss', 0.0)
    if not math.isfinite(total):
        raise NonFiniteLossError(
            f'group {group!r}: the loss is {total} in epoch {epoch + 1}, mini-batch {number + 1} '
            f'(parts: {values})'
        )


def loss_value(value: Tensor | float) -> float:
    """The number in what ``train_step`` gives."""
    return float(value.detach()) if isinstance(value, Tensor) else float(value)


def _schedulers(settings: OptimizationSettings, wrapper: OptimWrapper, epoch_length: int) -> Any:
    """As the runner builds them: a list, or with several optimizers a dict of lists."""
    configs = settings.param_scheduler
    if configs is None:
        return None

    def build(some: dict | Sequence[dict], optimizer: OptimWrapper) -> list:
        built = []
        for cfg in [some] if isinstance(some, dict) else some:
            if not isinstance(cfg, dict):
                raise MMCosegError(
                    'param_scheduler must be configs, since each group needs new ones, got '
                    f'{type(cfg).__name__}'
                )
            cfg = copy.deepcopy(cfg)
            epochs = settings.max_epochs
            end = epochs if cfg.get('by_epoch', True) else epochs * epoch_length
            cfg.setdefault('end', max(end, cfg.get('begin', 0) + 1))
            default = dict(optimizer=optimizer, epoch_length=epoch_length)
            built.append(PARAM_SCHEDULERS.build(cfg, default_args=default))
        return built

    if not isinstance(wrapper, OptimWrapperDict):
        return build(configs, wrapper)
    by_name = isinstance(configs, dict) and 'type' not in configs
    return {
        name: build(configs[name] if by_name else configs, optimizer)
        for name, optimizer in wrapper.items()
    }
