"""The metrics of masks: P and J of the object, and of several classes after a matching."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import cv2
import numpy as np

from ...errors import MMCosegError
from ...registry import METRICS
from ..class_report import AbsentClasses, ClassReport, ScoreOver, class_names_of, count_labels
from ..functional import binarize_adaptive, image_scores, resize_ground_truth
from ..report import MaskReport
from .group_metric import GroupMetric, mask_pair, pixels_of

__all__ = ['PROTOCOLS', 'CoSegMetric', 'MultiClassCoSegMetric']


def _score_ssnm(sample: Any) -> tuple[float, float]:
    gt = resize_ground_truth(pixels_of(sample, 'gt_sem_seg')[0], (224, 224))
    prob = pixels_of(sample, 'pred_prob')
    # Of several classes, all that is not background.
    prob = np.asarray(prob[0] if len(prob) == 1 else 1 - prob[0], np.float32)
    pred = binarize_adaptive(cv2.resize(prob, (224, 224), interpolation=cv2.INTER_LINEAR))
    precision, jaccard = image_scores(pred, gt)
    # If both are empty, the published code divides 0 by a little more than 0.
    return precision, jaccard if pred.any() or gt.any() else 0.0


#: What each protocol makes of one image: P and J in [0, 1]. See :class:`CoSegMetric`.
PROTOCOLS: dict[str, Callable[[Any], tuple[float, float]]] = {
    'native': lambda sample: image_scores(*mask_pair(sample)),
    'ssnm-224': _score_ssnm,
}


@METRICS.register_module()
class CoSegMetric(GroupMetric):
    """P (share of pixels right) and J (Jaccard index of the object), in per cent.

    Both are computed per image. A group's score is the mean over its images, the *class mean* the
    mean over the groups, the *image mean* the mean over all images.

    Protocols:

    - ``'native'``: ``pred_sem_seg`` against the ground truth, both at the original size, without
      void pixels.
    - ``'ssnm-224'``, as SSNM's published code scores: soft map and ground truth resized to
      224 x 224 (bilinear; the ground truth then above one half), the soft map binarized at its
      mean plus standard deviation, at most 0.8. An image without the object has J = 0, even if
      nothing is predicted.

    The results are ``P``, ``J`` (class mean), ``P_image`` and ``J_image`` (image mean). The log
    shows a table with one row per group.

    Args:
        protocol: one or several; with several, the names of the results begin with the protocol
            (``native/J``).
        **kwargs: ``out_file`` (P and J by protocol, group and image) and the rest of
            :class:`GroupMetric`'s options.

    Raises:
        MMCosegError: for an unknown protocol. While scoring, naming the image: if it has no ground
            truth or prediction, or a mask of another size than its ground truth.
    """

    def __init__(self, protocol: str | Sequence[str] = 'native', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        protocols = (protocol,) if isinstance(protocol, str) else tuple(protocol)
        if not protocols or set(protocols) - set(PROTOCOLS):
            raise MMCosegError(
                f'protocol must be one or more of {sorted(PROTOCOLS)}, got {protocol!r}'
            )
        self.protocols = protocols

    def new_report(self) -> MaskReport:
        return MaskReport()

    def score_image(self, sample: Any, group: Any) -> dict[str, tuple[float, float]]:
        """P and J by each protocol."""
        return {name: PROTOCOLS[name](sample) for name in self.protocols}

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Figures by each protocol; logs a table for each and writes ``out_file``."""
        metrics, content = {}, {}
        for protocol in self.protocols:
            images = []
            for image in chain.from_iterable(results):
                images.append(dict(image, scored=image['scored'][protocol]))
            report = self._report(images, f'protocol {protocol}')
            prefix = f'{protocol}/' if len(self.protocols) > 1 else ''
            for name, value in report.summary().items():
                metrics[prefix + name] = value
            content[protocol] = report.to_dict()
        self._write(content)
        return metrics


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
        known = self.dataset_meta.get('classes', ())
        return dict(record, names=class_names_of(record['group'], len(ids), ids, known))
