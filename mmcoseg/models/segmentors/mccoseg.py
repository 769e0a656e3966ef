"""Unsupervised co-segmentation of several classes with contrastively learned CNNs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import MMCosegError
from ...options import build_options, whole_number
from ...registry import MODELS
from ...structures import (
    GroupDataSample,
    GroupImages,
    GroupSampleList,
    NumClasses,
    check_num_classes,
    group_sizes_of,
    num_classes_of,
)
from ..calling import call_with_offers
from ..ops import min_max_maps
from ..ops.resize import resize
from .base import without_padding
from .optimized_on_group import OptimizedOnGroup, at_quarter_size

__all__ = ['MultiClassCoSeg']


@dataclass
class MultiClassTestOptions:
    """``test_cfg`` of :class:`MultiClassCoSeg`.

    Attributes:
        chunk_size: images that go through the backbone at a time; results do not depend on it.
        group_size: images of a mini-batch, see :class:`OptimizedOnGroup`.
        min_max: stretch each map of an image to [0, 1] (Eq. 8).
    """

    chunk_size: int = 6
    group_size: int = 3
    min_max: bool = True

    def __post_init__(self) -> None:
        whole_number('model.test_cfg.chunk_size', self.chunk_size)
        whole_number('model.test_cfg.group_size', self.group_size)


@MODELS.register_module()
class MultiClassCoSeg(OptimizedOnGroup):
    """A network optimized on a group's own images until each of its maps cuts out one class.

    The generator (backbone, attention, head) gives each image K + 1 maps that share out its pixels,
    the background first. A frozen extractor turns the image masked by each of them (Eq. 1) into a
    vector, and the objective (Eq. 4) wants the vectors of a class alike over the images and unlike
    those of the image's other maps. K = 1 is the co-attention network of Hsu et al. (IJCAI 2018).

    **The number of classes is a matter of the group.** The head makes maps of ``max_classes``; a
    group uses the first K + 1 of them, as if there were no others. A group is optimized and
    predicted with the same K.

    Args:
        num_classes: K, object classes in a group: a number, that of every group; ``'data'``, what
            the data set says of each group (metainfo ``num_classes``); or ``'auto'``, as many as
            the initial segmentor finds.
        backbone, losses, initial_segmentor: see :class:`OptimizedOnGroup`. The paper's loss is
            ``CoAttentionLoss``. The initial segmentor gives K + 1 maps.
        decode_head: makes logits (n, K + 1, h, w) of the levels, and maps of these; normally
            ``MultiClassHead``.
        extractor: a frozen backbone; its last level, averaged over the image, is the vector. Images
            reach it normalized as they reach ``backbone``, so a masked pixel has the mean color.
        extractor_size: side at which images and maps meet the extractor and the losses; None for
            the size of the generator's input.
        max_classes: the largest K of a group; the head gets it. None: ``num_classes``, if that is a
            number.
        test_cfg: see :class:`MultiClassTestOptions`.
        options: further arguments of :class:`OptimizedOnGroup`. The ``neck`` is normally an
            ``AttentionNeck``; None for no attention (the ablation).
    """

    def __init__(
        self,
        num_classes: NumClasses,
        backbone: dict,
        decode_head: dict,
        losses: Mapping[str, dict | None],
        extractor: dict | None = None,
        extractor_size: int | None = None,
        initial_segmentor: dict | None = None,
        max_classes: int | None = None,
        test_cfg: dict | None = None,
        **options: Any,
    ) -> None:
        self.test_cfg = build_options(MultiClassTestOptions, test_cfg, 'model.test_cfg')
        self.group_size = self.test_cfg.group_size
        max_classes = _max_classes(num_classes, max_classes)
        if initial_segmentor:
            own = dict(num_classes=num_classes, max_classes=max_classes)
            initial_segmentor = {**own, **initial_segmentor}
        elif num_classes == 'auto':
            raise MMCosegError(
                "model.num_classes='auto' needs an initial segmentor that finds out how many "
                'classes a group has (model.initial_segmentor), and this model has none: set '
                'model.num_classes to the number of classes (`mmcoseg segment --classes K`)'
            )
        decode_head = dict(decode_head, num_classes=max_classes)
        super().__init__(
            backbone, decode_head, losses, initial_segmentor=initial_segmentor, **options
        )
        self.num_classes = num_classes
        self.max_classes = max_classes
        self.extractor = None
        if extractor:
            self.extractor = MODELS.build(extractor).requires_grad_(False).eval()
            self.resting.append(self.extractor)
        if extractor_size is not None:
            whole_number('model.extractor_size', extractor_size)
        self.extractor_size = extractor_size

    def num_classes_of(self, group: GroupDataSample) -> int:
        """K of a group, or of a mini-batch of it."""
        number = self.num_classes
        if number == 'auto':
            number = len(self.initial_maps_of(group[0])) - 1
        return num_classes_of(group, number, self.max_classes, 'model.num_classes')

    def prepare_group(self, images: GroupImages, group: GroupDataSample) -> None:
        """As of :class:`OptimizedOnGroup`; a wrong number of classes is refused at once."""
        if not len(group):
            return
        if self.num_classes != 'auto':
            self.num_classes_of(group)
        super().prepare_group(images, group)
        wanted = self.num_classes_of(group) + 1
        for sample in group:
            if self.initial_segmentor is not None and len(sample.initial_maps.data) != wanted:
                raise MMCosegError(
                    f'model.initial_segmentor must give {wanted} maps of each image of '
                    f'{group.get("group")!r}, the background and its {wanted - 1} classes; got '
                    f'{len(sample.initial_maps.data)} of {sample.identity}'
                )

    def extract_vectors(self, images: Tensor, maps: Tensor) -> Tensor:
        """What the extractor sees in normalized images (n, 3, h, w) through maps (Eq. 1).

        Of maps (n, k, h, w) in [0, 1] it gives (n, k, c), float32; derivatives flow to the maps.
        """
        if self.extractor is None:
            raise MMCosegError(
                'a loss asks for the vectors of an extractor, but model.extractor is None: give '
                'one, or leave the loss out (model.losses.<name>=None)'
            )
        masked = (maps[:, :, None] * images[:, None]).flatten(0, 1)
        if images.is_contiguous(memory_format=torch.channels_last):
            masked = masked.contiguous(memory_format=torch.channels_last)
        vectors = self.extractor(masked)[-1].float().mean(dim=(2, 3))
        return vectors.view(*maps.shape[:2], -1)

    def loss(self, images: GroupImages, data_samples: GroupSampleList) -> dict[str, Tensor]:
        """The mean over groups of the objective, by its parts; each group has its own K."""
        losses: dict[str, Tensor] = {}
        sizes = [len(group) for group in data_samples]
        for part, group in zip(images.split(sizes), data_samples):
            for name, value in super().loss(part, [group]).items():
                losses[name] = losses.get(name, 0) + value / len(data_samples)
        return losses

    def loss_values(
        self, batch: Tensor, levels: tuple[Tensor, ...], data_samples: GroupSampleList
    ) -> dict[str, Callable[[], Any]]:
        [group] = data_samples
        size = tuple(batch.shape[-2:])
        if self.extractor_size is not None:
            size = (self.extractor_size, self.extractor_size)
        logits = self._logits(levels, [len(group)], self.num_classes_of(group))
        maps = self.decode_head.predict_by_feat(logits, size)
        return dict(
            maps=lambda: maps,
            vectors=lambda: self.extract_vectors(resize(batch, size, antialias=True), maps),
            initial_maps=lambda: self.initial_maps_at(data_samples, size).to(maps),
        )

    def _logits(
        self, levels: tuple[Tensor, ...], group_sizes: list[int], num_classes: int
    ) -> Tensor:
        return call_with_offers(
            self.decode_head, levels, num_classes=num_classes, group_sizes=group_sizes
        )

    def _forward(self, images: GroupImages, data_samples: GroupSampleList) -> Tensor:
        """Logits (sum N, K + 1, H', W') at about the images' size, each group a mini-batch.

        K is ``max_classes`` unless ``num_classes`` is a number.
        """
        group_sizes = group_sizes_of(data_samples)
        levels = self.levels_of(self.extract_feat(images.batch()), group_sizes)
        number = self.num_classes if isinstance(self.num_classes, int) else self.max_classes
        return self._logits(levels, group_sizes, number)

    def soft_maps(self, images: GroupImages, group: GroupDataSample) -> list[Tensor]:
        """Maps (K + 1, h, w) of every image, at a quarter of the network's resolution."""
        if self.num_classes == 'auto' and 'initial_maps' not in group[0]:
            self.prepare_group(images, group)
        number = self.num_classes_of(group)
        probs = []
        for indices, levels in self.mini_batches(images, self.test_cfg.chunk_size):
            logits = self._logits(levels, [len(levels[-1])], number)
            maps = self.decode_head.predict_by_feat(logits, images.size)
            for index, one in zip(indices, maps):
                one = without_padding(one, group[index])
                if self.test_cfg.min_max:
                    one = min_max_maps(one)
                probs.append(at_quarter_size(one, one.shape[1:]))
        return probs


def _max_classes(num_classes: NumClasses, max_classes: int | None) -> int:
    """The largest K of a group."""
    check_num_classes(num_classes, 'model.num_classes')
    if max_classes is None:
        if not isinstance(num_classes, int):
            raise MMCosegError(
                f'model.num_classes={num_classes!r} needs model.max_classes, the largest number of '
                'classes that a group may have'
            )
        return num_classes
    whole_number('model.max_classes', max_classes)
    if isinstance(num_classes, int) and num_classes > max_classes:
        raise MMCosegError(
            f'model.num_classes={num_classes} is more than model.max_classes={max_classes}: set '
            f'model.max_classes={num_classes}'
        )
    return max_classes
