"""A segmentor that takes no time, for what is around segmentors."""

import time

import torch

from mmcoseg.models.ops import ClassCount
from mmcoseg.models.segmentors.base import BaseCoSegmentor
from mmcoseg.registry import MODELS


@MODELS.register_module()
class TinySegmentor(BaseCoSegmentor):
    """Object is what is brighter than its group's mean.

    Args:
        delay: seconds that an image takes.
        noise: of this strength is added to the answer.
        presence: give presence, the mean probability in the image.
        num_classes: with several, class k is what is brighter than the mean of color k - 1, and
            of these the brightest. With ``'auto'`` as many as the group has images, of which it is
            sure but for two.
        max_classes: of no account.
    """

    def __init__(
        self, delay=0.0, noise=0.0, presence=True, num_classes=1, max_classes=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.delay = delay
        self.noise = noise
        self.presence = presence
        self.num_classes = num_classes
        self.max_classes = max_classes
        self.gain = torch.nn.Parameter(torch.tensor(8.0))
        # Zeros beyond the border are bright, after normalization.
        self.backbone = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=num_classes == 1)

    def loss(self, inputs, data_samples):
        raise ValueError('nothing to train')

    def _forward(self, images, data_samples=None, num_classes=1):
        smooth = self.backbone(images.batch())
        if num_classes > 1:
            above = (smooth - smooth.mean((0, 2, 3), keepdim=True))[:, :num_classes]
            return self.gain * torch.cat([torch.zeros_like(above[:, :1]), above], 1)
        gray = smooth.mean(1, keepdim=True)
        return self.gain * (gray - gray.mean())

    def soft_maps(self, images, group):
        time.sleep(self.delay * len(group))
        number = self.num_classes
        if number == 'auto':
            number = len(group)
            rest = 0.6 if number == 2 else 0.2
            shares = [rest / 3] * 4
            shares[number - 1] = 1 - rest
            group.set_metainfo(dict(class_count=ClassCount(tuple(shares))))
        logits = self._forward(images, num_classes=number)
        logits = logits + self.noise * torch.randn_like(logits)
        probs = logits.softmax(1) if number > 1 else torch.sigmoid(logits)
        if self.presence:
            for sample, prob in zip(group, probs):
                sample.presence = float(prob.mean())
        return probs
