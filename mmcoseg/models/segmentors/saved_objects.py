"""From a group that was segmented to an object that can be kept."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import MMCosegError
from ...files import display_name
from ...structures import SavedObject
from ...structures.saved_object import LONGEST_NAME, OBJECT_SUFFIX
from ...version import __version__
from ..ops.discriminant import group_discriminant
from ..ops.resize import resize
from ..stages import FollowHints, GroupContext
from ..stages.follow_hints import known_at_locations
from ..stages.self_training import RIDGE, SLOPE, match_area
from .base import BaseCoSegmentor
from .training_free import TrainingFreeCoSegmentor

__all__ = ['learn_object', 'made_with', 'require_learner', 'save_object']

#: What is counted, not learned, in a state dict; and options that change no feature.
_COUNT = 'num_batches_tracked'
_NO_MATTER = ('weights', 'init_cfg', 'frozen', 'frozen_stages')


def require_learner(segmentor: BaseCoSegmentor) -> FollowHints:
    """The stage whose descriptors objects are learned on.

    Raises:
        MMCosegError: if the segmentor has none.
    """
    for stage in getattr(segmentor, 'stages', nn.ModuleDict()).values():
        if isinstance(stage, FollowHints):
            return stage
    raise MMCosegError(
        'objects can be saved by methods with a stage FollowHints, such as consensus; this method '
        'has none'
    )


def save_object(
    segmentor: TrainingFreeCoSegmentor,
    context: GroupContext,
    names: Sequence[str],
    file: str | Path,
) -> None:
    """Learn the object of a group, and write it to a file; see :func:`learn_object`.

    Raises:
        MMCosegError: if nothing was found in the group, or the file does not end with ``.coseg``.
        OSError: if it cannot be written.
    """
    if Path(file).suffix != OBJECT_SUFFIX:
        raise MMCosegError(f'{file} must end with {OBJECT_SUFFIX}')
    learn_object(segmentor, context, names).write(file)


@torch.no_grad()
def learn_object(
    segmentor: TrainingFreeCoSegmentor, context: GroupContext, names: Sequence[str] = ()
) -> SavedObject:
    """What tells the objects of a group from everything else, by its final soft maps.

    Fisher's discriminant, in the backbone's own channels, of each class against all else; its
    soft maps cover as much of the group as the maps that it is learned from. What hints say of
    locations goes before the maps.

    Args:
        segmentor: that segmented the group; has a stage :class:`FollowHints`.
        context: of the group, after the last stage.
        names: of the classes; where there are too few, the group's name for one class, and
            ``class k`` for several.
    """
    stage = require_learner(segmentor)
    descriptors = context.descriptors[stage.descriptors]
    basis = context.stores[stage.descriptors].basis
    maps = resize(context.prob.float().cpu(), descriptors.shape[-2:])
    shape, size = descriptors.shape[-2:], context.images.size
    labels, weights, _ = known_at_locations(context.group, maps.shape[1], shape, size)
    maps = torch.where(weights[:, None] > 0, labels, maps)
    maps = maps if maps.shape[1] == 1 else maps[:, 1:]
    if not (maps >= 0.5).any():
        raise MMCosegError('no object was found in the group, so that there is none to keep')
    learned = []
    for prob in maps.unbind(1):
        direction, offset = _discriminant(descriptors, prob)
        target, background = _prototypes(descriptors, prob)
        vectors = torch.stack([direction, target, background])
        vectors = vectors if basis is None else vectors @ basis.float().cpu().t()
        learned.append((*vectors, offset))
    directions, objects, backgrounds, offsets = map(torch.stack, zip(*learned))
    # The last level tells objects best; not every backbone says how wide it is.
    widths = getattr(segmentor.backbone, 'out_channels', None)
    width = directions.shape[1] if widths is None else widths[stage.descriptors.levels[-1]]
    group = context.group.get('group', '')
    return SavedObject(
        classes=tuple(_class_names(names, group, len(learned))),
        levels=stage.descriptors.levels,
        directions=directions,
        offsets=offsets,
        objects=F.normalize(objects[:, -width:], dim=1),
        backgrounds=backgrounds[:, -width:],
        made_with=made_with(segmentor),
        origin=dict(
            group=group,
            images=len(context.group),
            hinted_images=sum('hints' in sample for sample in context.group),
            created=datetime.now(timezone.utc).isoformat(timespec='seconds'),
            mmcoseg=__version__,
        ),
    )


def made_with(segmentor: BaseCoSegmentor) -> dict[str, Any]:
    """What descriptors depend on, as plain types: backbone, weights, mirror images and input."""
    backbone = {}
    for key, value in segmentor.backbone_cfg.items():
        if key not in _NO_MATTER:
            backbone[key] = value
    content = dict(
        backbone=backbone,
        weights=_weights_hash(segmentor.backbone),
        flip=segmentor.test_cfg.flip,
        input=_input_of(segmentor.data_preprocessor),
    )
    return json.loads(json.dumps(content, default=str))


def _discriminant(descriptors: Tensor, prob: Tensor) -> tuple[Tensor, Tensor]:
    """``w`` (d,) and ``b`` of the probability ``sigmoid(w x + b)``, as in self-training."""
    values, gamma = group_discriminant(descriptors, prob.clamp(0.02, 0.98), RIDGE)
    scale = SLOPE / values.std(correction=0).clamp(min=1e-6)
    logits = match_area(scale * (values - values.mean()), float(prob.mean()))
    direction = scale * gamma
    first = descriptors[0, :, 0, 0].float() @ direction
    return direction, logits[0, 0, 0, 0] - first


def _prototypes(descriptors: Tensor, prob: Tensor) -> tuple[Tensor, Tensor]:
    """The direction from background to object, of unit length, and the mean background: (d,)."""
    objects, backgrounds = [], []
    for x, weight in zip(descriptors.float(), prob):
        objects.append((x * weight).sum(dim=(1, 2)) / weight.sum().clamp(min=1e-3))
        outside = 1 - weight
        backgrounds.append((x * outside).sum(dim=(1, 2)) / outside.sum().clamp(min=1e-3))
    background = torch.stack(backgrounds).mean(dim=0)
    # An image in which next to nothing was found says little about what the object is.
    weights = prob.mean(dim=(1, 2)).sqrt()[:, None]
    directions = weights * F.normalize(torch.stack(objects) - background, dim=1)
    return F.normalize(directions.sum(dim=0), dim=0), background


def _class_names(names: Sequence[str], group: str, number: int) -> list[str]:
    named = list(names[:number])
    if number == 1 and not named:
        named = [group or 'object']
    for k in range(len(named), number):
        named.append(f'class {k + 1}')
    return [display_name(name)[:LONGEST_NAME] for name in named]


def _weights_hash(backbone: nn.Module) -> str:
    """A hash of all weights and buffers, by which the same backbone is known again."""
    digest = hashlib.sha256()
    for name, tensor in sorted(backbone.state_dict().items()):
        if not name.endswith(_COUNT):
            values = tensor.detach().cpu().contiguous()
            digest.update(f'{name} {values.dtype} {tuple(values.shape)}'.encode())
            digest.update(values.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _input_of(preprocessor: BaseDataPreprocessor) -> dict[str, Any]:
    return dict(
        size=preprocessor.size,
        interpolation=preprocessor.interpolation,
        mean=preprocessor.mean.flatten().tolist(),
        std=preprocessor.std.flatten().tolist(),
        color='rgb' if preprocessor.bgr_to_rgb else 'bgr',
        size_divisor=preprocessor.size_divisor,
    )
