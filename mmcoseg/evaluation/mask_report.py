"""How well the object was found: P and J of masks, by image and group."""

from typing import NamedTuple

import numpy as np

from .report import Cells, Report

__all__ = ['GroupScore', 'MaskReport']


class GroupScore(NamedTuple):
    """Mean scores of the images of one group, in per cent."""

    num_images: int
    precision: float
    jaccard: float


class MaskReport(Report):
    """P and J of masks; images are added as pairs (P, J) in [0, 1], as ``image_scores`` gives them.

    Example:
        >>> report = MaskReport()
        >>> report.add('cat', '001', (0.9, 0.5))
        >>> report.add('cat', '002', (0.7, 0.5))
        >>> report.add('dog', '001', (1.0, 1.0))
        >>> {key: round(value, 1) for key, value in report.summary().items()}
        {'P': 90.0, 'J': 75.0, 'P_image': 86.7, 'J_image': 66.7}
    """

    def group_scores(self) -> dict[str, GroupScore]:
        """Image means of every group, by name."""
        result = {}
        for group, images in self.groups():
            precision, jaccard = 100 * np.mean(list(images.values()), axis=0)
            result[group] = GroupScore(len(images), float(precision), float(jaccard))
        return result

    def summary(self) -> dict[str, float]:
        """``P`` and ``J``: mean over groups of their image means; ``P_image``, ``J_image``:
        mean over all images. NaN without images."""
        names = ('P', 'J', 'P_image', 'J_image')
        if not len(self):
            return dict.fromkeys(names, float('nan'))
        over_groups = np.mean([score[1:] for score in self.group_scores().values()], axis=0)
        over_images = 100 * np.mean(list(dict(self.images()).values()), axis=0)
        return dict(zip(names, np.concatenate([over_groups, over_images]).tolist()))

    def _cells(self) -> Cells:
        rows = [(group, *score) for group, score in self.group_scores().items()]
        figures = list(self.summary().values())
        means = ('class mean', len(self), *figures[:2]), ('image mean', len(self), *figures[2:])
        return ('class', 'images', 'P', 'J'), rows, means

    def _details(self) -> dict:
        """By group its means, and its ``images`` by identity ``group/stem``."""
        groups = {}
        for group, (number, precision, jaccard) in self.group_scores().items():
            groups[group] = dict(num_images=number, P=precision, J=jaccard, images={})
        for identity, (precision, jaccard) in self.images():
            group = identity.rpartition('/')[0]
            groups[group]['images'][identity] = dict(P=100 * precision, J=100 * jaccard)
        return dict(groups=groups)
