"""How well the object was found: P and J of masks, by image and group."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .report import Cell, Report

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
        if not len(self):
            return dict.fromkeys(('P', 'J', 'P_image', 'J_image'), float('nan'))
        by_group = [score[1:] for score in self.group_scores().values()]
        over_groups = np.mean(by_group, axis=0).tolist()
        over_images = 100 * np.mean(list(dict(self.images()).values()), axis=0)
        return dict(zip(('P', 'J', 'P_image', 'J_image'), over_groups + over_images.tolist()))

    def _table(self) -> tuple[Sequence[str], list[Sequence[Cell]], list[Sequence[Cell]]]:
        rows = [(group, *score) for group, score in self.group_scores().items()]
        means = self.summary()
        return (
            ('class', 'images', 'P', 'J'),
            rows,
            [
                ('class mean', len(self), means['P'], means['J']),
                ('image mean', len(self), means['P_image'], means['J_image']),
            ],
        )

    def _details(self) -> dict:
        """By group its means, and its ``images`` by identity ``group/stem``."""
        scores = self.group_scores()
        groups = {}
        for group, images in self.groups():
            by_image = {}
            for stem, (precision, jaccard) in images.items():
                by_image[f'{group}/{stem}'] = dict(P=100 * precision, J=100 * jaccard)
            groups[group] = dict(
                num_images=len(images),
                P=scores[group].precision,
                J=scores[group].jaccard,
                images=by_image,
            )
        return dict(groups=groups)
