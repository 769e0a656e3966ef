"""The metrics of instance co-segmentation and co-localization: mAP and CorLoc of masks."""

from collections.abc import Sequence
from typing import Any

from ...errors import MMCosegError
from ...registry import METRICS
from ...structures import to_numpy
from ...structures.coseg_data_sample import VOID
from ..functional import Matching, check_one_shape, instance_overlaps
from ..instance_report import ImageMatches, InstanceReport
from .group_metric import GroupMetric

__all__ = ['CorLocMetric', 'InstanceCoSegMetric', 'InstanceMetric']


class InstanceMetric(GroupMetric):
    """What metrics of instances share: the overlaps of an image's predictions and ground truth.

    The predictions of an image count for its group's category, because a co-segmentation can find
    only what is common to the group. Ground truth is ``gt_instances``. Void pixels of
    ``gt_sem_seg``, such as crowds, are taken out of the predictions.

    Raises:
        MMCosegError: for wrong options. While scoring, naming the image: if it has no
            ``gt_instances`` or ``pred_instances``, scores that are not finite, or masks of another
            size than its ground truth.
    """

    def score_image(self, sample: Any, group: Any) -> ImageMatches:
        truth, found = sample.get('gt_instances'), sample.get('pred_instances')
        if truth is None:
            raise MMCosegError(
                'it has no instances to score against (gt_instances); use a data set with '
                'instances and LoadCoSegMask(with_instances=True)'
            )
        if found is None or found.get('masks') is None or found.get('scores') is None:
            raise MMCosegError(
                'it has no pred_instances with masks and scores (which may be none, but not '
                'missing); score with a segmentor that predicts instances'
            )
        gts, preds = to_numpy(truth.get('masks')), to_numpy(found.get('masks'))
        check_one_shape(preds[:1].any(axis=0), gts[:1].any(axis=0))
        pixels = sample.get('gt_sem_seg')
        void = None if pixels is None else to_numpy(pixels.get('data'))[0] == VOID
        overlaps = instance_overlaps(preds, gts, void)
        category = group.get('category') or group.get('group')
        return ImageMatches.ranked(str(category), to_numpy(found.get('scores')), *overlaps)


@METRICS.register_module()
class InstanceCoSegMetric(InstanceMetric):
    """mAP of instances' masks, in per cent (DeepCO3, section 4.2: mAP^r at IoU 0.25 and 0.5).

    The predictions of all images of a category are ranked together by score. See
    ``match_instances`` for which are right, ``average_precision`` for the AP (all points of the
    interpolated curve, no sampling). The results are ``mAP_25`` and ``mAP_50``, means over the
    categories; the log shows a table with one row per category.

    Args:
        iou_thresholds: IoUs of a match.
        matching: ``'greedy'`` or ``'voc'``; see ``match_instances``.
        **kwargs: ``out_file`` (the summary, the categories' figures, and the scores and IoUs of
            every image's predictions) and the rest of :class:`GroupMetric`'s options.
    """

    title = 'average precision of instances'

    def __init__(
        self,
        iou_thresholds: Sequence[float] = (0.25, 0.5),
        matching: Matching = 'greedy',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.iou_thresholds = tuple(iou_thresholds)
        self.matching = matching
        self.new_report()  # refuses wrong options now

    def new_report(self) -> InstanceReport:
        return InstanceReport(self.iou_thresholds, corloc=None, matching=self.matching)


@METRICS.register_module()
class CorLocMetric(InstanceMetric):
    """CorLoc, in per cent: how often the best scored prediction of an image is an instance.

    An image is a hit if its prediction of highest score (the first of equal ones) has an IoU of at
    least ``iou_threshold`` with some true instance, by their masks: CorLoc^r of DeepCO3, section
    4.2. Without predictions it is a miss. Images without instances do not count. The results are
    ``CorLoc``, the mean over the categories, and ``CorLoc_image``, over all images; the log shows a
    table with one row per category.

    Args:
        iou_threshold: IoU of a hit.
        **kwargs: as in :class:`InstanceCoSegMetric`.
    """

    title = 'co-localization'

    def __init__(self, iou_threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.iou_threshold = iou_threshold
        self.new_report()  # refuses a wrong threshold now

    def new_report(self) -> InstanceReport:
        return InstanceReport(thresholds=(), corloc=self.iou_threshold)
