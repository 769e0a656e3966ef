"""The metric of object co-segmentation: P and J per image, group and data set."""

from collections.abc import Callable, Sequence
from typing import Any

from mmengine.logging import print_log

from ...errors import MMCosegError
from ...registry import METRICS
from ..functional import (
    binarize_adaptive,
    foreground_probability,
    image_scores,
    resize_ground_truth,
    resize_map,
)
from ..report import ScoreReport
from .group_metric import GroupMetric, mask_pair, pixels_of

__all__ = ['PROTOCOLS', 'CoSegMetric']


def _score_native(sample: Any) -> tuple[float, float]:
    return image_scores(*mask_pair(sample))


def _score_ssnm(sample: Any, size: tuple[int, int] = (224, 224)) -> tuple[float, float]:
    gt = resize_ground_truth(pixels_of(sample, 'gt_sem_seg')[0], size)
    prob = foreground_probability(pixels_of(sample, 'pred_prob'))
    pred = binarize_adaptive(resize_map(prob, size))
    precision, jaccard = image_scores(pred, gt)
    # Where both are empty the published code divides 0 by a little more than 0.
    return precision, jaccard if pred.any() or gt.any() else 0.0


#: What each protocol makes of one image: P and J in [0, 1]. See :class:`CoSegMetric`.
PROTOCOLS: dict[str, Callable[[Any], tuple[float, float]]] = {
    'native': _score_native,
    'ssnm-224': _score_ssnm,
}


@METRICS.register_module()
class CoSegMetric(GroupMetric):
    """P (share of pixels right) and J (Jaccard index of the object), in per cent.

    Both are computed per image; a group's score is the mean over its images, the *class mean* the
    mean over the groups, the *image mean* the mean over all images. An image counts once, even
    where a distributed sampler gives it to two processes.

    Protocols:

    - ``'native'``: ``pred_sem_seg`` against the ground truth, both at the original size, void
      pixels left out.
    - ``'ssnm-224'``, as SSNM's published code scores: soft map and ground truth resized to
      224 x 224 (bilinear; the ground truth then above one half), the soft map binarized at its
      mean plus standard deviation, at most 0.8. An image without the object counts J = 0, also
      where nothing is predicted.

    The results are ``P``, ``J`` (class mean), ``P_image`` and ``J_image`` (image mean); the
    log shows a table with a row a group.

    Args:
        protocol: one or several; with several, the names of the results begin with the protocol
            (``native/J``).
        out_file: json file to write: per protocol, group and image P and J; images are keyed
            ``group/stem``. None: not written.
        format: of the table in the log: ``'text'``, or ``'markdown'`` to paste it into a page.
        collect_device, prefix, collect_dir: as for every metric of mmengine.

    Raises:
        MMCosegError: if a protocol or format is unknown; while scoring, if an image (named) has no
            ground truth or prediction, or a mask's size differs from its ground truth's, or if
            two images have the same ``group/stem``.

    Example:
        >>> CoSegMetric(protocol=['native', 'ssnm-224']).protocols
        ('native', 'ssnm-224')
    """

    def __init__(
        self,
        protocol: str | Sequence[str] = 'native',
        out_file: str | None = None,
        format: str = 'text',
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(out_file, format, collect_device, prefix, collect_dir)
        protocols = (protocol,) if isinstance(protocol, str) else tuple(protocol)
        if not protocols or set(protocols) - set(PROTOCOLS):
            raise MMCosegError(
                f'protocol must be one or more of {sorted(PROTOCOLS)}, got {protocol!r}'
            )
        self.protocols = protocols

    def score_image(self, sample: Any, group: Any) -> list[tuple[float, float]]:
        """P and J by each protocol."""
        return [PROTOCOLS[name](sample) for name in self.protocols]

    def compute_metrics(self, results: list[list[dict]]) -> dict[str, float]:
        """Means over what :meth:`process` kept; logs the tables and writes ``out_file``."""
        metrics, content = {}, {}
        for number, protocol in enumerate(self.protocols):
            report = ScoreReport()
            for group in results:
                for image in group:
                    scores = image['scores'][number]
                    report.add(image['group'], image['stem'], scores, image['source'])
            table = report.table(f'protocol {protocol}', self.format)
            print_log(f'\n{table}', logger='current')
            prefix = f'{protocol}/' if len(self.protocols) > 1 else ''
            metrics.update({prefix + key: value for key, value in report.summary().items()})
            content[protocol] = report.to_dict()
        self._write(content)
        return metrics
