"""What refiners are given beside soft maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ...structures import GroupDataSample

__all__ = ['GroupContext']


@dataclass
class GroupContext:
    """What refiners may look at beside the soft maps of a group of N images.

    Attributes:
        images: as the network gets them before normalization, N of (3, h, w), uint8 BGR with a
            deferring preprocessor.
        group: the group's sample; without predictions, since those come last.
        cues: the maps of each cue, (N, 1, h, w) in [0, 1].
        descriptors: by the name of the cue or refiner that encoded them, (N, d, h, w) float16.
        own: those of the refiner that is being called, if it has some.
        saliency: of the images, (N, 1, h, w) in [0, 1], where the pipeline gives it.
        size: height and width of what goes through the network, padding included.
    """

    images: Sequence[Tensor]
    group: GroupDataSample
    cues: dict[str, Tensor] = field(default_factory=dict)
    descriptors: dict[str, Tensor] = field(default_factory=dict)
    own: Tensor | None = None
    saliency: Tensor | None = None
    size: tuple[int, int] = (0, 0)
