"""The metric of object co-segmentation: P and J per image, group and data set."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from ...registry import METRICS
from ...structures import CoSegDataSample
from ..functional import binarise_adaptive, image_scores, resize_ground_truth, resize_map
from ..table import score_table

__all__ = ['CoSegMetric']

Protocol = Literal['native', 'ssnm-224']


@METRICS.register_module()
class CoSegMetric(BaseMetric):
    """P (share of pixels right) and J (Jaccard index of the object), in per cent.

    Both are computed per image; a group's score is the mean over its images, the *class mean* the
    mean over the groups, the *image mean* the mean over all images.

    Protocols:

    - ``'native'``: ``pred_sem_seg`` against the ground truth, both at the original size, void
      pixels left out.
    - ``'ssnm-224'``, as SSNM's published code scores: soft map and ground truth resized to
      224 x 224 (bilinear; the ground truth then above one half), the soft map binarised at its
      mean plus standard deviation, at most 0.8.

    Args:
        protocol: one or several; with several, the names of the results begin with the protocol.
        out_file: json file to write: per protocol, group and image P and J.
        collect_device, prefix: as for every metric of mmengine.

    The results are ``P``, ``J`` (class mean), ``P_image`` and ``J_image`` (image mean).

    Raises:
        ValueError: if a protocol is unknown, or an image has no ground truth (named), or a mask's
            size differs from its ground truth's (named).
    """

    default_prefix = None

    def __init__(
        self,
        protocol: Protocol | Sequence[Protocol] = 'native',
        out_file: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.protocols = [protocol] if isinstance(protocol, str) else list(protocol)
        unknown = set(self.protocols) - set(get_args(Protocol))
        if unknown or not self.protocols:
            raise ValueError(
                f'protocol must be one or more of {get_args(Protocol)}, got {protocol!r}'
            )
        self.out_file = out_file

    def process(self, data_batch: dict | None, data_samples: Sequence[dict]) -> None:
        """Score the images of a batch of groups; one result a group is kept.

        mmengine cuts the results of all processes to the length of the data set, which is its
        number of groups: anything but one result a group would be lost there.
        """
        for group in data_samples:
            images = {}
            for sample in group['samples']:
                gt = self._ground_truth(sample)
                images[sample.stem] = [self._score(sample, gt, p) for p in self.protocols]
            self.results.append(dict(group=group['group'], images=images))

    def _ground_truth(self, sample: CoSegDataSample) -> np.ndarray:
        if 'gt_sem_seg' not in sample:
            raise ValueError(
                f'{sample.identity} has no ground truth to score against; add its mask to the '
                'data set, or predict without an evaluator'
            )
        return sample.gt_sem_seg.data[0].cpu().numpy()

    @staticmethod
    def _score(sample: CoSegDataSample, gt: np.ndarray, protocol: str) -> tuple[float, float]:
        if protocol == 'native':
            pred = sample.pred_sem_seg.data[0].cpu().numpy()
            if pred.shape != gt.shape:
                raise ValueError(
                    f'{sample.identity}: the predicted mask is {pred.shape}, the ground truth '
                    f'{gt.shape}; load masks after Resize in the test pipeline'
                )
            return image_scores(pred, gt)
        prob = sample.pred_prob.data.float().cpu().numpy()
        soft = prob[0] if len(prob) == 1 else 1 - prob[0]
        size = (224, 224)
        pred = binarise_adaptive(resize_map(soft, size))
        return image_scores(pred, resize_ground_truth(gt, size))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Means over all groups; logs the table and writes ``out_file``."""
        # Samplers pad the last batch of several processes with groups that are there already.
        groups = {result['group']: result['images'] for result in results}
        groups = dict(sorted(groups.items()))
        metrics = {}
        for number, protocol in enumerate(self.protocols):
            scores = {
                group: np.array([image[number] for image in images.values()])
                for group, images in groups.items()
            }
            table, means = score_table(scores, title=f'protocol {protocol}')
            print_log(f'\n{table}', logger='current')
            prefix = f'{protocol}/' if len(self.protocols) > 1 else ''
            metrics.update({prefix + key: value for key, value in means.items()})
        if self.out_file:
            self._write(groups)
        return metrics

    def _write(self, groups: dict[str, dict]) -> None:
        content = {
            protocol: {
                group: {
                    stem: dict(zip('PJ', (round(100 * score, 4) for score in image[number])))
                    for stem, image in images.items()
                }
                for group, images in groups.items()
            }
            for number, protocol in enumerate(self.protocols)
        }
        path = Path(self.out_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1))
