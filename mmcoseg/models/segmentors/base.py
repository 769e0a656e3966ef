"""What all segmentors share: the three modes, and how soft maps become results."""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence

import torch
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor

from ...errors import MMCosegError
from ...registry import MODELS, TASK_UTILS
from ...structures import CoSegDataSample, GroupDataSample, GroupSampleList
from ..ops import mask_of_prob
from ..postprocessors import EdgeRefiner

__all__ = ['BaseCoSegmentor']


class BaseCoSegmentor(BaseModel, metaclass=ABCMeta):
    """Base class of segmentors of groups.

    Args:
        data_preprocessor: config, normally of ``GroupDataPreprocessor``.
        postprocessors: configs from ``TASK_UTILS``, or None for none; each is called with a
            ``GroupDataSample`` that has predictions and changes them in place, in the given order.
            One whose attribute ``by_image`` is true treats each image by itself, and may be given
            a group in parts.
        threshold: probability from which a pixel is object, or ``'adaptive'``; see
            :func:`~mmcoseg.models.ops.mask_of_prob`.

    Attributes:
        soft_only: :meth:`add_predictions` leaves out masks and post-processors, for the caller to
            :meth:`complete` the groups some images at a time. Masks of photographs at their
            original size take megabytes each, soft maps at the network's a few kilobytes.
    """

    def __init__(
        self,
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] | None = (),
        threshold: float | str = 0.5,
        init_cfg: dict | None = None,
    ) -> None:
        if data_preprocessor is None:
            data_preprocessor = dict(type='GroupDataPreprocessor')
        if isinstance(data_preprocessor, dict):
            # Built here, because mmengine's BaseModel looks in its own registry.
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, init_cfg)
        self.postprocessors = [TASK_UTILS.build(cfg) for cfg in postprocessors or ()]
        self.threshold = threshold
        self.soft_only = False

    def forward(
        self, inputs: Tensor, data_samples: GroupSampleList | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | GroupSampleList:
        """One entry for training and testing.

        Args:
            inputs: images of all groups, (sum N, 3, H, W), as the preprocessor gives them.
            data_samples: one entry a group. In mode ``tensor`` None means one single group.
            mode: ``'loss'`` for a dict of losses, ``'predict'`` for data samples with
                predictions, ``'tensor'`` for the network's raw output.

        Raises:
            MMCosegError: for any other mode; for a loss whose name keeps it from being trained.
        """
        if mode == 'loss':
            losses = self.loss(inputs, data_samples)
            _require_trained(losses)
            return losses
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self._forward(inputs, data_samples)
        raise MMCosegError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    @abstractmethod
    def loss(self, inputs: Tensor, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """Named losses; those whose names start with ``loss`` are summed into the objective."""

    @abstractmethod
    def predict(self, inputs: Tensor, data_samples: GroupSampleList) -> GroupSampleList:
        """Set ``pred_prob`` and ``pred_sem_seg`` of every image and return the groups."""

    @abstractmethod
    def _forward(self, inputs: Tensor, data_samples: GroupSampleList | None = None) -> Tensor:
        """The raw output for all images."""

    def prepare_group(self, inputs: Tensor, data_samples: GroupSampleList) -> None:
        """Look at a whole group before the model is optimized on mini-batches of it.

        Args:
            inputs, data_samples: of one group, as for :meth:`predict`; not to be changed.
        """

    def add_predictions(
        self, data_samples: GroupSampleList, probs: Tensor | Sequence[Tensor]
    ) -> GroupSampleList:
        """Attach soft maps to the samples and, unless ``soft_only``, :meth:`complete` them.

        Args:
            probs: at the size of the padded inputs, (sum N, C, H, W) float in [0, 1]; see
                ``CoSegDataSample.pred_prob`` for C. Or one (C, h, w) an image, no larger than its
                ``img_shape``, of the image without padding.
        """
        samples = [sample for group in data_samples for sample in group]
        for sample, prob in zip(samples, probs):
            height, width = sample.metainfo.get('img_shape', prob.shape[-2:])[:2]
            prob = prob[:, :height, :width]
            sample.pred_prob = PixelData(data=prob)
        if not self.soft_only:
            for group in data_samples:
                self.complete(group)
        return data_samples

    def complete(self, group: GroupDataSample) -> None:
        """Make masks of the soft maps of a group's images, and run the post-processors.

        Instances are added once the masks fit the edges, and anew behind any later step that
        replaces a mask. So steps that change instances stand behind those that draw masks.
        """
        for sample in group:
            sample.pred_sem_seg = PixelData(data=self.mask_of(sample))
        with_instances = False
        for step in self.postprocessors:
            if not with_instances and not isinstance(step, EdgeRefiner):
                self.add_instances(group)
                with_instances = True
            masks = [sample.pred_sem_seg.data for sample in group]
            step(group)
            if any(sample.pred_sem_seg.data is not mask for sample, mask in zip(group, masks)):
                with_instances = False
        if not with_instances:
            self.add_instances(group)

    def add_instances(self, group: GroupDataSample) -> None:
        """Set ``pred_instances`` of a group's images, whose masks are drawn; perhaps repeatedly.

        For methods that give instances; here nothing is done.
        """

    def _network_size(self, images: Tensor | Sequence[Tensor]) -> tuple[int, int]:
        """Height and width of what goes through the network."""
        if isinstance(images, Tensor):
            return tuple(images.shape[-2:])
        return self.data_preprocessor.padded_size(images)

    def _normalized(self, images: Tensor | Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Images of a preprocessor, deferred or not, as the network takes them."""
        if isinstance(images, Tensor):
            return images
        return self.data_preprocessor.normalize(images, size)

    @property
    def by_image(self) -> bool:
        """Whether :meth:`complete` may be given a group in parts."""
        return all(getattr(step, 'by_image', False) for step in self.postprocessors)

    def mask_of(self, sample: CoSegDataSample) -> Tensor:
        """The mask that ``pred_prob`` stands for: (1, H, W) uint8 at the original size."""
        prob = sample.pred_prob.data
        return mask_of_prob(
            prob, sample.metainfo.get('ori_shape', prob.shape[-2:])[:2], self.threshold
        )


def _require_trained(losses: dict[str, Tensor | Sequence[Tensor]]) -> None:
    """Refuse a loss that training would leave out, since its name does not start with ``loss``.

    What has no derivative, or is 0, is a figure for the log.

    Raises:
        MMCosegError: naming it.
    """
    for name, value in losses.items():
        if name.startswith('loss'):
            continue
        parts = [value] if isinstance(value, Tensor) else value
        if any(isinstance(part, Tensor) and part.requires_grad and part.any() for part in parts):
            raise MMCosegError(
                f'the loss {name!r} would be logged but not trained, since its name does not start '
                f"with 'loss': return it as 'loss_{name}', or detached if it is only for the log"
            )


def require_one_size(data_samples: GroupSampleList, size: tuple[int, int]) -> None:
    """Refuse images with padding, on which losses would look.

    Args:
        size: height and width of the batch.

    Raises:
        MMCosegError: naming the first image of another size.
    """
    for group in data_samples:
        for sample in group:
            if tuple(sample.metainfo.get('img_shape', size)[:2]) != tuple(size):
                raise MMCosegError(
                    f'{sample.identity} is {sample.img_shape}, others of the batch {tuple(size)}; '
                    'resize to one size in the training pipeline'
                )


def ground_truth_of(data_samples: GroupSampleList) -> Tensor:
    """Masks of all images, (sum N, H, W) int64.

    Raises:
        MMCosegError: naming the image that has none, or whose size differs from the first one's.
    """
    masks = []
    for group in data_samples:
        for sample in group:
            if 'gt_sem_seg' not in sample:
                raise MMCosegError(
                    f'{sample.identity} has no ground truth to train on; put a mask file in place '
                    'and LoadCoSegMask into the training pipeline'
                )
            masks.append(sample.gt_sem_seg.data[0])
            if masks[-1].shape != masks[0].shape:
                raise MMCosegError(
                    f'{sample.identity} has a mask of {tuple(masks[-1].shape)}, the batch one of '
                    f'{tuple(masks[0].shape)}; resize or crop to one size in the training pipeline'
                )
    return torch.stack(masks)
