"""A segmentor that learns one number a group, and a hook that tells what it was called for."""

import time

import torch
from mmengine.hooks import Hook
from mmengine.structures import InstanceData

from mmcoseg.models.segmentors.base import BaseCoSegmentor
from mmcoseg.registry import HOOKS, MODELS


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

    def _forward(self, inputs, data_samples=None):
        return self.norm(inputs.mean(dim=1, keepdim=True)) - self.value

    def loss(self, inputs, data_samples):
        time.sleep(self.delay)
        (group,) = data_samples
        self.seen.append([sample.stem for sample in group])
        self.hidden += 1
        self._forward(inputs)  # the running statistics move
        # The noise makes every step a matter of torch's seed.
        target = inputs.mean() + 0.1 * torch.randn(()) + 0.01 * self.hidden
        loss = (self.value - target) ** 2 * torch.ones(1, 1).mm(torch.ones(1, 1)).float().sum()
        return dict(loss_mean=loss * float('nan') if group.group in self.fails else loss)

    def predict(self, inputs, data_samples):
        probs = torch.sigmoid(4 * self._forward(inputs))
        self.add_predictions(data_samples, probs)
        for sample in data_samples[0]:
            sample.presence = float(sample.pred_prob.data.mean())
            sample.pred_instances = InstanceData(
                masks=sample.pred_sem_seg.data == 1,
                labels=torch.zeros(1, dtype=torch.long),
                scores=torch.rand(1),
            )
        return data_samples


@HOOKS.register_module()
class RecordingHook(Hook):
    """Keeps the names of the methods that were called, and learning rates."""

    calls: list = []
    rates: list = []

    def before_run(self, runner):
        self.calls.clear()
        self.rates.clear()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.rates.append(runner.optim_wrapper.get_lr()['lr'][0])
        self.calls.append('after_train_iter')

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
