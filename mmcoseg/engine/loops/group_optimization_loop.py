"""Optimizing the model on every group by itself, reading it out, and scoring all groups."""

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import TestLoop

from ...compat import unwrapped
from ...errors import MMCosegError
from ...registry import LOOPS
from ...seeding import entropy_of, random_state
from ...structures import GroupDataSample
from ...version import __version__
from ..group_optimization import InitialState, OptimizationSettings, optimize_and_segment
from ..prediction_store import PredictionStore

__all__ = ['GroupOptimizationLoop', 'fingerprint_of', 'share_out']

#: About how many epochs of a group the log tells the losses of.
LINES_PER_GROUP = 5


@LOOPS.register_module()
class GroupOptimizationLoop(TestLoop):
    """For each group: start from the same initial weights, optimize on its images, predict them.

    For methods without annotations, which make one network a group from the group's own images. In
    a config::

        test_dataloader = dict(batch_size=1, dataset=<the groups>, ...)
        test_cfg = dict(
            type='GroupOptimizationLoop', max_epochs=40, batch_size=6, optim_wrapper=...
        )
        test_evaluator = ...

    ``mmcoseg train`` and ``mmcoseg test`` both run this loop. Mini-batches hold images as the test
    pipeline gives them. Before the first step ``prepare_group``, if there is one, sees the whole
    group.

    A group's result is a function of the initial weights (those after ``init_weights`` and
    ``load_from``), its images, the config and the seed, but not of the other groups nor of the
    number of processes. If a loss is not finite, the group is predicted by the initial weights.

    Hooks see a test whose iterations are the groups, each after its optimization. The predictions
    of finished groups, with their losses, are kept in ``<work_dir>/optimized_groups``, and
    ``resume`` goes on after them.

    In a distributed run the groups are shared out over the processes, the largest first. Processes
    synchronize only once, when scores are gathered: set ``env_cfg.dist_cfg.timeout`` (seconds)
    above the expected gap between the fastest and the slowest, as ``engine.launch`` does. The work
    folder must be one for all processes.

    Args:
        runner, dataloader, evaluator: as of mmengine's ``TestLoop``.
        optim_wrapper, param_scheduler, max_epochs, batch_size: see
            :class:`~mmcoseg.engine.group_optimization.OptimizationSettings`.
        resume: keep what earlier runs by the same settings in the same work folder finished.

    Attributes:
        failed: name -> reason of the groups whose optimization failed, in all processes; known
            after the run.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        evaluator: dict | list,
        optim_wrapper: dict,
        param_scheduler: dict | Sequence[dict] | None = None,
        max_epochs: int = 40,
        batch_size: int = 6,
        resume: bool = False,
    ) -> None:
        super().__init__(runner, dataloader, evaluator)
        self.settings = OptimizationSettings(
            optim_wrapper, param_scheduler, max_epochs, batch_size, runner.seed
        )
        if (runner.auto_scale_lr or {}).get('enable'):
            raise MMCosegError(
                'auto_scale_lr has no meaning with GroupOptimizationLoop: each group is optimized '
                'by one process alone; set test_cfg.optim_wrapper.optimizer.lr'
            )
        self.resume = resume
        # Each process works for itself.
        self.model = revert_sync_batchnorm(unwrapped(runner.model))
        # Before weights are loaded, as at the start of a training.
        self.model.init_weights()
        self.failed: dict[str, str] = {}

    def run(self) -> dict[str, float]:
        """Optimize, predict and score all groups; returns the metrics."""
        runner = self.runner
        sizes, keys = self._sizes_and_keys()
        folder = Path(runner.work_dir) / 'optimized_groups'
        store = PredictionStore(folder, fingerprint_of(runner.cfg))
        rank, world_size = get_dist_info()
        mine = share_out(sizes, world_size)[rank]
        print_log(f'{len(sizes)} groups, {len(mine)} of them in this process', 'current')
        initial = InitialState(self.model)
        runner.call_hook('before_test')
        runner.call_hook('before_test_epoch')
        for place, number in enumerate(mine):
            self._run_group(place, number, keys[number], initial, store)
        metrics = self._collect()
        runner.call_hook('after_test_epoch', metrics=metrics)
        runner.call_hook('after_test')
        return metrics

    def _sizes_and_keys(self) -> tuple[list[int], list[str]]:
        """Of each group the number of images, and a name that no other has."""
        dataset = self.dataloader.dataset
        sizes, keys, seen = [], [], Counter()
        for record in map(dataset.get_data_info, range(len(dataset))):
            name = record['group']
            sizes.append(len(record['images']))
            # Several sets may have groups of one name.
            keys.append(f'{name}#{seen[name]}' if seen[name] else name)
            seen[name] += 1
        return sizes, keys

    def _run_group(
        self, place: int, number: int, key: str, initial: InitialState, store: PredictionStore
    ) -> None:
        """Predict a group, by optimizing the model on it or from what was kept of it."""
        start = time.perf_counter()
        dataset = self.dataloader.dataset
        name = dataset.get_data_info(number)['group']
        with random_state(entropy_of(self.settings.seed, name)):
            batch = self.dataloader.collate_fn([dataset[number]])
        self.runner.call_hook('before_test_iter', batch_idx=place, data_batch=batch)
        group = batch['data_samples'][0]
        notes = store.load(key, group) if self.resume else None
        if notes is not None:
            print_log(f'group {name}: was finished before', 'current')
        else:
            store.forget(key)
            group, notes = self._optimize(batch, initial)
            notes['seconds'] = round(time.perf_counter() - start, 2)
            store.save(key, group, **notes)
            print_log(f'group {name}: {len(group)} images, {notes["seconds"]} s', 'current')
        if notes['failure']:
            self.failed[name] = notes['failure']
        self.evaluator.process(data_samples=[group], data_batch=batch)
        self.runner.call_hook('after_test_iter', batch_idx=place, data_batch=batch, outputs=[group])

    def _optimize(
        self, batch: dict, initial: InitialState
    ) -> tuple[GroupDataSample, dict[str, Any]]:
        """The group with predictions, and what is noted of its optimization."""
        data = self.model.data_preprocessor(batch, False)
        images, [group] = data['inputs'], data['data_samples']
        history = []
        epochs = self.settings.max_epochs

        def note(epoch: int, losses: dict[str, float]) -> None:
            """Tell the visualizer, and now and then the log, the losses of an epoch."""
            history.append(dict(losses))
            epoch += 1
            if epoch == epochs or epoch % ceil(epochs / LINES_PER_GROUP) == 0:
                text = ', '.join(f'{name} {value:.4f}' for name, value in losses.items())
                print_log(f'group {group.group}: epoch {epoch}/{epochs}, {text}', 'current')
            scalars = {f'{group.group}/{name}': value for name, value in losses.items()}
            self.runner.visualizer.add_scalars(scalars, step=epoch)

        failure = optimize_and_segment(self.model, images, group, initial, self.settings, note)
        if failure:
            text = f'{failure}; it is predicted by the initial weights'
            print_log(text, 'current', logging.WARNING)
        self.model.finish(group)
        initial.restore()
        return group, dict(failure=failure, losses=history)

    def _collect(self) -> dict[str, float]:
        """The only place where processes talk to each other."""
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
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


def share_out(sizes: Sequence[int], world_size: int) -> list[list[int]]:
    """Share groups of these sizes out over processes: the largest first, each to who has least.

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
_WITHOUT_EFFECT = ('exclude_groups', 'groups', 'num_workers', 'persistent_workers', 'resume')


def fingerprint_of(cfg: Config) -> str:
    """A hash of all of a config that the predictions of a group depend on."""
    keys = ('model', 'test_cfg', 'test_dataloader', 'randomness', 'load_from')
    content = {key: _plain(cfg.get(key)) for key in keys}
    # Those that only look at results may come and go.
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if hook['type'] != 'SaveMasksHook']
    content.update(custom_hooks=_plain(hooks), version=__version__)
    text = json.dumps(content, sort_keys=True, default=_type_name)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """The value without keys that have no effect; json would refuse keys that are no text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if k not in _WITHOUT_EFFECT}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _type_name(value: Any) -> str:
    return getattr(value, '__qualname__', type(value).__qualname__)
