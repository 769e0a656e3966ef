"""The metric of multi-class co-segmentation: P and J by class and group, after a matching."""

from typing import Any

import numpy as np

from ...registry import METRICS
from ..class_report import AbsentClasses, ClassReport, ScoreOver, class_names_of, count_labels
from .group_metric import GroupMetric, mask_pair

__all__ = ['MultiClassCoSegMetric']


@METRICS.register_module()
class MultiClassCoSegMetric(GroupMetric):
    """P (share of pixels labeled correctly) and J (Jaccard index of the classes), in per cent.

    ``pred_sem_seg`` is scored against ``gt_sem_seg``, both 0 background and 1..K classes at the
    original size, without void pixels. Over each whole group the predicted channels are matched to
    the classes by the best assignment; :class:`~mmcoseg.evaluation.ClassReport` defines every
    figure. Of an image only a (K'+1) x (K+1) table of counts is kept.

    The results are ``P``, the mean over the groups, and ``J``, the mean over the classes of a group
    and then over the groups. The log shows a table with one row per group and class.

    Args:
        over, absent: as in :class:`~mmcoseg.evaluation.ClassReport`.
        **kwargs: ``out_file`` (the figures of every group, class and image) and the rest of
            :class:`GroupMetric`'s options.

    Raises:
        MMCosegError: for wrong options. While scoring, naming the image: if it has no ground truth
            or prediction, or a mask of another size than its ground truth.
    """

    def __init__(
        self, over: ScoreOver = 'images', absent: AbsentClasses = 'skip', **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.over = over
        self.absent = absent
        self.title = 'multi-class co-segmentation' + (' (pixels)' if over == 'pixels' else '')
        self.new_report()  # refuses wrong options now

    def new_report(self) -> ClassReport:
        return ClassReport(self.over, self.absent)

    def score_image(self, sample: Any, group: Any) -> np.ndarray:
        """The table of counts."""
        return count_labels(*mask_pair(sample))

    def _record(self, sample: Any, group: Any) -> dict:
        record, ids = super()._record(sample, group), group.get('label_ids') or ()
        known = (self.dataset_meta or {}).get('classes', ())
        return dict(record, names=class_names_of(record['group'], len(ids), ids, known))
