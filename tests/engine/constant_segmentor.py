"""A segmentor that learns one number a group; a hook and an optimizer wrapper that keep notes."""

import time

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData

from mmcoseg.models.segmentors.base import BaseCoSegmentor
from mmcoseg.registry import HOOKS, MODELS, OPTIM_WRAPPERS


@MODELS.register_module()
class ConstantSegmentor(BaseCoSegmentor):
    """Object is what is brighter than the number, which moves to the group's mean.

    Args:
        fails: groups whose loss is no number.
        delay: seconds that a step takes.
    """

    def __init__(self, fails=(), delay=0.0, **kwargs):
        super().__init__(**kwargs)
        self.fails, self.delay = fails, delay
        self.value = torch.nn.Parameter(torch.tensor(5.0))
        self.norm = torch.nn.BatchNorm2d(1)
        self.register_buffer('hidden', torch.zeros(1), persistent=False)
        self.seen = []

    def init_weights(self):
        with torch.no_grad():
            self.value.fill_(0.0)

    def _forward(self, images, data_samples):
        return self.norm(images.batch().mean(dim=1, keepdim=True)) - self.value

    def loss(self, images, data_samples):
        time.sleep(self.delay)
        (group,) = data_samples
        assert len(images) == len(group)
        self.seen.append([sample.identity for sample in group])
        self.hidden += 1
        self._forward(images, [group])  # the running statistics move
        # The noise makes every step a matter of torch's seed.
        target = images.batch().mean() + 0.1 * torch.randn(()) + 0.01 * self.hidden
        loss = (self.value - target) ** 2 * torch.ones(1, 1).mm(torch.ones(1, 1)).float().sum()
        return dict(loss_mean=loss * float('nan') if group.group in self.fails else loss)

    def soft_maps(self, images, group):
        maps = torch.sigmoid(4 * self._forward(images, [group]))
        for sample, prob in zip(group, maps):
            sample.presence = float(prob.mean())
            sample.drawn = torch.rand(1)
        return maps

    def add_instances(self, group):
        for sample in group:
            sample.pred_instances = InstanceData(
                masks=sample.pred_sem_seg.data == 1,
                labels=torch.zeros(1, dtype=torch.long),
                scores=sample.drawn,
            )


@OPTIM_WRAPPERS.register_module()
class RecordingOptimWrapper(OptimWrapper):
    """Keeps the learning rate of every step."""

    rates: list = []

    def update_params(self, *args, **kwargs):
        self.rates.append(self.get_lr()['lr'][0])
        super().update_params(*args, **kwargs)


@HOOKS.register_module()
class RecordingHook(Hook):
    """Keeps the names of the methods that were called."""

    calls: list = []

    def before_run(self, runner):
        self.calls.clear()

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.calls.append(f'after_test_iter {batch_idx} {outputs[0].group}')


for _name in (
    'before_train',
    'after_train',
    'before_train_epoch',
    'after_train_epoch',
    'before_test',
    'after_test',
    'before_test_epoch',
    'after_test_epoch',
):

    def _call(self, runner, metrics=None, name=_name):
        self.calls.append(name)

    setattr(RecordingHook, _name, _call)
