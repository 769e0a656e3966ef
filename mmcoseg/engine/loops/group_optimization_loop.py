"""Optimizing the model on every group by itself, reading it out, and scoring all groups."""

import copy
import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.runner import BaseLoop, TestLoop
from mmengine.runner.amp import autocast

from ...errors import MMCosegError
from ...registry import LOOPS
from ...seeding import entropy_of, random_state
from ...version import __version__
from ..group_optimization import (
    GroupBatches,
    InitialState,
    NonFiniteLossError,
    OptimizationEvents,
    OptimizationSettings,
    loss_value,
    optimize_group,
)
from ..prediction_store import PredictionStore

__all__ = [
    'GroupOptimizationLoop',
    'GroupOptimizationTestLoop',
    'fingerprint_of',
    'share_out',
]

#: About how many epochs of a group the log tells the losses of.
LINES_PER_GROUP = 5


@LOOPS.register_module()
class GroupOptimizationLoop(BaseLoop):
    """For each group: start from the same initial weights, optimize on its images, predict them.

    For methods without annotations, whose one network a group is made of the group's own images.
    In a config::

        train_dataloader = dict(batch_size=6, dataset=<the groups, with a training pipeline>, ...)
        train_cfg = dict(type='GroupOptimizationLoop', max_epochs=40)
        test_dataloader = dict(batch_size=1, dataset=<the same groups, test pipeline>, ...)
        test_cfg = dict(type='GroupOptimizationTestLoop')
        test_evaluator = ...

    with which ``train`` and ``test`` do the same. The groups are those of the *test* set; the
    training set must have them, too, and may have more. ``batch_size`` counts the images of a
    mini-batch (see :class:`~mmcoseg.engine.group_optimization.GroupBatches`), and the sampler is
    not used. Before the first step a model that has ``prepare_group`` sees the whole group, by the
    test pipeline.

    A group's result is a function of the initial weights, its images, the config and the seed, but
    not of the other groups nor of the number of processes. Initial are the weights that the model
    has after ``init_weights`` and ``load_from``; optimizer and schedulers are made anew. If a loss
    is not finite, the group is predicted by the initial weights; a warning names it, as does
    ``failed`` in the end.

    Hooks see one training over all groups of the process (epochs and iterations count on), and one
    test, whose iterations are the groups, each after its optimization. Step checkpoints are not
    saved. Instead the predictions of finished groups are kept in ``<work_dir>/optimized_groups``,
    and ``resume`` goes on after them: hooks then see these groups' predictions, but no training.

    In a distributed run the groups are shared out over the processes, the largest first, and nobody
    waits for anybody until the scores are collected in the end: set
    ``env_cfg.dist_cfg.timeout`` (seconds) to longer than the slowest process may take longer than
    the fastest, as ``engine.launch`` does. The work folder must be one for all processes. The log
    is that of the first; losses of all groups are in the kept files' notes.

    Args:
        runner: the runner.
        dataloader: ``train_dataloader``.
        max_epochs: how often each image of a group is seen.
        resume: keep what earlier runs by the same settings in the same work folder finished.
        seed: None for the runner's.

    Attributes:
        failed: name -> reason of the groups whose optimization failed, in all processes; known
            after the run.
        metrics: those of the evaluator, after the run.

    Raises:
        MMCosegError: if the two sets have not the same groups, or the config has what cannot go
            with this loop: moving averages of weights (``EMAHook``), scaling of the learning rate
            with the number of processes.
        MMCosegError: if ``optim_wrapper`` is no config.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        max_epochs: int = 40,
        resume: bool = False,
        seed: int | None = None,
    ) -> None:
        if isinstance(dataloader, dict):
            dataloader = {**copy.deepcopy(dataloader)}
            # Which mini-batches there are is not a matter of configs here.
            dataloader['sampler'] = dict(type='DefaultSampler', shuffle=False)
            dataloader['persistent_workers'] = False
        super().__init__(runner, dataloader)
        self._source = self.dataloader
        self.settings = OptimizationSettings(
            copy.deepcopy(runner.optim_wrapper),
            copy.deepcopy(runner.param_schedulers),
            max_epochs,
            runner.seed if seed is None else seed,
        )
        self.resume = resume
        if (runner.auto_scale_lr or {}).get('enable'):
            raise MMCosegError(
                'auto_scale_lr has no meaning with GroupOptimizationLoop: each group is optimized '
                'by one process alone; set optim_wrapper.optimizer.lr'
            )
        if any(isinstance(hook, EMAHook) for hook in runner.hooks):
            raise MMCosegError(
                'EMAHook would average the weights of different groups in GroupOptimizationLoop; '
                'leave it out'
            )
        runner._hooks = [hook for hook in runner.hooks if not isinstance(hook, CheckpointHook)]
        # Each process works for itself. The optimizer is not built yet, so nothing refers to
        # the modules that are replaced.
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        runner.model = revert_sync_batchnorm(model)
        if hasattr(self.dataloader.dataset, 'metainfo'):
            runner.visualizer.dataset_meta = self.dataloader.dataset.metainfo
        self.stop_training = False  # EarlyStoppingHook and its like end a group by this
        self._iter = self._epoch = 0
        self._max_iters = self._max_epochs = max(max_epochs, 1)
        self.failed: dict[str, str] = {}
        self.metrics: dict[str, float] = {}

    @property
    def iter(self) -> int:
        """Steps taken by this process, in all groups."""
        return self._iter

    @property
    def epoch(self) -> int:
        """Epochs done by this process, in all groups."""
        return self._epoch

    @property
    def max_iters(self) -> int:
        """Steps that this process has to take."""
        return self._max_iters

    @property
    def max_epochs(self) -> int:
        """Epochs that this process has to do."""
        return self._max_epochs

    def run(self) -> dict[str, float]:
        """Optimize, predict and score all groups.

        Returns:
            The evaluator's metrics.
        """
        runner = self.runner
        test = runner.test_loop
        if test is None:
            raise MMCosegError(
                'GroupOptimizationLoop predicts and scores the groups of the test set: set '
                'test_dataloader, test_cfg and test_evaluator'
            )
        # A run that was started before is over, its optimizer's state, too.
        runner.optim_wrapper, runner.param_schedulers = None, None
        groups = self._groups(test.dataloader.dataset)
        store = PredictionStore(
            Path(runner.work_dir) / 'optimized_groups', fingerprint_of(runner.cfg)
        )
        rank, world_size = get_dist_info()
        mine = share_out([group.num_images for group in groups], world_size)[rank]
        kept = {}
        for number in mine:
            notes = store.notes(groups[number].key) if self.resume else None
            if notes is None:
                store.forget(groups[number].key)
            else:
                kept[number] = notes
        rest = [number for number in mine if number not in kept]
        self._max_epochs = max(1, self.settings.max_epochs * len(rest))
        self._max_iters = max(1, sum(groups[n].steps * self.settings.max_epochs for n in rest))
        print_log(
            f'{len(groups)} groups, {len(mine)} of them in this process'
            + (f', {len(kept)} of which are finished' if self.resume else ''),
            'current',
        )
        initial = InitialState(runner.model)
        runner.call_hook('before_test')
        runner.call_hook('before_test_epoch')
        runner.call_hook('before_train')
        for place, number in enumerate(mine):
            self._run_group(place, groups[number], initial, store, kept.get(number))
        self.metrics = self._collect(test)
        runner.call_hook('after_train')
        runner.call_hook('after_test_epoch', metrics=self.metrics)
        runner.call_hook('after_test')
        return self.metrics

    def _groups(self, test_set: Any) -> list['_Group']:
        """The groups of the test set, with their place in the training set."""
        train_set = self._source.dataset
        places: dict[tuple[str, int], int] = {}
        seen: Counter[str] = Counter()
        for place in range(len(train_set)):
            name = train_set.get_data_info(place)['group']
            places[name, seen[name]] = place
            seen[name] += 1
        groups, missing, seen = [], [], Counter()
        for place in range(len(test_set)):
            record = test_set.get_data_info(place)
            name, repeat, count = record['group'], seen[record['group']], len(record['images'])
            seen[name] += 1
            if (name, repeat) not in places:
                missing.append(name)
                continue
            steps = -(-count // self._source.batch_size)
            key = f'{name}#{repeat}' if repeat else name
            groups.append(_Group(name, key, places[name, repeat], place, count, steps))
        if missing:
            raise MMCosegError(
                f'train_dataloader has no group {sorted(set(missing))}, which test_dataloader has: '
                'GroupOptimizationLoop optimizes on the groups that are tested, so give both the '
                'same data set'
            )
        return groups

    def _run_group(
        self,
        place: int,
        group: '_Group',
        initial: InitialState,
        store: PredictionStore,
        notes: dict | None,
    ) -> None:
        runner, test = self.runner, self.runner.test_loop
        name, start = group.name, time.perf_counter()
        dataset = test.dataloader.dataset
        with random_state(entropy_of(self.settings.seed, name)):
            batch = test.dataloader.collate_fn([dataset[group.test_place]])
        if notes is not None and store.load(group.key, batch['data_samples'][0]):
            print_log(f'group {name}: was finished before', 'current')
            runner.call_hook('before_test_iter', batch_idx=place, data_batch=batch)
            self._hand_over(place, batch, batch['data_samples'], notes)
            return
        initial.restore()
        events, failure = _HookEvents(self), None
        try:
            optimize_group(runner.model, self._batches(group), self.settings, events, batch)
        except NonFiniteLossError as error:
            failure = str(error)
            print_log(
                f'{failure}; it is predicted by the initial weights', 'current', logging.WARNING
            )
            initial.restore()
        optimized = time.perf_counter()
        runner.model.eval()
        runner.call_hook('before_test_iter', batch_idx=place, data_batch=batch)
        with random_state(entropy_of(self.settings.seed, name)), torch.no_grad():
            torch.manual_seed(self.settings.seed)
            with autocast(enabled=test.fp16):
                outputs = runner.model.test_step(batch)
        seconds = round(time.perf_counter() - start, 2)
        notes = dict(failure=failure, seconds=seconds, losses=events.history)
        store.save(group.key, outputs[0], **notes)
        print_log(
            f'group {name}: {group.num_images} images, optimized in {optimized - start:.1f} s, '
            f'predicted in {time.perf_counter() - optimized:.1f} s',
            'current',
        )
        self._hand_over(place, batch, outputs, notes)
        initial.restore()

    def _batches(self, group: '_Group') -> GroupBatches:
        source = self._source
        record = source.dataset.get_data_info(group.train_place)
        pipeline = record.get('dataset', source.dataset).pipeline
        batches = GroupBatches(
            record,
            pipeline,
            source.batch_size,
            self.settings.seed,
            source.collate_fn,
            num_workers=source.num_workers,
            pin_memory=source.pin_memory,
            worker_init_fn=source.worker_init_fn,
            # Started once a group, not once an epoch.
            persistent_workers=source.num_workers > 0,
            prefetch_factor=source.prefetch_factor,
        )
        self.dataloader = batches.loader
        return batches

    def _hand_over(self, place: int, batch: Any, outputs: Sequence, notes: dict) -> None:
        if notes.get('failure'):
            self.failed[batch['data_samples'][0].group] = notes['failure']
        self.runner.test_loop.evaluator.process(data_samples=outputs, data_batch=batch)
        self.runner.call_hook('after_test_iter', batch_idx=place, data_batch=batch, outputs=outputs)

    def _collect(self, test: TestLoop) -> dict[str, float]:
        """The only place where processes talk to each other."""
        metrics = test.evaluator.evaluate(len(test.dataloader.dataset))
        for failed in all_gather_object(self.failed):
            self.failed.update(failed)
        if self.failed:
            print_log(
                f'{len(self.failed)} groups could not be optimized and are scored by the initial '
                f'weights: {", ".join(sorted(self.failed))}',
                'current',
                logging.WARNING,
            )
        return metrics


@LOOPS.register_module()
class GroupOptimizationTestLoop(TestLoop):
    """What ``test_cfg`` is where ``train_cfg`` is a :class:`GroupOptimizationLoop`.

    ``runner.test()`` runs that loop; ``runner.train()`` gives it the test set and the evaluator.

    Args:
        runner, dataloader, evaluator, fp16: as mmengine's ``TestLoop``.

    Raises:
        MMCosegError: if the runner's ``train_cfg`` is of another loop.
    """

    def __init__(self, runner, dataloader, evaluator, fp16: bool = False) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        alone = not isinstance(runner._train_loop, BaseLoop)
        loop = runner.train_loop
        if not isinstance(loop, GroupOptimizationLoop):
            raise MMCosegError(
                'GroupOptimizationTestLoop needs a train_cfg of type GroupOptimizationLoop, got '
                f'{type(loop).__name__}'
            )
        if alone:
            # What runner.train() would have done.
            runner._init_model_weights()

    def run(self) -> dict[str, float]:
        """As :meth:`GroupOptimizationLoop.run`."""
        return self.runner.train_loop.run()


class _HookEvents(OptimizationEvents):
    """The hooks of a runner; its ``ParamSchedulerHook`` steps the schedulers."""

    def __init__(self, loop: GroupOptimizationLoop) -> None:
        self.loop = loop
        self.runner = loop.runner
        #: Means of the losses in each epoch.
        self.history: list[dict[str, float]] = []

    @property
    def stop(self) -> bool:
        return self.loop.stop_training

    def start(self, optim_wrapper: Any, schedulers: Any, batches: GroupBatches) -> None:
        self.runner.optim_wrapper, self.runner.param_schedulers = optim_wrapper, schedulers
        self.group = batches.group
        self.loop.stop_training = False

    def before_epoch(self, epoch: int) -> None:
        self.sums: dict[str, list[float]] = {}
        self.runner.call_hook('before_train_epoch')

    def before_iter(self, number: int, batch: Any) -> None:
        self.runner.call_hook('before_train_iter', batch_idx=number, data_batch=batch)

    def after_iter(self, number: int, batch: Any, losses: dict[str, Any]) -> None:
        for name, value in losses.items():
            self.sums.setdefault(name, []).append(loss_value(value))
        self.runner.call_hook(
            'after_train_iter', batch_idx=number, data_batch=batch, outputs=losses
        )
        self.loop._iter += 1

    def after_epoch(self, epoch: int) -> None:
        means = {name: float(np.mean(values)) for name, values in self.sums.items()}
        self.history.append(means)
        total = self.loop.settings.max_epochs
        if (epoch + 1) % ceil(total / LINES_PER_GROUP) == 0 or epoch + 1 == total:
            text = ', '.join(f'{name} {value:.4f}' for name, value in means.items())
            print_log(f'group {self.group}: epoch {epoch + 1}/{total}, {text}', 'current')
        self.runner.visualizer.add_scalars(
            {f'{self.group}/{name}': value for name, value in means.items()}, step=epoch + 1
        )
        self.runner.call_hook('after_train_epoch')
        self.loop._epoch += 1


class _Group:
    def __init__(self, name, key, train_place, test_place, num_images, steps) -> None:
        self.name: str = name
        #: The name, made different where several sets have groups of one name.
        self.key: str = key
        self.train_place: int = train_place
        self.test_place: int = test_place
        self.num_images: int = num_images
        #: Mini-batches of an epoch.
        self.steps: int = steps


def share_out(sizes: Sequence[int], world_size: int) -> list[list[int]]:
    """Share groups out over processes: the largest first, each to who has least.

    Args:
        sizes: of the groups, in images.
        world_size: number of processes.

    Returns:
        For each process the numbers of its groups, rising.

    Example:
        >>> share_out([10, 30, 20, 25], 2)
        [[0, 1], [2, 3]]
    """
    shares: list[list[int]] = [[] for _ in range(world_size)]
    loads = [0] * world_size
    for number in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        rank = loads.index(min(loads))
        shares[rank].append(number)
        loads[rank] += sizes[number]
    return [sorted(share) for share in shares]


#: Keys, at any depth, on which no prediction depends: which groups, and how they are loaded.
_WITHOUT_EFFECT = frozenset(
    {
        'exclude_groups',
        'groups',
        'indices',
        'num_workers',
        'persistent_workers',
        'pin_memory',
        'prefetch_factor',
        'resume',
    }
)


def fingerprint_of(cfg: Config) -> str:
    """A hash of all of a config that the predictions of a group depend on."""
    keys = (
        'model',
        'optim_wrapper',
        'param_scheduler',
        'train_cfg',
        'train_dataloader',
        'test_cfg',
        'test_dataloader',
        'randomness',
        'load_from',
    )

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                str(key): plain(item)
                for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))
                if key not in _WITHOUT_EFFECT
            }
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        if value is None or isinstance(value, (str, int, float, bool)):
            return value
        return getattr(value, '__qualname__', None) or type(value).__qualname__

    content = {key: plain(cfg.get(key)) for key in keys}
    # Those that only look at results may come and go.
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] != 'SaveMasksHook']
    content.update(custom_hooks=plain(hooks), version=__version__)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
