"""The metric of instance co-segmentation: mAP of instances' masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ...errors import MMCosegError
from ...options import one_of
from ...registry import METRICS
from ...structures.coseg_data_sample import VOID
from ..functional import Matching, instance_overlaps
from ..instance_report import ImageMatches, InstanceReport
from .group_metric import GroupMetric, to_array

__all__ = ['InstanceCoSegMetric', 'InstanceMetric']


class InstanceMetric(GroupMetric):
    """What metrics of instances share: an image's predictions laid over its ground truth.

    Args:
        report: settings of the :class:`~mmcoseg.evaluation.InstanceReport`.
        title: of the table in the log.
        out_file, format, collect_device, prefix, collect_dir: as in ``CoSegMetric``.
    """

    def __init__(self, report: dict, title: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        InstanceReport(**report)  # what is wrong with it is said now
        self.report = report
        self.title = title

    def score_image(self, sample: Any, group: Any) -> ImageMatches:
        gts, void = _ground_truth(sample)
        preds, scores = _predictions(sample)
        if preds.shape[1:] != gts.shape[1:]:
            raise MMCosegError(
                f': the predicted masks are {preds.shape[1:]}, the ground truth {gts.shape[1:]}; '
                'load masks after Resize in the test pipeline, and predict at the original size'
            )
        category = group.get('category') or group.get('group') or sample.get('group')
        return ImageMatches.ranked(str(category), scores, *self.overlaps(preds, gts, void))

    def overlaps(
        self, preds: np.ndarray, gts: np.ndarray, void: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :func:`~mmcoseg.evaluation.functional.instance_overlaps`."""
        return instance_overlaps(preds, gts, void)

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Means over what :meth:`process` kept; logs the table and writes ``out_file``."""
        report = InstanceReport(**self.report)
        for group in results:
            for image in group:
                report.add(image['group'], image['stem'], image['scores'], image['source'])
        print_log(f'\n{report.table(self.title, self.format)}', logger='current')
        self._write(report.to_dict())
        return report.summary()


def _ground_truth(sample: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Masks (m, H, W) of the instances; void (H, W) bool, where the image has ground truth."""
    instances = sample.get('gt_instances')
    if instances is None:
        raise MMCosegError(
            'has no instances to score against (gt_instances); use a data set with instances and '
            'LoadCoSegMask(with_instances=True)'
        )
    masks = to_array(instances.get('masks'))
    pixels = sample.get('gt_sem_seg')
    void = None if pixels is None else to_array(pixels.get('data'))[0] == VOID
    return masks, void


def _predictions(sample: Any) -> tuple[np.ndarray, np.ndarray]:
    """Masks (n, H, W) and scores (n,)."""
    instances = sample.get('pred_instances')
    if instances is None or instances.get('masks') is None or instances.get('scores') is None:
        raise MMCosegError(
            'has no pred_instances with masks and scores (which may be none, but not missing); '
            'score with a segmentor that predicts instances'
        )
    return to_array(instances.get('masks')), to_array(instances.get('scores'))


@METRICS.register_module()
class InstanceCoSegMetric(InstanceMetric):
    """mAP of instances' masks, in per cent (DeepCO3, section 4.2: mAP^r at IoU 0.25 and 0.5).

    The predictions of an image count for its group's category: what is common to the group is all
    that a co-segmentation can find. Those of all images of a category are ranked together by score;
    see ``match_instances`` for which are right, ``average_precision`` for the AP (all points of
    the interpolated curve, no sampling). Ground truth is ``gt_instances``; void pixels of
    ``gt_sem_seg``, as crowds are, are taken out of predictions, and predictions that are void by
    the threshold's share and match nothing are left out. An image counts once, even where a
    distributed sampler gives it to two processes.

    The results are ``mAP_25`` and ``mAP_50``, means over the categories; the log shows a table with
    a row a category. Of each image a few numbers are kept, no masks.

    Args:
        iou_thresholds: IoUs of a match.
        matching: ``'greedy'`` or ``'voc'``; see ``match_instances``.
        out_file: json file to write: the summary, the categories' figures and every image's
            predictions (scores and IoUs), keyed ``group/stem``. None: not written.
        format, collect_device, prefix, collect_dir: as in ``CoSegMetric``.

    Raises:
        MMCosegError: for wrong settings; while scoring, naming the image, if it has no
            ``gt_instances`` or ``pred_instances``, scores that are not finite, or masks of another
            size than its ground truth.

    Example:
        >>> InstanceCoSegMetric(iou_thresholds=[0.5]).report['thresholds']
        (0.5,)
    """

    def __init__(
        self,
        iou_thresholds: Sequence[float] = (0.25, 0.5),
        matching: Matching = 'greedy',
        out_file: str | None = None,
        format: str = 'text',
        **kwargs: Any,
    ) -> None:
        one_of('matching', matching, Matching)
        super().__init__(
            dict(thresholds=tuple(iou_thresholds), corloc=None, matching=matching),
            'average precision of instances',
            out_file=out_file,
            format=format,
            **kwargs,
        )
