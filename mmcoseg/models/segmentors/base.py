"""What all segmentors share: the three modes, and how soft maps become results."""

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Literal

import torch
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from ...errors import MMCosegError
from ...options import one_of
from ...registry import MODELS, TASK_UTILS
from ...structures import (
    CoSegDataSample,
    GroupDataSample,
    GroupImages,
    GroupSampleList,
    group_sizes_of,
)
from ..ops import mask_of_prob
from ..postprocessors import EdgeRefiner
from .hinted_images import hinted_images, obey_hints, refine_by_hints

__all__ = ['BaseCoSegmentor']

Mode = Literal['loss', 'predict', 'tensor']


class BaseCoSegmentor(BaseModel, metaclass=ABCMeta):
    """Base class of segmentors of groups.

    A group is predicted in two steps: :meth:`segment` looks at all its images and keeps a soft map
    of each; :meth:`finish` makes masks of soft maps and runs the post-processors.

    Args:
        data_preprocessor: config, normally of ``GroupDataPreprocessor``.
        postprocessors: configs from ``TASK_UTILS``, or None. Each is called in this order with a
            ``GroupDataSample`` and changes its predictions in place. ``by_image = True`` says that
            it treats each image by itself, so that a group can be given in parts.
        threshold: probability from which a pixel is object, or ``'adaptive'``; see
            :func:`~mmcoseg.models.ops.mask_of_prob`.

    Attributes:
        independent_images: whether each image is segmented by itself, whatever the others show.
    """

    independent_images = False

    def __init__(
        self,
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] | None = (),
        threshold: float | str = 0.5,
        init_cfg: dict | None = None,
    ) -> None:
        # Built here, because mmengine's BaseModel looks in its own registry.
        if not isinstance(data_preprocessor, nn.Module):
            data_preprocessor = MODELS.build(
                data_preprocessor or dict(type='GroupDataPreprocessor')
            )
        super().__init__(data_preprocessor, init_cfg)
        self.postprocessors = [TASK_UTILS.build(cfg) for cfg in postprocessors or ()]
        self.threshold = threshold

    def forward(
        self,
        inputs: GroupImages | Tensor,
        data_samples: GroupSampleList | None = None,
        mode: Mode = 'tensor',
    ) -> Tensor | dict[str, Tensor] | GroupSampleList:
        """One entry for training and testing.

        Args:
            inputs: images of all groups, as the preprocessor gives them; or a tensor
                (sum N, 3, H, W) that is normalized already.
            data_samples: one entry a group. In mode ``tensor`` None means one single group.
            mode: ``'loss'`` for a dict of losses, ``'predict'`` for data samples with
                predictions, ``'tensor'`` for the network's raw output.
        """
        one_of('mode', mode, Mode)
        images = GroupImages.of(inputs) if isinstance(inputs, Tensor) else inputs
        if data_samples is None:
            data_samples = [GroupDataSample([CoSegDataSample() for _ in images])]
        run = dict(loss=self.loss, predict=self.predict, tensor=self._forward)[mode]
        result = run(images, data_samples)
        if mode == 'loss':
            _require_trained(result)
        return result

    @abstractmethod
    def loss(self, images: GroupImages, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """Named losses; those whose names start with ``loss`` are summed into the objective."""

    @abstractmethod
    def soft_maps(self, images: GroupImages, group: GroupDataSample) -> Sequence[Tensor]:
        """Soft maps of the images of one group.

        What else is found of an image, such as ``presence``, is noted in its sample.

        They are (C, h, w) in [0, 1]; see ``CoSegDataSample.pred_prob`` for C. Either of the whole
        network input, or of the image without padding at any lower resolution.
        """

    @abstractmethod
    def _forward(self, images: GroupImages, data_samples: GroupSampleList) -> Tensor:
        """The raw output for the images of all groups."""

    def predict(self, images: GroupImages, data_samples: GroupSampleList) -> GroupSampleList:
        """Set ``pred_prob``, ``pred_sem_seg`` and what else the method gives, group by group."""
        for group, part in zip(data_samples, images.split(group_sizes_of(data_samples))):
            self.segment(part, group)
            self.finish(group)
        return data_samples

    @torch.no_grad()
    def segment(self, images: GroupImages, group: GroupDataSample) -> None:
        """Set ``pred_prob`` of the images of one group."""
        if len(group):
            keep_maps(group, self.soft_maps(images, group))

    def updater(self, images: GroupImages, group: GroupDataSample) -> Callable[[], None]:
        """What segments a group, each time that it is called, by the hints of that time."""
        return partial(self.segment, images, group)

    @torch.no_grad()
    def finish(self, group: GroupDataSample) -> None:
        """Make masks of a group's ``pred_prob``, and run the post-processors.

        Instances are added once the masks fit the edges, and anew after any later step that
        replaces a mask. So steps that change instances come after those that draw masks. It may be
        a part of a group if all post-processors are :attr:`by_image`.

        Hints on an image act here, whatever the method: they spread to pixels that are near and
        alike, and each step's masks are changed to what they say.
        """
        hinted = hinted_images(group)
        refine_by_hints(hinted)
        for sample in group:
            prob = sample.pred_prob.data
            size = sample.metainfo.get('ori_shape', prob.shape[-2:])[:2]
            sample.pred_sem_seg = PixelData(data=mask_of_prob(prob, size, self.threshold))
        obey_hints(hinted)
        outdated = True
        for step in self.postprocessors:
            if outdated and not isinstance(step, EdgeRefiner):
                self.add_instances(group)
                outdated = False
            masks = [sample.pred_sem_seg.data for sample in group]
            step(group)
            obey_hints(hinted)
            outdated |= any(s.pred_sem_seg.data is not mask for s, mask in zip(group, masks))
        if outdated:
            self.add_instances(group)

    def add_instances(self, group: GroupDataSample) -> None:
        """Set ``pred_instances`` from the masks; nothing in methods without instances."""

    @property
    def follows_hints(self) -> bool:
        """Whether a hint on one image counts for the whole group."""
        return False

    @property
    def by_image(self) -> bool:
        """Whether :meth:`finish` may be given a group in parts."""
        return all(getattr(step, 'by_image', False) for step in self.postprocessors)


def keep_maps(group: GroupDataSample, maps: Sequence[Tensor]) -> None:
    """Set ``pred_prob`` of a group's images to what :meth:`BaseCoSegmentor.soft_maps` gives."""
    for sample, prob in zip(group, maps, strict=True):
        sample.pred_prob = PixelData(data=without_padding(prob, sample))


def without_padding(maps: Tensor, sample: CoSegDataSample) -> Tensor:
    """The part of maps (C, H, W) of the network's input that an image covers."""
    height, width = sample.metainfo.get('img_shape', maps.shape[-2:])[:2]
    return maps[:, :height, :width]


def _require_trained(losses: dict[str, Tensor | Sequence[Tensor]]) -> None:
    """Refuse a loss that training would only log; what has no derivative, or is 0, may be."""
    for name, value in losses.items():
        parts = [value] if isinstance(value, Tensor) else value
        trainable = any(part.requires_grad and part.any() for part in parts)
        if trainable and not name.startswith('loss'):
            raise MMCosegError(
                f'the loss {name!r} would be logged but not trained, since its name does not start '
                f"with 'loss': return it as 'loss_{name}', or detached if it is only for the log"
            )


def require_one_size(data_samples: GroupSampleList, size: tuple[int, int]) -> None:
    """Refuse images that were padded to the batch's size, since losses would see the padding."""
    for sample in chain.from_iterable(data_samples):
        if tuple(sample.metainfo.get('img_shape', size)[:2]) != tuple(size):
            raise MMCosegError(
                f'{sample.identity} is {sample.img_shape}, others of the batch {tuple(size)}; '
                'resize to one size in the training pipeline'
            )


def ground_truth_of(data_samples: GroupSampleList) -> Tensor:
    """Masks of all images, (sum N, H, W) int64, which must have one size."""
    masks = []
    for sample in chain.from_iterable(data_samples):
        if 'gt_sem_seg' not in sample:
            raise MMCosegError(
                f'{sample.identity} has no ground truth to train on; put a mask file in place and '
                'LoadCoSegMask into the training pipeline'
            )
        masks.append(sample.gt_sem_seg.data[0])
        if masks[-1].shape != masks[0].shape:
            raise MMCosegError(
                f'{sample.identity} has a mask of {tuple(masks[-1].shape)}, the batch one of '
                f'{tuple(masks[0].shape)}; resize or crop to one size in the training pipeline'
            )
    return torch.stack(masks)
