"""The metric of multi-class co-segmentation: P and J by class and group, after a matching."""

from typing import Any

import numpy as np
from mmengine.logging import print_log

from ...registry import METRICS
from ..class_report import AbsentClasses, ClassReport, ScoreOver, class_names_of, count_labels
from .group_metric import GroupMetric, mask_pair

__all__ = ['MultiClassCoSegMetric']


@METRICS.register_module()
class MultiClassCoSegMetric(GroupMetric):
    """P (share of pixels labeled right) and J (Jaccard index of the classes), in per cent.

    ``pred_sem_seg`` is scored against ``gt_sem_seg``, both 0 background and 1..K classes at the
    original size; void pixels are left out. Over each whole group the predicted channels are
    matched to the classes by the best assignment; :class:`~mmcoseg.evaluation.ClassReport` says how
    and defines every figure. Of an image only a (K'+1) x (K+1) table of counts is kept. An image
    counts once, even where a distributed sampler gives it to two processes.

    The results are ``P``, mean over the groups, and ``J``, mean over the classes of a group and
    then over the groups; the log shows a table with a row a group and class.

    Args:
        over: ``'images'`` (as the thesis words it): figures per image, then their mean;
            ``'pixels'``: one ratio over all pixels of a group.
        absent: ``'skip'``: only images that show a class count for its figures; ``'score'``: all.
        out_file: json file to write: the figures of every group, class and image; images are keyed
            ``group/stem``. None: not written.
        format, collect_device, prefix, collect_dir: as in ``CoSegMetric``.

    Raises:
        MMCosegError: for wrong settings; while scoring, if an image (named) has no ground truth or
            prediction, or a mask's size differs from its ground truth's, or if two images have the
            same ``group/stem``.

    Example:
        >>> MultiClassCoSegMetric(over='pixels').over
        'pixels'
    """

    def __init__(
        self, over: ScoreOver = 'images', absent: AbsentClasses = 'skip', **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        ClassReport(over, absent)  # what is wrong with it is said now
        self.over = over
        self.absent = absent

    def score_image(self, sample: Any, group: Any) -> np.ndarray:
        """The table of counts."""
        return count_labels(*mask_pair(sample))

    def _record(self, sample: Any, group: Any) -> dict:
        return dict(super()._record(sample, group), label_ids=group.get('label_ids') or ())

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Means over what :meth:`process` kept; logs the table and writes ``out_file``."""
        report = ClassReport(self.over, self.absent)
        known = (self.dataset_meta or {}).get('classes', ())
        for image in (image for group in results for image in group):
            ids = image['label_ids']
            names = class_names_of(image['group'], len(ids), ids, known)
            report.add(image['group'], image['stem'], image['scores'], image['source'], names)
        title = 'multi-class co-segmentation' + (' (pixels)' if self.over == 'pixels' else '')
        print_log(f'\n{report.table(title, self.format)}', logger='current')
        self._write(report.to_dict())
        return report.summary()
