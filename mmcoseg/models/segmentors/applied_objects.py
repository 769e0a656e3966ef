"""Objects that were kept, found in images that need not have anything else in common."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError, naming
from ...registry import MODELS
from ...structures import GroupDataSample, GroupImages, GroupSampleList, SavedObject, read_objects
from ..ops.locations import maps_at_locations
from ..ops.precision import without_autocast
from ..stages import Descriptors, GroupContext, SaliencyCue
from .saved_objects import made_with
from .training_free import FrozenCoSegmentor, describe, maps_of_images, saliency_of

__all__ = ['AppliedObjects']

#: How much what stands out in an image counts in the soft maps.
SALIENCY = 0.3
#: Cosine that gives a presence of 0.5, and how fast presence changes with it.
MIDDLE, SCALE = 0.45, 8.0


@MODELS.register_module()
class AppliedObjects(FrozenCoSegmentor):
    """Finds saved objects in each image by itself; nothing is trained.

    A location's probability of an object is 0.7 times the saved one's, plus 0.3 times the image's
    saliency, where the pipeline gives it.

    Several objects, or one of several classes, make K + 1 maps, the background first: a location
    is the class' of the largest probability p, and background with 1 - p.

    Args:
        backbone: as in :class:`TrainingFreeCoSegmentor`; must be the one that the objects were
            learned with.
        objects: files of saved objects; their classes are numbered in this order.
        test_cfg: see :class:`TrainingFreeTestOptions`.

    Raises:
        MMCosegError: naming a file that cannot be read; at the first image, a file that does not
            fit the backbone or the input.
    """

    independent_images = True

    def __init__(
        self,
        backbone: dict | nn.Module,
        objects: Sequence[str | Path],
        data_preprocessor: dict | None = None,
        postprocessors: Sequence[dict] | None = (),
        test_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(backbone, data_preprocessor, postprocessors, test_cfg, init_cfg)
        if not objects:
            raise MMCosegError('model.objects is empty; give the files of saved objects')
        self.files = [str(file) for file in objects]
        self.objects = read_objects(objects)
        self.classes: list[str] = []
        for saved in self.objects:
            self.classes += saved.classes
        self._fits = False
        self.freeze()

    def soft_maps(self, images: GroupImages, group: GroupDataSample) -> list[Tensor]:
        """Maps (C, h', w') without padding; sets ``presence`` and ``class_names``."""
        maps, presence = self._find(images, group)
        for sample, score in zip(group, presence.amax(dim=1).tolist()):
            sample.presence = score
            sample.set_metainfo(dict(class_names=tuple(self.classes)))
        return maps_of_images(maps.to(images.device), images.size, group)

    @torch.no_grad()
    def _forward(self, images: GroupImages, data_samples: GroupSampleList) -> Tensor:
        """Soft maps before the post-processors, (sum N, C, h, w)."""
        group = GroupDataSample([sample for samples in data_samples for sample in samples])
        return self._find(images, group)[0]

    def _find(self, images: GroupImages, group: GroupDataSample) -> tuple[Tensor, Tensor]:
        """Soft maps (N, C, h, w) and the presence (N, K) of each class."""
        self._require_fit()
        wanted = [Descriptors(saved.levels, normalized=True) for saved in self.objects]
        maps, presence = [], []
        chunks = describe(self.backbone, images, range(len(images)), set(wanted), self.test_cfg)
        for _, found in chunks:
            probs, scores = [], []
            for kind, file, saved in zip(wanted, self.files, self.objects):
                with naming(file):
                    _require_channels(saved, found[kind])
                prob = _probabilities(saved, found[kind])
                probs.append(prob)
                scores.append(_presence(saved, found[kind], prob))
            maps.append(torch.cat(probs, dim=1))
            presence.append(torch.cat(scores, dim=1))
        probs = self._with_saliency(torch.cat(maps), images, group)
        if probs.shape[1] > 1:
            background = 1 - probs.amax(dim=1, keepdim=True)
            probs = torch.cat([background, probs], dim=1)
            probs = probs / probs.sum(dim=1, keepdim=True)
        return probs, torch.cat(presence)

    def _with_saliency(self, maps: Tensor, images: GroupImages, group: GroupDataSample) -> Tensor:
        """Maps (N, K, h, w) in which what stands out in an image is likelier."""
        saliency = saliency_of(group, images.size)
        if saliency is None:
            return maps
        standing_out = SaliencyCue()(GroupContext(images, group, saliency=saliency)).cpu()
        at_locations = maps_at_locations(standing_out, maps.shape[-2:], images.size)
        return (1 - SALIENCY) * maps + SALIENCY * at_locations

    def _require_fit(self) -> None:
        """Refuse objects of another backbone or input; once the weights are there."""
        if self._fits:
            return
        own = made_with(self)
        for file, saved in zip(self.files, self.objects):
            with naming(file):
                saved.require_made_with(own)
                given = getattr(self.backbone, 'out_channels', None)  # not every module says it
                if given is not None and max(saved.levels) >= len(given):
                    raise MMCosegError(
                        f'it needs the levels {list(saved.levels)}; the backbone has {len(given)}'
                    )
        self._fits = True


def _require_channels(saved: SavedObject, descriptors: Tensor) -> None:
    theirs, ours = saved.directions.shape[1], descriptors.shape[1]
    if theirs != ours:
        raise MMCosegError(f'it has {theirs} channels; the levels of the backbone have {ours}')


def _probabilities(saved: SavedObject, descriptors: Tensor) -> Tensor:
    """Of the K classes at descriptors (n, d, h, w): (n, K, h, w)."""
    with without_autocast(descriptors):
        values = torch.einsum('ndhw,kd->nkhw', descriptors.float(), saved.directions)
    return torch.sigmoid(values + saved.offsets[:, None, None])


def _presence(saved: SavedObject, descriptors: Tensor, probs: Tensor) -> Tensor:
    """How like the saved objects those are that the maps cover: (n, K) in [0, 1]."""
    last = descriptors[:, -saved.objects.shape[1] :].float()
    with without_autocast(descriptors):
        total = torch.einsum('ndhw,nkhw->nkd', last, probs)
    means = total / probs.sum(dim=(2, 3))[..., None].clamp(min=1e-3)
    cosine = F.cosine_similarity(means - saved.backgrounds, saved.objects, dim=2)
    return torch.sigmoid(SCALE * (cosine - MIDDLE))
